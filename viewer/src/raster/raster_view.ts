/**
 * The raster view: a map in the raster's own pixels. Chunks come from the same queue as a volume's; the stretch, the composite
 * and the colour map are style variables on the GPU. It knows nothing of the server: what people do leaves through callbacks.
 */

import type Feature from "ol/Feature";
import type { Geometry } from "ol/geom";
import { Draw, defaults as defaultInteractions, Modify, Select } from "ol/interaction";
import { createBox } from "ol/interaction/Draw";
import PointerInteraction from "ol/interaction/Pointer";
import WebGLTileLayer from "ol/layer/WebGLTile";
import OlMap from "ol/Map";
import type MapBrowserEvent from "ol/MapBrowserEvent";
import { hasArea } from "ol/size";
import DataTileSource from "ol/source/DataTile";
import { Circle, Fill, Stroke, Style } from "ol/style";
import View from "ol/View";
import type { PromptRecord, ShapeRecord } from "../api/types";
import type { Vec3 } from "../geometry/affine";
import type { ChunkQueue } from "../image/chunk_queue";
import type { Image } from "../image/image";
import type { LabelVolume } from "../labels/label_volume";
import type { Spans } from "../labels/spans";
import type { ColormapName } from "../render/colormap";
import { LabelLayer, type LabelLook } from "./label_layer";
import type { RasterLook } from "./look";
import { Marks } from "./marks";
import { extentOf, levelOfTile, projectionOf, tileGridOf, toIndex } from "./pixel_space";
import { Quantities, type Quantity } from "./quantity";
import { pointsOf, ShapeLayer, type ShapeLook } from "./shape_layer";
import { type Bands, color, percentileRange, type Range, variables } from "./stretch";
import { TileReader } from "./tile_reader";
import "ol/ol.css";

/** Decoded tiles kept on the GPU: a screen and a half at two levels; each takes one to four MiB. */
const GPU_TILES = 96;

/** Tiles of the coarsest level that a stretch is found from. */
const SAMPLED_TILES = 9;

export type RasterTool =
	| "pan"
	| "stretch"
	| "select"
	| "point"
	| "polyline"
	| "polygon"
	| "box"
	| "brush"
	| "eraser"
	| "click"
	| "prompt-box";

/** What lies under the cursor; values are NaN where there is no data, `null` while they are not here. */
export interface Reading {
	readonly line: number;
	readonly pixel: number;
	/** One a channel. Not `exact`: of a coarser level. */
	readonly values: readonly ({ readonly value: number; readonly exact: boolean } | null)[];
}

export interface RasterPlace {
	readonly line: number;
	readonly pixel: number;
	/** Raster pixels per screen pixel. */
	readonly resolution: number;
}

export interface RasterCallbacks {
	/** `null` when the cursor leaves. */
	reading(reading: Reading | null): void;
	moved(place: RasterPlace): void;
	drawn(kind: ShapeRecord["kind"], shape: Pick<ShapeRecord, "points" | "holes">): void;
	reshaped(shape: ShapeRecord): void;
	selected(shapeId: string | null): void;
	/** A brush gesture: each new piece of it, and its end; `null`: it was taken away. */
	stroke(from: Vec3, to: Vec3): void;
	strokeEnd(points: readonly Vec3[] | null): void;
	click(index: Vec3, event: PointerEvent): void;
	/** A drag that changes the stretch, in screen pixels since its start. */
	stretch(dx: number, dy: number, begins: boolean): void;
	promptBox(start: Vec3, stop: Vec3): void;
	/** Whether all visible tiles are drawn at full sharpness. */
	sharp(sharp: boolean): void;
}

export class RasterView {
	readonly quantities: Quantities;
	private readonly map: OlMap;
	private readonly reader: TileReader;
	private readonly shapes = new ShapeLayer();
	private readonly labels: LabelLayer;
	private readonly marks = new Marks();
	private tiles: WebGLTileLayer | null = null;
	private readonly select: Select;
	private readonly modify: Modify;
	private readonly dragging: PointerInteraction[];
	private active: (Draw | PointerInteraction)[] = [];
	private tool: RasterTool | null = null;
	private toolColor = "#ffffff";
	private brushRadius = 1;
	private drawing = false;
	private stroking = false;

