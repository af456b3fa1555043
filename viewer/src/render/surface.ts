/**
 * Surface: one WebGL2 canvas that all planes of a stage are drawn on, each in its own rectangle. One context means one
 * compilation of the shader and one colour table, which is most of what a first picture costs. What is drawn stays, so a
 * plane that did not change is not drawn again.
 */

import { type ColormapName, colormap } from "./colormap";
import { context, program, Texture, type TextureFormat } from "./gl";
import { fragment, type SamplerKind, VERTEX } from "./shaders";

/** In device pixels from the canvas' top left corner. */
export interface Rectangle {
	readonly x: number;
	readonly y: number;
	readonly width: number;
	readonly height: number;
}

export const UNIT = { samples: 0, labels: 1, proposal: 2, colors: 3, ramp: 4 } as const;

interface Linked {
	readonly program: WebGLProgram;
	readonly at: (name: string) => WebGLUniformLocation | null;
}

export class Surface {
	readonly gl: WebGL2RenderingContext;
	private programs = new Map<SamplerKind, Linked>();
	private colors!: Texture;
	private ramp!: Texture;
	private table: Uint8Array<ArrayBuffer> = new Uint8Array(65536 * 4);
	private shownRamp: ColormapName | null = null;
	private readonly restored = new Set<() => void>();

	constructor(readonly canvas: HTMLCanvasElement) {
		this.gl = context(canvas);
		this.start();
		canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
		canvas.addEventListener("webglcontextrestored", () => {
			this.start();
			for (const listener of this.restored) {
				listener();
			}
		});
	}

	/** Called when the graphics card came back after it was lost: everything must be uploaded again. */
	onRestored(listener: () => void): void {
		this.restored.add(listener);
	}

	get maxSize(): number {
		return this.gl.getParameter(this.gl.MAX_TEXTURE_SIZE) as number;
	}

	/** RGBA of all 65,536 labels; alpha 0 hides one. */
	setColors(table: Uint8Array<ArrayBuffer>): void {
		this.table = table;
		this.colors.upload(256, 256, rgba(this.gl), table);
	}

	/** Takes a size in device pixels; what was drawn is gone. */
	resize(width: number, height: number): void {
		this.canvas.width = Math.max(1, width);
		this.canvas.height = Math.max(1, height);
		this.gl.disable(this.gl.SCISSOR_TEST);
		this.gl.clearColor(0.169, 0.188, 0.22, 1);
		this.gl.clear(this.gl.COLOR_BUFFER_BIT);
	}

	/** Limits drawing to a rectangle. */
	enter({ x, y, width, height }: Rectangle): void {
		const { gl, canvas } = this;
		const bottom = canvas.height - y - height;
		gl.enable(gl.SCISSOR_TEST);
		gl.scissor(x, bottom, width, height);
		gl.viewport(x, bottom, width, height);
	}

	/** The program for a kind of samples, with the tables it reads bound. */
	use(kind: SamplerKind, ramp: ColormapName): Linked {
		const { gl } = this;
		if (this.shownRamp !== ramp) {
			this.shownRamp = ramp;
			this.ramp.upload(256, 1, rgba(gl), colormap(ramp));
		}
		let linked = this.programs.get(kind);
		if (!linked) {
			const made = program(gl, VERTEX, fragment(kind));
			const known = new Map<string, WebGLUniformLocation | null>();
			const at = (name: string) => {
				if (!known.has(name)) {
					known.set(name, gl.getUniformLocation(made, name));
				}
				return known.get(name) ?? null;
			};
			linked = { program: made, at };
			this.programs.set(kind, linked);
		}
		gl.useProgram(linked.program);
		this.colors.bind();
		this.ramp.bind();
		for (const [name, unit] of Object.entries(UNIT)) {
			gl.uniform1i(linked.at(name), unit);
		}
		return linked;
	}

	dispose(): void {
		this.gl.getExtension("WEBGL_lose_context")?.loseContext();
	}

	private start(): void {
		const { gl } = this;
		this.programs = new Map();
		this.shownRamp = null;
		gl.bindVertexArray(gl.createVertexArray());
		this.colors = new Texture(gl, UNIT.colors);
		this.ramp = new Texture(gl, UNIT.ramp);
		this.colors.upload(256, 256, rgba(gl), this.table);
	}
}

function rgba(gl: WebGL2RenderingContext): TextureFormat {
	return { internal: gl.RGBA8, format: gl.RGBA, type: gl.UNSIGNED_BYTE };
}
