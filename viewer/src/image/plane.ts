/**
 * Planes gathered out of chunks.
 *
 * A plane is `origin + u * du + v * dv` in the index space of one level: orthogonal, strided and oblique planes are the same
 * loop. A run of samples that stays inside one chunk costs one look-up.
 */

import type { Vec3 } from "../geometry/affine";
import type { Shape } from "../geometry/grid";
import type { Samples } from "./samples";

export interface SamplePlane {
	readonly origin: Vec3;
	readonly du: Vec3;
	readonly dv: Vec3;
	readonly width: number;
	readonly height: number;
}

/** Where samples come from: chunks of one size on a grid of `shape`. */
export interface ChunkSource {
	readonly shape: Shape;
	readonly chunk: Shape;
	read(z: number, y: number, x: number): Samples | undefined;
}

/** What to write where there is nothing; `missing` may look elsewhere for a sample whose chunk is not here. */
export interface Filling {
	readonly outside: number;
	readonly missing: (z: number, y: number, x: number) => number;
}

/** Fills `out` (height x width) with the nearest samples of `plane`; returns how many had no chunk. */
export function gather(plane: SamplePlane, source: ChunkSource, filling: Filling, out: Samples): number {
	const { width, height, origin, du, dv } = plane;
	const [nz, ny, nx] = source.shape;
	const [cz, cy, cx] = source.chunk;
	const along = du.filter((d) => d !== 0).length === 1;
	let missing = 0;
	for (let v = 0; v < height; v++) {
		// A half is added once so that truncation rounds to the nearest sample centre.
		const z0 = origin[0] + v * dv[0] + 0.5;
		const y0 = origin[1] + v * dv[1] + 0.5;
		const x0 = origin[2] + v * dv[2] + 0.5;
		let u = 0;
		let i = v * width;
		while (u < width) {
			const z = Math.floor(z0 + u * du[0]);
			const y = Math.floor(y0 + u * du[1]);
			const x = Math.floor(x0 + u * du[2]);
			if (z < 0 || y < 0 || x < 0 || z >= nz || y >= ny || x >= nx) {
				out[i++] = filling.outside;
				u++;
				continue;
			}
			const kz = Math.floor(z / cz);
			const ky = Math.floor(y / cy);
			const kx = Math.floor(x / cx);
			const samples = source.read(kz, ky, kx);
			const bz = kz * cz;
			const by = ky * cy;
			const bx = kx * cx;
			const end = along
				? Math.min(
						width,
						u +
							runLength(z0 + u * du[0], du[0], bz, Math.min(bz + cz, nz)) +
							runLength(y0 + u * du[1], du[1], by, Math.min(by + cy, ny)) +
							runLength(x0 + u * du[2], du[2], bx, Math.min(bx + cx, nx)),
					)
				: u + 1;
			if (samples) {
				for (; u < end; u++, i++) {
					const jz = Math.floor(z0 + u * du[0]) - bz;
					const jy = Math.floor(y0 + u * du[1]) - by;
					const jx = Math.floor(x0 + u * du[2]) - bx;
					out[i] = samples[(jz * cy + jy) * cx + jx]!;
				}
			} else {
				missing += end - u;
				for (; u < end; u++, i++) {
					out[i] = filling.missing(Math.floor(z0 + u * du[0]), Math.floor(y0 + u * du[1]), Math.floor(x0 + u * du[2]));
				}
			}
		}
	}
	return missing;
}

/** Steps until `position` leaves `[low, high)`; 0 for an axis that does not move (the moving one counts). */
function runLength(position: number, step: number, low: number, high: number): number {
	if (step === 0) {
		return 0;
	}
	// At least one: rounding must never stall the loop.
	return Math.max(1, step > 0 ? Math.ceil((high - position) / step) : Math.floor((position - low) / -step) + 1);
}

/** Chunk coordinates a plane region crosses, nearest to `center` (in samples) first. */
export function chunksAlong(
	source: Pick<ChunkSource, "shape" | "chunk">,
	start: Vec3,
	stop: Vec3,
	center: Vec3,
): Vec3[] {
	const ranges = [0, 1, 2].map((axis) => {
		const size = source.chunk[axis]!;
		const first = Math.floor(Math.max(0, start[axis]!) / size);
		const last = Math.floor((Math.min(source.shape[axis]!, stop[axis]!) - 1) / size);
		return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);
	});
	const found: { chunk: Vec3; distance: number }[] = [];
	for (const z of ranges[0]!) {
		for (const y of ranges[1]!) {
			for (const x of ranges[2]!) {
				const chunk: Vec3 = [z, y, x];
				const distance = chunk.reduce(
					(sum, c, axis) => sum + ((c + 0.5) * source.chunk[axis]! - center[axis]!) ** 2,
					0,
				);
				found.push({ chunk, distance });
			}
		}
	}
	return found.sort((a, b) => a.distance - b.distance).map(({ chunk }) => chunk);
}
