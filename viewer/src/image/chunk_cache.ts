/** Decoded chunks, least recently used first out, bounded by bytes. */

import type { Samples } from "./samples";

export class ChunkCache {
	private readonly chunks = new Map<string, Samples>();
	private held = 0;

	constructor(readonly budget: number) {}

	get bytes(): number {
		return this.held;
	}

	has(key: string): boolean {
		return this.chunks.has(key);
	}

	/** A read makes the chunk the most recent one. */
	get(key: string): Samples | undefined {
		const samples = this.chunks.get(key);
		if (samples) {
			this.chunks.delete(key);
			this.chunks.set(key, samples);
		}
		return samples;
	}

	/** Keeps `samples`, then drops the oldest chunks that `keep` does not hold until the budget is met. */
	put(key: string, samples: Samples, keep: (key: string) => boolean = () => false): void {
		this.delete(key);
		this.chunks.set(key, samples);
		this.held += samples.byteLength;
		for (const [old, dropped] of this.chunks) {
			if (this.held <= this.budget) {
				return;
			}
			if (old !== key && !keep(old)) {
				this.chunks.delete(old);
				this.held -= dropped.byteLength;
			}
		}
	}

	delete(key: string): void {
		const samples = this.chunks.get(key);
		if (samples && this.chunks.delete(key)) {
			this.held -= samples.byteLength;
		}
	}
}
