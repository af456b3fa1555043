/**
 * Radar brightness. Same rules as `geometry/radar.py`; both are checked by `tests/golden/sigma0.json`.
 * sigma0 = DN² / A², A bilinear in line and pixel and held beyond its ends (ESA-EOPG-CSCOP-TN-0002).
 */

import { cell } from "./gcp_grid";

/** One polarisation's table: `sigma0[i][j]` is A at `lines[i]`, `pixels[j]`. */
export interface CalibrationTable {
	readonly lines: readonly number[];
	readonly pixels: readonly number[];
	readonly sigma0: readonly (readonly number[])[];
}

/** A at one line for `count` pixels, `step` apart. */
export function gains(table: CalibrationTable, line: number, pixel: number, step: number, count: number): Float64Array {
	const [row, v] = held(table.lines, line);
	const upper = table.sigma0[row]!;
	const lower = table.sigma0[Math.min(row + 1, table.sigma0.length - 1)]!;
	const values = new Float64Array(count);
	for (let i = 0; i < count; i++) {
		const [column, u] = held(table.pixels, pixel + i * step);
		const next = Math.min(column + 1, upper.length - 1);
		values[i] =
			(1 - v) * ((1 - u) * upper[column]! + u * upper[next]!) + v * ((1 - u) * lower[column]! + u * lower[next]!);
	}
	return values;
}

/** A at a (line, pixel) index. */
export function gainAt(table: CalibrationTable, line: number, pixel: number): number {
	return gains(table, line, pixel, 1, 1)[0]!;
}

/** dB of an amplitude over a gain (1: as delivered); 0 is no data, not minus infinity. */
export function decibel(dn: number, gain: number): number {
	return dn > 0 ? 20 * Math.log10(dn / gain) : Number.NaN;
}

function held(axis: readonly number[], value: number): [number, number] {
	if (axis.length < 2) {
		return [0, 0];
	}
	const [index, fraction] = cell(axis, value);
	return [index, Math.min(1, Math.max(0, fraction))];
}
