/**
 * Label voxels over a raster: each occupied chunk becomes a small picture, coloured on the CPU and drawn at any zoom. Far out, a
 * picture has one pixel for a block of voxels and takes the first label in it, so that small things stay in sight.
 */

import Layer from "ol/layer/Layer";
import type { FrameState } from "ol/Map";
import type { Vec3 } from "../geometry/affine";
import { type ChunkQueue, Priority, type Wanted } from "../image/chunk_queue";
import type { LabelVolume } from "../labels/label_volume";
import type { Spans } from "../labels/spans";

export interface LabelLook {
	/** RGBA of every label, as `colorTable` makes it; alpha 0 hides. */
	readonly colors: Uint8Array<ArrayBuffer>;
	readonly opacity: number;
	readonly outline: boolean;
}

const OWNER = "raster labels";

/** From this many screen pixels per voxel on, outlines are lines between voxels. */
const LINES_FROM = 3;

export class LabelLayer {
	readonly layer: Layer;
	private readonly element = document.createElement("div");
	private readonly canvas = document.createElement("canvas");
	private readonly stop: () => void;
	private readonly pictures = new Map<string, OffscreenCanvas>();
	private labels: LabelVolume | null = null;
	private colors: Uint32Array = new Uint32Array(65536);
	private look: LabelLook = { colors: new Uint8Array(0), opacity: 0.5, outline: true };
	private draft: Spans | null = null;
	private draftColor = "#ffffff";
	/** Of the pictures: voxels per pixel, and whether outlines are in them. */
	private step = 1;
	private borders = false;

	constructor(private readonly queue: ChunkQueue) {
		// In a box of its own: into a bare canvas OpenLayers draws the layers above, and leaves its transform behind.
		this.element.className = "raster-labels";
		this.element.dataset.labels = "shown";
		this.element.append(this.canvas);
		this.layer = new Layer({ render: (frame: FrameState) => this.draw(frame) });
		this.stop = queue.listen((event) => {
			if (event.type === "chunk" && event.key.startsWith("sha256:")) {
				this.layer.changed();
			}
		});
	}

	show(labels: LabelVolume | null, look: LabelLook): void {
		this.labels = labels;
		this.look = look;
		this.colors = new Uint32Array(look.colors.buffer);
		this.refresh();
	}

	/** Voxels that a model proposes, over everything; `null`: none. */
	showDraft(draft: Spans | null, color: string): void {
		this.draft = draft;
		this.draftColor = color;
		this.layer.changed();
	}

	/** Voxels changed, perhaps in place: colour and draw again. */
	refresh(): void {
		this.pictures.clear();
		this.layer.changed();
	}

	close(): void {
		this.stop();
		this.queue.want(OWNER, []);
	}

	private draw(frame: FrameState): HTMLElement {
		const { canvas } = this;
		const ratio = frame.pixelRatio;
		const [width, height] = frame.size.map((size) => Math.round(size * ratio)) as [number, number];
		if (canvas.width !== width || canvas.height !== height) {
			canvas.width = width;
			canvas.height = height;
			canvas.style.width = `${frame.size[0]!}px`;
			canvas.style.height = `${frame.size[1]!}px`;
		}
		const context = canvas.getContext("2d");
		const [scale, , , , left, top] = frame.coordinateToPixelTransform;
		if (context && scale !== undefined && left !== undefined && top !== undefined) {
			context.clearRect(0, 0, width, height);
			context.imageSmoothingEnabled = false;
			const place: Place = { scale: scale * ratio, left: left * ratio, top: top * ratio, width, height };
			this.drawLabels(context, place);
			this.drawDraft(context, place);
		}
		return this.element;
	}

	private drawLabels(context: CanvasRenderingContext2D, place: Place): void {
		const { labels } = this;
		const wanted: Wanted[] = [];
		if (labels) {
			const [, rows, columns] = labels.chunk;
			const step = Math.min(columns, 2 ** Math.max(0, Math.floor(Math.log2(1 / place.scale))));
			const borders = this.look.outline && step === 1 && place.scale < LINES_FROM;
			if (step !== this.step || borders !== this.borders) {
				this.pictures.clear();
				this.step = step;
				this.borders = borders;
			}
			for (const chunk of labels.occupied()) {
				const x0 = Math.round(place.left + chunk[2] * columns * place.scale);
				const y0 = Math.round(place.top + chunk[1] * rows * place.scale);
				const x1 = Math.round(place.left + (chunk[2] + 1) * columns * place.scale);
				const y1 = Math.round(place.top + (chunk[1] + 1) * rows * place.scale);
				if (x1 < 0 || y1 < 0 || x0 > place.width || y0 > place.height) {
					continue;
				}
				const voxels = labels.read(...chunk);
				if (voxels) {
					context.drawImage(this.picture(chunk, voxels, rows, columns), x0, y0, x1 - x0, y1 - y0);
					if (this.look.outline && place.scale >= LINES_FROM) {
						this.drawBorders(context, place, chunk, voxels, rows, columns);
					}
				} else {
					const request = labels.wanted(chunk, Priority.visible);
					if (request) {
						wanted.push(request);
					}
				}
			}
			this.element.dataset.labels = wanted.length > 0 ? "loading" : "shown";
		}
		this.queue.want(OWNER, wanted);
	}

