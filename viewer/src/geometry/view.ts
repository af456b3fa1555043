/** A view of a plane: which sample lies under which pixel of a pane. */

import type { PlaneFrame } from "./orientation";

/** `center` is the (u, v) index at the middle of the pane; `scale` is CSS pixels per world unit. */
export interface PlaneView {
	readonly center: readonly [number, number];
	readonly scale: number;
}

export interface Size {
	readonly width: number;
	readonly height: number;
}

/** Show the whole plane with a small margin. */
export function fitView(frame: PlaneFrame, samples: readonly [number, number], size: Size): PlaneView {
	const [nu, nv] = samples;
	const width = Math.abs(frame.uStep[0]) * nu + Math.abs(frame.vStep[0]) * nv;
	const height = Math.abs(frame.vStep[1]) * nv;
	const scale = Math.min(size.width / width, size.height / height) * 0.98;
	return { center: [(nu - 1) / 2, (nv - 1) / 2], scale: Number.isFinite(scale) && scale > 0 ? scale : 1 };
}

/** Pixel of a (u, v) index, from the pane's top left corner. */
export function toPixel(
	frame: PlaneFrame,
	view: PlaneView,
	size: Size,
	uv: readonly [number, number],
): [number, number] {
	const du = uv[0] - view.center[0];
	const dv = uv[1] - view.center[1];
	return [
		size.width / 2 + view.scale * (du * frame.uStep[0] + dv * frame.vStep[0]),
		size.height / 2 + view.scale * (du * frame.uStep[1] + dv * frame.vStep[1]),
	];
}

/** (u, v) index under a pixel; inverse of `toPixel`. */
export function toSample(
	frame: PlaneFrame,
	view: PlaneView,
	size: Size,
	pixel: readonly [number, number],
): [number, number] {
	const x = (pixel[0] - size.width / 2) / view.scale;
	const y = (pixel[1] - size.height / 2) / view.scale;
	// uStep has no vertical part, so the system is triangular.
	const dv = y / frame.vStep[1];
	const du = (x - dv * frame.vStep[0]) / frame.uStep[0];
	return [view.center[0] + du, view.center[1] + dv];
}

/** Zoom by `factor` so that the sample under `pixel` stays there. */
export function zoomAt(
	frame: PlaneFrame,
	view: PlaneView,
	size: Size,
	pixel: readonly [number, number],
	factor: number,
): PlaneView {
	const scale = Math.min(200, Math.max(0.001, view.scale * factor));
	const held = toSample(frame, view, size, pixel);
	const zoomed = { center: view.center, scale };
	const moved = toSample(frame, zoomed, size, pixel);
	return { center: [view.center[0] + held[0] - moved[0], view.center[1] + held[1] - moved[1]], scale };
}

/** Move the picture by pixels. */
export function pan(frame: PlaneFrame, view: PlaneView, size: Size, dx: number, dy: number): PlaneView {
	return { ...view, center: toSample(frame, view, size, [size.width / 2 - dx, size.height / 2 - dy]) };
}
