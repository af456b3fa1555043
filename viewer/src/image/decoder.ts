/** The page's side of the decoding workers. */

import type { ReadChunk, Reply, Request } from "./protocol";
import type { Samples } from "./samples";

/** What to read; see `ReadChunk`. `group` keeps chunks of one shard on one worker, so that its bytes are fetched once. */
export interface ChunkAddress extends Omit<ReadChunk, "type" | "id"> {
	readonly group: string;
}

export interface Decoder {
	/** Rejects with an `AbortError` when `signal` fires, and with `ReadFailure` when the server refuses. */
	read(address: ChunkAddress, signal: AbortSignal): Promise<Samples>;
	readonly width: number;
}

export class ReadFailure extends Error {
	constructor(
		readonly status: number | null,
		message: string,
	) {
		super(message);
		this.name = "ReadFailure";
	}
}

interface Waiting {
	readonly resolve: (samples: Samples) => void;
	readonly reject: (error: Error) => void;
}

export class WorkerDecoder implements Decoder {
	private readonly workers: Worker[];
	private readonly waiting = new Map<number, Waiting>();
	private next = 1;

	constructor(readonly width: number = Math.min(4, Math.max(2, (navigator.hardwareConcurrency || 2) - 1))) {
		this.workers = Array.from({ length: width }, () => {
			const worker = new Worker(new URL("./decode_worker.ts", import.meta.url), { type: "module" });
			worker.addEventListener("message", (event: MessageEvent<Reply>) => this.settle(event.data));
			worker.addEventListener("error", (event) => this.fail(event.message));
			return worker;
		});
	}

	/** A worker that breaks down answers nobody: everyone who waits is told. */
	private fail(message: string): void {
		for (const { reject } of this.waiting.values()) {
			reject(new ReadFailure(null, message || "the decoder could not start"));
		}
		this.waiting.clear();
	}

	read(address: ChunkAddress, signal: AbortSignal): Promise<Samples> {
		const id = this.next++;
		const worker = this.workers[hash(address.group) % this.workers.length]!;
		const { group: _, ...read } = address;
		return new Promise((resolve, reject) => {
			this.waiting.set(id, { resolve, reject });
			worker.postMessage({ type: "read", id, ...read } satisfies Request);
			signal.addEventListener("abort", () => worker.postMessage({ type: "cancel", id } satisfies Request), {
				once: true,
			});
		});
	}

	private settle(reply: Reply): void {
		const waiting = this.waiting.get(reply.id);
		this.waiting.delete(reply.id);
		switch (reply.type) {
			case "chunk":
				waiting?.resolve(reply.samples);
				break;
			case "cancelled":
				waiting?.reject(new DOMException("the chunk is no longer wanted", "AbortError"));
				break;
			case "failed":
				waiting?.reject(new ReadFailure(reply.status, reply.message));
				break;
		}
	}
}

function hash(text: string): number {
	let value = 2166136261;
	for (let i = 0; i < text.length; i++) {
		value = Math.imul(value ^ text.charCodeAt(i), 16777619);
	}
	return value >>> 0;
}
