/** Stretch: from values to grey or colour on the GPU. Changing it changes style variables and asks for nothing. */

import type { ExpressionValue } from "ol/expr/expression";

export interface Range {
	readonly low: number;
	readonly high: number;
}

/** Which picture the bands make. */
export type Composite =
	| { readonly kind: "single"; readonly channel: number; readonly colormap: Colormap }
	/** Dual polarisation in dB: red VV, green VH, blue VV − VH. */
	| { readonly kind: "dual" }
	| { readonly kind: "rgb"; readonly channels: readonly [number, number, number] };

export type Colormap = "grey" | "inverted" | "viridis";

/** matplotlib's viridis at eight even steps (CC0). */
const VIRIDIS = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725"];

export type Variables = Record<string, number>;

/** Style variables of up to three ranges. */
export function variables(ranges: readonly Range[]): Variables {
	const values: Variables = {};
	for (let i = 0; i < 3; i++) {
		const { low, high } = ranges[Math.min(i, ranges.length - 1)] ?? { low: 0, high: 1 };
		values[`low${i}`] = low;
		// A range of nothing is a threshold; a very steep ramp draws the same picture.
		values[`span${i}`] = Math.max(high - low, 1e-6);
	}
	return values;
}

/** The colour expression over interleaved bands whose last one is the mask. */
export function color(composite: Composite): ExpressionValue {
	const ramp = (value: unknown, i: number) => [
		"clamp",
		["/", ["-", value, ["var", `low${i}`]], ["var", `span${i}`]],
		0,
		1,
	];
	switch (composite.kind) {
		case "single": {
			const grey = ramp(["band", 1], 0);
			const mask = ["band", 2];
			switch (composite.colormap) {
				case "grey":
					return ["array", grey, grey, grey, mask];
				case "inverted": {
					const dark = ["-", 1, grey];
					return ["array", dark, dark, dark, mask];
				}
				case "viridis": {
					const stops = VIRIDIS.flatMap((stop, i) => [i / (VIRIDIS.length - 1), stop]);
					const hue = ["interpolate", ["linear"], grey, ...stops];
					return ["case", [">", mask, 0.5], hue, ["color", 0, 0, 0, 0]];
				}
			}
			break;
		}
		case "dual":
			return [
				"array",
				ramp(["band", 1], 0),
				ramp(["band", 2], 1),
				ramp(["-", ["band", 1], ["band", 2]], 2),
				["band", 3],
			];
		case "rgb":
			return ["array", ramp(["band", 1], 0), ramp(["band", 2], 1), ramp(["band", 3], 2), ["band", 4]];
	}
	throw new RangeError("no such composite");
}

/** Channels that must be loaded for a composite, in band order. */
export function channelsOf(composite: Composite): readonly number[] {
	switch (composite.kind) {
		case "single":
			return [composite.channel];
		case "dual":
			return [0, 1];
		case "rgb":
			return composite.channels;
	}
}

/** The range that holds the middle 96 % of values: a start where the file suggests none. */
export function percentileRange(values: Float32Array): Range {
	const sorted = values.filter((value) => Number.isFinite(value)).sort();
	if (sorted.length === 0) {
		return { low: 0, high: 1 };
	}
	const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
	return at(0.98) > at(0.02) ? { low: at(0.02), high: at(0.98) } : { low: at(0.02) - 0.5, high: at(0.02) + 0.5 };
}