	/** `place`: where to start; `null` shows the whole raster. */
	constructor(
		readonly element: HTMLElement,
		private readonly image: Image,
		queue: ChunkQueue,
		private readonly callbacks: RasterCallbacks,
		private look: RasterLook,
		private colormap: ColormapName,
		place: RasterPlace | null,
	) {
		this.quantities = new Quantities(image);
		this.reader = new TileReader(image, queue);
		this.labels = new LabelLayer(queue);
		const projection = projectionOf(image);
		this.map = new OlMap({
			target: element,
			layers: [this.labels.layer, this.shapes.layer, this.marks.layer],
			interactions: defaultInteractions({
				altShiftDragRotate: false,
				pinchRotate: false,
				doubleClickZoom: false,
				shiftDragZoom: false,
				keyboard: false,
			}),
			controls: [],
			view: new View({
				projection,
				extent: extentOf(image),
				constrainOnlyCenter: true,
				showFullExtent: true,
				enableRotation: false,
				minResolution: 1 / 32,
				maxResolution: 4 * image.levels[image.levels.length - 1]!.factors[2],
			}),
		});
		this.select = new Select({
			layers: [this.shapes.layer],
			style: null,
			hitTolerance: 4,
			condition: (event) => event.type === "click",
		});
		this.modify = new Modify({ features: this.select.getFeatures() });
		this.dragging = [this.panByMiddle(), this.stretchBy(2)];
		this.watch();
		this.build();
		this.start(place);
		this.setTool("pan", 1, "#ffffff");
	}

	/** Show the whole raster. */
	fit(): void {
		this.map.getView().fit(extentOf(this.image), { padding: [8, 8, 8, 8] });
	}

	go({ line, pixel, resolution }: RasterPlace): void {
		this.map.getView().setCenter([pixel + 0.5, -(line + 0.5)]);
		this.map.getView().setResolution(resolution);
	}

	get resolution(): number {
		return this.map.getView().getResolution() ?? 1;
	}

	zoom(factor: number): void {
		this.map.getView().animate({ resolution: this.resolution / factor, duration: 120 });
	}

	/** Moves by parts of the screen. */
	pan(right: number, down: number): void {
		const view = this.map.getView();
		const [width, height] = this.map.getSize() ?? [0, 0];
		const [x, y] = view.getCenter() ?? [0, 0];
		view.animate({
			center: [x! + right * width! * this.resolution, y! - down * height! * this.resolution],
			duration: 120,
		});
	}

	/** What is shown. A new quantity or other bands read tiles again; ranges never do. */
	show(look: RasterLook, colormap: ColormapName): void {
		const before = this.look;
		const rebuild =
			look.quantity !== before.quantity || look.bands.join() !== before.bands.join() || colormap !== this.colormap;
		this.look = look;
		this.colormap = colormap;
		if (rebuild) {
			this.build();
		} else if (look.ranges !== before.ranges) {
			this.tiles?.updateStyleVariables(variables(look.ranges));
		}
	}

	/** Where the stretch of a picture starts when the file suggests none: from the coarsest level. */
	async suggest(quantity: Quantity, bands: Bands): Promise<readonly Range[]> {
		const coarsest = this.image.levels.length - 1;
		const { shape, chunk } = this.image.levels[coarsest]!;
		const [rows, columns] = [Math.ceil(shape[1] / chunk[1]), Math.ceil(shape[2] / chunk[2])];
		const wanted: Promise<Float32Array>[] = [];
		const every = Math.max(1, Math.floor((rows * columns) / SAMPLED_TILES));
		for (let i = Math.floor(every / 2); i < rows * columns; i += every) {
			wanted.push(this.load(quantity, bands, coarsest, Math.floor(i / columns), i % columns));
		}
		const tiles = await Promise.all(wanted);
		const count = bands.length + 1;
		const parts = bands.length === 1 ? 1 : 3;
		return Array.from({ length: parts }, (_, part) =>
			percentileRange(Float32Array.from(tiles.flatMap((tile) => [...valuesOf(tile, count, part)]))),
		);
	}

	showLabels(labels: LabelVolume | null, look: LabelLook): void {
		this.labels.show(labels, look);
	}

	/** Voxels of the shown labels changed. */
	refreshLabels(): void {
		this.labels.refresh();
	}

	/** What a model proposes, and what it was asked. */
	showProposal(draft: Spans | null, color: string, prompts: readonly PromptRecord[]): void {
		this.labels.showDraft(draft, color);
		this.marks.showPrompts(prompts);
	}

	showShapes(shapes: Iterable<ShapeRecord>, look: (label: number) => ShapeLook | null, selected: string | null): void {
		this.shapes.show(shapes, look, selected);
		const features = this.select.getFeatures();
		features.clear();
		const feature = selected === null ? null : this.shapes.source.getFeatureById(selected);
		if (feature) {
			features.push(feature as Feature<Geometry>);
		}
	}

