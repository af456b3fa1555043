/** Look: what of a raster is shown, how it is stretched, and from how far. It is part of the address. */

import type { Quantity } from "./quantity";
import { type Bands, type Range, rangeCount } from "./stretch";

export interface RasterLook {
	readonly quantity: Quantity;
	readonly bands: Bands;
	/** One for a grey picture, three for a colour picture. */
	readonly ranges: readonly Range[];
	/** Raster pixels per screen pixel; `null`: the whole raster. */
	readonly resolution: number | null;
}

const QUANTITIES: readonly Quantity[] = ["sigma0_db", "amplitude_db", "real"];

/** `amplitude_db:0,1:30,60;20,50;5,15:1.5`: quantity, bands, ranges, resolution. */
export function formatLook({ quantity, bands, ranges, resolution }: RasterLook): string {
	const pairs = ranges.map(({ low, high }) => `${short(low)},${short(high)}`).join(";");
	return `${quantity}:${bands.join(",")}:${pairs}:${resolution === null ? "" : short(resolution)}`;
}

/** `null` if it makes no sense. Whether the image has these bands is for the raster stage to say. */
export function parseLook(text: string | null): RasterLook | null {
	const [name, channels, pairs, scale, ...rest] = (text ?? "").split(":");
	const quantity = QUANTITIES.find((known) => known === name);
	const bands = numbers(channels);
	const ranges = (pairs ?? "").split(";").map(numbers);
	if (!quantity || !bands || rest.length > 0 || scale === undefined) {
		return null;
	}
	const resolution = scale === "" ? null : Number(scale);
	const sensible =
		bands.length >= 1 &&
		bands.length <= 3 &&
		bands.every((band) => Number.isInteger(band) && band >= 0) &&
		ranges.length === rangeCount(bands) &&
		ranges.every((pair) => pair?.length === 2 && pair[1]! > pair[0]!) &&
		(resolution === null || (resolution > 0 && resolution < 1e6));
	return sensible
		? { quantity, bands, ranges: ranges.map((pair) => ({ low: pair![0]!, high: pair![1]! })), resolution }
		: null;
}

const short = (value: number): string => String(Number(value.toPrecision(6)));

function numbers(text: string | undefined): number[] | null {
	const values = (text ?? "").split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
	return values.every(Number.isFinite) ? values : null;
}
