/**
 * Pane: one plane on the screen. It gathers what the view shows, uploads it, draws, and turns pointer events into indices.
 * Nothing is drawn outside `paint`, which the stage calls once a frame for panes that are dirty.
 */

import type { Vec3 } from "../../geometry/affine";
import type { PlaneFrame } from "../../geometry/orientation";
import { fitView, type PlaneView, type Size, toSample } from "../../geometry/view";
import { Priority, type Wanted } from "../../image/chunk_queue";
import { gather } from "../../image/plane";
import {
	chooseLevel,
	chunksOf,
	finePlane,
	gatherRegion,
	memoised,
	type PlaneRegion,
	regionOf,
	wantedOf,
} from "../../image/plane_region";
import { darkest } from "../../image/samples";
import type { Segmentation } from "../../labels/segmentation";
import type { Spans } from "../../labels/spans";
import { type Look, type PixelToSample, PlanePainter } from "../../render/plane_painter";
import type { Rectangle, Surface } from "../../render/surface";
import type { ViewerState } from "../../state/state";
import type { Bench } from "../bench";
import { h } from "../dom";
import { drawOverlay } from "./overlay";
import type { Sketch } from "./tools";

/** What a pane needs to draw, beside the bench. */
export interface PaneScene {
	readonly state: ViewerState;
	readonly sketch: Sketch | null;
	/** Pointer over this pane, as an index. */
	readonly pointer: Vec3 | null;
	readonly colorOf: (label: number) => string | null;
}

const TITLES: Readonly<Record<PlaneFrame["name"], string>> = {
	axial: "Axial",
	coronal: "Coronal",
	sagittal: "Sagittal",
	xy: "XY",
	xz: "XZ",
	yz: "YZ",
};

export class Pane {
	readonly element: HTMLElement;
	readonly slider: HTMLInputElement;
	readonly title: string;
	private readonly painter: PlanePainter;
	private readonly overlay: CanvasRenderingContext2D;
	private readonly corner: HTMLElement;
	private readonly message: HTMLElement;
	private gathered = "";
	private size: Size = { width: 0, height: 0 };
	private samplesDirty = true;
	private labelsDirty = true;
	private proposalDirty = true;
	/** What the canvas shows; empty: draw. */
	private drawn = "";

	constructor(
		private readonly bench: Bench,
		readonly frame: PlaneFrame,
		private readonly surface: Surface,
		private readonly invalidate: () => void,
	) {
		this.title = TITLES[frame.name];
		const overlay = h("canvas", { class: "pane-overlay", "aria-hidden": "true" });
		this.corner = h("div", { class: "pane-corner" });
		this.message = h("div", { class: "pane-message", hidden: true });
		const count = bench.image.grid.shape[frame.axis];
		this.slider = h("input", {
			class: "pane-slider",
			type: "range",
			min: 0,
			max: count - 1,
			step: 1,
			"aria-label": `${this.title} slice`,
		});
		const letter = (edge: keyof PlaneFrame["edges"]) =>
			h("span", { class: `letter letter-${edge}`, "aria-hidden": "true" }, frame.edges[edge]);
		this.element = h(
			"section",
			{
				class: `pane axis-${frame.axis}`,
				tabindex: 0,
				role: "group",
				"aria-label": `${this.title} plane`,
				data: { plane: frame.name, state: "loading" },
			},
			overlay,
			letter("top"),
			letter("right"),
			letter("bottom"),
			letter("left"),
			this.corner,
			this.message,
			this.slider,
		);
		this.painter = new PlanePainter(surface);
		this.overlay = overlay.getContext("2d")!;
	}

	/** The view of a state, or the whole plane. */
	view(state: ViewerState): PlaneView {
		return state.views[this.frame.axis] ?? this.fitted();
	}

	fitted(): PlaneView {
		const { shape } = this.bench.image.grid;
		return fitView(this.frame, [shape[this.frame.u], shape[this.frame.v]], this.size);
	}

	get cssSize(): Size {
		return this.size;
	}

	/** Index under a client position. */
	indexAt(state: ViewerState, clientX: number, clientY: number): Vec3 {
		const box = this.element.getBoundingClientRect();
		const [u, v] = toSample(this.frame, this.view(state), this.size, [clientX - box.left, clientY - box.top]);
		const index: [number, number, number] = [...state.index];
		index[this.frame.u] = u;
		index[this.frame.v] = v;
		return index;
	}

