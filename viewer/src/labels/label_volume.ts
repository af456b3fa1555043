/**
 * The voxels of one version of a segmentation, with edits that the server has not acknowledged yet laid over them.
 *
 * What the server has is immutable: chunks are cached under their digest, whatever version they belong to. What is pending is
 * a list of edits; a chunk they touch has a working copy, `stored ⊕ pending`, rebuilt from the stored chunk whenever either
 * changes. So a reload, a late chunk, an undone edit and a merge by somebody else all end in the same voxels.
 */

import type { Vec3 } from "../geometry/affine";
import type { Shape } from "../geometry/grid";
import { type ChunkCache, type ChunkQueue, Priority, type Wanted } from "../image/chunk_queue";
import type { ChunkSource } from "../image/plane";
import type { Box, Spans } from "./spans";

/** Give these voxels this label (0 erases), but only where the label drawn over is in `over`; `null`: anywhere. */
export interface VoxelWrite {
	readonly label: number;
	readonly spans: Spans;
	readonly over: readonly number[] | null;
}

export interface PendingEdit {
	readonly id: string;
	readonly writes: readonly VoxelWrite[];
}

export class LabelVolume implements ChunkSource {
	private index = new Map<string, string>();
	private readonly pending: PendingEdit[] = [];
	private readonly working = new Map<string, Uint16Array>();
	private readonly empty: Uint16Array;

	constructor(
		readonly segmentationId: string,
		readonly shape: Shape,
		readonly chunk: Shape,
		private readonly queue: ChunkQueue,
		private readonly base: string = "/api",
	) {
		this.empty = new Uint16Array(chunk[0] * chunk[1] * chunk[2]);
		queue.listen((event) => {
			if (event.type === "chunk" && event.key.startsWith("sha256:")) {
				this.arrived(event.key);
			}
		});
	}

	/** Shows another version: its chunks by key, `z/y/x`. */
	show(index: ReadonlyMap<string, string>): void {
		this.index = new Map(index);
		this.rebuildAll();
	}

	/** Changes some chunks to what the server has now; `null`: background. */
	update(chunks: Readonly<Record<string, string | null>>): void {
		for (const [key, digest] of Object.entries(chunks)) {
			if (digest === null) {
				this.index.delete(key);
			} else {
				this.index.set(key, digest);
			}
			this.rebuild(key);
		}
	}

	/** Lays an edit over the stored voxels. */
	apply(edit: PendingEdit): void {
		this.pending.push(edit);
		for (const key of this.touched(edit)) {
			const working = this.working.get(key);
			if (working) {
				this.write(working, key, edit);
			} else {
				this.rebuild(key);
			}
		}
	}

	/** Adds one write to an edit that is still being drawn. */
	extend(id: string, write: VoxelWrite): void {
		const at = this.pending.findIndex((edit) => edit.id === id);
		const known = this.pending[at];
		const edit: PendingEdit = { id, writes: [...(known?.writes ?? []), write] };
		const fresh: PendingEdit = { id, writes: [write] };
		if (known) {
			this.touchedBy.set(edit, new Set([...this.touched(known), ...this.touched(fresh)]));
			this.pending[at] = edit;
		} else {
			this.pending.push(edit);
		}
		for (const key of this.touched(fresh)) {
			const working = this.working.get(key);
			if (working) {
				this.write(working, key, fresh);
			} else {
				this.rebuild(key);
			}
		}
	}

	/** The same edit under another id. */
	rename(from: string, to: string): void {
		const at = this.pending.findIndex((edit) => edit.id === from);
		if (at >= 0) {
			this.pending[at] = { id: to, writes: this.pending[at]!.writes };
		}
	}

	/** Takes an edit away again. */
	drop(id: string): void {
		const at = this.pending.findIndex((edit) => edit.id === id);
		if (at >= 0) {
			const [edit] = this.pending.splice(at, 1);
			for (const key of this.touched(edit!)) {
				this.rebuild(key);
			}
		}
	}

	/** The server has the edit. Its chunks are computed here instead of being fetched back. */
	acknowledge(id: string, chunks: Readonly<Record<string, string | null>>, alone: boolean): void {
		const edit = this.pending.find((pending) => pending.id === id);
		if (edit && alone) {
			for (const [key, digest] of Object.entries(chunks)) {
				const stored = this.stored(key);
				if (stored && digest !== null) {
					const voxels = stored.slice();
					this.write(voxels, key, edit);
					this.queue.cache.put(digest, voxels);
				}
			}
		}
		this.drop(id);
		this.update(chunks);
	}

	/** Voxels of a chunk; `undefined` while they are on their way. */
	read(z: number, y: number, x: number): Uint16Array | undefined {
		const key = `${z}/${y}/${x}`;
		return this.working.get(key) ?? this.stored(key);
	}

