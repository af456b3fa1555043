/** The raster stage: a map in the raster's own pixels, and the tools that work on it. */

import type { Vec3 } from "../../geometry/affine";
import { clampIndex, contains } from "../../geometry/grid";
import { Priority } from "../../image/chunk_queue";
import { colorTable } from "../../labels/ontology";
import type { Change } from "../../labels/segmentation";
import type { RasterLook } from "../../raster/look";
import { Quantities, type Quantity } from "../../raster/quantity";
import { type RasterTool, RasterView, type Reading } from "../../raster/raster_view";
import { type Bands, type Range, rangeCount } from "../../raster/stretch";
import { dragWindow } from "../../render/window";
import type { ToolName, ViewerState } from "../../state/state";
import type { Bench, Readout, Stage } from "../bench";
import { h, icon, replace } from "../dom";
import { ICONS, type IconName } from "../icons";
import { buildLookOptions, quantityText } from "./options";
import { PositionReadout } from "./position";
import { scaleBar } from "./scale_bar";
import {
	activeColor,
	boxPrompt,
	deleteDraft,
	fillDraft,
	pointPrompt,
	previewStroke,
	reshapeDraft,
	shapeDraft,
	strokeDraft,
} from "./tools";

/** Tools in the toolbar, and what each is on the map. */
const MAP_TOOLS: Readonly<Partial<Record<ToolName, RasterTool>>> = {
	pan: "pan",
	window: "stretch",
	select: "select",
	brush: "brush",
	eraser: "eraser",
	"polygon-fill": "polygon",
	polygon: "polygon",
	polyline: "polyline",
	point: "point",
	box: "box",
	"ai-point": "click",
	"ai-box": "prompt-box",
};

/** Values of channels that are not shown are fetched under a resting pointer, up to this many channels. */
const READ_CHANNELS = 4;

const PAN_PART = 0.2;

export function openStage(bench: Bench): Stage {
	const quantities = new Quantities(bench.image);
	const look = usable(bench.state.value.raster, quantities) ?? firstLook(bench, quantities);
	const tool = bench.state.value.tool in MAP_TOOLS ? bench.state.value.tool : "pan";
	bench.state.update({ raster: look, tool });
	return new RasterStage(bench, look);
}

/** A look from an address may be of another image. */
function usable(look: RasterLook | null, quantities: Quantities): RasterLook | null {
	const fits =
		look !== null &&
		quantities.choices.some(({ id }) => id === look.quantity) &&
		quantities.bandsChoices(look.quantity).some(({ bands }) => bands.join() === look.bands.join());
	return fits ? look : null;
}

function firstLook(bench: Bench, quantities: Quantities): RasterLook {
	const quantity = quantities.initial;
	// Optical rasters start in colour, radar with its first polarisation.
	const choices = quantities.bandsChoices(quantity);
	const optical = bench.image.record.series.radar === null && choices.at(-1)!.bands.length === 3;
	const { bands } = optical ? choices.at(-1)! : choices[0]!;
	return {
		quantity,
		bands,
		ranges: suggestedRanges(quantities, quantity, bands) ?? unknownRanges(bands),
		resolution: null,
	};
}

const unknownRanges = (bands: Bands): readonly Range[] =>
	Array.from({ length: rangeCount(bands) }, () => ({ low: 0, high: 1 }));

/** Ranges the file suggests for every part of a picture, or `null`. */
function suggestedRanges(quantities: Quantities, quantity: Quantity, bands: Bands): readonly Range[] | null {
	const ranges = bands.flatMap((band) => quantities.suggested(quantity, band) ?? []);
	return ranges.length === rangeCount(bands) ? ranges : null;
}

class RasterStage implements Stage {
	readonly element: HTMLElement;
	/** The look has a bar of its own: beside a tool's options there is no room for it. */
	readonly options = h("span");
	readonly tools = Object.keys(MAP_TOOLS) as ToolName[];
	private readonly map: RasterView;
	private readonly pane: HTMLElement;
	private readonly legend = h("div", { class: "pane-corner raster-legend" });
	private readonly scale = h("div", { class: "raster-scale" });
	private readonly position: PositionReadout;
	private readonly stops: (() => void)[] = [];
	/** Ranges of pictures that were shown before, by quantity and bands. */
	private readonly known = new Map<string, readonly Range[]>();
	private reading: Reading | null = null;
	private selected: string | null = null;
	private dragFrom: readonly Range[] = [];
	private rest: ReturnType<typeof setTimeout> | undefined;

