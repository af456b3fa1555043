/** What lies over the samples of a pane: crosshair, shapes, brush outline, prompts, scale bar. A 2-D canvas, in CSS pixels. */

import type { PromptRecord, ShapeRecord } from "../../api/types";
import type { Vec3 } from "../../geometry/affine";
import { AXIS_NAMES, type PlaneFrame } from "../../geometry/orientation";
import { type PlaneView, type Size, toPixel } from "../../geometry/view";
import type { Sketch } from "./tools";

export interface OverlayScene {
	readonly frame: PlaneFrame;
	readonly view: PlaneView;
	readonly size: Size;
	readonly index: Vec3;
	readonly crosshair: boolean;
	readonly shapes: readonly ShapeRecord[];
	readonly colorOf: (label: number) => string | null;
	readonly brush: { readonly at: Vec3; readonly radius: number; readonly color: string } | null;
	readonly sketch: Sketch | null;
	readonly pointer: Vec3 | null;
	readonly prompts: readonly PromptRecord[];
	readonly unit: string;
}

type Pixel = readonly [number, number];

export function drawOverlay(context: CanvasRenderingContext2D, scene: OverlayScene): void {
	const { size, frame, view } = scene;
	context.clearRect(0, 0, size.width, size.height);
	const pixel = (index: Vec3): Pixel => toPixel(frame, view, size, [index[frame.u], index[frame.v]]);
	if (scene.crosshair) {
		drawCrosshair(context, scene, pixel(scene.index));
	}
	for (const shape of scene.shapes) {
		drawShape(context, scene, shape, pixel);
	}
	if (scene.sketch && scene.sketch.frame.axis === frame.axis && scene.sketch.at === scene.index[frame.axis]) {
		drawSketch(context, scene, scene.sketch, pixel);
	}
	for (const prompt of scene.prompts) {
		drawPrompt(context, scene, prompt, pixel);
	}
	if (scene.brush) {
		drawBrush(context, scene, scene.brush, pixel);
	}
	drawScale(context, scene);
}

const AXIS_COLORS = ["#f2b84b", "#63d2a1", "#6fb5ff"] as const;

/** Each line has the colour of the plane it is a cut of, with a gap around the middle so that nothing is covered. */
function drawCrosshair(context: CanvasRenderingContext2D, { frame, size, view }: OverlayScene, [x, y]: Pixel): void {
	const gap = 14;
	const line = (color: string, from: Pixel, to: Pixel) => {
		context.strokeStyle = color;
		context.beginPath();
		context.moveTo(...from);
		context.lineTo(...to);
		context.stroke();
	};
	context.save();
	context.lineWidth = 1;
	context.globalAlpha = 0.75;
	// The line along v marks the plane cut at u; across a tilted stack it leans as the stack does.
	const length = Math.hypot(...frame.vStep) * view.scale;
	const lean = length === 0 ? 0 : frame.vStep[0] / frame.vStep[1];
	const at = (height: number): Pixel => [Math.round(x + (height - y) * lean) + 0.5, height];
	line(AXIS_COLORS[frame.u], at(0), at(y - gap));
	line(AXIS_COLORS[frame.u], at(y + gap), at(size.height));
	const row = Math.round(y) + 0.5;
	line(AXIS_COLORS[frame.v], [0, row], [x - gap, row]);
	line(AXIS_COLORS[frame.v], [x + gap, row], [size.width, row]);
	context.restore();
}

function drawShape(
	context: CanvasRenderingContext2D,
	scene: OverlayScene,
	shape: ShapeRecord,
	pixel: (index: Vec3) => Pixel,
): void {
	const color = scene.colorOf(shape.label);
	const { frame, index } = scene;
	const depth = shape.points.map((point) => point[frame.axis]);
	const low = Math.min(...depth);
	const high = Math.max(...depth);
	const at = index[frame.axis];
	if (color === null || at < Math.round(low) || at > Math.round(high)) {
		return;
	}
	context.save();
	context.strokeStyle = color;
	context.fillStyle = color;
	context.lineWidth = 2;
	const flat = low === high || shape.kind === "box";
	if (shape.kind === "box") {
		const [a, b] = [pixel(shape.points[0]!), pixel(shape.points[1]!)];
		context.strokeRect(Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.abs(a[0] - b[0]), Math.abs(a[1] - b[1]));
	} else if (shape.kind === "point") {
		disc(context, pixel(shape.points[0]!), 4);
	} else if (flat) {
		for (const ring of [shape.points, ...shape.holes]) {
			trace(context, ring.map(pixel), shape.kind === "polygon");
		}
		for (const point of shape.points) {
			disc(context, pixel(point), 2.5);
		}
	}
	context.restore();
}

function drawSketch(
	context: CanvasRenderingContext2D,
	scene: OverlayScene,
	sketch: Sketch,
	pixel: (index: Vec3) => Pixel,
): void {
	context.save();
	context.lineWidth = 1.5;
	context.strokeStyle = "#ffffff";
	context.setLineDash([5, 4]);
	if (sketch.kind === "box") {
		const [a, b] = [pixel(sketch.from), pixel(sketch.to)];
		context.strokeStyle = sketch.ai ? "#59ffd8" : "#ffffff";
		context.strokeRect(Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.abs(a[0] - b[0]), Math.abs(a[1] - b[1]));
	} else {
		const points = scene.pointer ? [...sketch.points, scene.pointer] : sketch.points;
		trace(context, points.map(pixel), sketch.fills);
		context.setLineDash([]);
		context.fillStyle = "#ffffff";
		for (const point of sketch.points) {
			disc(context, pixel(point), 3);
		}
	}
	context.restore();
}

