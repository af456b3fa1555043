/** What tools of a raster write: the same edits as in a plane of a volume, measured in pixels. */

import type { PromptRecord, ShapeRecord } from "../../api/types";
import type { Vec3 } from "../../geometry/affine";
import { type Brush, capsule, stroke } from "../../labels/brush";
import { fill, vertexOf } from "../../labels/polygon";
import type { Draft } from "../../labels/segmentation";
import { corners } from "../../labels/shape";
import { SpanSet } from "../../labels/spans";
import type { ViewerState } from "../../state/state";
import type { Bench } from "../bench";
import { writeOf } from "../volume/tools";

/** Provenance need not hold every mouse move. */
const PARAM_POINTS = 200;

function brushOf(bench: Bench): Brush {
	// A brush is round on the screen: a map's spacing may be degrees, and a radar's pixels have no fixed size on the ground.
	return { radius: bench.state.value.brushRadius, spacing: [1, 1, 1], axis: 0, shape: bench.image.grid.shape };
}

/** Draws a piece of a stroke that goes on. */
export function previewStroke(bench: Bench, from: Vec3, to: Vec3): void {
	const set = new SpanSet(bench.image.grid.shape);
	capsule(brushOf(bench), from, to, 0, set);
	const { value: state } = bench.state;
	bench.segmentation.value?.preview(writeOf(state, set.toSpans(), state.tool === "eraser"));
}

export function strokeDraft(bench: Bench, points: readonly Vec3[]): Draft {
	const brush = brushOf(bench);
	const { value: state } = bench.state;
	const erase = state.tool === "eraser";
	const set = new SpanSet(brush.shape);
	stroke(brush, points, set);
	const every = Math.max(1, Math.ceil(points.length / PARAM_POINTS));
	return {
		tool: erase ? "eraser" : "brush",
		params: {
			radius: brush.radius,
			unit: "pixel",
			axis: "z",
			points: points
				.filter((_, i) => i % every === 0 || i === points.length - 1)
				.map((point) => point.map((value) => Math.round(value * 100) / 100)),
		},
		writes: [writeOf(state, set.toSpans(), erase)],
		shapes: [],
	};
}

export function fillDraft(bench: Bench, points: readonly Vec3[]): Draft {
	const set = new SpanSet(bench.image.grid.shape);
	fill([points.map((point) => vertexOf(point, 0))], 0, 0, set);
	return {
		tool: "polygon-fill",
		params: { axis: "z", plane: 0, corners: points.length },
		writes: [writeOf(bench.state.value, set.toSpans(), false)],
		shapes: [],
	};
}

/** A new shape of the active class. */
export function shapeDraft(
	bench: Bench,
	kind: ShapeRecord["kind"],
	{ points, holes }: Pick<ShapeRecord, "points" | "holes">,
	newId: () => string = () => crypto.randomUUID(),
): Draft {
	const shape: ShapeRecord = { id: newId(), kind, label: bench.state.value.label, points, holes, attributes: {} };
	return { tool: kind, params: {}, writes: [], shapes: [{ op: "put", shape }] };
}

/** A shape moved, its corners changed. */
export function reshapeDraft(shape: ShapeRecord): Draft {
	return { tool: shape.kind, params: { reshaped: true }, writes: [], shapes: [{ op: "put", shape }] };
}

export function deleteDraft(id: string): Draft {
	return { tool: "delete-shape", params: {}, writes: [], shapes: [{ op: "delete", id }] };
}

export function pointPrompt(index: Vec3, positive: boolean): PromptRecord {
	return { kind: "point", positive, points: [[...index]], axis: "z" };
}

export function boxPrompt(start: Vec3, stop: Vec3): PromptRecord {
	return { kind: "box", positive: true, points: corners(start, stop).map(([z, y, x]) => [z, y, x]), axis: "z" };
}

/** The colour of the active class. */
export function activeColor(bench: Bench, { label }: ViewerState = bench.state.value): string {
	return bench.ontology.value?.classes.find((entry) => entry.label === label)?.color ?? "#ff40a0";
}