	constructor(
		private readonly bench: Bench,
		look: RasterLook,
	) {
		const { image, state } = bench;
		const target = h("div", { class: "raster-map" });
		this.pane = h(
			"section",
			{
				class: "pane raster-pane",
				tabindex: 0,
				role: "group",
				"aria-label": "Raster",
				data: { plane: "raster", state: "loading" },
			},
			target,
			this.legend,
			this.scale,
			this.zoomButtons(),
		);
		this.element = h("div", { class: "stage raster-stage" }, this.pane);
		this.position = new PositionReadout(image, bench.client, () => this.report());
		const { index } = state.value;
		const place = look.resolution === null ? null : { line: index[1], pixel: index[2], resolution: look.resolution };
		this.map = new RasterView(target, image, bench.queue, this.callbacks(), look, state.value.colormap, place);
		const options = buildLookOptions(bench, this.map.quantities, {
			choose: (quantity, bands) => this.choose(quantity, bands),
			setRanges: (ranges) => this.patch({ ranges }),
			auto: () => void this.suggest(),
		});
		this.element.prepend(options);
		this.stops.push(
			state.listen((now, before) => this.changed(now, before)),
			bench.queue.listen((event) => event.key.startsWith(`${image.id}/`) && this.reread()),
			bench.proposals.listen(() => this.showProposal()),
			bench.ontology.listen(() => this.color()),
			this.followSegmentation(),
		);
		this.color();
		this.takeTool();
		this.describe();
		if (!suggestedRanges(this.map.quantities, look.quantity, look.bands) && look.ranges[0]!.high === 1) {
			void this.suggest();
		}
	}

	goTo(index: Vec3): void {
		this.map.go({ line: index[1], pixel: index[2], resolution: Math.min(1, this.map.resolution) });
	}

	fit(): void {
		this.map.fit();
	}

	zoom(factor: number): void {
		this.map.zoom(factor);
	}

	key(event: KeyboardEvent): boolean {
		const step: Readonly<Record<string, readonly [number, number]>> = {
			ArrowLeft: [-1, 0],
			ArrowRight: [1, 0],
			ArrowUp: [0, -1],
			ArrowDown: [0, 1],
		};
		const move = step[event.key];
		if (move) {
			this.map.pan(move[0] * PAN_PART, move[1] * PAN_PART);
			return true;
		}
		switch (event.key) {
			case "Enter":
				return this.map.finish();
			case "Escape":
				return this.map.abort() || this.choosesNone();
			case "Backspace":
				return this.map.takeBack() || this.removeSelected();
			case "Delete":
				return this.removeSelected();
			default:
				return false;
		}
	}

	dispose(): void {
		clearTimeout(this.rest);
		for (const stop of this.stops) {
			stop();
		}
		this.position.close();
		this.bench.queue.want(READING, []);
		this.map.close();
	}

	private get state(): ViewerState {
		return this.bench.state.value;
	}

	private get look(): RasterLook {
		return this.state.raster!;
	}

	private patch(patch: Partial<RasterLook>): void {
		this.bench.state.update({ raster: { ...this.look, ...patch } });
	}

	// --- what is shown -------------------------------------------------------------------------------------------------

	private choose(quantity: Quantity, bands: Bands): void {
		const { look } = this;
		this.known.set(pictureKey(look.quantity, look.bands), look.ranges);
		const ranges = this.known.get(pictureKey(quantity, bands)) ?? suggestedRanges(this.map.quantities, quantity, bands);
		this.patch({ quantity, bands, ranges: ranges ?? unknownRanges(bands) });
		if (!ranges) {
			void this.suggest();
		}
	}

	private async suggest(): Promise<void> {
		const { quantity, bands } = this.look;
		try {
			const ranges = await this.map.suggest(quantity, bands);
			if (this.look.quantity === quantity && this.look.bands === bands) {
				this.patch({ ranges });
			}
		} catch {
			// The picture's own tiles say that the image cannot be read.
		}
	}

	private changed(state: ViewerState, before: ViewerState): void {
		if (state.raster !== before.raster || state.colormap !== before.colormap) {
			this.map.show(this.look, state.colormap);
			this.describe();
			this.report();
		}
		if (state.hidden !== before.hidden || state.opacity !== before.opacity || state.outline !== before.outline) {
			this.color();
		} else if (state.labelsVisible !== before.labelsVisible) {
			this.showLabels();
		}
		if (state.tool !== before.tool || state.label !== before.label || state.brushRadius !== before.brushRadius) {
			this.takeTool();
		}
		if (state.tool !== before.tool && state.tool !== "select") {
			this.select(null);
		}
		if (state.label !== before.label) {
			this.showProposal();
		}
	}

	private color(): void {
		this.showLabels();
		this.showShapes();
		this.showProposal();
		this.takeTool();
	}

	private showLabels(): void {
		const { opacity, outline, labelsVisible, hidden } = this.state;
		const colors = colorTable(this.bench.ontology.value?.classes ?? [], hidden);
		const volume = labelsVisible ? (this.bench.segmentation.value?.volume ?? null) : null;
		this.map.showLabels(volume, { colors, opacity, outline });
	}

