import { describe, expect, test } from "vitest";
import type { ImageRecord } from "../api/types";
import type { Vec3 } from "../geometry/affine";
import type { Shape } from "../geometry/grid";
import { frameOf } from "../geometry/orientation";
import { ChunkCache } from "./chunk_cache";
import { ChunkQueue, Priority } from "./chunk_queue";
import { type ChunkAddress, type Decoder, ReadFailure } from "./decoder";
import { Image } from "./image";
import { type ChunkSource, chunksAlong, gather, type SamplePlane } from "./plane";
import { chooseLevel, finePlane, gatherRegion, regionOf, wantedOf } from "./plane_region";
import type { Samples } from "./samples";

const SHAPE: Shape = [11, 13, 17];
const CHUNK: Shape = [4, 5, 6];
/** Every voxel has a value of its own. */
const value = (z: number, y: number, x: number) => (z * 13 + y) * 17 + x;

function chunkOf(shape: Shape, chunk: Shape, at: Vec3, voxel: (z: number, y: number, x: number) => number): Int16Array {
	const samples = new Int16Array(chunk[0] * chunk[1] * chunk[2]).fill(-1);
	for (let z = 0; z < chunk[0]; z++) {
		for (let y = 0; y < chunk[1]; y++) {
			for (let x = 0; x < chunk[2]; x++) {
				const index = [at[0] * chunk[0] + z, at[1] * chunk[1] + y, at[2] * chunk[2] + x] as const;
				if (index.every((i, axis) => i < shape[axis]!)) {
					samples[(z * chunk[1] + y) * chunk[2] + x] = voxel(...index);
				}
			}
		}
	}
	return samples;
}

const SOURCE: ChunkSource = {
	shape: SHAPE,
	chunk: CHUNK,
	read: (z, y, x) => chunkOf(SHAPE, CHUNK, [z, y, x], value),
};
const FILLING = { outside: -7, missing: () => -9 };

describe("gather", () => {
	const planes: readonly (readonly [string, SamplePlane])[] = [
		["axial", { origin: [6, 0, 0], du: [0, 0, 1], dv: [0, 1, 0], width: 17, height: 13 }],
		["coronal", { origin: [0, 7, 0], du: [0, 0, 1], dv: [1, 0, 0], width: 17, height: 11 }],
		["sagittal", { origin: [0, 0, 9], du: [0, 1, 0], dv: [1, 0, 0], width: 13, height: 11 }],
		["transposed", { origin: [6, 0, 0], du: [0, 1, 0], dv: [0, 0, 1], width: 13, height: 17 }],
		["backwards", { origin: [6, 12, 16], du: [0, 0, -1], dv: [0, -1, 0], width: 17, height: 13 }],
		["every second sample", { origin: [6, 0.5, 0.5], du: [0, 0, 2], dv: [0, 2, 0], width: 8, height: 6 }],
		["larger than the volume", { origin: [6, -3, -4], du: [0, 0, 1], dv: [0, 1, 0], width: 25, height: 19 }],
		["oblique", { origin: [1, 0, 0.3], du: [0.31, 0.2, 0.9], dv: [0.1, 0.8, -0.4], width: 20, height: 20 }],
	];

	test.each(planes)("%s: the nearest sample at every place", (_, plane) => {
		const out = new Int16Array(plane.width * plane.height);
		expect(gather(plane, SOURCE, FILLING, out)).toBe(0);
		for (let v = 0; v < plane.height; v++) {
			for (let u = 0; u < plane.width; u++) {
				const index = plane.origin.map((o, a) =>
					Math.floor(o + v * plane.dv[a]! + 0.5 + u * plane.du[a]!),
				) as unknown as Vec3;
				const inside = index.every((i, axis) => i >= 0 && i < SHAPE[axis]!);
				expect(out[v * plane.width + u]).toBe(inside ? value(...index) : -7);
			}
		}
	});

	test("counts what is missing and asks for a stand-in", () => {
		const source: ChunkSource = { ...SOURCE, read: (z, y, x) => (x === 1 ? undefined : SOURCE.read(z, y, x)) };
		const out = new Int16Array(17 * 13);
		const missing = gather(planes[0]![1], source, { outside: -7, missing: (z, y, x) => -value(z, y, x) }, out);
		expect(missing).toBe(6 * 13);
		expect(out[3 * 17 + 8]).toBe(-value(6, 3, 8));
		expect(out[3 * 17 + 5]).toBe(value(6, 3, 5));
	});
});

test("chunks along a plane: all of them, nearest first", () => {
	const found = chunksAlong(SOURCE, [6, 0, 0], [7, 13, 17], [6, 6, 16]);
	expect(found).toHaveLength(9);
	expect(found[0]).toEqual([1, 1, 2]);
	expect(new Set(found.map((chunk) => chunk[0]))).toEqual(new Set([1]));
});

