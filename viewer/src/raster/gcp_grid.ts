/**
 * Ground position from a product's ground control points: bilinear inside the cells of their grid.
 * Twin of the control-point model in `geometry/geolocation.py`. Exact at the points, never one affine through them all.
 */

export interface GroundControlPoints {
	readonly line: readonly number[];
	readonly pixel: readonly number[];
	readonly lon: readonly number[];
	readonly lat: readonly number[];
	readonly height: readonly number[];
}

export interface GroundPosition {
	readonly lon: number;
	readonly lat: number;
	readonly height: number;
}

/** Points on a lattice of lines and pixels, as Sentinel-1 products carry them (10 lines by 21 pixels). */
export class GcpGrid {
	private constructor(
		private readonly lines: readonly number[],
		private readonly pixels: readonly number[],
		private readonly points: readonly GroundPosition[],
	) {}

	/** `null` where the points do not form a lattice of at least two by two: then only the server can say. */
	static from(gcps: GroundControlPoints): GcpGrid | null {
		const lines = ascending(gcps.line);
		const pixels = ascending(gcps.pixel);
		if (lines.length < 2 || pixels.length < 2 || gcps.line.length !== lines.length * pixels.length) return null;
		const points: (GroundPosition | undefined)[] = new Array(lines.length * pixels.length);
		// Longitudes of one scene may jump by 360 degrees at the date line; unwrap them around the first.
		const reference = gcps.lon[0] ?? 0;
		gcps.line.forEach((line, i) => {
			const lon = gcps.lon[i] ?? Number.NaN;
			points[lines.indexOf(line) * pixels.length + pixels.indexOf(gcps.pixel[i] ?? Number.NaN)] = {
				lon: lon - 360 * Math.round((lon - reference) / 360),
				lat: gcps.lat[i] ?? Number.NaN,
				height: gcps.height[i] ?? 0,
			};
		});
		if (points.includes(undefined)) return null;
		return new GcpGrid(lines, pixels, points as GroundPosition[]);
	}

	/** Position of a (line, pixel) index; outside the lattice its edge cells are continued. */
	toGround(line: number, pixel: number): GroundPosition {
		const [row, v] = cell(this.lines, line);
		const [column, u] = cell(this.pixels, pixel);
		const at = (r: number, c: number) => this.points[(row + r) * this.pixels.length + column + c] as GroundPosition;
		const mix = (pick: (point: GroundPosition) => number) =>
			(1 - v) * ((1 - u) * pick(at(0, 0)) + u * pick(at(0, 1))) + v * ((1 - u) * pick(at(1, 0)) + u * pick(at(1, 1)));
		const lon = mix((point) => point.lon);
		return {
			lon: lon - 360 * Math.round(lon / 360),
			lat: mix((point) => point.lat),
			height: mix((point) => point.height),
		};
	}
}

function ascending(values: readonly number[]): number[] {
	return [...new Set(values)].sort((a, b) => a - b);
}

/** Index of the cell that holds `value`, and where in it from 0 to 1 (beyond at the edges). */
export function cell(axis: readonly number[], value: number): [number, number] {
	let low = 0;
	let high = axis.length - 1;
	while (high - low > 1) {
		const middle = (low + high) >> 1;
		if ((axis[middle] as number) <= value) low = middle;
		else high = middle;
	}
	const start = axis[low] as number;
	return [low, (value - start) / ((axis[low + 1] as number) - start)];
}
