/** Runs in a worker: fetches and decodes chunks with zarrita, and hands the buffers over without copying. */

import * as zarr from "zarrita";
import type { Reply, Request } from "./protocol";
import type { Samples } from "./samples";
import { HttpFailure, type ReadOptions, ShardStore } from "./shard_store";

const SHARD_BUDGET = 64 * 2 ** 20;

const arrays = new Map<string, Promise<zarr.Array<zarr.DataType, ShardStore>>>();
const running = new Map<number, AbortController>();

self.addEventListener("message", (event: MessageEvent<Request>) => {
	const request = event.data;
	if (request.type === "cancel") {
		running.get(request.id)?.abort();
		return;
	}
	const abort = new AbortController();
	running.set(request.id, abort);
	read(request, abort.signal)
		.then(
			(samples): Reply => ({ type: "chunk", id: request.id, samples }),
			(error: unknown): Reply =>
				abort.signal.aborted
					? { type: "cancelled", id: request.id }
					: {
							type: "failed",
							id: request.id,
							status: error instanceof HttpFailure ? error.status : null,
							message: explain(error),
						},
		)
		.then((reply) => {
			running.delete(request.id);
			self.postMessage(reply, reply.type === "chunk" ? { transfer: [reply.samples.buffer] } : {});
		});
});

async function read(request: Extract<Request, { type: "read" }>, signal: AbortSignal): Promise<Samples> {
	const array = await open(request.array, request.wholeShards);
	signal.throwIfAborted();
	const options: ReadOptions = request.blob === undefined ? { signal } : { signal, blob: request.blob };
	const { data } = await array.getChunk([...request.chunk], options);
	signal.throwIfAborted();
	return toSamples(data);
}

/** With its causes: zarrita wraps what a codec said. */
function explain(error: unknown): string {
	if (!(error instanceof Error)) {
		return String(error);
	}
	return error.cause === undefined ? error.message : `${error.message}: ${explain(error.cause)}`;
}

function open(url: string, wholeShards: boolean): Promise<zarr.Array<zarr.DataType, ShardStore>> {
	const known = arrays.get(url);
	if (known) {
		return known;
	}
	const opened = zarr.open.v3(new ShardStore(url, wholeShards, SHARD_BUDGET), { kind: "array" });
	arrays.set(url, opened);
	opened.catch(() => arrays.delete(url));
	return opened;
}

/** Only buffers of their own may be transferred, and 64-bit samples become 32-bit floats. */
function toSamples(data: unknown): Samples {
	if (data instanceof Float64Array) {
		return Float32Array.from(data);
	}
	if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
		return Float32Array.from(data, Number);
	}
	if (!ArrayBuffer.isView(data) || data instanceof DataView) {
		throw new TypeError("the array holds samples that cannot be shown");
	}
	const samples = data as Samples;
	return samples.byteLength === samples.buffer.byteLength ? samples : (samples.slice() as Samples);
}