// --- an image of three levels over a decoder that answers when it is told to ------------------------------------------

const RECORD = {
	id: "ab12",
	levels: [
		{ path: "0", shape: [64, 256, 256], chunks: [64, 64, 64], shards: [128, 128, 128], factors: [1, 1, 1] },
		{ path: "1", shape: [64, 128, 128], chunks: [64, 64, 64], shards: [128, 128, 128], factors: [1, 2, 2] },
		{ path: "2", shape: [32, 64, 64], chunks: [64, 64, 64], shards: [128, 128, 128], factors: [2, 4, 4] },
	],
	series: {
		kind: "volume",
		axes: ["z", "y", "x"],
		shape: [64, 256, 256],
		dtype: "int16",
		grid: {
			shape: [64, 256, 256],
			affine: [
				[0, 0, 1, 0],
				[0, 1, 0, 0],
				[2, 0, 0, 0],
				[0, 0, 0, 1],
			],
			space: { kind: "patient", crs: null },
		},
		rescale: { slope: [1], intercept: [-1024] },
		channels: [{ name: "", unit: "HU", windows: [] }],
		warnings: [],
	},
} as unknown as ImageRecord;

class HandDecoder implements Decoder {
	readonly width = 1;
	readonly asked: {
		address: ChunkAddress;
		signal: AbortSignal;
		answer: (samples: Samples) => void;
		fail: (error: Error) => void;
	}[] = [];

	read(address: ChunkAddress, signal: AbortSignal): Promise<Samples> {
		return new Promise((resolve, reject) => {
			signal.addEventListener("abort", () => reject(new DOMException("gone", "AbortError")));
			this.asked.push({ address, signal, answer: resolve, fail: reject });
		});
	}

	names(): string[] {
		return this.asked.map(({ address }) => `${address.array.split("/").at(-1)}:${address.chunk.join(",")}`);
	}
}

const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
const FRAME = { t: 0, c: 0 };

function open(limit = 100, delay: (run: () => void, ms: number) => void = () => undefined) {
	const decoder = new HandDecoder();
	const queue = new ChunkQueue(decoder, new ChunkCache(2 ** 24), delay, limit);
	return { decoder, queue, image: new Image(RECORD, queue) };
}

describe("what to show", () => {
	const { image } = open();
	const axial = frameOf(image.grid, 0);
	const coronal = frameOf(image.grid, 1);

	test("the coarsest level whose samples are no larger than a pixel", () => {
		expect(chooseLevel(image.levels, axial, [1, 1])).toBe(0);
		expect(chooseLevel(image.levels, axial, [0.5, 0.5])).toBe(1);
		expect(chooseLevel(image.levels, axial, [0.2, 0.2])).toBe(2);
		// In coronal planes level 1 is as fine as level 0 along z.
		expect(chooseLevel(image.levels, coronal, [0.5, 1])).toBe(1);
	});

	test("a region covers what is asked for, and stays inside the plane", () => {
		const region = regionOf(image.levels, axial, 10, 0, [70, -50], [180, 90], 4096);
		expect(region).toEqual({ level: 0, index: 10, u: 64, v: 0, width: 128, height: 128 });
		expect(regionOf(image.levels, axial, 10, 0, [-900, -900], [900, 900], 4096)).toMatchObject({
			u: 0,
			v: 0,
			width: 256,
			height: 256,
		});
	});

	test("a level that fits the graphics card is taken instead of a cut plane", () => {
		expect(regionOf(image.levels, axial, 10, 0, [0, 0], [255, 255], 128)).toMatchObject({ level: 1, width: 128 });
	});

	test("the coarse level is wanted first, and chunks of a shard share a worker", () => {
		const region = regionOf(image.levels, axial, 10, 0, [0, 0], [255, 255], 4096);
		const wanted = wantedOf(image, axial, FRAME, region, [10, 128, 128]);
		expect(wanted[0]).toMatchObject({ priority: Priority.coarse, address: { chunk: [0, 0, 0] } });
		expect(wanted).toHaveLength(1 + 16);
		expect(new Set(wanted.slice(1).map(({ address }) => address.group)).size).toBe(4);
	});

	test("labels are gathered at the middle of what a coarse sample covers", () => {
		const region = { level: 2, index: 10, u: 1, v: 2, width: 3, height: 3 };
		expect(finePlane(image.levels, axial, region)).toMatchObject({
			origin: [10, 9.5, 5.5],
			du: [0, 0, 4],
			dv: [0, 4, 0],
		});
	});
});

