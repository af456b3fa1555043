/** Chunks as promises, for OpenLayers' tile loader: declares to the chunk queue all that its tiles still wait for. */

import type { Vec3 } from "../geometry/affine";
import type { ChunkQueue } from "../image/chunk_queue";
import { Priority, type Wanted } from "../image/chunk_queue";
import type { Frame, Image } from "../image/image";
import type { Samples } from "../image/samples";

interface Waiting {
	readonly wanted: Wanted;
	readonly resolve: (samples: Samples) => void;
	readonly reject: (error: Error) => void;
}

export class TileReader {
	private readonly waiting = new Map<string, Set<Waiting>>();
	private readonly stop: () => void;

	constructor(
		private readonly image: Image,
		private readonly queue: ChunkQueue,
		private readonly owner: string = `raster ${image.id}`,
	) {
		this.stop = queue.listen((event) => {
			const waiters = this.waiting.get(event.key);
			if (!waiters) {
				return;
			}
			this.waiting.delete(event.key);
			const samples = event.type === "chunk" ? queue.cache.get(event.key) : undefined;
			for (const { resolve, reject } of waiters) {
				samples ? resolve(samples) : reject(event.type === "failed" ? event.error : new Error("the chunk was evicted"));
			}
			this.declare();
		});
	}

	/** Rejects with an `AbortError` when `signal` fires. */
	read(level: number, frame: Frame, chunk: Vec3, signal?: AbortSignal): Promise<Samples> {
		const here = this.image.chunk(level, frame, ...chunk);
		if (here) {
			return Promise.resolve(here);
		}
		const priority = level === this.image.levels.length - 1 ? Priority.coarse : Priority.visible;
		const wanted = this.image.wanted(level, frame, chunk, priority);
		return new Promise((resolve, reject) => {
			const waiter: Waiting = { wanted, resolve, reject };
			const waiters = this.waiting.get(wanted.key) ?? new Set();
			this.waiting.set(wanted.key, waiters.add(waiter));
			signal?.addEventListener(
				"abort",
				() => {
					if (waiters.delete(waiter)) {
						if (waiters.size === 0 && this.waiting.get(wanted.key) === waiters) {
							this.waiting.delete(wanted.key);
						}
						this.declare();
						reject(new DOMException("the tile is no longer wanted", "AbortError"));
					}
				},
				{ once: true },
			);
			this.declare();
		});
	}

	get busy(): boolean {
		return this.waiting.size > 0;
	}

	close(): void {
		this.stop();
		this.waiting.clear();
		this.declare();
	}

	private declare(): void {
		this.queue.want(
			this.owner,
			[...this.waiting.values()].flatMap((waiters) => [...waiters].slice(0, 1).map(({ wanted }) => wanted)),
		);
	}
}
