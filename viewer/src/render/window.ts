/**
 * Window and level: real values to 256 greys by the rule of DICOM PS3.3 C.11.2.1.2. Same rule as `render/window.py`; both are
 * checked by `tests/golden/window.json`, so that a picture from the server and one from here are the same picture.
 */

/** Centre and width in the channel's unit (HU, dB, …). */
export interface WindowLevel {
	readonly center: number;
	readonly width: number;
}

/** LINEAR is made for whole numbers; LINEAR_EXACT takes the numbers as they are. */
export type WindowFunction = "LINEAR" | "LINEAR_EXACT";

/** What the shader needs: `grey = (real - middle) * scale + base`, clamped to 0..1. */
export interface Ramp {
	readonly middle: number;
	readonly scale: number;
	readonly base: number;
}

export function rampOf({ center, width }: WindowLevel, rule: WindowFunction): Ramp {
	// LINEAR shifts by half a level and narrows by one, so that a width of 1 is a threshold.
	const middle = rule === "LINEAR" ? center - 0.5 : center;
	const span = rule === "LINEAR" ? width - 1 : width;
	return span > 0 ? { middle, scale: 1 / span, base: 0.5 } : { middle, scale: 1e30, base: 0 };
}

/** Grey 0..255 of a real value, as the shader draws it; NaN is 0. */
export function toGrey(value: number, window: WindowLevel, rule: WindowFunction): number {
	const { middle, scale, base } = rampOf(window, rule);
	const grey = (value - middle) * scale + base;
	return Number.isNaN(grey) ? 0 : Math.floor(Math.min(1, Math.max(0, grey)) * 255 + 0.5);
}

/** The narrowest window a person can set: LINEAR has none below 1. */
export const narrowest = (rule: WindowFunction): number => (rule === "LINEAR" ? 1 : 1e-6);

/** A window that shows the values between two quantiles of a sample of an image. */
export function windowOf(values: readonly number[], low = 0.01, high = 0.995): WindowLevel {
	const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
	if (sorted.length === 0) {
		return { center: 0.5, width: 1 };
	}
	const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
	const [from, to] = [at(low), at(high)];
	return { center: (from + to) / 2, width: Math.max(to - from, Math.abs(to) * 1e-3, 1e-6) };
}

/**
 * A drag over a window: right widens, left narrows; up brightens, down darkens. `pixels` is the size of the pane, so that one
 * sweep across it does the same whatever the unit is.
 */
export function dragWindow(
	start: WindowLevel,
	dx: number,
	dy: number,
	pixels: number,
	rule: WindowFunction,
): WindowLevel {
	const sweep = Math.max(1, pixels);
	return {
		width: Math.max(narrowest(rule), start.width * 4 ** (dx / sweep)),
		center: start.center + (dy / sweep) * start.width * 2,
	};
}