	/** `radius` in raster pixels; `color` of what is being drawn. */
	setTool(tool: RasterTool, radius: number, color: string): void {
		this.brushRadius = radius;
		const recolored = color !== this.toolColor;
		this.toolColor = color;
		if (tool !== this.tool || (recolored && !this.drawing)) {
			this.replaceTools(tool);
		}
	}

	private replaceTools(tool: RasterTool): void {
		this.abort();
		this.marks.showBrush(null, 1, "");
		for (const interaction of [...this.active, this.select, this.modify, ...this.dragging]) {
			this.map.removeInteraction(interaction);
		}
		this.tool = tool;
		this.active = this.interactionsOf(tool);
		const chosen = tool === "select" ? [this.select, this.modify] : this.active;
		// The last one hears of the pointer first: dragging with another button works in every tool.
		for (const interaction of [...chosen, ...this.dragging]) {
			this.map.addInteraction(interaction);
		}
		this.element.dataset.tool = tool;
	}

	/** Finishes a polygon or line; whether one was being drawn. */
	finish(): boolean {
		return this.sketch((draw) => draw.finishDrawing());
	}

	/** Takes back the latest corner. */
	takeBack(): boolean {
		return this.sketch((draw) => draw.removeLastPoint());
	}

	/** Takes back the shape or stroke being drawn; whether there was one. */
	abort(): boolean {
		if (this.stroking) {
			this.stroking = false;
			this.callbacks.strokeEnd(null);
			return true;
		}
		return this.sketch((draw) => draw.abortDrawing());
	}

	close(): void {
		this.reader.close();
		this.labels.close();
		this.map.setTarget(undefined);
		this.map.dispose();
	}

	private sketch(act: (draw: Draw) => void): boolean {
		const draw = this.drawing ? this.active.find((interaction) => interaction instanceof Draw) : undefined;
		if (draw) {
			act(draw as Draw);
		}
		return draw !== undefined;
	}

	/** The place can only be taken when the element has a size. */
	private start(place: RasterPlace | null): void {
		const begin = () => {
			if (!hasArea(this.map.getSize() ?? [0, 0])) {
				return;
			}
			this.map.un("change:size", begin);
			if (place) {
				this.go(place);
			} else {
				this.fit();
			}
		};
		this.map.on("change:size", begin);
		begin();
	}

	private build(): void {
		const { quantity, bands } = this.look;
		const source = new DataTileSource({
			projection: projectionOf(this.image),
			tileGrid: tileGridOf(this.image),
			bandCount: bands.length + 1,
			interpolate: false,
			wrapX: false,
			transition: 0,
			loader: (z, x, y, options) => this.load(quantity, bands, levelOfTile(this.image, z), y, x, options.signal),
		});
		const old = this.tiles;
		const tiles = new WebGLTileLayer({
			source,
			extent: extentOf(this.image),
			cacheSize: GPU_TILES,
			style: { color: color(bands.length, this.colormap), variables: variables(this.look.ranges) },
		});
		this.tiles = tiles;
		this.callbacks.sharp(false);
		this.map.getLayers().insertAt(old ? 1 : 0, tiles);
		if (old) {
			// The old picture stays until the new one covers it.
			this.map.once("rendercomplete", () => {
				this.map.removeLayer(old);
				old.dispose();
			});
		}
	}

	private async load(
		quantity: Quantity,
		channels: Bands,
		level: number,
		row: number,
		column: number,
		signal?: AbortSignal,
	): Promise<Float32Array> {
		const { chunk, factors } = this.image.levels[level]!;
		const [, height, width] = chunk;
		const step = factors[2];
		const bands = channels.length + 1;
		const stored = await Promise.all(
			channels.map((c) => this.reader.read(level, { t: 0, c }, [0, row, column], signal)),
		);
		const tile = new Float32Array(height * width * bands);
		for (let i = bands - 1; i < tile.length; i += bands) {
			tile[i] = 1;
		}
		// Centre of the first sample: a block of `step` samples lies around it.
		const origin = [(row * height + 0.5) * step - 0.5, (column * width + 0.5) * step - 0.5] as const;
		stored.forEach((samples, band) => {
			this.quantities.fill(tile, bands, band, samples, quantity, channels[band]!, origin, step, width);
		});
		return tile;
	}