	private showShapes(): void {
		const classes = new Map((this.bench.ontology.value?.classes ?? []).map((entry) => [entry.label, entry]));
		const { hidden, labelsVisible } = this.state;
		const look = (label: number) => {
			const entry = classes.get(label);
			return hidden.has(label) || !labelsVisible
				? null
				: { color: entry?.color ?? "#ff40a0", name: entry?.name ?? `label ${label}` };
		};
		const shapes = this.bench.segmentation.value?.shapes ?? [];
		if (this.selected && !shapes.some(({ id }) => id === this.selected)) {
			this.selected = null;
		}
		this.map.showShapes(shapes, look, this.selected);
		this.pane.dataset.shapes = String(shapes.length);
	}

	private showProposal(): void {
		const { proposals } = this.bench;
		this.map.showProposal(proposals.proposal?.spans ?? null, activeColor(this.bench), proposals.prompts);
		this.pane.dataset.proposal = proposals.proposal ? "shown" : "";
	}

	private followSegmentation(): () => void {
		let stop: (() => void) | null = null;
		const follow = () => {
			stop?.();
			stop =
				this.bench.segmentation.value?.listen((change: Change) => {
					if (change === "version") {
						this.showLabels();
						this.takeTool();
					} else if (change === "voxels") {
						this.map.refreshLabels();
					}
					if (change === "shapes" || change === "version") {
						this.showShapes();
					}
				}) ?? null;
			this.color();
		};
		const unfollow = this.bench.segmentation.listen(follow);
		return () => {
			unfollow();
			stop?.();
		};
	}

	/** Quantity, bands and their stretch, over the picture: what is seen is never nameless. */
	private describe(): void {
		const { quantity, bands, ranges } = this.look;
		const { quantities } = this.map;
		const parts = quantities.bandsChoices(quantity).find((choice) => choice.bands.join() === bands.join())?.parts ?? [];
		const range = (i: number) => `${short(ranges[i]!.low)} … ${short(ranges[i]!.high)}`;
		const lines = parts.map((name, i) =>
			parts.length === 1 ? `${name}  ${range(i)}` : `${"RGB"[i]!} = ${name}  ${range(i)}`,
		);
		replace(this.legend, [quantityText(quantities, quantity), ...lines].join("\n"));
	}

	// --- tools ---------------------------------------------------------------------------------------------------------

	private takeTool(): void {
		const { tool, brushRadius } = this.state;
		const paints = tool !== "pan" && tool !== "window";
		const usable = !paints || this.bench.segmentation.value?.canEdit;
		this.map.setTool(usable ? (MAP_TOOLS[tool] ?? "pan") : "pan", brushRadius, activeColor(this.bench));
		this.element.dataset.tool = usable ? tool : "pan";
	}

	private callbacks(): ConstructorParameters<typeof RasterView>[3] {
		const write = (draft: Parameters<NonNullable<Bench["segmentation"]["value"]>["write"]>[0]) =>
			void this.bench.segmentation.value?.write(draft);
		return {
			reading: (reading) => this.read(reading),
			moved: ({ line, pixel, resolution }) => {
				const index = clampIndex(this.bench.image.grid.shape, [0, line, pixel]);
				this.bench.state.update({ index, raster: { ...this.look, resolution } });
				this.measure(line, pixel, resolution);
			},
			drawn: (kind, shape) =>
				write(
					this.state.tool === "polygon-fill"
						? fillDraft(this.bench, shape.points as readonly Vec3[])
						: shapeDraft(this.bench, kind, shape),
				),
			reshaped: (shape) => write(reshapeDraft(shape)),
			selected: (id) => this.select(id),
			stroke: (from, to) => previewStroke(this.bench, from, to),
			strokeEnd: (points) => {
				if (points) {
					write(strokeDraft(this.bench, points));
				} else {
					this.bench.segmentation.value?.cancelPreview();
				}
			},
			click: (index, event) => {
				if (contains(this.bench.image.grid.shape, index)) {
					void this.bench.proposals.add(pointPrompt(index, !(event.shiftKey || event.altKey)));
				}
			},
			promptBox: (start, stop) => void this.bench.proposals.add(boxPrompt(start, stop)),
			stretch: (dx, dy, begins) => this.stretch(dx, dy, begins),
			sharp: (sharp) => {
				this.pane.dataset.state = sharp ? "sharp" : "loading";
			},
		};
	}

	/** Right widens, up brightens, as with a volume's window; all parts of a colour picture together. */
	private stretch(dx: number, dy: number, begins: boolean): void {
		if (begins) {
			this.dragFrom = this.look.ranges;
			return;
		}
		const ranges = this.dragFrom.map(({ low, high }) => {
			const from = { center: (low + high) / 2, width: high - low };
			const { center, width } = dragWindow(from, dx, dy, this.pane.clientWidth, "LINEAR_EXACT");
			return { low: center - width / 2, high: center + width / 2 };
		});
		this.patch({ ranges });
	}

