/** Which part of a plane to gather, at which level, and which chunks that takes. */

import type { Vec3 } from "../geometry/affine";
import type { Axis, PlaneFrame } from "../geometry/orientation";
import { Priority, type Wanted } from "./chunk_queue";
import type { Frame, Image, Level } from "./image";
import { chunksAlong, gather, type SamplePlane } from "./plane";
import { allocate, darkest, type Samples } from "./samples";

/** A rectangle of one plane, in samples of `level`. `index` is along the frame's axis, at level 0. */
export interface PlaneRegion {
	readonly level: number;
	readonly index: number;
	readonly u: number;
	readonly v: number;
	readonly width: number;
	readonly height: number;
}

/** Regions grow in these steps, so that a small pan gathers nothing. */
const SNAP = 64;

/** The coarsest level whose samples are no larger than a device pixel; `pixels` is the size of a level-0 sample (u, v). */
export function chooseLevel(levels: readonly Level[], frame: PlaneFrame, pixels: readonly [number, number]): number {
	const fits = (level: Level) => level.factors[frame.u] * pixels[0] <= 1 && level.factors[frame.v] * pixels[1] <= 1;
	return levels.reduce((best, level, i) => (i > best && fits(level) ? i : best), 0);
}

/** The region that covers the level-0 rectangle `low` to `high` (u, v), within `largest` samples a side if a level allows. */
export function regionOf(
	levels: readonly Level[],
	frame: PlaneFrame,
	index: number,
	level: number,
	low: readonly [number, number],
	high: readonly [number, number],
	largest: number,
): PlaneRegion {
	const { shape, factors } = levels[level]!;
	const side = (axis: Axis, from: number, to: number): readonly [number, number] => {
		const first = Math.floor((from + 0.5) / factors[axis] - 1);
		const last = Math.ceil((to + 0.5) / factors[axis] + 1);
		const start = Math.min(shape[axis] - 1, Math.max(0, Math.floor(first / SNAP) * SNAP));
		return [start, Math.max(1, Math.min(shape[axis], Math.ceil(last / SNAP) * SNAP) - start)];
	};
	const [u, width] = side(frame.u, low[0], high[0]);
	const [v, height] = side(frame.v, low[1], high[1]);
	if ((width > largest || height > largest) && level + 1 < levels.length) {
		return regionOf(levels, frame, index, level + 1, low, high, largest);
	}
	return { level, index, u, v, width: Math.min(width, largest), height: Math.min(height, largest) };
}

/** Index along a level's axis of a level-0 index. */
const coarser = (index: number, factor: number): number => Math.floor((index + 0.5) / factor);

/** The chunks a region takes: the coarsest level's first, then its own. `center` (level 0) comes before the rest. */
export function wantedOf(image: Image, frame: PlaneFrame, at: Frame, region: PlaneRegion, center: Vec3): Wanted[] {
	const coarsest = image.levels.length - 1;
	const coarse = chunksOf(image, frame, region, coarsest, center).map((chunk) =>
		image.wanted(coarsest, at, chunk, Priority.coarse),
	);
	const own = chunksOf(image, frame, region, region.level, center).map((chunk) =>
		image.wanted(region.level, at, chunk),
	);
	return region.level === coarsest ? coarse : [...coarse, ...own];
}

/** Chunks of `level` that a region crosses, nearest to `center` first. */
export function chunksOf(image: Image, frame: PlaneFrame, region: PlaneRegion, level: number, center: Vec3): Vec3[] {
	const from = image.levels[region.level]!.factors;
	const source = image.levels[level]!;
	const start: [number, number, number] = [0, 0, 0];
	const stop: [number, number, number] = [0, 0, 0];
	const set = (axis: Axis, first: number, count: number) => {
		start[axis] = coarser(first * from[axis], source.factors[axis]);
		stop[axis] = coarser((first + count) * from[axis] - 1, source.factors[axis]) + 1;
	};
	set(frame.u, region.u, region.width);
	set(frame.v, region.v, region.height);
	start[frame.axis] = Math.min(source.shape[frame.axis] - 1, coarser(region.index, source.factors[frame.axis]));
	stop[frame.axis] = start[frame.axis] + 1;
	const middle = center.map((value, axis) => coarser(value, source.factors[axis]!)) as unknown as Vec3;
	return chunksAlong(source, start, stop, middle);
}