	private watch(): void {
		this.map.on("pointermove", (event) => {
			const [, line, pixel] = toIndex(event.coordinate);
			this.callbacks.reading(this.read(line, pixel));
			this.brushAt(event.coordinate);
		});
		this.map.on("pointerdrag", (event) => this.brushAt(event.coordinate));
		this.element.addEventListener("pointerleave", () => {
			this.callbacks.reading(null);
			this.marks.showBrush(null, 1, "");
		});
		this.element.addEventListener("contextmenu", (event) => event.preventDefault());
		this.map.on("moveend", () => {
			const [, line, pixel] = toIndex(this.map.getView().getCenter() ?? [0, 0]);
			this.callbacks.moved({ line, pixel, resolution: this.resolution });
		});
		this.map.on("loadstart", () => this.callbacks.sharp(false));
		this.map.on("rendercomplete", () => this.callbacks.sharp(!this.reader.busy));
		this.select.on("select", (event) =>
			this.callbacks.selected((event.selected[0]?.getId() as string | undefined) ?? null),
		);
		this.modify.on("modifyend", (event) => {
			for (const feature of event.features.getArray() as Feature<Geometry>[]) {
				const shape = this.shapes.shapeOf(feature);
				const geometry = feature.getGeometry();
				if (shape && geometry) {
					this.callbacks.reshaped({ ...shape, ...pointsOf(shape.kind, geometry) });
				}
			}
		});
	}

	/** Values under a continuous (line, pixel), from the finest level that is here; `null` outside. */
	read(line: number, pixel: number): Reading | null {
		const [, height, width] = this.image.grid.shape;
		const [row, column] = [Math.floor(line + 0.5), Math.floor(pixel + 0.5)];
		if (row < 0 || column < 0 || row >= height || column >= width) {
			return null;
		}
		const values = this.image.record.series.channels.map((_, c) => {
			for (let level = 0; level < this.image.levels.length; level++) {
				const stored = this.stored(level, c, row, column);
				if (stored !== undefined) {
					const value = this.quantities.value(stored, this.look.quantity, c, row, column);
					return { value, exact: level === 0 };
				}
			}
			return null;
		});
		return { line, pixel, values };
	}

	private brushAt(coordinate: readonly number[]): void {
		const brushes = this.tool === "brush" || this.tool === "eraser";
		if (brushes) {
			this.marks.showBrush(coordinate, this.brushRadius, this.tool === "eraser" ? "#ffffff" : this.toolColor);
		}
	}

	private stored(level: number, c: number, line: number, pixel: number): number | undefined {
		const { chunk, factors } = this.image.levels[level]!;
		const [row, column] = [Math.floor(line / factors[1]), Math.floor(pixel / factors[2])];
		const [cy, cx] = [Math.floor(row / chunk[1]), Math.floor(column / chunk[2])];
		const samples = this.image.chunk(level, { t: 0, c }, 0, cy, cx);
		return samples?.[(row - cy * chunk[1]) * chunk[2] + column - cx * chunk[2]];
	}

	private interactionsOf(tool: RasterTool): (Draw | PointerInteraction)[] {
		switch (tool) {
			case "pan":
			case "select":
				return [];
			case "stretch":
				return [this.stretchBy(0)];
			case "point":
				return [this.draw("Point", "point")];
			case "polyline":
				return [this.draw("LineString", "polyline")];
			case "polygon":
				return [this.draw("Polygon", "polygon")];
			case "box":
				return [this.draw("Circle", "box")];
			case "prompt-box":
				return [this.draw("Circle", "box", true)];
			case "brush":
			case "eraser":
				return [this.brush()];
			case "click":
				return [this.clicker()];
		}
	}

	private draw(type: "Point" | "LineString" | "Polygon" | "Circle", kind: ShapeRecord["kind"], prompt = false): Draw {
		const draw = new Draw({
			type,
			// A box is one drag from corner to corner.
			...(kind === "box" ? { geometryFunction: createBox(), freehand: true } : {}),
			stopClick: true,
			style: sketchStyle(prompt ? "#63d2a1" : this.toolColor),
			condition: (event) => mainButton(event),
		});
		draw.on("drawstart", () => {
			this.drawing = true;
		});
		draw.on("drawabort", () => {
			this.drawing = false;
		});
		draw.on("drawend", (event) => {
			this.drawing = false;
			const geometry = event.feature.getGeometry();
			const shape = geometry ? pointsOf(kind, geometry) : null;
			if (!shape || !isWhole(kind, shape.points)) {
				return;
			}
			if (prompt) {
				const [start, stop] = shape.points as [Vec3, Vec3];
				this.callbacks.promptBox(start, stop);
			} else {
				this.callbacks.drawn(kind, shape);
			}
		});
		return draw;
	}

