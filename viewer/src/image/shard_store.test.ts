import { describe, expect, test } from "vitest";
import { HttpFailure, ShardStore } from "./shard_store";

/** A server that answers when it is told to. */
function server() {
	const asked: {
		url: string;
		range: string | null;
		signal: AbortSignal | null;
		answer: (response: Response) => void;
	}[] = [];
	const fetch = (url: string, init?: RequestInit) =>
		new Promise<Response>((resolve, reject) => {
			init?.signal?.addEventListener("abort", () => reject(new DOMException("gone", "AbortError")));
			asked.push({
				url,
				range: new Headers(init?.headers).get("Range"),
				signal: init?.signal ?? null,
				answer: resolve,
			});
		});
	return { asked, fetch };
}

const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
const body = (length: number) => new Response(Uint8Array.from({ length }, (_, i) => i));

describe("whole shards", () => {
	test("one fetch serves index and chunks; ranges are cut from memory", async () => {
		const { asked, fetch } = server();
		const store = new ShardStore("/zarr/0", true, 1e6, fetch);
		const reads = [
			store.getRange("/c/0/0/0", { suffixLength: 4 }),
			store.getRange("/c/0/0/0", { offset: 2, length: 3 }),
		];
		asked[0]!.answer(body(20));
		expect((await Promise.all(reads)).map((bytes) => [...bytes!])).toEqual([
			[16, 17, 18, 19],
			[2, 3, 4],
		]);
		expect([...(await store.getRange("/c/0/0/0", { offset: 0, length: 2 }))!]).toEqual([0, 1]);
		expect(asked.map(({ url, range }) => [url, range])).toEqual([["/zarr/0/c/0/0/0", null]]);
	});

	test("a shard that does not exist holds the fill value", async () => {
		const { asked, fetch } = server();
		const store = new ShardStore("/zarr/0", true, 1e6, fetch);
		const read = store.getRange("/c/0/0/0", { suffixLength: 4 });
		asked[0]!.answer(new Response(null, { status: 404 }));
		expect(await read).toBeUndefined();
	});

	test("the fetch goes on while one reader is left, and is aborted with the last", async () => {
		const { asked, fetch } = server();
		const store = new ShardStore("/zarr/0", true, 1e6, fetch);
		const [first, second] = [new AbortController(), new AbortController()];
		const reads = [first, second].map(({ signal }) =>
			store.getRange("/c/0/0/0", { suffixLength: 4 }, { signal }).catch((error: DOMException) => error.name),
		);
		first.abort();
		await settle();
		expect(asked[0]!.signal!.aborted).toBe(false);
		second.abort();
		expect(await Promise.all(reads)).toEqual(["AbortError", "AbortError"]);
		expect(asked[0]!.signal!.aborted).toBe(true);
		// Who comes later starts anew.
		void store.getRange("/c/0/0/0", { suffixLength: 4 }).catch(() => undefined);
		expect(asked).toHaveLength(2);
	});

	test("shards beyond the budget are forgotten, the oldest first", async () => {
		const { asked, fetch } = server();
		const store = new ShardStore("/zarr/0", true, 25, fetch);
		for (const key of ["/c/0", "/c/1", "/c/2"] as const) {
			const read = store.getRange(key, { offset: 0, length: 1 });
			asked.at(-1)!.answer(body(10));
			await read;
		}
		void store.getRange("/c/2", { offset: 0, length: 1 });
		expect(asked).toHaveLength(3);
		void store.getRange("/c/0", { offset: 0, length: 1 });
		expect(asked).toHaveLength(4);
	});
});

describe("ranges", () => {
	test("a raster's shard is read in parts, the index from its end", async () => {
		const { asked, fetch } = server();
		const store = new ShardStore("/zarr/0", false, 1e6, fetch);
		void store.getRange("/c/0/0/0", { suffixLength: 1028 });
		void store.getRange("/c/0/0/0", { offset: 100, length: 50 });
		expect(asked.map(({ range }) => range)).toEqual(["bytes=-1028", "bytes=100-149"]);
	});
});

test("a refusal is an error with its status", async () => {
	const { asked, fetch } = server();
	const read = new ShardStore("/zarr/0", true, 1e6, fetch).get("/zarr.json");
	asked[0]!.answer(new Response(null, { status: 403 }));
	await expect(read).rejects.toEqual(expect.any(HttpFailure));
});

test("a chunk stored by content is asked for under its digest, metadata under its name", async () => {
	const { asked, fetch } = server();
	const store = new ShardStore("/segmentations/s@0/zarr/0", false, 1e6, fetch);
	void store.get("/zarr.json", { blob: "/blobs/ab" });
	void store.get("/c/0/0/0", { blob: "/blobs/ab" });
	expect(asked.map(({ url }) => url)).toEqual(["/segmentations/s@0/zarr/0/zarr.json", "/blobs/ab"]);
});