export interface Gathered {
	readonly samples: Samples;
	/** Samples whose chunk of the region's own level is not here yet. */
	readonly missing: number;
	/** Whether anything at all is known. */
	readonly empty: boolean;
}

/** Gathers a region; what is missing comes from the next coarser level that has it. */
export function gatherRegion(image: Image, frame: PlaneFrame, at: Frame, region: PlaneRegion): Gathered {
	const level = image.levels[region.level]!;
	const samples = allocate(image.sampleType, region.width * region.height);
	const dark = darkest(image.sampleType);
	const readers = image.levels.map((_, i) => memoised((z, y, x) => image.chunk(i, at, z, y, x)));
	let found = 0;
	const missing = (z: number, y: number, x: number): number => {
		for (let i = region.level + 1; i < image.levels.length; i++) {
			const other = image.levels[i]!;
			const index = [z, y, x].map((value, axis) =>
				Math.min(other.shape[axis]! - 1, Math.floor(((value + 0.5) * level.factors[axis]!) / other.factors[axis]!)),
			) as [number, number, number];
			const [cz, cy, cx] = other.chunk;
			const [kz, ky, kx] = [Math.floor(index[0] / cz), Math.floor(index[1] / cy), Math.floor(index[2] / cx)];
			const chunk = readers[i]!(kz, ky, kx);
			if (chunk) {
				found++;
				return chunk[((index[0] - kz * cz) * cy + index[1] - ky * cy) * cx + index[2] - kx * cx]!;
			}
		}
		return dark;
	};
	const count = gather(
		planeOf(frame, region, Math.min(level.shape[frame.axis] - 1, coarser(region.index, level.factors[frame.axis]))),
		{ shape: level.shape, chunk: level.chunk, read: readers[region.level]! },
		{ outside: dark, missing },
		samples,
	);
	return { samples, missing: count, empty: count === region.width * region.height && found === 0 };
}

/** The region as a plane in its own level. */
function planeOf(frame: PlaneFrame, region: PlaneRegion, index: number): SamplePlane {
	const unit = (axis: Axis): Vec3 => [axis === 0 ? 1 : 0, axis === 1 ? 1 : 0, axis === 2 ? 1 : 0];
	const origin: [number, number, number] = [0, 0, 0];
	origin[frame.axis] = index;
	origin[frame.u] = region.u;
	origin[frame.v] = region.v;
	return { origin, du: unit(frame.u), dv: unit(frame.v), width: region.width, height: region.height };
}

/** The region as a plane of level-0 samples, one for each sample of its level: what labels are gathered with. */
export function finePlane(levels: readonly Level[], frame: PlaneFrame, region: PlaneRegion): SamplePlane {
	const { factors } = levels[region.level]!;
	const step = (axis: Axis): Vec3 => [0, 1, 2].map((other) => (other === axis ? factors[axis] : 0)) as unknown as Vec3;
	const origin: [number, number, number] = [0, 0, 0];
	origin[frame.axis] = region.index;
	origin[frame.u] = (region.u + 0.5) * factors[frame.u] - 0.5;
	origin[frame.v] = (region.v + 0.5) * factors[frame.v] - 0.5;
	return { origin, du: step(frame.u), dv: step(frame.v), width: region.width, height: region.height };
}

/** Looks each chunk up once: a plane asks for the same chunk hundreds of times. */
export function memoised<T>(read: (z: number, y: number, x: number) => T): (z: number, y: number, x: number) => T {
	const known = new Map<number, T>();
	return (z, y, x) => {
		const key = (z * 65536 + y) * 65536 + x;
		let value = known.get(key);
		if (value === undefined && !known.has(key)) {
			value = read(z, y, x);
			known.set(key, value);
		}
		return value as T;
	};
}