	private select(id: string | null): void {
		if (id !== this.selected) {
			this.selected = id;
			this.showShapes();
		}
	}

	private choosesNone(): boolean {
		const had = this.selected !== null;
		this.select(null);
		return had;
	}

	private removeSelected(): boolean {
		const segmentation = this.bench.segmentation.value;
		if (this.selected === null || !segmentation?.canEdit) {
			return false;
		}
		void segmentation.write(deleteDraft(this.selected));
		return true;
	}

	// --- read-out ------------------------------------------------------------------------------------------------------

	private read(reading: Reading | null): void {
		this.reading = reading;
		this.position.moveTo(reading);
		clearTimeout(this.rest);
		if (reading) {
			this.rest = setTimeout(() => this.wantValues(reading), 150);
		}
		this.report();
	}

	/** The exact samples under a resting pointer, of every channel. */
	private wantValues({ line, pixel }: Reading): void {
		const { image, queue } = this.bench;
		const { chunk } = image.levels[0]!;
		const at: Vec3 = [0, Math.floor((line + 0.5) / chunk[1]), Math.floor((pixel + 0.5) / chunk[2])];
		const channels = Math.min(image.channels, READ_CHANNELS);
		queue.want(
			READING,
			Array.from({ length: channels }, (_, c) => image.wanted(0, { t: 0, c }, at, Priority.prefetch)),
		);
	}

	/** A chunk came: perhaps the one under the pointer. */
	private reread(): void {
		if (this.reading) {
			this.reading = this.map.read(this.reading.line, this.reading.pixel);
			this.report();
		}
	}

	private report(): void {
		const { image, readout, segmentation, ontology } = this.bench;
		if (!this.reading) {
			readout.set([]);
			return;
		}
		const { line, pixel, values } = this.reading;
		const index = clampIndex(image.grid.shape, [0, line, pixel]);
		const { unit } = this.map.quantities.choice(this.look.quantity);
		const label = segmentation.value?.volume.at(index) ?? 0;
		const entry = ontology.value?.classes.find((known) => known.label === label);
		const shown: Readout[] = [{ name: "Pixel", text: `line ${index[1]}  pixel ${index[2]}` }];
		image.record.series.channels.slice(0, READ_CHANNELS).forEach(({ name }, c) => {
			shown.push({ name: name || `Band ${c + 1}`, text: valueText(values[c] ?? null, unit) });
		});
		shown.push({ name: "Label", text: label === 0 ? "–" : (entry?.name ?? `label ${label}`) });
		shown.push(...this.position.readouts(line, pixel));
		readout.set(shown);
	}

	private measure(line: number, pixel: number, resolution: number): void {
		const metres = this.position.metresPerPixel(line, pixel);
		const percent = 100 / resolution;
		const bar = scaleBar(metres === null ? null : metres * resolution, resolution);
		const ruler = h("span", { class: "raster-ruler" });
		ruler.style.width = `${bar.width}px`;
		replace(
			this.scale,
			h("span", { class: "raster-ruler-text" }, bar.text),
			ruler,
			h("span", { class: "raster-percent" }, `${percent < 10 ? percent.toPrecision(2) : Math.round(percent)} %`),
		);
	}

	private zoomButtons(): HTMLElement {
		const button = (drawing: IconName, label: string, act: () => void) =>
			h("button", { "aria-label": label, title: label, on: { click: act } }, icon(ICONS[drawing]));
		return h(
			"div",
			{ class: "raster-zoom" },
			button("plus", "Zoom in (+)", () => this.zoom(2)),
			button("minus", "Zoom out (−)", () => this.zoom(0.5)),
			button("fit", "Show everything (F)", () => this.fit()),
			h(
				"button",
				{
					"aria-label": "One raster pixel per screen pixel",
					title: "One raster pixel per screen pixel",
					on: { click: () => this.zoom(this.map.resolution) },
				},
				"1:1",
			),
		);
	}
}

const READING = "raster reading";

const pictureKey = (quantity: Quantity, bands: Bands): string => `${quantity} ${bands.join()}`;

const short = (value: number): string => String(Number(value.toPrecision(4)));

function valueText(reading: Reading["values"][number], unit: string): string {
	if (reading === null) {
		return "…";
	}
	if (!Number.isFinite(reading.value)) {
		return "no data";
	}
	const digits = unit === "dB" ? reading.value.toFixed(2) : String(Number(reading.value.toPrecision(6)));
	return `${reading.exact ? "" : "≈ "}${digits}${unit === "" ? "" : ` ${unit}`}`;
}
