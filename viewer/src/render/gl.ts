/** Thin words over WebGL2. */

export class GraphicsUnavailable extends Error {
	constructor() {
		super(
			"This browser offers no WebGL2, which specimg draws with. Update the browser or switch hardware acceleration on.",
		);
		this.name = "GraphicsUnavailable";
	}
}

export function context(canvas: HTMLCanvasElement): WebGL2RenderingContext {
	const gl = canvas.getContext("webgl2", {
		antialias: false,
		alpha: false,
		depth: false,
		preserveDrawingBuffer: true,
	});
	if (!gl) {
		throw new GraphicsUnavailable();
	}
	// Rows of odd length are packed tightly.
	gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
	return gl;
}

export function program(gl: WebGL2RenderingContext, vertex: string, fragment: string): WebGLProgram {
	const linked = gl.createProgram();
	for (const [type, source] of [
		[gl.VERTEX_SHADER, vertex],
		[gl.FRAGMENT_SHADER, fragment],
	] as const) {
		const shader = gl.createShader(type)!;
		gl.shaderSource(shader, source);
		gl.compileShader(shader);
		if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) {
			throw new Error(`shader: ${gl.getShaderInfoLog(shader)}`);
		}
		gl.attachShader(linked, shader);
	}
	gl.linkProgram(linked);
	if (!gl.getProgramParameter(linked, gl.LINK_STATUS) && !gl.isContextLost()) {
		throw new Error(`program: ${gl.getProgramInfoLog(linked)}`);
	}
	return linked;
}

/** How a texture is stored and how its bytes are handed over. */
export interface TextureFormat {
	readonly internal: number;
	readonly format: number;
	readonly type: number;
}

/** A texture that is allocated anew only when its size or format changes. Never filtered: the shader interpolates. */
export class Texture {
	private readonly handle: WebGLTexture;
	private allocated = "";

	constructor(
		private readonly gl: WebGL2RenderingContext,
		private readonly unit: number,
	) {
		this.handle = gl.createTexture();
		this.bind();
		for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
			gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
		}
		for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) {
			gl.texParameteri(gl.TEXTURE_2D, name, gl.CLAMP_TO_EDGE);
		}
	}

	bind(): void {
		this.gl.activeTexture(this.gl.TEXTURE0 + this.unit);
		this.gl.bindTexture(this.gl.TEXTURE_2D, this.handle);
	}

	upload(width: number, height: number, { internal, format, type }: TextureFormat, data: ArrayBufferView | null): void {
		const { gl } = this;
		this.bind();
		const shape = `${width} ${height} ${internal}`;
		if (shape === this.allocated) {
			gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, width, height, format, type, data);
		} else {
			gl.texImage2D(gl.TEXTURE_2D, 0, internal, width, height, 0, format, type, data);
			this.allocated = shape;
		}
	}
}
