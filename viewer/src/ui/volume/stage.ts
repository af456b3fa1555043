/** The volume stage: three linked planes of one image, and the tools that work in them. */

import type { Vec3 } from "../../geometry/affine";
import { clampIndex, contains } from "../../geometry/grid";
import { type Axis, anatomical, framesOf } from "../../geometry/orientation";
import { pan, zoomAt } from "../../geometry/view";
import { Priority } from "../../image/chunk_queue";
import { colorTable } from "../../labels/ontology";
import type { Change } from "../../labels/segmentation";
import { Surface } from "../../render/surface";
import { dragWindow } from "../../render/window";
import type { ToolName, ViewerState } from "../../state/state";
import type { Bench, Stage } from "../bench";
import { h } from "../dom";
import { Pane } from "./pane";
import { brushGesture, fillDraft, type Gesture, type PanePoint, promptOf, type Sketch, shapeDraft } from "./tools";

const TOOLS: readonly ToolName[] = [
	"navigate",
	"window",
	"pan",
	"brush",
	"eraser",
	"polygon-fill",
	"polygon",
	"box",
	"ai-point",
	"ai-box",
];

/** A volume up to this size is fetched whole in the background, once its planes are sharp. */
const WHOLE_BYTES = 320 * 2 ** 20;

export function openStage(bench: Bench): Stage {
	return new VolumeStage(bench);
}

class VolumeStage implements Stage {
	readonly element: HTMLElement;
	readonly tools = TOOLS;
	private readonly surface: Surface;
	private readonly panes: readonly Pane[];
	private readonly stops: (() => void)[] = [];
	private readonly sizes: ResizeObserver;
	private scheduled = false;
	private sketch: Sketch | null = null;
	private pointer: { readonly pane: Pane; readonly index: Vec3 } | null = null;
	private wheel = 0;
	private wantsWhole = false;

	constructor(private readonly bench: Bench) {
		const frames = framesOf(bench.image.grid);
		const canvas = h("canvas", { class: "stage-image", "aria-hidden": "true" });
		this.surface = new Surface(canvas);
		this.surface.onRestored(() => this.each((pane) => pane.markLook()));
		this.panes = frames.map((frame) => new Pane(bench, frame, this.surface, () => this.schedule()));
		this.element = h("div", { class: "stage volume-stage" }, canvas, ...this.panes.map((pane) => pane.element));
		for (const pane of this.panes) {
			this.attach(pane);
		}
		this.sizes = new ResizeObserver(() => this.measure());
		this.sizes.observe(this.element);
		for (const pane of this.panes) {
			this.sizes.observe(pane.element);
		}
		this.stops.push(
			bench.state.listen((state, before) => this.changed(state, before)),
			bench.queue.listen((event) => this.arrived(event.key)),
			bench.proposals.listen(() => this.each((pane) => pane.markProposal())),
			bench.ontology.listen(() => this.color()),
			this.followSegmentation(),
		);
		this.arrange();
		this.color();
	}

	goTo(index: Vec3): void {
		this.bench.state.update({ index: clampIndex(this.bench.image.grid.shape, index) });
	}

	fit(): void {
		this.bench.state.update({ views: { 0: null, 1: null, 2: null } });
	}

	zoom(factor: number): void {
		const pane = this.pointer?.pane ?? this.panes.find(({ frame }) => frame.axis === this.bench.state.value.main)!;
		const size = pane.cssSize;
		this.setView(pane, zoomAt(pane.frame, pane.view(this.state), size, [size.width / 2, size.height / 2], factor));
	}

	key(event: KeyboardEvent): boolean {
		const pane = this.activePane();
		const step: Readonly<Record<string, number>> = {
			ArrowUp: -1,
			ArrowLeft: -1,
			ArrowDown: 1,
			ArrowRight: 1,
			PageUp: -10,
			PageDown: 10,
		};
		const steps = step[event.key];
		if (steps !== undefined) {
			this.scroll(pane, steps);
			return true;
		}
		switch (event.key) {
			case "Home":
				this.scroll(pane, -1e9);
				return true;
			case "End":
				this.scroll(pane, 1e9);
				return true;
			case "Enter":
				return this.finish();
			case "Escape":
				return this.abandon();
			case "Backspace":
				return this.takeBack();
			default:
				return false;
		}
	}

