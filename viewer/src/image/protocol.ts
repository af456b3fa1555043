/** Messages between the page and a decoding worker. */

import type { Samples } from "./samples";

export interface ReadChunk {
	readonly type: "read";
	readonly id: number;
	/** Address of the array's folder, without a slash at the end. */
	readonly array: string;
	readonly chunk: readonly number[];
	/** Fetch whole shards and slice them in memory (volumes), or ask for byte ranges (large rasters). */
	readonly wholeShards: boolean;
	/** Address of the encoded chunk itself, where it is stored by content. */
	readonly blob?: string;
}

export interface CancelRead {
	readonly type: "cancel";
	readonly id: number;
}

export type Request = ReadChunk | CancelRead;

export type Reply =
	| { readonly type: "chunk"; readonly id: number; readonly samples: Samples }
	| { readonly type: "cancelled"; readonly id: number }
	| { readonly type: "failed"; readonly id: number; readonly status: number | null; readonly message: string };
