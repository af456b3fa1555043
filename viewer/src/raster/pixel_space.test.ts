import { describe, expect, test } from "vitest";
import type { ImageRecord } from "../api/types";
import { ChunkCache } from "../image/chunk_cache";
import { ChunkQueue } from "../image/chunk_queue";
import { Image } from "../image/image";
import { extentOf, levelOfTile, tileGridOf, toCoordinate, toIndex } from "./pixel_space";
import { geometryOf, pointsOf } from "./shape_layer";

/** Wider than high, with chunks that differ between levels, as real ones do. */
function image(): Image {
	const level = (path: string, shape: number[], chunks: number[], factor: number) => ({
		path,
		shape,
		chunks,
		shards: chunks,
		factors: [1, factor, factor],
	});
	const record = {
		id: "ab",
		series: {
			kind: "raster",
			axes: ["c", "y", "x"],
			shape: [2, 837, 1280],
			dtype: "uint16",
			grid: {
				shape: [1, 837, 1280],
				affine: [
					[0, 0, 1, 0],
					[0, 1, 0, 0],
					[1, 0, 0, 0],
					[0, 0, 0, 1],
				],
				space: { kind: "radar", crs: null },
			},
			channels: [],
			rescale: { slope: [1], intercept: [0] },
		},
		levels: [
			level("0/image", [2, 837, 1280], [1, 512, 512], 1),
			level("1/image", [2, 419, 640], [1, 419, 512], 2),
			level("2/image", [2, 210, 320], [1, 210, 320], 4),
		],
	} as unknown as ImageRecord;
	const decoder = { width: 1, read: () => new Promise<never>(() => undefined) };
	return new Image(record, new ChunkQueue(decoder, new ChunkCache(0)));
}

describe("pixel space", () => {
	test("the first sample's centre lies half a pixel inside the top left corner", () => {
		expect(toCoordinate([0, 0, 0])).toEqual([0.5, -0.5]);
		expect(toIndex([0, 0])).toEqual([0, -0.5, -0.5]);
		expect(extentOf(image())).toEqual([0, -837, 1280, 0]);
	});

	test.each([
		[0, 12, 700.25],
		[0, 836.5, -0.5],
	])("index %d, %d, %d goes there and back", (...index) => {
		expect(toIndex(toCoordinate(index))).toEqual(index);
	});

	test("a tile is a chunk of its level, coarsest first", () => {
		const raster = image();
		const grid = tileGridOf(raster);
		expect([0, 1, 2].map((z) => levelOfTile(raster, z))).toEqual([2, 1, 0]);
		// Chunk (1, 2) of level 0: lines 512 to 1023, pixels 1024 to 1535.
		expect(grid.getTileCoordExtent([2, 2, 1])).toEqual([1024, -1024, 1536, -512]);
		// Chunk (0, 1) of level 1 starts at its sample 512, which is pixel 1024.
		expect(grid.getTileCoordExtent([1, 1, 0])).toEqual([1024, -838, 2048, 0]);
	});
});

describe("shapes go to OpenLayers and back unchanged", () => {
	test.each([
		["point", [[0, 5, 7.5]], []],
		[
			"polyline",
			[
				[0, 5, 7],
				[0, 6, 9],
				[0, 2, 30],
			],
			[],
		],
		[
			"polygon",
			[
				[0, 0, 0],
				[0, 0, 10],
				[0, 20, 10],
			],
			[
				[
					[0, 2, 3],
					[0, 2, 5],
					[0, 6, 5],
				],
			],
		],
		[
			"box",
			[
				[0, 3, 4],
				[0, 13, 24],
			],
			[],
		],
	] as const)("%s", (kind, points, holes) => {
		const shape = { kind, points: points.map((p) => [...p]), holes: holes.map((ring) => ring.map((p) => [...p])) };
		expect(pointsOf(kind, geometryOf(shape as never))).toEqual({ points: shape.points, holes: shape.holes });
	});

	test("a box drawn from any corner has its smallest corner first", () => {
		const drawn = geometryOf({
			kind: "box",
			points: [
				[0, 13, 4],
				[0, 3, 24],
			],
			holes: [],
		});
		expect(pointsOf("box", drawn).points).toEqual([
			[0, 3, 4],
			[0, 13, 24],
		]);
	});
});
