/**
 * A Zarr store over HTTP as zarrita wants it: `undefined` for what is absent.
 *
 * A browser spends 2 to 4 ms on every request, so for volumes a shard is fetched once, whole, and the ranges zarrita
 * asks for are cut from memory. One fetch serves every reader of its shard and is aborted when the last one leaves.
 */

import type { AbsolutePath, AsyncReadable, GetOptions, RangeQuery } from "@zarrita/storage";

export class HttpFailure extends Error {
	constructor(
		readonly status: number,
		url: string,
	) {
		super(`the server answered ${status} for ${url}`);
		this.name = "HttpFailure";
	}
}

/** Options of one read; `blob` replaces the address of the chunk. */
export interface ReadOptions extends GetOptions {
	readonly blob?: string;
}

interface Shard {
	readonly bytes: Promise<Uint8Array | undefined>;
	readonly abort: AbortController;
	readers: number;
	settled: boolean;
	size: number;
}

type Fetch = (url: string, init?: RequestInit) => Promise<Response>;

export class ShardStore implements AsyncReadable {
	private readonly shards = new Map<string, Shard>();
	private held = 0;

	/** `budget` bounds the bytes of encoded shards kept; they are only worth keeping until their chunks are decoded. */
	constructor(
		private readonly base: string,
		private readonly wholeShards: boolean,
		private readonly budget: number,
		private readonly fetch: Fetch = (url, init) => globalThis.fetch(url, init),
	) {}

	async get(key: AbsolutePath, options: ReadOptions = {}): Promise<Uint8Array | undefined> {
		const url = options.blob !== undefined && !key.endsWith("zarr.json") ? options.blob : this.base + key;
		return this.load(url, {}, options.signal);
	}

	async getRange(key: AbsolutePath, range: RangeQuery, options: ReadOptions = {}): Promise<Uint8Array | undefined> {
		if (!this.wholeShards) {
			const spec =
				"suffixLength" in range ? `-${range.suffixLength}` : `${range.offset}-${range.offset + range.length - 1}`;
			return this.load(this.base + key, { Range: `bytes=${spec}` }, options.signal);
		}
		const bytes = await this.join(key, options.signal);
		if (bytes === undefined) {
			return undefined;
		}
		return "suffixLength" in range
			? bytes.subarray(Math.max(0, bytes.length - range.suffixLength))
			: bytes.subarray(range.offset, range.offset + range.length);
	}

	private async join(key: AbsolutePath, signal: AbortSignal | undefined): Promise<Uint8Array | undefined> {
		const shard = this.shards.get(key) ?? this.start(key);
		this.shards.delete(key);
		this.shards.set(key, shard);
		shard.readers += 1;
		const left = new Promise<never>((_, reject) => {
			signal?.addEventListener("abort", () => reject(abortError()), { once: true });
		});
		try {
			signal?.throwIfAborted();
			return await Promise.race([shard.bytes, left]);
		} finally {
			shard.readers -= 1;
			if (shard.readers === 0 && !shard.settled) {
				// Whoever comes next must not join a fetch that is being given up.
				this.shards.delete(key);
				shard.abort.abort();
			}
		}
	}

	private start(key: AbsolutePath): Shard {
		const abort = new AbortController();
		const shard: Shard = {
			abort,
			readers: 0,
			settled: false,
			size: 0,
			bytes: this.load(this.base + key, {}, abort.signal).then((bytes) => {
				shard.settled = true;
				shard.size = bytes?.byteLength ?? 0;
				this.held += shard.size;
				this.evict();
				return bytes;
			}),
		};
		shard.bytes.catch(() => this.shards.get(key) === shard && this.shards.delete(key));
		this.shards.set(key, shard);
		return shard;
	}

	private evict(): void {
		for (const [key, shard] of this.shards) {
			if (this.held <= this.budget) {
				return;
			}
			if (shard.settled && shard.readers === 0) {
				this.held -= shard.size;
				this.shards.delete(key);
			}
		}
	}

	private async load(
		url: string,
		headers: Record<string, string>,
		signal: AbortSignal | undefined,
	): Promise<Uint8Array | undefined> {
		const response = await this.fetch(url, { headers, credentials: "same-origin", ...(signal ? { signal } : {}) });
		if (response.status === 404) {
			return undefined;
		}
		if (!response.ok) {
			throw new HttpFailure(response.status, url);
		}
		return new Uint8Array(await response.arrayBuffer());
	}
}

function abortError(): DOMException {
	return new DOMException("the chunk is no longer wanted", "AbortError");
}
