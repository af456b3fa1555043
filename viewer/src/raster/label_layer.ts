/** Label voxels over a raster: each occupied chunk is a small picture, coloured on the CPU once and drawn at any zoom. */

import ImageLayer from "ol/layer/Image";
import ImageCanvas from "ol/source/ImageCanvas";
import type { Vec3 } from "../geometry/affine";
import type { ChunkQueue } from "../image/chunk_queue";
import { Priority, type Wanted } from "../image/chunk_queue";
import type { Image } from "../image/image";
import type { LabelVolume } from "../labels/label_volume";
import { projectionOf } from "./pixel_space";

export class LabelLayer {
	readonly layer: ImageLayer<ImageCanvas>;
	private readonly source: ImageCanvas;
	private readonly canvas = document.createElement("canvas");
	private readonly stop: () => void;
	private readonly pictures = new Map<string, OffscreenCanvas>();
	private labels: LabelVolume | null = null;
	private colors: Uint32Array = new Uint32Array(65536);

	constructor(
		image: Image,
		private readonly queue: ChunkQueue,
	) {
		this.source = new ImageCanvas({
			projection: projectionOf(image),
			ratio: 1,
			interpolate: false,
			canvasFunction: (extent, resolution, ratio, size) => this.draw(extent, resolution, ratio, size),
		});
		this.layer = new ImageLayer({ source: this.source, opacity: 0.5 });
		this.stop = queue.listen((event) => {
			if (event.type === "chunk" && event.key.startsWith("sha256:")) {
				this.refresh();
			}
		});
	}

	/** `colors`: RGBA of every label, as `colorTable` makes it. */
	show(labels: LabelVolume | null, colors: Uint8Array<ArrayBuffer>): void {
		this.labels = labels;
		this.colors = new Uint32Array(colors.buffer);
		this.refresh();
	}

	/** Voxels changed, perhaps in place: colour and draw again. */
	refresh(): void {
		this.pictures.clear();
		this.source.changed();
	}

	set opacity(opacity: number) {
		this.layer.setOpacity(opacity);
	}

	close(): void {
		this.stop();
		this.queue.want("raster labels", []);
	}

	private draw(
		extent: readonly number[],
		resolution: number,
		ratio: number,
		size: readonly number[],
	): HTMLCanvasElement {
		const { canvas, labels } = this;
		canvas.width = Math.round(size[0]!);
		canvas.height = Math.round(size[1]!);
		const context = canvas.getContext("2d");
		if (!context || !labels) {
			return canvas;
		}
		context.imageSmoothingEnabled = false;
		const scale = ratio / resolution;
		const [, height, width] = labels.chunk;
		const wanted: Wanted[] = [];
		for (const chunk of labels.occupied()) {
			const x = (chunk[2] * width - extent[0]!) * scale;
			const y = (chunk[1] * height + extent[3]!) * scale;
			if (x + width * scale < 0 || y + height * scale < 0 || x > canvas.width || y > canvas.height) {
				continue;
			}
			const voxels = labels.read(...chunk);
			if (voxels) {
				context.drawImage(this.picture(chunk, voxels, width, height), x, y, width * scale, height * scale);
			} else {
				const request = labels.wanted(chunk, Priority.visible);
				if (request) {
					wanted.push(request);
				}
			}
		}
		this.queue.want("raster labels", wanted);
		return canvas;
	}

	private picture(chunk: Vec3, voxels: Uint16Array, width: number, height: number): OffscreenCanvas {
		const key = chunk.join("/");
		const known = this.pictures.get(key);
		if (known) {
			return known;
		}
		const pixels = new Uint32Array(width * height);
		for (let i = 0; i < pixels.length; i++) {
			const label = voxels[i]!;
			pixels[i] = label === 0 ? 0 : this.colors[label]!;
		}
		const canvas = new OffscreenCanvas(width, height);
		canvas.getContext("2d")?.putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), width, height), 0, 0);
		this.pictures.set(key, canvas);
		return canvas;
	}
}
