/** A scale bar: a round length that fits, and how long it is on the screen. */

export interface ScaleBar {
	/** Screen pixels. */
	readonly width: number;
	readonly text: string;
}

const WIDEST = 120;

/** `metres` and `samples` on the ground and in the raster per screen pixel; metres `null` where they are not known. */
export function scaleBar(metres: number | null, samples: number): ScaleBar {
	const unit = metres ?? samples;
	const length = roundDown(WIDEST * unit);
	const text =
		metres === null ? `${length} px` : length >= 1000 ? `${length / 1000} km` : `${Number(length.toPrecision(3))} m`;
	return { width: Math.round(length / unit), text };
}

/** The largest 1, 2 or 5 times a power of ten up to `value`. */
function roundDown(value: number): number {
	const power = 10 ** Math.floor(Math.log10(value));
	const step = [5, 2, 1].find((factor) => factor * power <= value) ?? 1;
	return Number((step * power).toPrecision(3));
}
