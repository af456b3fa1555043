/**
 * Stretch: from values to grey or colour on the GPU. Changing it changes style variables and asks for nothing.
 *
 * How many channels are shown says what picture they make, as in `render/tile.py`: one is grey or goes through a colour map;
 * two are co- and cross-polarisation in dB, and red, green, blue are co, cross, co − cross; three are red, green, blue.
 */

import type { ExpressionValue } from "ol/expr/expression";
import { type ColormapName, colormap } from "../render/colormap";

export interface Range {
	readonly low: number;
	readonly high: number;
}

/** One, two or three channels. */
export type Bands = readonly number[];

export type Variables = Record<string, number>;

/** How many ranges a picture of `bands` has: one for grey, three for colour. */
export function rangeCount(bands: Bands): 1 | 3 {
	return bands.length === 1 ? 1 : 3;
}

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

/** The colour expression over `count` interleaved bands and the mask after them. */
export function color(count: number, map: ColormapName): ExpressionValue {
	const ramp = (value: unknown, i: number) => [
		"clamp",
		["/", ["-", value, ["var", `low${i}`]], ["var", `span${i}`]],
		0,
		1,
	];
	const [first, second, third] = [
		["band", 1],
		["band", 2],
		["band", 3],
	];
	const mask = ["band", count + 1];
	switch (count) {
		case 1: {
			const grey = ramp(first, 0);
			if (map === "grey") {
				return ["array", grey, grey, grey, mask];
			}
			const hue = ["palette", ["round", ["*", grey, 255]], paletteOf(map)];
			return ["case", [">", mask, 0.5], hue, ["color", 0, 0, 0, 0]];
		}
		case 2:
			return ["array", ramp(first, 0), ramp(second, 1), ramp(["-", first, second], 2), mask];
		case 3:
			return ["array", ramp(first, 0), ramp(second, 1), ramp(third, 2), mask];
		default:
			throw new RangeError("a picture shows one, two or three channels");
	}
}

function paletteOf(map: ColormapName): string[] {
	const bytes = colormap(map);
	return Array.from({ length: 256 }, (_, i) => `rgb(${bytes[4 * i]!}, ${bytes[4 * i + 1]!}, ${bytes[4 * i + 2]!})`);
}

/** The range that holds the middle 96 % of values, as the server's pictures start: for files that suggest none. */
export function percentileRange(values: Float32Array): Range {
	const sorted = values.filter((value) => Number.isFinite(value)).sort();
	if (sorted.length === 0) {
		return { low: 0, high: 1 };
	}
	const [low, high] = [percentile(sorted, 0.02), percentile(sorted, 0.98)];
	return high > low ? { low, high } : { low: low - 0.5, high: low + 0.5 };
}

/** Linear between neighbours, as `numpy.percentile`. */
function percentile(sorted: Float32Array, share: number): number {
	const place = share * (sorted.length - 1);
	const below = Math.floor(place);
	const lower = sorted[below]!;
	return lower + (place - below) * (sorted[Math.min(below + 1, sorted.length - 1)]! - lower);
}
