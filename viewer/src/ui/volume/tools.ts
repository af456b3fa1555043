/** What the pointer does in a pane, one small object per tool. A tool lives for one gesture or, for polygons, several clicks. */

import type { PromptRecord, ShapeRecord } from "../../api/types";
import type { Vec3 } from "../../geometry/affine";
import { AXIS_NAMES, type PlaneFrame } from "../../geometry/orientation";
import { type Brush, capsule, stroke } from "../../labels/brush";
import { fill, vertexOf } from "../../labels/polygon";
import type { Draft } from "../../labels/segmentation";
import { corners } from "../../labels/shape";
import { SpanSet, type Spans } from "../../labels/spans";
import type { ViewerState } from "../../state/state";
import type { Bench } from "../bench";

/** Where the pointer is: fractional index (z, y, x), exact along the plane's axis. */
export interface PanePoint {
	readonly index: Vec3;
	readonly frame: PlaneFrame;
	readonly shift: boolean;
	readonly alt: boolean;
}

/** A gesture from press to release. */
export interface Gesture {
	move(point: PanePoint): void;
	/** `null`: the gesture was taken away. */
	end(point: PanePoint | null): void;
}

/** What a pane draws for a gesture that is not finished. */
export type Sketch =
	| {
			readonly kind: "polygon";
			readonly frame: PlaneFrame;
			readonly at: number;
			readonly points: readonly Vec3[];
			readonly fills: boolean;
	  }
	| {
			readonly kind: "box";
			readonly frame: PlaneFrame;
			readonly at: number;
			readonly from: Vec3;
			readonly to: Vec3;
			readonly ai: boolean;
	  };

const PARAM_POINTS = 200;

/** The voxel writes of a set of spans under the current rules. */
export function writeOf(state: ViewerState, spans: Spans, erase: boolean) {
	if (erase) {
		return { label: 0, over: state.keepOthers ? [state.label] : null, spans };
	}
	return { label: state.label, over: state.keepOthers ? [0] : null, spans };
}

/** Paints or erases along a stroke; what is drawn meanwhile is a preview. */
export function brushGesture(bench: Bench, erase: boolean, start: PanePoint): Gesture | null {
	const segmentation = bench.segmentation.value;
	const state = bench.state.value;
	if (!segmentation?.canEdit) {
		return null;
	}
	const { grid } = bench.image;
	const brush: Brush = {
		radius: state.brushRadius,
		spacing: grid.affine.spacing,
		axis: state.ball ? null : start.frame.axis,
		shape: grid.shape,
	};
	const plane = brush.axis === null ? null : Math.floor(start.index[brush.axis] + 0.5);
	const points: Vec3[] = [start.index];
	const preview = (from: Vec3, to: Vec3) => {
		const set = new SpanSet(grid.shape);
		capsule(brush, from, to, plane, set);
		segmentation.preview(writeOf(state, set.toSpans(), erase));
	};
	preview(start.index, start.index);
	return {
		move({ index }) {
			const last = points.at(-1)!;
			if (index.some((value, axis) => Math.abs(value - last[axis]!) > 0.05)) {
				points.push(index);
				preview(last, index);
			}
		},
		end(point) {
			if (!point) {
				segmentation.cancelPreview();
				return;
			}
			const set = new SpanSet(grid.shape);
			stroke(brush, points, set);
			void segmentation.write({
				tool: erase ? "eraser" : "brush",
				params: {
					radius: brush.radius,
					axis: brush.axis === null ? null : AXIS_NAMES[brush.axis],
					points: thin(points).map((p) => p.map((value) => Math.round(value * 100) / 100)),
				},
				writes: [writeOf(state, set.toSpans(), erase)],
				shapes: [],
			});
		},
	};
}

/** The edit that fills a polygon of a plane. */
export function fillDraft(bench: Bench, frame: PlaneFrame, at: number, points: readonly Vec3[]): Draft {
	const set = new SpanSet(bench.image.grid.shape);
	fill([points.map((point) => vertexOf(point, frame.axis))], frame.axis, at, set);
	return {
		tool: "polygon-fill",
		params: { axis: AXIS_NAMES[frame.axis], plane: at, corners: points.length },
		writes: [writeOf(bench.state.value, set.toSpans(), false)],
		shapes: [],
	};
}

/** The edit that adds a polygon or box shape. */
export function shapeDraft(
	bench: Bench,
	kind: "polygon" | "box",
	points: readonly Vec3[],
	newId: () => string = () => crypto.randomUUID(),
): Draft {
	const shape: ShapeRecord = {
		id: newId(),
		kind,
		label: bench.state.value.label,
		points: kind === "box" ? corners(points[0]!, points[1]!) : points,
		holes: [],
		attributes: {},
	};
	return { tool: kind, params: {}, writes: [], shapes: [{ op: "put", shape }] };
}

/** A prompt for the model: a question about the whole object, or about its part in this plane. */
export function promptOf(state: ViewerState, points: readonly PanePoint[], kind: "point" | "box"): PromptRecord {
	const [first] = points;
	const positive = !(first!.shift || first!.alt);
	const indices = points.map(({ index }) => [index[0], index[1], index[2]] as const);
	return {
		kind,
		positive: kind === "box" ? true : positive,
		points: kind === "box" ? corners(indices[0]!, indices[1]!) : indices,
		axis: state.wholeObject ? null : AXIS_NAMES[first!.frame.axis],
	};
}

/** Provenance need not hold every mouse move. */
function thin(points: readonly Vec3[]): readonly Vec3[] {
	const step = Math.max(1, Math.ceil(points.length / PARAM_POINTS));
	return points.filter((_, i) => i % step === 0 || i === points.length - 1);
}