	dispose(): void {
		this.sizes.disconnect();
		for (const stop of this.stops) {
			stop();
		}
		this.bench.queue.want("volume", []);
		for (const pane of this.panes) {
			pane.dispose();
		}
		this.surface.dispose();
	}

	private get state(): ViewerState {
		return this.bench.state.value;
	}

	private activePane(): Pane {
		const focused = this.panes.find(({ element }) => element === document.activeElement);
		return this.pointer?.pane ?? focused ?? this.panes.find(({ frame }) => frame.axis === this.state.main)!;
	}

	private each(act: (pane: Pane) => void): void {
		this.panes.forEach(act);
	}

	/** Draws in the next frame, once, whatever happens until then. */
	private schedule(): void {
		if (!this.scheduled) {
			this.scheduled = true;
			requestAnimationFrame(() => {
				this.scheduled = false;
				this.paint();
			});
		}
	}

	private paint(): void {
		const classes = new Map((this.bench.ontology.value?.classes ?? []).map((entry) => [entry.label, entry.color]));
		const colorOf = (label: number) => (this.state.hidden.has(label) ? null : (classes.get(label) ?? "#ff40a0"));
		this.each((pane) =>
			pane.paint({
				state: this.state,
				sketch: this.sketch,
				pointer: this.pointer?.pane === pane ? this.pointer.index : null,
				colorOf,
			}),
		);
		this.report();
		const waiting = this.panes.some(({ element }) => element.dataset.state !== "sharp" && element.clientWidth > 0);
		if (!this.wantsWhole && !waiting) {
			this.wantsWhole = true;
			this.wantWhole();
		}
	}

	private measure(): void {
		const ratio = window.devicePixelRatio;
		const width = Math.round(this.element.clientWidth * ratio);
		const height = Math.round(this.element.clientHeight * ratio);
		const { canvas } = this.surface;
		const resized = canvas.width !== width || canvas.height !== height;
		const moved = this.panes.map((pane) => pane.measure()).some(Boolean);
		if (resized || moved) {
			this.surface.resize(width, height);
			this.each((pane) => pane.markLook());
		}
	}

	private color(): void {
		this.surface.setColors(colorTable(this.bench.ontology.value?.classes ?? [], this.state.hidden));
		this.each((pane) => pane.markLook());
	}

	private changed(state: ViewerState, before: ViewerState): void {
		if (state.main !== before.main || state.layout !== before.layout) {
			this.arrange();
		}
		if (state.hidden !== before.hidden) {
			this.color();
		}
		if (state.labelsVisible !== before.labelsVisible) {
			this.each((pane) => pane.markLabels());
		}
		if (state.tool !== before.tool) {
			this.sketch = null;
			this.element.dataset.tool = state.tool;
		}
		if (state.index !== before.index && this.pointer) {
			const index: [number, number, number] = [...this.pointer.index];
			const { axis } = this.pointer.pane.frame;
			index[axis] = state.index[axis];
			this.pointer = { pane: this.pointer.pane, index };
		}
		this.schedule();
	}

	private arrived(key: string): void {
		if (key.startsWith("sha256:")) {
			this.each((pane) => pane.markLabels());
		} else {
			// Panes that are sharp have nothing to gain from another chunk.
			this.each((pane) => pane.element.dataset.state !== "sharp" && pane.markSamples());
		}
		this.schedule();
	}

	private followSegmentation(): () => void {
		let stop: (() => void) | null = null;
		const follow = () => {
			stop?.();
			stop =
				this.bench.segmentation.value?.listen((change: Change) => {
					if (change === "voxels" || change === "version") {
						this.each((pane) => pane.markLabels());
					}
					this.schedule();
				}) ?? null;
			this.each((pane) => pane.markLabels());
		};
		const unfollow = this.bench.segmentation.listen(follow);
		follow();
		return () => {
			unfollow();
			stop?.();
		};
	}

