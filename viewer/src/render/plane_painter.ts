/** Draws one plane on one canvas: samples, labels and a proposal, all windowed and coloured on the GPU. */

import type { Samples } from "../image/samples";
import { type ColormapName, colormap } from "./colormap";
import { context, program, Texture, type TextureFormat } from "./gl";
import { fragment, type SamplerKind, VERTEX } from "./shaders";
import { rampOf, type WindowFunction, type WindowLevel } from "./window";

/** Affine from device pixels (y down) to samples of the uploaded region: columns x, y, 1. */
export type PixelToSample = readonly [number, number, number, number, number, number];

export interface Look {
	readonly pixelToSample: PixelToSample;
	/** First (u, v) and one past the last of the whole plane, in region samples, half a sample outside the centres. */
	readonly bounds: readonly [number, number, number, number];
	readonly rescale: readonly [number, number];
	readonly window: WindowLevel;
	readonly rule: WindowFunction;
	readonly colormap: ColormapName;
	readonly smooth: boolean;
	readonly opacity: number;
	/** Device pixels; 0 draws none. */
	readonly outline: number;
}

const UNIT = { samples: 0, labels: 1, proposal: 2, colors: 3, ramp: 4 } as const;

interface Layer<T> {
	readonly width: number;
	readonly height: number;
	readonly data: T;
}

export class PlanePainter {
	private gl: WebGL2RenderingContext;
	private programs = new Map<SamplerKind, WebGLProgram>();
	private textures!: Record<keyof typeof UNIT, Texture>;
	private samples: Layer<Samples> | null = null;
	private labels: Layer<Uint16Array> | null = null;
	private proposal: Layer<Uint8Array> | null = null;
	private colors: Uint8Array<ArrayBuffer> = new Uint8Array(65536 * 4);
	private ramp: ColormapName | null = null;

	/** `restored` is called when the graphics card came back after it was lost. */
	constructor(
		readonly canvas: HTMLCanvasElement,
		restored: () => void,
	) {
		this.gl = context(canvas);
		this.start();
		canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
		canvas.addEventListener("webglcontextrestored", () => {
			this.start();
			this.reload();
			restored();
		});
	}

	get maxSize(): number {
		return this.gl.getParameter(this.gl.MAX_TEXTURE_SIZE) as number;
	}

	setSamples(width: number, height: number, data: Samples): void {
		this.samples = { width, height, data };
		this.textures.samples.upload(width, height, sampleFormat(this.gl, data), data);
	}

	/** Same region as the samples; `null`: no labels. */
	setLabels(data: Uint16Array | null): void {
		this.labels = data && this.samples ? { width: this.samples.width, height: this.samples.height, data } : null;
		if (this.labels) {
			const { gl } = this;
			const format = { internal: gl.R16UI, format: gl.RED_INTEGER, type: gl.UNSIGNED_SHORT };
			this.textures.labels.upload(this.labels.width, this.labels.height, format, this.labels.data);
		}
	}

	/** Same region as the samples, 1 inside; `null`: none. */
	setProposal(data: Uint8Array | null): void {
		this.proposal = data && this.samples ? { width: this.samples.width, height: this.samples.height, data } : null;
		if (this.proposal) {
			const { gl } = this;
			const format = { internal: gl.R8UI, format: gl.RED_INTEGER, type: gl.UNSIGNED_BYTE };
			this.textures.proposal.upload(this.proposal.width, this.proposal.height, format, this.proposal.data);
		}
	}

	/** RGBA of all 65,536 labels; alpha 0 hides one. */
	setColors(colors: Uint8Array<ArrayBuffer>): void {
		this.colors = colors;
		this.textures.colors.upload(256, 256, rgba(this.gl), colors);
	}

	/** Nothing to show: black. */
	clear(): void {
		this.gl.viewport(0, 0, this.canvas.width, this.canvas.height);
		this.gl.clearColor(0, 0, 0, 1);
		this.gl.clear(this.gl.COLOR_BUFFER_BIT);
	}