	private brush(): PointerInteraction {
		let points: Vec3[] = [];
		const add = (coordinate: readonly number[]) => {
			const point = toIndex(coordinate);
			const last = points.at(-1);
			if (!last || Math.hypot(point[1] - last[1], point[2] - last[2]) > 0.05) {
				points.push(point);
				this.callbacks.stroke(last ?? point, point);
			}
		};
		return new PointerInteraction({
			handleDownEvent: (event) => {
				// Only the main button paints; the others still pan.
				if (!mainButton(event)) {
					return false;
				}
				points = [];
				this.stroking = true;
				add(event.coordinate);
				return true;
			},
			handleDragEvent: (event) => {
				if (this.stroking) {
					// The browser gathers fast movements into one event; a stroke wants them all.
					const original = event.originalEvent as PointerEvent;
					const parts = original.getCoalescedEvents?.() ?? [];
					for (const part of parts.length > 0 ? parts : [original]) {
						add(this.map.getEventCoordinate(part));
					}
				}
			},
			handleUpEvent: () => {
				if (this.stroking) {
					this.stroking = false;
					this.callbacks.strokeEnd(points);
				}
				return false;
			},
		});
	}

	private clicker(): PointerInteraction {
		return new PointerInteraction({
			handleEvent: (event) => {
				if (event.type === "click") {
					this.callbacks.click(toIndex(event.coordinate), event.originalEvent as PointerEvent);
				}
				return event.type !== "click" && event.type !== "singleclick";
			},
		});
	}

	/** The middle button, or the main one with Ctrl, moves the raster in every tool. */
	private panByMiddle(): PointerInteraction {
		let last: readonly number[] = [0, 0];
		return new PointerInteraction({
			handleDownEvent: ({ originalEvent, pixel }) => {
				const { button, ctrlKey, metaKey } = originalEvent as PointerEvent;
				last = pixel;
				return button === 1 || (button === 0 && (ctrlKey || metaKey));
			},
			handleDragEvent: ({ pixel }) => {
				const view = this.map.getView();
				const [x, y] = view.getCenter() ?? [0, 0];
				view.setCenter([x! - (pixel[0]! - last[0]!) * this.resolution, y! + (pixel[1]! - last[1]!) * this.resolution]);
				last = pixel;
			},
		});
	}

	private stretchBy(button: number): PointerInteraction {
		let start: readonly number[] = [0, 0];
		return new PointerInteraction({
			handleDownEvent: ({ originalEvent, pixel }) => {
				const wanted = (originalEvent as PointerEvent).button === button;
				if (wanted) {
					start = pixel;
					this.callbacks.stretch(0, 0, true);
				}
				return wanted;
			},
			handleDragEvent: ({ pixel }) => this.callbacks.stretch(pixel[0]! - start[0]!, pixel[1]! - start[1]!, false),
		});
	}
}

function mainButton({ originalEvent }: MapBrowserEvent): boolean {
	const { button, ctrlKey, metaKey } = originalEvent as PointerEvent;
	return button === 0 && !ctrlKey && !metaKey;
}

/** A double click can end a shape before it has the corners of its kind. */
function isWhole(kind: ShapeRecord["kind"], points: readonly (readonly number[])[]): boolean {
	const apart = points.filter((point, i) => i === 0 || point.some((value, axis) => value !== points[i - 1]![axis]));
	if (kind === "box") {
		return Math.abs(points[1]![1]! - points[0]![1]!) > 0.5 && Math.abs(points[1]![2]! - points[0]![2]!) > 0.5;
	}
	return apart.length >= { point: 1, polyline: 2, polygon: 3 }[kind];
}

function sketchStyle(color: string): Style {
	const stroke = new Stroke({ color, width: 2 });
	return new Style({
		stroke,
		fill: new Fill({ color: `${color}22` }),
		image: new Circle({ radius: 5, stroke, fill: new Fill({ color: `${color}88` }) }),
	});
}

/** Values of part `part` of a picture, from a tile of `count` interleaved bands with the mask last. */
function* valuesOf(tile: Float32Array, count: number, part: number): Iterable<number> {
	for (let i = 0; i < tile.length; i += count) {
		if (tile[i + count - 1]) {
			yield count === 3 && part === 2 ? tile[i]! - tile[i + 1]! : tile[i + part]!;
		}
	}
}