	markSamples(): void {
		this.samplesDirty = true;
		this.invalidate();
	}

	markLabels(): void {
		this.labelsDirty = true;
		this.invalidate();
	}

	markProposal(): void {
		this.proposalDirty = true;
		this.invalidate();
	}

	/** Draws again although nothing of its own changed: other colours, another canvas. */
	markLook(): void {
		this.drawn = "";
		this.invalidate();
	}

	/** Takes the size of its element; whether that changed. */
	measure(): boolean {
		const width = this.element.clientWidth;
		const height = this.element.clientHeight;
		if (width === this.size.width && height === this.size.height) {
			return false;
		}
		this.size = { width, height };
		const ratio = window.devicePixelRatio;
		this.overlay.canvas.width = Math.max(1, Math.round(width * ratio));
		this.overlay.canvas.height = Math.max(1, Math.round(height * ratio));
		this.markLook();
		return true;
	}

	/** Draws; gathers first what changed. */
	paint(scene: PaneScene): void {
		const { state } = scene;
		if (this.size.width === 0 || this.size.height === 0) {
			this.bench.queue.want(this.owner, []);
			this.bench.queue.want(`${this.owner} labels`, []);
			return;
		}
		const view = this.view(state);
		const ratio = window.devicePixelRatio;
		const region = this.regionFor(state, view, ratio);
		const key = JSON.stringify([region, state.frame]);
		if (key !== this.gathered || this.samplesDirty) {
			if (key !== this.gathered) {
				this.bench.queue.want(this.owner, this.wanted(state, region));
				this.labelsDirty = this.proposalDirty = true;
			}
			this.gathered = key;
			this.gatherSamples(state, region);
			this.samplesDirty = false;
			this.drawn = "";
		}
		if (this.labelsDirty) {
			this.gatherLabels(state, region);
			this.labelsDirty = false;
			this.drawn = "";
		}
		if (this.proposalDirty) {
			this.painter.setProposal(this.proposalMask(region));
			this.proposalDirty = false;
			this.drawn = "";
		}
		this.drawSamples(state, view, region, ratio);
		this.drawOver(scene, view, ratio);
		this.writeCorner(state);
	}

	dispose(): void {
		this.bench.queue.want(this.owner, []);
		this.bench.queue.want(`${this.owner} labels`, []);
	}

	private get owner(): string {
		return `pane ${this.frame.axis}`;
	}

	private regionFor(state: ViewerState, view: PlaneView, ratio: number): PlaneRegion {
		const { frame, size, bench } = this;
		const corners = (
			[
				[0, 0],
				[size.width, 0],
				[0, size.height],
				[size.width, size.height],
			] as const
		).map((pixel) => toSample(frame, view, size, pixel));
		const low = [0, 1].map((i) => Math.min(...corners.map((corner) => corner[i]!))) as [number, number];
		const high = [0, 1].map((i) => Math.max(...corners.map((corner) => corner[i]!))) as [number, number];
		const pixels = [frame.uStep, frame.vStep].map((step) => Math.hypot(...step) * view.scale * ratio);
		const level = chooseLevel(bench.image.levels, frame, [pixels[0]!, pixels[1]!]);
		return regionOf(bench.image.levels, frame, state.index[frame.axis], level, low, high, this.surface.maxSize);
	}

	/** Visible chunks, then those of the planes a scroll will reach next. */
	private wanted(state: ViewerState, region: PlaneRegion): Wanted[] {
		const { image } = this.bench;
		const { frame } = this;
		const wanted = wantedOf(image, frame, state.frame, region, state.index);
		const reach = image.levels[region.level]!.factors[frame.axis] * PREFETCH_PLANES;
		for (const index of [region.index + reach, region.index - reach]) {
			if (index >= 0 && index < image.grid.shape[frame.axis]) {
				for (const chunk of chunksOf(image, frame, { ...region, index }, region.level, state.index)) {
					wanted.push(image.wanted(region.level, state.frame, chunk, Priority.prefetch));
				}
			}
		}
		return wanted;
	}