	draw(look: Look): void {
		const { gl, samples, canvas } = this;
		if (!samples) {
			this.clear();
			return;
		}
		if (this.ramp !== look.colormap) {
			this.ramp = look.colormap;
			this.textures.ramp.upload(256, 1, rgba(gl), colormap(look.colormap));
		}
		const used = this.program(samplerKind(samples.data));
		gl.useProgram(used);
		gl.viewport(0, 0, canvas.width, canvas.height);
		const at = (name: string) => gl.getUniformLocation(used, name);
		for (const [name, unit] of Object.entries(UNIT)) {
			gl.uniform1i(at(name), unit);
			this.textures[name as keyof typeof UNIT].bind();
		}
		const { middle, scale, base } = rampOf(look.window, look.rule);
		gl.uniformMatrix3x2fv(at("pixelToSample"), false, look.pixelToSample);
		gl.uniform2i(at("size"), samples.width, samples.height);
		gl.uniform4f(at("bounds"), ...look.bounds);
		gl.uniform2f(at("rescale"), ...look.rescale);
		gl.uniform3f(at("window"), middle, scale, base);
		gl.uniform1f(at("paneHeight"), canvas.height);
		gl.uniform1f(at("outline"), look.outline);
		gl.uniform1f(at("opacity"), look.opacity);
		gl.uniform1i(at("smoothly"), look.smooth ? 1 : 0);
		gl.uniform1i(at("hasLabels"), this.labels ? 1 : 0);
		gl.uniform1i(at("hasProposal"), this.proposal ? 1 : 0);
		gl.drawArrays(gl.TRIANGLES, 0, 3);
	}

	dispose(): void {
		this.gl.getExtension("WEBGL_lose_context")?.loseContext();
	}

	private start(): void {
		const { gl } = this;
		this.programs = new Map();
		this.ramp = null;
		gl.bindVertexArray(gl.createVertexArray());
		this.textures = {
			samples: new Texture(gl, UNIT.samples),
			labels: new Texture(gl, UNIT.labels),
			proposal: new Texture(gl, UNIT.proposal),
			colors: new Texture(gl, UNIT.colors),
			ramp: new Texture(gl, UNIT.ramp),
		};
		// A sampler needs a complete texture of its kind even when the shader does not read it.
		const one = { format: gl.RED_INTEGER };
		this.textures.labels.upload(1, 1, { ...one, internal: gl.R16UI, type: gl.UNSIGNED_SHORT }, new Uint16Array(1));
		this.textures.proposal.upload(1, 1, { ...one, internal: gl.R8UI, type: gl.UNSIGNED_BYTE }, new Uint8Array(1));
		this.textures.colors.upload(256, 256, rgba(gl), this.colors);
	}

	private reload(): void {
		if (this.samples) {
			this.setSamples(this.samples.width, this.samples.height, this.samples.data);
		}
		this.setLabels(this.labels?.data ?? null);
		this.setProposal(this.proposal?.data ?? null);
	}

	private program(kind: SamplerKind): WebGLProgram {
		let known = this.programs.get(kind);
		if (!known) {
			known = program(this.gl, VERTEX, fragment(kind));
			this.programs.set(kind, known);
		}
		return known;
	}
}

function rgba(gl: WebGL2RenderingContext): TextureFormat {
	return { internal: gl.RGBA8, format: gl.RGBA, type: gl.UNSIGNED_BYTE };
}

function samplerKind(data: Samples): SamplerKind {
	if (data instanceof Float32Array) {
		return "float";
	}
	return data instanceof Int8Array || data instanceof Int16Array || data instanceof Int32Array ? "int" : "uint";
}

function sampleFormat(gl: WebGL2RenderingContext, data: Samples): TextureFormat {
	const integer = gl.RED_INTEGER;
	switch (data.constructor) {
		case Int8Array:
			return { internal: gl.R8I, format: integer, type: gl.BYTE };
		case Uint8Array:
			return { internal: gl.R8UI, format: integer, type: gl.UNSIGNED_BYTE };
		case Int16Array:
			return { internal: gl.R16I, format: integer, type: gl.SHORT };
		case Uint16Array:
			return { internal: gl.R16UI, format: integer, type: gl.UNSIGNED_SHORT };
		case Int32Array:
			return { internal: gl.R32I, format: integer, type: gl.INT };
		case Uint32Array:
			return { internal: gl.R32UI, format: integer, type: gl.UNSIGNED_INT };
		default:
			return { internal: gl.R32F, format: gl.RED, type: gl.FLOAT };
	}
}