function drawPrompt(
	context: CanvasRenderingContext2D,
	scene: OverlayScene,
	prompt: PromptRecord,
	pixel: (index: Vec3) => Pixel,
): void {
	const points = prompt.points as unknown as readonly Vec3[];
	const { frame, index } = scene;
	const at = index[frame.axis];
	if (prompt.axis !== null && AXIS_NAMES[frame.axis] !== prompt.axis) {
		return;
	}
	context.save();
	context.lineWidth = 2;
	context.strokeStyle = prompt.positive ? "#59ffd8" : "#ff6b6b";
	if (prompt.kind === "box") {
		const [a, b] = [points[0]!, points[1]!];
		if (
			at >= Math.round(Math.min(a[frame.axis], b[frame.axis])) &&
			at <= Math.round(Math.max(a[frame.axis], b[frame.axis]))
		) {
			const [p, q] = [pixel(a), pixel(b)];
			context.strokeRect(Math.min(p[0], q[0]), Math.min(p[1], q[1]), Math.abs(p[0] - q[0]), Math.abs(p[1] - q[1]));
		}
	} else {
		for (const point of points) {
			if (Math.round(point[frame.axis]) === at) {
				drawSign(context, pixel(point), prompt.positive);
			}
		}
	}
	context.restore();
}

/** A plus or minus in a circle: told apart without colour. */
function drawSign(context: CanvasRenderingContext2D, [x, y]: Pixel, positive: boolean): void {
	const color = context.strokeStyle;
	context.fillStyle = "rgba(10, 12, 15, 0.75)";
	disc(context, [x, y], 7);
	context.strokeStyle = color;
	context.beginPath();
	context.arc(x, y, 7, 0, 2 * Math.PI);
	context.moveTo(x - 3.5, y);
	context.lineTo(x + 3.5, y);
	if (positive) {
		context.moveTo(x, y - 3.5);
		context.lineTo(x, y + 3.5);
	}
	context.stroke();
}

/** The outline of the disc, which is an ellipse on the screen only if the plane is sheared. */
function drawBrush(
	context: CanvasRenderingContext2D,
	{ frame, view }: OverlayScene,
	brush: NonNullable<OverlayScene["brush"]>,
	pixel: (index: Vec3) => Pixel,
): void {
	const [x, y] = pixel(brush.at);
	const length = Math.hypot(...frame.uStep);
	const deep = Math.hypot(...frame.vStep);
	context.save();
	context.beginPath();
	for (let i = 0; i <= 64; i++) {
		const angle = (i / 64) * 2 * Math.PI;
		const u = (Math.cos(angle) * brush.radius) / length;
		const v = (Math.sin(angle) * brush.radius) / deep;
		context.lineTo(
			x + view.scale * (u * frame.uStep[0] + v * frame.vStep[0]),
			y + view.scale * (u * frame.uStep[1] + v * frame.vStep[1]),
		);
	}
	context.lineWidth = 3;
	context.strokeStyle = "rgba(0, 0, 0, 0.6)";
	context.stroke();
	context.lineWidth = 1.5;
	context.strokeStyle = brush.color;
	context.stroke();
	context.restore();
}

/** A bar of a round length, about a fifth of the pane. */
function drawScale(context: CanvasRenderingContext2D, { size, view, unit }: OverlayScene): void {
	const length = roundLength((size.width * 0.22) / view.scale);
	const pixels = length * view.scale;
	if (!Number.isFinite(pixels) || pixels < 8) {
		return;
	}
	const [x, y] = [size.width / 2 - pixels / 2, size.height - 12];
	context.save();
	context.strokeStyle = "#dfe5ec";
	context.fillStyle = "#dfe5ec";
	context.shadowColor = "#000";
	context.shadowBlur = 3;
	context.lineWidth = 1.5;
	context.beginPath();
	context.moveTo(x, y - 4);
	context.lineTo(x, y);
	context.lineTo(x + pixels, y);
	context.lineTo(x + pixels, y - 4);
	context.stroke();
	context.font = "11px system-ui, sans-serif";
	context.textAlign = "center";
	const text = unit === "mm" && length >= 10 ? `${length / 10} cm` : `${length} ${unit}`;
	context.fillText(text, size.width / 2, y - 7);
	context.restore();
}

/** 1, 2 or 5 times a power of ten, at most `length`. */
export function roundLength(length: number): number {
	const power = 10 ** Math.floor(Math.log10(length));
	const digit = length / power;
	return Number(((digit >= 5 ? 5 : digit >= 2 ? 2 : 1) * power).toPrecision(1));
}

function trace(context: CanvasRenderingContext2D, points: readonly Pixel[], closed: boolean): void {
	context.beginPath();
	for (const point of points) {
		context.lineTo(...point);
	}
	if (closed) {
		context.closePath();
	}
	context.stroke();
}

function disc(context: CanvasRenderingContext2D, [x, y]: Pixel, radius: number): void {
	context.beginPath();
	context.arc(x, y, radius, 0, 2 * Math.PI);
	context.fill();
}