	private gatherSamples(state: ViewerState, region: PlaneRegion): void {
		const { image, queue } = this.bench;
		const gathered = gatherRegion(image, this.frame, state.frame, region);
		let samples = gathered.samples;
		if (!image.hasOneRescale && this.frame.axis !== 0) {
			samples = this.rescaled(samples, region);
		}
		this.painter.setSamples(region.width, region.height, samples);
		const broken =
			gathered.missing > 0 &&
			wantedOf(image, this.frame, state.frame, region, state.index).some(({ key }) => queue.isBroken(key));
		const quality = gathered.empty ? "loading" : gathered.missing > 0 ? "coarse" : "sharp";
		this.element.dataset.state = broken ? "broken" : quality;
		this.message.hidden = !(broken || gathered.empty);
		this.message.textContent = broken ? "Part of this slice could not be loaded." : "Loading…";
	}

	/** Planes of a series may have a slope each; across them every sample is made real here. */
	private rescaled(samples: ArrayLike<number>, region: PlaneRegion): Float32Array {
		const { image } = this.bench;
		const factor = image.levels[region.level]!.factors[0];
		const real = new Float32Array(samples.length);
		const dark = darkest(image.sampleType);
		const alongU = this.frame.u === 0;
		for (let i = 0; i < real.length; i++) {
			const step = alongU ? region.u + (i % region.width) : region.v + Math.floor(i / region.width);
			const [slope, intercept] = image.rescale(Math.min(image.grid.shape[0] - 1, Math.floor((step + 0.5) * factor)));
			real[i] = samples[i] === dark ? darkest("float32") : samples[i]! * slope + intercept;
		}
		return real;
	}

	private gatherLabels(state: ViewerState, region: PlaneRegion): void {
		const segmentation = this.bench.segmentation.value;
		const { queue, image } = this.bench;
		if (!segmentation || !state.labelsVisible) {
			this.painter.setLabels(null);
			queue.want(`${this.owner} labels`, []);
			this.element.dataset.labels = "none";
			return;
		}
		const volume = segmentation.volume;
		const labels = new Uint16Array(region.width * region.height);
		const missing = gather(
			finePlane(image.levels, this.frame, region),
			{ shape: volume.shape, chunk: volume.chunk, read: memoised((z, y, x) => volume.read(z, y, x)) },
			{ outside: 0, missing: () => 0 },
			labels,
		);
		queue.want(`${this.owner} labels`, this.labelsWanted(segmentation, region));
		this.painter.setLabels(labels);
		this.element.dataset.labels = missing > 0 ? "loading" : "shown";
	}

	private labelsWanted(segmentation: Segmentation, region: PlaneRegion): Wanted[] {
		const { factors } = this.bench.image.levels[region.level]!;
		const { frame } = this;
		const low: [number, number, number] = [0, 0, 0];
		const high: [number, number, number] = [0, 0, 0];
		low[frame.axis] = high[frame.axis] = region.index;
		low[frame.u] = region.u * factors[frame.u];
		high[frame.u] = (region.u + region.width) * factors[frame.u];
		low[frame.v] = region.v * factors[frame.v];
		high[frame.v] = (region.v + region.height) * factors[frame.v];
		const wanted: Wanted[] = [];
		for (const chunk of segmentation.volume.occupied()) {
			const size = segmentation.volume.chunk;
			if (chunk.every((c, axis) => c * size[axis]! <= high[axis]! && (c + 1) * size[axis]! > low[axis]!)) {
				const request = segmentation.volume.wanted(chunk);
				if (request) {
					wanted.push(request);
				}
			}
		}
		return wanted;
	}

	private proposalMask(region: PlaneRegion): Uint8Array | null {
		const proposal = this.bench.proposals.proposal;
		if (!proposal) {
			return null;
		}
		return maskOf(proposal.spans, this.frame, region, this.bench.image.levels[region.level]!.factors);
	}