test("a picture comes at once from the coarse level and gets sharp chunk by chunk", async () => {
	const { decoder, queue, image } = open();
	const axial = frameOf(image.grid, 0);
	const region = regionOf(image.levels, axial, 10, 0, [0, 0], [255, 255], 4096);
	expect(gatherRegion(image, axial, FRAME, region)).toMatchObject({ empty: true });
	queue.want("pane", wantedOf(image, axial, FRAME, region, [10, 128, 128]));
	// Level 2: each sample says which level-2 voxel it is.
	decoder.asked[0]!.answer(chunkOf([32, 64, 64], [64, 64, 64], [0, 0, 0], (z, y, x) => z * 100 + ((y + x) % 100)));
	await settle();
	const coarse = gatherRegion(image, axial, FRAME, region);
	expect(coarse).toMatchObject({ empty: false, missing: 256 * 256 });
	// Level-0 voxel (10, 40, 80) lies in level-2 voxel (5, 10, 20).
	expect(coarse.samples[40 * 256 + 80]).toBe(5 * 100 + 30);
	for (const { address, answer } of decoder.asked.slice(1)) {
		answer(
			chunkOf([64, 256, 256], [64, 64, 64], address.chunk as unknown as Vec3, (z, y, x) => (z + 3 * y + 5 * x) % 30000),
		);
	}
	await settle();
	const sharp = gatherRegion(image, axial, FRAME, region);
	expect(sharp.missing).toBe(0);
	expect(sharp.samples[40 * 256 + 80]).toBe(10 + 120 + 400);
	expect(image.value([10, 40, 80], FRAME)).toBe(530);
});

describe("the queue", () => {
	const wanted = (image: Image, x: number, priority: Priority) => image.wanted(0, FRAME, [0, 0, x], priority);

	test("asks for urgent chunks first, whatever order they were named in", () => {
		const { decoder, queue, image } = open(2);
		queue.want("a", [
			wanted(image, 0, Priority.prefetch),
			wanted(image, 1, Priority.visible),
			wanted(image, 2, Priority.coarse),
		]);
		expect(decoder.names()).toEqual(["0:0,0,2", "0:0,0,1"]);
	});

	test("scrolling on aborts what nobody wants any more, and keeps what another pane wants", async () => {
		const { decoder, queue, image } = open();
		queue.want("a", [wanted(image, 0, Priority.visible), wanted(image, 1, Priority.visible)]);
		queue.want("b", [wanted(image, 1, Priority.visible)]);
		queue.want("a", [wanted(image, 2, Priority.visible)]);
		await settle();
		expect(decoder.asked.map(({ signal }) => signal.aborted)).toEqual([true, false, false]);
	});

	test("asks once for a chunk that two panes want", () => {
		const { decoder, queue, image } = open();
		queue.want("a", [wanted(image, 1, Priority.visible)]);
		queue.want("b", [wanted(image, 1, Priority.coarse)]);
		expect(decoder.asked).toHaveLength(1);
	});

	test("tries again after the network failed, and tells when it gives up", async () => {
		const waits: number[] = [];
		const { decoder, queue, image } = open(4, (run, ms) => {
			waits.push(ms);
			run();
		});
		const failed: string[] = [];
		queue.listen((event) => event.type === "failed" && failed.push(event.key));
		queue.want("a", [wanted(image, 1, Priority.visible)]);
		for (let i = 0; i < 5; i++) {
			decoder.asked[i]!.fail(new ReadFailure(null, "no network"));
			await settle();
		}
		expect(waits).toEqual([500, 1000, 2000, 4000]);
		expect(failed).toHaveLength(1);
		expect(queue.isBroken(failed[0]!)).toBe(true);
		queue.retry();
		expect(decoder.asked).toHaveLength(6);
	});

	test("does not ask twice for what the server refuses", async () => {
		const { decoder, queue, image } = open();
		queue.want("a", [wanted(image, 1, Priority.visible)]);
		decoder.asked[0]!.fail(new ReadFailure(403, "forbidden"));
		await settle();
		queue.want("a", [wanted(image, 1, Priority.visible)]);
		expect(decoder.asked).toHaveLength(1);
	});
});

describe("the cache", () => {
	test("forgets the least recently read, counts bytes, and keeps what is wanted", () => {
		const cache = new ChunkCache(300);
		const keep = (key: string) => key === "kept";
		cache.put("kept", new Uint8Array(100), keep);
		cache.put("a", new Uint8Array(100), keep);
		cache.put("b", new Uint8Array(100), keep);
		cache.get("a");
		cache.put("c", new Uint8Array(100), keep);
		expect(["kept", "a", "b", "c"].filter((key) => cache.has(key))).toEqual(["kept", "a", "c"]);
		expect(cache.bytes).toBe(300);
	});
});
