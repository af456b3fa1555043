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
import DataTileSource from "ol/source/DataTile";
import View from "ol/View";
import type { ShapeRecord } from "../api/types";
import type { Vec3 } from "../geometry/affine";
import type { ChunkQueue } from "../image/chunk_queue";
import type { Image } from "../image/image";
import type { LabelVolume } from "../labels/label_volume";
import { LabelLayer } from "./label_layer";
import { extentOf, levelOfTile, projectionOf, tileGridOf, toIndex } from "./pixel_space";
import { Quantities, type Quantity } from "./quantity";
import { pointsOf, ShapeLayer, type ShapeLook } from "./shape_layer";
import { type Composite, channelsOf, color, percentileRange, type Range, variables } from "./stretch";
import { StrokePreview } from "./stroke_preview";
import { TileReader } from "./tile_reader";
import "ol/ol.css";

export type RasterTool =
	| "pan"
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
	readonly values: readonly (number | null)[];
	/** Samples of level 0 that one value stands for; 1 is exact. */
	readonly factor: number;
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
	/** A brush gesture as continuous indices, when it ends. */
	stroke(points: readonly Vec3[]): void;
	click(index: Vec3, event: PointerEvent): void;
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
	private readonly preview = new StrokePreview();
	private tiles: WebGLTileLayer | null = null;
	private quantity: Quantity;
	private composite: Composite;
	private ranges: readonly Range[] = [{ low: 0, high: 1 }];
	private readonly select: Select;
	private readonly modify: Modify;
	private active: (Draw | PointerInteraction)[] = [];

	constructor(
		readonly element: HTMLElement,
		private readonly image: Image,
		queue: ChunkQueue,
		private readonly callbacks: RasterCallbacks,
	) {
		this.quantities = new Quantities(image);
		this.quantity = this.quantities.initial;
		this.composite = { kind: "single", channel: 0, colormap: "grey" };
		this.reader = new TileReader(image, queue);
		this.labels = new LabelLayer(image, queue);
		const projection = projectionOf(image);
		this.map = new OlMap({
			target: element,
			layers: [this.labels.layer, this.shapes.layer, this.preview.layer],
			interactions: defaultInteractions({ altShiftDragRotate: false, pinchRotate: false, doubleClickZoom: false }),
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
			condition: (event) => event.type === "singleclick",
		});
		this.modify = new Modify({ features: this.select.getFeatures() });
		this.watch();
		this.fit();
		this.build();
	}

	/** Show the whole raster. */
	fit(): void {
		this.map.getView().fit(extentOf(this.image), { padding: [8, 8, 8, 8] });
	}

	go({ line, pixel, resolution }: RasterPlace): void {
		this.map.getView().setCenter([pixel + 0.5, -(line + 0.5)]);
		this.map.getView().setResolution(resolution);
	}

	zoom(factor: number): void {
		const view = this.map.getView();
		view.animate({ resolution: (view.getResolution() ?? 1) / factor, duration: 120 });
	}

	/** What is shown. A new quantity or set of channels reads tiles again from memory; ranges and colours never do. */
	show(quantity: Quantity, composite: Composite, ranges: readonly Range[]): void {
		const channels = channelsOf(this.composite).join();
		const reload = quantity !== this.quantity || channels !== channelsOf(composite).join();
		const restyle = JSON.stringify(composite) !== JSON.stringify(this.composite);
		this.quantity = quantity;
		this.composite = composite;
		this.ranges = ranges;
		if (reload || restyle) {
			this.build();
		} else {
			this.tiles?.updateStyleVariables(variables(ranges));
		}
	}

	/** Where a stretch starts when the file suggests none: the middle 96 % of the coarsest level. */
	async suggestRange(quantity: Quantity, channel: number): Promise<Range> {
		const coarsest = this.image.levels.length - 1;
		const tile = await this.load(quantity, [channel], coarsest, 0, 0);
		const values = new Float32Array(tile.length / 2).fill(Number.NaN);
		for (let i = 0; i < values.length; i++) {
			if (tile[2 * i + 1]) {
				values[i] = tile[2 * i]!;
			}
		}
		return percentileRange(values);
	}

	showLabels(labels: LabelVolume | null, colors: Uint8Array<ArrayBuffer>, opacity: number): void {
		this.labels.show(labels, colors);
		this.labels.opacity = opacity;
	}

	/** Voxels of the shown labels changed. */
	refreshLabels(): void {
		this.labels.refresh();
		this.preview.clear();
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

	/** `radius` in raster pixels; `look` colours what is being drawn. */
	setTool(tool: RasterTool, radius: number, look: string): void {
		for (const interaction of this.active) {
			this.map.removeInteraction(interaction);
		}
		this.map.removeInteraction(this.select);
		this.map.removeInteraction(this.modify);
		this.preview.look(tool === "eraser" ? "#ffffff" : look, radius);
		this.active = this.interactionsOf(tool);
		for (const interaction of this.active) {
			this.map.addInteraction(interaction);
		}
		if (tool === "select") {
			this.map.addInteraction(this.select);
			this.map.addInteraction(this.modify);
		}
		this.element.dataset.tool = tool;
	}

	/** Takes back the shape being drawn. */
	abort(): void {
		for (const interaction of this.active) {
			if (interaction instanceof Draw) {
				interaction.abortDrawing();
			}
		}
		this.preview.clear();
	}

	close(): void {
		this.reader.close();
		this.labels.close();
		this.map.setTarget(undefined);
		this.map.dispose();
	}

	private build(): void {
		const channels = channelsOf(this.composite);
		const bands = channels.length + 1;
		const source = new DataTileSource({
			projection: projectionOf(this.image),
			tileGrid: tileGridOf(this.image),
			bandCount: bands,
			interpolate: false,
			wrapX: false,
			transition: 0,
			loader: (z, x, y, options) =>
				this.load(this.quantity, channels, levelOfTile(this.image, z), y, x, options.signal),
		});
		const old = this.tiles;
		this.tiles = new WebGLTileLayer({
			source,
			style: { color: color(this.composite), variables: variables(this.ranges) },
			zIndex: -1,
		});
		this.map.getLayers().insertAt(0, this.tiles);
		if (old) {
			this.map.removeLayer(old);
			old.dispose();
		}
	}

	private async load(
		quantity: Quantity,
		channels: readonly number[],
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
		this.map.on("pointermove", (event) => this.callbacks.reading(this.reading(toIndex(event.coordinate))));
		this.element.addEventListener("pointerleave", () => this.callbacks.reading(null));
		this.map.on("moveend", () => {
			const [, line, pixel] = toIndex(this.map.getView().getCenter() ?? [0, 0]);
			this.callbacks.moved({ line, pixel, resolution: this.map.getView().getResolution() ?? 1 });
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

	private reading(index: Vec3): Reading | null {
		const [, line, pixel] = index;
		const [, height, width] = this.image.grid.shape;
		const [row, column] = [Math.floor(line + 0.5), Math.floor(pixel + 0.5)];
		if (row < 0 || column < 0 || row >= height || column >= width) {
			return null;
		}
		const channels = this.image.record.series.channels.map((_, channel) => channel);
		for (let level = 0; level < this.image.levels.length; level++) {
			const stored = channels.map((c) => this.stored(level, c, row, column));
			if (stored.some((value) => value !== undefined)) {
				const values = stored.map((value, c) =>
					value === undefined ? null : this.quantities.value(value, this.quantity, c, row, column),
				);
				return { line, pixel, values, factor: this.image.levels[level]!.factors[2] };
			}
		}
		return { line, pixel, values: channels.map(() => null), factor: 1 };
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
		const draw = new Draw({ type, ...(kind === "box" ? { geometryFunction: createBox() } : {}), stopClick: true });
		draw.on("drawend", (event) => {
			const geometry = event.feature.getGeometry();
			if (!geometry) {
				return;
			}
			const shape = pointsOf(kind, geometry);
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
			points.push(toIndex(coordinate));
			this.preview.draw(points, this.map.getView().getResolution() ?? 1);
		};
		return new PointerInteraction({
			handleDownEvent: (event) => {
				// Only the main button paints; the others still pan.
				if ((event.originalEvent as PointerEvent).button !== 0) {
					return false;
				}
				points = [];
				add(event.coordinate);
				return true;
			},
			handleDragEvent: (event) => add(event.coordinate),
			handleUpEvent: () => {
				this.callbacks.stroke(points);
				return false;
			},
		});
	}

	private clicker(): PointerInteraction {
		return new PointerInteraction({
			handleEvent: (event) => {
				if (event.type === "singleclick" || event.type === "click") {
					if (event.type === "click") {
						this.callbacks.click(toIndex(event.coordinate), event.originalEvent as PointerEvent);
					}
					return false;
				}
				return true;
			},
		});
	}
}