	private arrange(): void {
		const { main, layout } = this.state;
		this.element.dataset.layout = layout;
		this.element.dataset.tool = this.state.tool;
		for (const pane of this.panes) {
			pane.element.classList.toggle("is-main", pane.frame.axis === main);
		}
		// Panes of the same size may have changed places.
		this.each((pane) => pane.markLook());
	}

	/** All of level 0 behind everything else, if it is small enough to keep: then scrolling waits for nothing. */
	private wantWhole(): void {
		const { image } = this.bench;
		const level = image.levels[0]!;
		const bytes = level.shape[0] * level.shape[1] * level.shape[2] * 4;
		if (bytes > 2 * WHOLE_BYTES) {
			return;
		}
		const count = level.shape.map((size, axis) => Math.ceil(size / level.chunk[axis]!));
		const middle = this.state.index.map((value, axis) => value / level.chunk[axis]! - 0.5);
		const chunks: Vec3[] = [];
		for (let z = 0; z < count[0]!; z++) {
			for (let y = 0; y < count[1]!; y++) {
				for (let x = 0; x < count[2]!; x++) {
					chunks.push([z, y, x]);
				}
			}
		}
		const distance = (chunk: Vec3) => Math.min(...chunk.map((value, axis) => Math.abs(value - middle[axis]!)));
		chunks.sort((a, b) => distance(a) - distance(b));
		this.bench.queue.want(
			"volume",
			chunks.map((chunk) => image.wanted(0, this.state.frame, chunk, Priority.background)),
		);
	}

	// --- pointer -------------------------------------------------------------------------------------------------------

	private attach(pane: Pane): void {
		const { element } = pane;
		element.addEventListener("wheel", (event) => this.wheeled(pane, event), { passive: false });
		element.addEventListener("pointerdown", (event) => this.pressed(pane, event));
		element.addEventListener("pointermove", (event) => this.hover(pane, event));
		element.addEventListener("pointerleave", () => {
			this.pointer = null;
			this.schedule();
		});
		element.addEventListener("contextmenu", (event) => event.preventDefault());
		element.addEventListener("dblclick", (event) => {
			if (event.target !== pane.slider && this.state.tool === "navigate") {
				this.toggle(pane);
			} else if (this.sketch?.kind === "polygon") {
				this.finish();
			}
		});
		pane.slider.addEventListener("input", () => this.setAxis(pane.frame.axis, Number(pane.slider.value)));
		pane.slider.addEventListener("pointerdown", (event) => event.stopPropagation());
		pane.slider.addEventListener("keydown", (event) => event.stopPropagation());
	}

	/** A pane becomes the main one; the main one alone, or back to three. */
	private toggle(pane: Pane): void {
		if (pane.frame.axis !== this.state.main) {
			this.bench.state.update({ main: pane.frame.axis });
		} else {
			this.bench.state.update({ layout: this.state.layout === "main" ? "single" : "main" });
		}
	}