	private drawSamples(state: ViewerState, view: PlaneView, region: PlaneRegion, ratio: number): void {
		const { image } = this.bench;
		const { frame } = this;
		const { factors } = image.levels[region.level]!;
		const fu = factors[frame.u];
		const fv = factors[frame.v];
		const sample = (x: number, y: number): readonly [number, number] => {
			const [u, v] = toSample(frame, view, this.size, [x / ratio, y / ratio]);
			return [(u + 0.5) / fu - 0.5 - region.u, (v + 0.5) / fv - 0.5 - region.v];
		};
		const [o, x, y] = [sample(0, 0), sample(1, 0), sample(0, 1)];
		const pixelToSample: PixelToSample = [x[0] - o[0], x[1] - o[1], y[0] - o[0], y[1] - o[1], o[0], o[1]];
		const { shape } = image.grid;
		const real = !image.hasOneRescale && frame.axis !== 0;
		const look: Look = {
			pixelToSample,
			bounds: [
				-0.5 - region.u,
				-0.5 - region.v,
				shape[frame.u] / fu - 0.5 - region.u,
				shape[frame.v] / fv - 0.5 - region.v,
			],
			rescale: real ? [1, 0] : image.rescale(state.index[0]),
			window: state.window,
			rule: image.windowRule,
			colormap: state.colormap,
			smooth: state.smooth,
			opacity: state.opacity,
			outline: state.outline ? 1.5 * ratio : 0,
		};
		const key = JSON.stringify(look);
		if (key !== this.drawn) {
			this.painter.draw(look, this.place(ratio));
			this.drawn = key;
		}
	}

	/** Where this pane lies on the canvas behind all panes. */
	private place(ratio: number): Rectangle {
		const { offsetLeft, offsetTop } = this.element;
		const [x, y] = [Math.round(offsetLeft * ratio), Math.round(offsetTop * ratio)];
		return {
			x,
			y,
			width: Math.round((offsetLeft + this.size.width) * ratio) - x,
			height: Math.round((offsetTop + this.size.height) * ratio) - y,
		};
	}

	private drawOver(scene: PaneScene, view: PlaneView, ratio: number): void {
		const { state, pointer } = scene;
		const { bench, frame } = this;
		this.overlay.setTransform(ratio, 0, 0, ratio, 0, 0);
		const paints = state.tool === "brush" || state.tool === "eraser";
		drawOverlay(this.overlay, {
			frame,
			view,
			size: this.size,
			index: state.index,
			crosshair: state.crosshair,
			shapes: state.labelsVisible ? (bench.segmentation.value?.shapes ?? []) : [],
			colorOf: scene.colorOf,
			brush:
				paints && pointer && bench.segmentation.value?.canEdit
					? {
							at: pointer,
							radius: state.brushRadius,
							color: state.tool === "eraser" ? "#ffffff" : (scene.colorOf(state.label) ?? "#ffffff"),
						}
					: null,
			sketch: scene.sketch,
			pointer,
			prompts: bench.proposals.prompts,
			unit: bench.image.grid.space.kind === "patient" ? "mm" : "px",
		});
	}

	private writeCorner(state: ViewerState): void {
		const index = state.index[this.frame.axis];
		const count = this.bench.image.grid.shape[this.frame.axis];
		const text = `${this.title}  ${index + 1} / ${count}`;
		if (this.corner.textContent !== text) {
			this.corner.textContent = text;
			this.element.dataset.index = String(index);
			this.slider.value = String(index);
			this.slider.setAttribute("aria-valuetext", `slice ${index + 1} of ${count}`);
		}
	}
}

/** How many planes ahead a scroll is prepared for. */
const PREFETCH_PLANES = 24;

/** 1 where a region's sample lies in `spans`. */
function maskOf(
	spans: Spans,
	frame: PlaneFrame,
	region: PlaneRegion,
	factors: readonly [number, number, number],
): Uint8Array {
	const mask = new Uint8Array(region.width * region.height);
	const put = (index: readonly [number, number, number]) => {
		const u = Math.floor(index[frame.u] / factors[frame.u]) - region.u;
		const v = Math.floor(index[frame.v] / factors[frame.v]) - region.v;
		if (u >= 0 && v >= 0 && u < region.width && v < region.height) {
			mask[v * region.width + u] = 1;
		}
	};
	spans.forEach((z, y, x, length) => {
		const rows = [z, y];
		if (frame.axis === 2) {
			if (x <= region.index && region.index < x + length) {
				put([z, y, region.index]);
			}
		} else if (rows[frame.axis] === region.index) {
			for (let i = x; i < x + length; i++) {
				put([z, y, i]);
			}
		}
	});
	return mask;
}