	/** Label of a voxel; 0 while it is on its way. */
	at(index: Vec3): number {
		const [cz, cy, cx] = this.chunk;
		const [kz, ky, kx] = [Math.floor(index[0] / cz), Math.floor(index[1] / cy), Math.floor(index[2] / cx)];
		return this.read(kz, ky, kx)?.[((index[0] - kz * cz) * cy + index[1] - ky * cy) * cx + index[2] - kx * cx] ?? 0;
	}

	/** The requests for chunks that are stored but not here; `null` for background, which needs none. */
	wanted(chunk: Vec3, priority: Priority = Priority.visible): Wanted | null {
		const key = chunk.join("/");
		const digest = this.index.get(key);
		if (digest === undefined) {
			return null;
		}
		const base = `${this.base}/segmentations/${this.segmentationId}`;
		return {
			key: digest,
			priority,
			address: {
				// Codecs are the same at every version; version 0 exists always and never changes.
				array: `${base}@0/zarr/0`,
				chunk: [...chunk],
				wholeShards: false,
				blob: `${base}/blobs/${digest.replace("sha256:", "")}`,
				group: digest,
			},
		};
	}

	/** Chunks with anything in them, or with pending edits. */
	*occupied(): Iterable<Vec3> {
		for (const key of new Set([...this.index.keys(), ...this.working.keys()])) {
			const [z, y, x] = key.split("/").map(Number);
			yield [z!, y!, x!];
		}
	}

	private stored(key: string): Uint16Array | undefined {
		const digest = this.index.get(key);
		return digest === undefined ? this.empty : (this.cache.get(digest) as Uint16Array | undefined);
	}

	private get cache(): ChunkCache {
		return this.queue.cache;
	}

	private arrived(digest: string): void {
		for (const edit of this.pending) {
			for (const key of this.touched(edit)) {
				if (this.index.get(key) === digest && !this.working.has(key)) {
					this.rebuild(key);
				}
			}
		}
	}

	private rebuildAll(): void {
		const keys = new Set([...this.working.keys(), ...this.pending.flatMap((edit) => [...this.touched(edit)])]);
		for (const key of keys) {
			this.rebuild(key);
		}
	}

	private rebuild(key: string): void {
		this.working.delete(key);
		const edits = this.pending.filter((edit) => this.touched(edit).has(key));
		const stored = this.stored(key);
		if (edits.length === 0 || !stored) {
			return;
		}
		const voxels = stored.slice();
		for (const edit of edits) {
			this.write(voxels, key, edit);
		}
		this.working.set(key, voxels);
	}

	private readonly touchedBy = new WeakMap<PendingEdit, ReadonlySet<string>>();

	private touched(edit: PendingEdit): ReadonlySet<string> {
		let keys = this.touchedBy.get(edit);
		if (!keys) {
			const found = new Set<string>();
			const [cz, cy, cx] = this.chunk;
			for (const { spans } of edit.writes) {
				spans.forEach((z, y, x, length) => {
					const last = Math.floor((x + length - 1) / cx);
					for (let kx = Math.floor(x / cx); kx <= last; kx++) {
						found.add(`${Math.floor(z / cz)}/${Math.floor(y / cy)}/${kx}`);
					}
				});
			}
			keys = found;
			this.touchedBy.set(edit, keys);
		}
		return keys;
	}

	private write(voxels: Uint16Array, key: string, edit: PendingEdit): void {
		const [kz, ky, kx] = key.split("/").map(Number) as [number, number, number];
		for (const write of edit.writes) {
			writeChunk(voxels, this.chunk, [kz, ky, kx], write);
		}
	}
}

/** Applies one write to the voxels of one chunk, in place. */
export function writeChunk(voxels: Uint16Array, chunk: Shape, at: Vec3, { label, spans, over }: VoxelWrite): void {
	const [cz, cy, cx] = chunk;
	const x0 = at[2] * cx;
	const allowed = over === null ? null : new Set(over);
	spans.forEach((z, y, x, length) => {
		if (Math.floor(z / cz) !== at[0] || Math.floor(y / cy) !== at[1]) {
			return;
		}
		const row = ((z - at[0] * cz) * cy + y - at[1] * cy) * cx - x0;
		const stop = Math.min(x + length, x0 + cx);
		for (let i = Math.max(x, x0); i < stop; i++) {
			if (allowed === null || allowed.has(voxels[row + i]!)) {
				voxels[row + i] = label;
			}
		}
	});
}

/** Whether two boxes share a voxel. */
export function overlap(a: Box, b: Box): boolean {
	return [0, 1, 2].every((axis) => a.start[axis]! < b.stop[axis]! && b.start[axis]! < a.stop[axis]!);
}
