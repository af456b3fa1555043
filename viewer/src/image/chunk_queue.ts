/**
 * Which chunks to fetch next.
 *
 * Every pane declares what it wants and how badly; a new declaration replaces its last one. A chunk nobody wants any more
 * leaves the queue, or is aborted if it is under way. See README.md in this folder.
 */

import { ChunkCache } from "./chunk_cache";
import { type ChunkAddress, type Decoder, ReadFailure } from "./decoder";

/** Smaller is sooner. */
export const Priority = { coarse: 0, visible: 1, prefetch: 2, background: 3 } as const;
export type Priority = (typeof Priority)[keyof typeof Priority];

export interface Wanted {
	readonly key: string;
	readonly address: ChunkAddress;
	readonly priority: Priority;
}

/** How often a chunk is asked for again after the network failed, and how long to wait before. */
const RETRIES = 4;
const RETRY_MS = 500;

export type QueueEvent =
	| { readonly type: "chunk"; readonly key: string }
	| { readonly type: "failed"; readonly key: string; readonly error: ReadFailure };

export class ChunkQueue {
	private readonly wants = new Map<string, readonly Wanted[]>();
	private readonly running = new Map<string, AbortController>();
	private readonly failures = new Map<string, number>();
	private readonly broken = new Set<string>();
	private readonly listeners = new Set<(event: QueueEvent) => void>();
	private merged: Map<string, Wanted> = new Map();

	constructor(
		private readonly decoder: Decoder,
		readonly cache: ChunkCache,
		private readonly delay: (run: () => void, ms: number) => void = (run, ms) => void setTimeout(run, ms),
		/** Reads under way at once: enough that no worker waits for the network. */
		private readonly limit: number = decoder.width * 8,
	) {}

	listen(listener: (event: QueueEvent) => void): () => void {
		this.listeners.add(listener);
		return () => this.listeners.delete(listener);
	}

	/** Replaces what `owner` wants, in its order of urgency within a priority. */
	want(owner: string, wanted: readonly Wanted[]): void {
		if (wanted.length === 0) {
			this.wants.delete(owner);
		} else {
			this.wants.set(owner, wanted);
		}
		this.plan();
	}

	isBroken(key: string): boolean {
		return this.broken.has(key);
	}

	/** Tries again what had failed for good. */
	retry(): void {
		this.broken.clear();
		this.failures.clear();
		this.pump();
	}

	private plan(): void {
		const merged = new Map<string, Wanted>();
		for (const list of this.wants.values()) {
			for (const wanted of list) {
				const known = merged.get(wanted.key);
				if (!known || wanted.priority < known.priority) {
					merged.set(wanted.key, wanted);
				}
			}
		}
		this.merged = merged;
		for (const [key, abort] of this.running) {
			if (!merged.has(key)) {
				abort.abort();
			}
		}
		this.pump();
	}

	private pump(): void {
		if (this.running.size >= this.limit) {
			return;
		}
		const open = [...this.merged.values()]
			.filter(({ key }) => !this.cache.has(key) && !this.running.has(key) && !this.broken.has(key))
			.sort((a, b) => a.priority - b.priority);
		for (const wanted of open) {
			// Half of the places stay free for what a person will look at next: reads under way cannot be overtaken.
			const places = wanted.priority >= Priority.prefetch ? this.limit / 2 : this.limit;
			if (this.running.size >= places) {
				return;
			}
			this.start(wanted);
		}
	}

	private start({ key, address }: Wanted): void {
		const abort = new AbortController();
		this.running.set(key, abort);
		this.decoder.read(address, abort.signal).then(
			(samples) => {
				this.running.delete(key);
				this.failures.delete(key);
				this.cache.put(key, samples, (held) => this.merged.has(held));
				this.emit({ type: "chunk", key });
				this.pump();
			},
			(error: unknown) => {
				this.running.delete(key);
				if (error instanceof ReadFailure) {
					this.fail(key, error);
				}
				this.pump();
			},
		);
	}

	private fail(key: string, error: ReadFailure): void {
		const count = (this.failures.get(key) ?? 0) + 1;
		this.failures.set(key, count);
		this.broken.add(key);
		const permanent = error.status !== null && error.status < 500;
		if (permanent || count > RETRIES) {
			this.emit({ type: "failed", key, error });
			return;
		}
		this.delay(
			() => {
				this.broken.delete(key);
				this.pump();
			},
			RETRY_MS * 2 ** (count - 1),
		);
	}

	private emit(event: QueueEvent): void {
		for (const listener of this.listeners) {
			listener(event);
		}
	}
}

export { ChunkCache };