	private wheeled(pane: Pane, event: WheelEvent): void {
		event.preventDefault();
		if (event.ctrlKey || event.metaKey) {
			const box = pane.element.getBoundingClientRect();
			const pixel = [event.clientX - box.left, event.clientY - box.top] as const;
			const factor = Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.002));
			this.setView(pane, zoomAt(pane.frame, pane.view(this.state), pane.cssSize, pixel, factor));
			return;
		}
		// A mouse wheel clicks in steps of about 100; a touchpad sends many small ones.
		this.wheel += event.deltaMode === 1 ? event.deltaY * 40 : event.deltaY;
		const steps = Math.trunc(this.wheel / 40);
		if (Math.abs(event.deltaY) >= 40 || steps !== 0) {
			this.scroll(
				pane,
				steps === 0 ? Math.sign(event.deltaY) : Math.sign(steps) * Math.max(1, Math.floor(Math.abs(steps) / 2)),
			);
			this.wheel = 0;
		}
	}

	private scroll(pane: Pane, steps: number): void {
		const { axis } = pane.frame;
		this.setAxis(axis, this.state.index[axis] + steps);
	}

	private setAxis(axis: Axis, value: number): void {
		const index: [number, number, number] = [...this.state.index];
		index[axis] = value;
		this.goTo(index);
	}

	private hover(pane: Pane, event: PointerEvent): void {
		this.pointer = { pane, index: this.snap(pane, pane.indexAt(this.state, event.clientX, event.clientY)) };
		this.schedule();
	}

	/** Exact along the plane's own axis. */
	private snap(pane: Pane, index: Vec3): Vec3 {
		const snapped: [number, number, number] = [...index];
		snapped[pane.frame.axis] = this.state.index[pane.frame.axis];
		return snapped;
	}

	private point(pane: Pane, event: PointerEvent): PanePoint {
		return {
			index: this.snap(pane, pane.indexAt(this.state, event.clientX, event.clientY)),
			frame: pane.frame,
			shift: event.shiftKey,
			alt: event.altKey,
		};
	}

	private pressed(pane: Pane, event: PointerEvent): void {
		if (event.target === pane.slider) {
			return;
		}
		pane.element.focus({ preventScroll: true });
		const gesture = this.gestureOf(pane, event);
		if (!gesture) {
			return;
		}
		event.preventDefault();
		pane.element.setPointerCapture(event.pointerId);
		const move = (moved: PointerEvent) => {
			// The browser gathers fast movements into one event; a stroke wants them all.
			const parts = moved.getCoalescedEvents?.() ?? [];
			for (const part of parts.length > 0 ? parts : [moved]) {
				gesture.move(this.point(pane, part));
			}
			this.schedule();
		};
		const stop = (ended: PointerEvent | null) => {
			pane.element.removeEventListener("pointermove", move);
			pane.element.removeEventListener("pointerup", stop);
			pane.element.removeEventListener("pointercancel", cancel);
			gesture.end(ended ? this.point(pane, ended) : null);
			this.schedule();
		};
		const cancel = () => stop(null);
		pane.element.addEventListener("pointermove", move);
		pane.element.addEventListener("pointerup", stop);
		pane.element.addEventListener("pointercancel", cancel);
	}

	private gestureOf(pane: Pane, event: PointerEvent): Gesture | null {
		if (event.button === 2) {
			return this.windowGesture(pane, event);
		}
		if (event.button === 1 || (event.button === 0 && (event.ctrlKey || event.metaKey))) {
			return this.panGesture(pane, event);
		}
		if (event.button !== 0) {
			return null;
		}
		const start = this.point(pane, event);
		switch (this.state.tool) {
			case "navigate":
				this.goTo(start.index);
				return { move: ({ index }) => this.goTo(index), end: () => undefined };
			case "window":
				return this.windowGesture(pane, event);
			case "pan":
				return this.panGesture(pane, event);
			case "brush":
			case "eraser":
				return brushGesture(this.bench, this.state.tool === "eraser", start);
			case "polygon":
			case "polygon-fill":
				return this.corner(start);
			case "box":
			case "ai-box":
				return this.boxGesture(start, this.state.tool === "ai-box");
			case "ai-point":
				if (contains(this.bench.image.grid.shape, start.index)) {
					void this.bench.proposals.add(promptOf(this.state, [start], "point"));
				}
				return null;
			default:
				// A tool of another stage.
				return null;
		}
	}

	private windowGesture(pane: Pane, event: PointerEvent): Gesture {
		const from = this.state.window;
		const [x, y] = [event.clientX, event.clientY];
		const { width } = pane.cssSize;
		const rule = this.bench.image.windowRule;
		const follow = (moved: PointerEvent) => {
			// Up is brighter: a lower centre.
			this.bench.state.update({ window: dragWindow(from, moved.clientX - x, moved.clientY - y, width, rule) });
		};
		pane.element.addEventListener("pointermove", follow);
		return {
			move: () => undefined,
			end: () => pane.element.removeEventListener("pointermove", follow),
		};
	}

	private panGesture(pane: Pane, event: PointerEvent): Gesture {
		const from = pane.view(this.state);
		const [x, y] = [event.clientX, event.clientY];
		const follow = (moved: PointerEvent) =>
			this.setView(pane, pan(pane.frame, from, pane.cssSize, moved.clientX - x, moved.clientY - y));
		pane.element.addEventListener("pointermove", follow);
		return {
			move: () => undefined,
			end: () => pane.element.removeEventListener("pointermove", follow),
		};
	}

	private corner(start: PanePoint): null {
		if (!this.bench.segmentation.value?.canEdit) {
			return null;
		}
		const at = start.index[start.frame.axis];
		const known = this.sketch;
		const goesOn = known?.kind === "polygon" && known.frame.axis === start.frame.axis && known.at === at;
		const points = goesOn ? known.points : [];
		const last = points.at(-1);
		// The second press of a double click is not another corner.
		if (!last || last.some((value, axis) => Math.abs(value - start.index[axis]!) > 0.2)) {
			this.sketch = {
				kind: "polygon",
				frame: start.frame,
				at,
				points: [...points, start.index],
				fills: this.state.tool === "polygon-fill",
			};
		}
		this.schedule();
		return null;
	}

	private boxGesture(start: PanePoint, ai: boolean): Gesture | null {
		if (!this.bench.segmentation.value?.canEdit) {
			return null;
		}
		const at = start.index[start.frame.axis];
		const show = (to: Vec3) => {
			this.sketch = { kind: "box", frame: start.frame, at, from: start.index, to, ai };
		};
		return {
			move: ({ index }) => show(index),
			end: (point) => {
				this.sketch = null;
				const far = point?.index.some((value, axis) => Math.abs(value - start.index[axis]!) > 1);
				if (!point || !far) {
					return;
				}
				if (ai) {
					void this.bench.proposals.add(promptOf(this.state, [start, point], "box"));
				} else {
					void this.bench.segmentation.value?.write(shapeDraft(this.bench, "box", [start.index, point.index]));
				}
			},
		};
	}

	/** Closes a polygon. */
	private finish(): boolean {
		const { sketch, bench } = this;
		if (sketch?.kind !== "polygon" || sketch.points.length < 3) {
			return false;
		}
		this.sketch = null;
		const draft = sketch.fills
			? fillDraft(bench, sketch.frame, sketch.at, sketch.points)
			: shapeDraft(bench, "polygon", sketch.points);
		void bench.segmentation.value?.write(draft);
		this.schedule();
		return true;
	}

	private abandon(): boolean {
		const had = this.sketch !== null;
		this.sketch = null;
		this.schedule();
		return had;
	}

	private takeBack(): boolean {
		if (this.sketch?.kind !== "polygon") {
			return false;
		}
		const points = this.sketch.points.slice(0, -1);
		this.sketch = points.length > 0 ? { ...this.sketch, points } : null;
		this.schedule();
		return true;
	}

	private setView(pane: Pane, view: ViewerState["views"][Axis]): void {
		this.bench.state.update({ views: { ...this.state.views, [pane.frame.axis]: view } });
	}

	// --- read-out ------------------------------------------------------------------------------------------------------

	private report(): void {
		const { image, segmentation, ontology, readout } = this.bench;
		const over = this.pointer?.index ?? this.state.index;
		const index = clampIndex(image.grid.shape, over);
		if (!contains(image.grid.shape, over)) {
			readout.set([]);
			return;
		}
		const world = image.grid.affine.toWorld(over);
		const patient = image.grid.space.kind === "patient";
		const stored = image.value(index, this.state.frame);
		const [slope, intercept] = image.rescale(index[0]);
		const unit = image.record.series.channels[this.state.frame.c]?.unit ?? "";
		const label = segmentation.value?.volume.at(index) ?? 0;
		const entry = ontology.value?.classes.find((known) => known.label === label);
		readout.set([
			{
				name: "Position",
				text: patient ? `${anatomical(world)} mm` : world.map((value) => value.toFixed(1)).join(", "),
			},
			{ name: "Voxel", text: `x ${index[2]}  y ${index[1]}  z ${index[0]}` },
			{
				name: "Value",
				text: stored === undefined ? "…" : `${format(stored * slope + intercept)}${unit === "1" ? "" : ` ${unit}`}`,
			},
			{ name: "Label", text: label === 0 ? "–" : (entry?.name ?? `label ${label}`) },
		]);
	}
}

function format(value: number): string {
	return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5)));
}
