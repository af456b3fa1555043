/** Draws one plane on a surface: samples, labels and a proposal, all windowed and coloured on the GPU. */

import type { Samples } from "../image/samples";
import type { ColormapName } from "./colormap";
import { Texture, type TextureFormat } from "./gl";
import type { SamplerKind } from "./shaders";
import { type Rectangle, type Surface, UNIT } from "./surface";
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

interface Layer<T> {
	readonly width: number;
	readonly height: number;
	readonly data: T;
}

export class PlanePainter {
	private textures!: Record<"samples" | "labels" | "proposal", Texture>;
	private samples: Layer<Samples> | null = null;
	private labels: Layer<Uint16Array> | null = null;
	private proposal: Layer<Uint8Array> | null = null;

	constructor(readonly surface: Surface) {
		this.start();
		surface.onRestored(() => {
			this.start();
			if (this.samples) {
				this.setSamples(this.samples.width, this.samples.height, this.samples.data);
			}
			this.setLabels(this.labels?.data ?? null);
			this.setProposal(this.proposal?.data ?? null);
		});
	}

	setSamples(width: number, height: number, data: Samples): void {
		this.samples = { width, height, data };
		this.textures.samples.upload(width, height, sampleFormat(this.surface.gl, data), data);
	}

	/** Same region as the samples; `null`: no labels. */
	setLabels(data: Uint16Array | null): void {
		this.labels = data && this.samples ? { width: this.samples.width, height: this.samples.height, data } : null;
		if (this.labels) {
			this.textures.labels.upload(
				this.labels.width,
				this.labels.height,
				labelFormat(this.surface.gl),
				this.labels.data,
			);
		}
	}

	/** Same region as the samples, 1 inside; `null`: none. */
	setProposal(data: Uint8Array | null): void {
		this.proposal = data && this.samples ? { width: this.samples.width, height: this.samples.height, data } : null;
		if (this.proposal) {
			const { width, height } = this.proposal;
			this.textures.proposal.upload(width, height, maskFormat(this.surface.gl), this.proposal.data);
		}
	}

	draw(look: Look, place: Rectangle): void {
		const { samples, surface } = this;
		const { gl } = surface;
		surface.enter(place);
		if (!samples) {
			gl.clearColor(0, 0, 0, 1);
			gl.clear(gl.COLOR_BUFFER_BIT);
			return;
		}
		const { at } = surface.use(samplerKind(samples.data), look.colormap);
		for (const texture of Object.values(this.textures)) {
			texture.bind();
		}
		const { middle, scale, base } = rampOf(look.window, look.rule);
		gl.uniformMatrix3x2fv(at("pixelToSample"), false, look.pixelToSample);
		gl.uniform2i(at("size"), samples.width, samples.height);
		gl.uniform4f(at("bounds"), ...look.bounds);
		gl.uniform2f(at("rescale"), ...look.rescale);
		gl.uniform3f(at("window"), middle, scale, base);
		gl.uniform2f(at("corner"), place.x, surface.canvas.height - place.y);
		gl.uniform1f(at("outline"), look.outline);
		gl.uniform1f(at("opacity"), look.opacity);
		gl.uniform1i(at("smoothly"), look.smooth ? 1 : 0);
		gl.uniform1i(at("hasLabels"), this.labels ? 1 : 0);
		gl.uniform1i(at("hasProposal"), this.proposal ? 1 : 0);
		gl.drawArrays(gl.TRIANGLES, 0, 3);
	}

	private start(): void {
		const { gl } = this.surface;
		this.textures = {
			samples: new Texture(gl, UNIT.samples),
			labels: new Texture(gl, UNIT.labels),
			proposal: new Texture(gl, UNIT.proposal),
		};
		// A sampler needs a complete texture of its kind even when the shader does not read it.
		this.textures.labels.upload(1, 1, labelFormat(gl), new Uint16Array(1));
		this.textures.proposal.upload(1, 1, maskFormat(gl), new Uint8Array(1));
	}
}

const labelFormat = (gl: WebGL2RenderingContext): TextureFormat => ({
	internal: gl.R16UI,
	format: gl.RED_INTEGER,
	type: gl.UNSIGNED_SHORT,
});

const maskFormat = (gl: WebGL2RenderingContext): TextureFormat => ({
	internal: gl.R8UI,
	format: gl.RED_INTEGER,
	type: gl.UNSIGNED_BYTE,
});

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
