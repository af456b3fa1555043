/** Sets of voxels as runs along x: what tools make and what the label store takes. Twin of `Spans` in `labels/edit.py`. */

import type { Vec3 } from "../geometry/affine";
import type { Shape } from "../geometry/grid";

/** `start <= index < stop`, in (z, y, x). */
export interface Box {
	readonly start: Vec3;
	readonly stop: Vec3;
}

/** Rows of `z, y, x, length`: sorted by (z, y, x), disjoint, inside the grid. */
export class Spans {
	constructor(readonly runs: Int32Array) {}

	get length(): number {
		return this.runs.length / 4;
	}

	/** How many voxels. */
	get count(): number {
		let count = 0;
		for (let i = 3; i < this.runs.length; i += 4) {
			count += this.runs[i]!;
		}
		return count;
	}

	/** The smallest box around the voxels, or `null` if there are none. */
	get box(): Box | null {
		if (this.runs.length === 0) {
			return null;
		}
		const low = [Infinity, Infinity, Infinity];
		const high = [0, 0, 0];
		this.forEach((z, y, x, length) => {
			low[0] = Math.min(low[0]!, z);
			low[1] = Math.min(low[1]!, y);
			low[2] = Math.min(low[2]!, x);
			high[0] = Math.max(high[0]!, z + 1);
			high[1] = Math.max(high[1]!, y + 1);
			high[2] = Math.max(high[2]!, x + length);
		});
		return { start: low as unknown as Vec3, stop: high as unknown as Vec3 };
	}

	forEach(visit: (z: number, y: number, x: number, length: number) => void): void {
		const { runs } = this;
		for (let i = 0; i < runs.length; i += 4) {
			visit(runs[i]!, runs[i + 1]!, runs[i + 2]!, runs[i + 3]!);
		}
	}

	/** Little-endian int32 in base64, as JSON carries it. */
	toBase64(): string {
		const bytes = new Uint8Array(this.runs.length * 4);
		const view = new DataView(bytes.buffer);
		this.runs.forEach((value, i) => {
			view.setInt32(4 * i, value, true);
		});
		let text = "";
		for (let i = 0; i < bytes.length; i += 0x8000) {
			text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
		}
		return btoa(text);
	}

	/** From `toBase64`; throws `RangeError` if it is not rows of four. */
	static fromBase64(text: string): Spans {
		const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
		if (bytes.length % 16 !== 0) {
			throw new RangeError("span bytes are rows of four little-endian 32-bit integers");
		}
		const view = new DataView(bytes.buffer);
		return new Spans(Int32Array.from({ length: bytes.length / 4 }, (_, i) => view.getInt32(4 * i, true)));
	}
}

/** Collects voxels in any order; overlapping additions count once. Clips to the grid. */
export class SpanSet {
	/** Per row `z * ny + y`: start, stop, start, stop… sorted and apart. */
	private readonly rows = new Map<number, number[]>();

	constructor(private readonly shape: Shape) {}

	get isEmpty(): boolean {
		return this.rows.size === 0;
	}

	/** Adds `x0 <= x < x1` of row (z, y). */
	add(z: number, y: number, x0: number, x1: number): void {
		const [nz, ny, nx] = this.shape;
		let start = Math.max(0, x0);
		let stop = Math.min(nx, x1);
		if (z < 0 || y < 0 || z >= nz || y >= ny || start >= stop) {
			return;
		}
		const key = z * ny + y;
		const row = this.rows.get(key);
		if (!row) {
			this.rows.set(key, [start, stop]);
			return;
		}
		// Runs that touch are joined, so a row stays a short list however often the brush passes.
		let first = 0;
		while (first < row.length && row[first + 1]! < start) {
			first += 2;
		}
		let last = first;
		while (last < row.length && row[last]! <= stop) {
			start = Math.min(start, row[last]!);
			stop = Math.max(stop, row[last + 1]!);
			last += 2;
		}
		row.splice(first, last - first, start, stop);
	}

	addSpans(spans: Spans): void {
		spans.forEach((z, y, x, length) => {
			this.add(z, y, x, x + length);
		});
	}

	toSpans(): Spans {
		const [, ny] = this.shape;
		const keys = [...this.rows.keys()].sort((a, b) => a - b);
		const runs: number[] = [];
		for (const key of keys) {
			const row = this.rows.get(key)!;
			for (let i = 0; i < row.length; i += 2) {
				runs.push(Math.floor(key / ny), key % ny, row[i]!, row[i + 1]! - row[i]!);
			}
		}
		return new Spans(Int32Array.from(runs));
	}
}