	private picture(chunk: Vec3, voxels: Uint16Array, rows: number, columns: number): OffscreenCanvas {
		const key = chunk.join("/");
		const known = this.pictures.get(key);
		if (known) {
			return known;
		}
		const { step, borders } = this;
		const [height, width] = [Math.ceil(rows / step), Math.ceil(columns / step)];
		const pixels = new Uint32Array(width * height);
		const faint = Math.round(this.look.opacity * 255);
		for (let row = 0; row < height; row++) {
			for (let column = 0; column < width; column++) {
				const at = row * step * columns + column * step;
				const label = step === 1 ? voxels[at]! : firstLabel(voxels, at, step, columns);
				const color = label === 0 ? 0 : this.colors[label]!;
				if (color >>> 24) {
					const strong = borders && isBorder(voxels, at, row, column, rows, columns);
					pixels[row * width + column] = (color & 0xffffff) | ((strong ? 255 : faint) << 24);
				}
			}
		}
		const canvas = new OffscreenCanvas(width, height);
		canvas
			.getContext("2d", { willReadFrequently: true })
			?.putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), width, height), 0, 0);
		this.pictures.set(key, canvas);
		return canvas;
	}

	/** Lines between voxels of different labels, for what is on the screen. */
	private drawBorders(
		context: CanvasRenderingContext2D,
		{ scale, left, top, width, height }: Place,
		chunk: Vec3,
		voxels: Uint16Array,
		rows: number,
		columns: number,
	): void {
		const [y, x] = [chunk[1] * rows, chunk[2] * columns];
		const r0 = Math.max(0, Math.floor(-top / scale) - y);
		const r1 = Math.min(rows, Math.ceil((height - top) / scale) - y);
		const c0 = Math.max(0, Math.floor(-left / scale) - x);
		const c1 = Math.min(columns, Math.ceil((width - left) / scale) - x);
		const paths = new Map<number, Path2D>();
		const line = (label: number, fromX: number, fromY: number, toX: number, toY: number) => {
			if (label === 0 || this.colors[label]! >>> 24 === 0) {
				return;
			}
			const path = paths.get(label) ?? new Path2D();
			paths.set(label, path);
			path.moveTo(left + (x + fromX) * scale, top + (y + fromY) * scale);
			path.lineTo(left + (x + toX) * scale, top + (y + toY) * scale);
		};
		for (let r = r0; r < r1; r++) {
			for (let c = c0; c < c1; c++) {
				const here = voxels[r * columns + c]!;
				const right = c + 1 < columns ? voxels[r * columns + c + 1]! : here;
				const below = r + 1 < rows ? voxels[(r + 1) * columns + c]! : here;
				if (here !== right) {
					line(here || right, c + 1, r, c + 1, r + 1);
				}
				if (here !== below) {
					line(here || below, c, r + 1, c + 1, r + 1);
				}
			}
		}
		context.lineWidth = 1.5;
		for (const [label, path] of paths) {
			context.strokeStyle = `#${hex(this.colors[label]!)}`;
			context.stroke(path);
		}
	}

	private drawDraft(context: CanvasRenderingContext2D, { scale, left, top }: Place): void {
		if (!this.draft) {
			return;
		}
		context.fillStyle = this.draftColor;
		context.globalAlpha = 0.55;
		this.draft.forEach((_, y, x, length) => {
			// Whole pixels leave no seams between rows.
			const y0 = Math.round(top + y * scale);
			const x0 = Math.round(left + x * scale);
			const high = Math.max(1, Math.round(top + (y + 1) * scale) - y0);
			context.fillRect(x0, y0, Math.max(1, Math.round(left + (x + length) * scale) - x0), high);
		});
		context.globalAlpha = 1;
	}
}

/** Screen pixels per voxel, and where voxel (0, 0) has its corner. */
interface Place {
	readonly scale: number;
	readonly left: number;
	readonly top: number;
	readonly width: number;
	readonly height: number;
}

function firstLabel(voxels: Uint16Array, at: number, step: number, columns: number): number {
	for (let row = 0; row < step; row++) {
		for (let column = 0; column < step; column++) {
			const label = voxels[at + row * columns + column];
			if (label) {
				return label;
			}
		}
	}
	return 0;
}

function isBorder(
	voxels: Uint16Array,
	at: number,
	row: number,
	column: number,
	rows: number,
	columns: number,
): boolean {
	const label = voxels[at];
	return (
		(row > 0 && voxels[at - columns] !== label) ||
		(row + 1 < rows && voxels[at + columns] !== label) ||
		(column > 0 && voxels[at - 1] !== label) ||
		(column + 1 < columns && voxels[at + 1] !== label)
	);
}

/** RRGGBB of a little-endian RGBA word. */
function hex(word: number): string {
	const [red, green, blue] = [word & 255, (word >> 8) & 255, (word >> 16) & 255];
	return ((red << 16) | (green << 8) | blue).toString(16).padStart(6, "0");
}
