/** Image: one stored, immutable multiscale. Same noun as `store/image.py`, read over HTTP. */

import type { ImageRecord } from "../api/types";
import type { Vec3 } from "../geometry/affine";
import { type Grid, parseGrid, type Shape } from "../geometry/grid";
import type { Wanted } from "./chunk_queue";
import { type ChunkQueue, Priority } from "./chunk_queue";
import { type Samples, type SampleType, sampleType } from "./samples";

/** One resolution, in (z, y, x). `factors`: samples of level 0 in one sample of this level. */
export interface Level {
	readonly path: string;
	readonly shape: Shape;
	readonly chunk: Shape;
	readonly shard: Shape;
	readonly factors: Shape;
}

type AxisName = ImageRecord["series"]["axes"][number];

/** Indices along the axes that are not space. */
export interface Frame {
	readonly t: number;
	readonly c: number;
}

export class Image {
	readonly id: string;
	readonly grid: Grid;
	readonly levels: readonly Level[];
	readonly sampleType: SampleType;
	/** Sizes of the axes that are not space; 1 where the axis is absent. */
	readonly times: number;
	readonly channels: number;

	constructor(
		readonly record: ImageRecord,
		private readonly queue: ChunkQueue,
		private readonly base: string = "/api",
	) {
		this.id = record.id;
		this.grid = parseGrid(record.series.grid);
		this.sampleType = sampleType(record.series.dtype);
		const { axes, shape } = record.series;
		const size = (axis: AxisName) => (axes.includes(axis) ? shape[axes.indexOf(axis)]! : 1);
		this.times = size("t");
		this.channels = size("c");
		const spatial = (sizes: readonly number[]): Shape => {
			const of = (axis: AxisName) => (axes.includes(axis) ? sizes[axes.indexOf(axis)]! : 1);
			return [of("z"), of("y"), of("x")];
		};
		this.levels = record.levels.map((level) => ({
			path: level.path,
			shape: spatial(level.shape),
			chunk: spatial(level.chunks),
			shard: spatial(level.shards),
			factors: [level.factors[0]!, level.factors[1]!, level.factors[2]!],
		}));
	}

	get kind(): "volume" | "raster" {
		return this.record.series.kind as "volume" | "raster";
	}

	/** How a window maps this image's values. */
	get windowRule(): "LINEAR" | "LINEAR_EXACT" {
		return this.record.series.window_function ?? "LINEAR";
	}

	/** Slope and intercept of plane `z`: `real = stored * slope + intercept`. */
	rescale(z: number): readonly [number, number] {
		const { slope, intercept } = this.record.series.rescale;
		return [slope[slope.length > 1 ? z : 0] ?? 1, intercept[intercept.length > 1 ? z : 0] ?? 0];
	}

	/** Whether every plane shares one slope and intercept. */
	get hasOneRescale(): boolean {
		const { slope, intercept } = this.record.series.rescale;
		return slope.length <= 1 && intercept.length <= 1;
	}

	/** A decoded chunk, if it is here. */
	chunk(level: number, frame: Frame, z: number, y: number, x: number): Samples | undefined {
		return this.queue.cache.get(this.key(level, frame, [z, y, x]));
	}

	isBroken(level: number, frame: Frame, chunk: Vec3): boolean {
		return this.queue.isBroken(this.key(level, frame, chunk));
	}

	/** The stored value at a level-0 index, or `undefined` while its chunk is not here. */
	value(index: Vec3, frame: Frame): number | undefined {
		const { chunk } = this.levels[0]!;
		const [cz, cy, cx] = index.map((i, axis) => Math.floor(i / chunk[axis]!)) as [number, number, number];
		const samples = this.chunk(0, frame, cz, cy, cx);
		return samples?.[
			((index[0] - cz * chunk[0]) * chunk[1] + index[1] - cy * chunk[1]) * chunk[2] + index[2] - cx * chunk[2]
		];
	}

	want(owner: string, wanted: readonly Wanted[]): void {
		this.queue.want(owner, wanted);
	}

	/** The request for one chunk. */
	wanted(level: number, frame: Frame, chunk: Vec3, priority: Priority = Priority.visible): Wanted {
		const { path, chunk: size, shard } = this.levels[level]!;
		const array = `${this.base}/images/${this.id}/zarr/${path}`;
		const shardAt = chunk.map((c, axis) => Math.floor((c * size[axis]!) / shard[axis]!));
		return {
			key: this.key(level, frame, chunk),
			priority,
			address: {
				array,
				chunk: this.coordinates(frame, chunk),
				wholeShards: this.kind === "volume",
				group: `${array}/${frame.t}/${frame.c}/${shardAt.join("/")}`,
			},
		};
	}

	private coordinates(frame: Frame, chunk: Vec3): number[] {
		const at: Record<string, number> = { t: frame.t, c: frame.c, z: chunk[0], y: chunk[1], x: chunk[2] };
		return this.record.series.axes.map((axis) => at[axis]!);
	}

	private key(level: number, frame: Frame, chunk: Vec3): string {
		return `${this.id}/${level}/${frame.t}/${frame.c}/${chunk[0]}/${chunk[1]}/${chunk[2]}`;
	}
}
