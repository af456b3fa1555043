/**
 * Segmentation: the viewer's mirror of one segmentation, and the only way it changes.
 *
 * An edit is drawn at once, kept in the outbox, and sent in order, one at a time. The server answers with the version and the
 * digests of the changed chunks. If others edited meanwhile and the voxels are disjoint, the server merged and we fetch what
 * they changed. If the same voxels changed, it refuses with the boxes, and the person decides. One loop (`flush`) sends;
 * everything else only queues.
 */

import type { Client } from "../api/client";
import { explain, isProblem } from "../api/errors";
import type { EditRecord, Receipt, SegmentationRecord, ShapeAct, ShapeRecord } from "../api/types";
import type { ChunkQueue } from "../image/chunk_queue";
import { LabelVolume, overlap, type VoxelWrite } from "./label_volume";
import { type Outbox, ownerKey, type QueuedEdit } from "./outbox";
import { type Box, Spans } from "./spans";
import { EMPTY, fromHistory, record, type UndoStacks } from "./undo";

export type SaveStatus =
	| { readonly kind: "saved" }
	| { readonly kind: "saving"; readonly edits: number }
	| { readonly kind: "offline"; readonly edits: number }
	| { readonly kind: "conflict"; readonly boxes: readonly Box[]; readonly voxels: number; readonly current: number }
	| { readonly kind: "refused"; readonly message: string }
	| { readonly kind: "signed-out"; readonly edits: number };

/** What changed, for those who draw it. */
export type Change = "voxels" | "shapes" | "status" | "history" | "version";

export interface Draft {
	readonly tool: string;
	readonly params: EditRecord["params"];
	readonly writes: readonly VoxelWrite[];
	readonly shapes: readonly ShapeAct[];
}

const RETRY_MS = [500, 1000, 2000, 5000, 10000];
const HISTORY_PAGE = 50;

export interface Clock {
	wait(ms: number): Promise<void>;
	newId(): string;
}

export const browserClock: Clock = {
	wait: (ms) =>
		new Promise((resolve) => {
			const timer = setTimeout(done, ms);
			function done(): void {
				clearTimeout(timer);
				globalThis.removeEventListener?.("online", done);
				resolve();
			}
			globalThis.addEventListener?.("online", done);
		}),
	newId: () => crypto.randomUUID(),
};

export class Segmentation {
	private live: LabelVolume;
	private past: { version: number; volume: LabelVolume; shapes: ShapeRecord[] } | null = null;
	private liveShapes = new Map<string, ShapeRecord>();
	private queue: QueuedEdit[] = [];
	private stacks: UndoStacks = EMPTY;
	private status_: SaveStatus = { kind: "saved" };
	private edits_: EditRecord[] = [];
	/** Boxes others changed while edits of ours were waiting. */
	private foreign: Box[] = [];
	private flushing = false;
	private decide: ((choice: "theirs" | "mine" | "retry") => void) | null = null;
	private readonly listeners = new Set<(change: Change) => void>();
	private head_: number;

	private constructor(
		readonly record: SegmentationRecord,
		private readonly account: string,
		readonly mayEdit: boolean,
		private readonly client: Client,
		private readonly chunks: ChunkQueue,
		private readonly outbox: Outbox,
		private readonly clock: Clock,
	) {
		this.head_ = record.head;
		this.live = this.newVolume();
	}

	/** Opens the head version with this person's unsent edits over it, and starts sending them. */
	static async open(
		record: SegmentationRecord,
		account: string,
		mayEdit: boolean,
		client: Client,
		chunks: ChunkQueue,
		outbox: Outbox,
		clock: Clock = browserClock,
	): Promise<Segmentation> {
		const opened = new Segmentation(record, account, mayEdit, client, chunks, outbox, clock);
		await opened.load();
		opened.queue = await outbox.load(ownerKey(account, record.id));
		for (const edit of opened.queue) {
			opened.lay(edit);
		}
		void opened.flush();
		return opened;
	}

	get id(): string {
		return this.record.id;
	}

	/** The version the server has, without what is still in the outbox. */
	get head(): number {
		return this.head_;
	}

	/** The version on the screen. */
	get version(): number {
		return this.past?.version ?? this.head_;
	}

	get isPast(): boolean {
		return this.past !== null;
	}

	get canEdit(): boolean {
		return this.mayEdit && this.past === null;
	}

	get volume(): LabelVolume {
		return this.past?.volume ?? this.live;
	}

	get shapes(): readonly ShapeRecord[] {
		return this.past?.shapes ?? [...this.liveShapes.values()];
	}

	get status(): SaveStatus {
		return this.status_;
	}

	get history(): readonly EditRecord[] {
		return this.edits_;
	}

	get canUndo(): boolean {
		return this.canEdit && (this.queue.length > 0 || this.stacks.undo.length > 0);
	}

	get canRedo(): boolean {
		return this.canEdit && this.queue.length === 0 && this.stacks.redo.length > 0;
	}

	listen(listener: (change: Change) => void): () => void {
		this.listeners.add(listener);
		return () => this.listeners.delete(listener);
	}

	/** Shows what a stroke in progress would do; `write` or `cancel` ends it. */
	preview(write: VoxelWrite): void {
		this.live.extend(PREVIEW, write);
		this.emit("voxels");
	}

	cancelPreview(): void {
		this.live.drop(PREVIEW);
		this.emit("voxels");
	}

	/** Draws an edit and queues it. Resolves when it is safe in the outbox. */
	async write(draft: Draft): Promise<void> {
		this.live.drop(PREVIEW);
		const writes = draft.writes.filter((write) => write.spans.length > 0);
		if (!this.canEdit || (writes.length === 0 && draft.shapes.length === 0)) {
			this.emit("voxels");
			return;
		}
		const edit: QueuedEdit = {
			id: this.clock.newId(),
			owner: ownerKey(this.account, this.id),
			order: (this.queue.at(-1)?.order ?? 0) + 1,
			drawnOn: this.head_,
			base: null,
			body: {
				tool: draft.tool,
				params: draft.params,
				reason: null,
				voxels: writes.map(({ label, over, spans }) => ({ label, over, spans: spans.toBase64() })),
				shapes: draft.shapes,
			},
		};
		this.queue.push(edit);
		this.lay(edit);
		this.setStatus({ kind: "saving", edits: this.queue.length });
		await this.outbox.put(edit);
		void this.flush();
	}

	/** Takes back this person's latest act: out of the outbox if it was never sent, else by a reverting edit. */
	async undo(): Promise<void> {
		if (!this.canUndo) {
			return;
		}
		const last = this.queue.at(-1);
		if (last && last.base === null && this.queue.length > 1) {
			await this.forget(last);
			return;
		}
		if (last && last.base === null && this.status_.kind !== "saving") {
			await this.forget(last);
			this.settle();
			return;
		}
		await this.idle();
		const version = this.stacks.undo.at(-1);
		if (version !== undefined) {
			await this.command(() => this.client.revert(this.id, version, this.head_), version);
		}
	}

	async redo(): Promise<void> {
		await this.idle();
		const version = this.stacks.redo.at(-1);
		if (this.canEdit && version !== undefined) {
			await this.command(() => this.client.revert(this.id, version, this.head_), version);
		}
	}

	/** Makes the labels what they were at `version`, as a new version. */
	async restore(version: number, reason: string | null): Promise<void> {
		await this.idle();
		this.past = null;
		await this.command(() => this.client.restore(this.id, version, this.head_, reason), null);
		this.emit("version");
	}

	/** An act the server made from something it already has, such as an accepted proposal. */
	async accept(act: (base: number) => Promise<Receipt>): Promise<void> {
		await this.idle();
		await this.command(() => act(this.head_), null);
	}

	/** Shows an older version, read-only; `null` returns to the head. */
	async view(version: number | null): Promise<void> {
		if (version === null || version === this.head_) {
			this.past = null;
		} else {
			const ref = `${this.id}@${version}`;
			const [index, shapes] = await Promise.all([this.client.chunks(ref), this.client.shapes(ref)]);
			const volume = this.newVolume();
			volume.show(new Map(Object.entries(index.chunks)));
			this.past = { version, volume, shapes: [...shapes.shapes] };
		}
		this.emit("version");
		this.emit("voxels");
		this.emit("shapes");
	}

	/** Fetches what others changed; harmless at any time. */
	async follow(): Promise<void> {
		if (this.queue.length > 0 || this.flushing) {
			return;
		}
		const before = this.head_;
		await this.catchUp();
		if (this.head_ !== before) {
			this.emit("version");
			await this.refreshHistory();
		}
	}

	/** Answers a conflict or a refusal: drop the edit, draw it again on what they made, or only try again. */
	resolve(choice: "theirs" | "mine" | "retry"): void {
		this.decide?.(choice);
		this.decide = null;
	}

	async refreshHistory(): Promise<void> {
		this.edits_ = await this.client.edits(this.id, null, HISTORY_PAGE);
		this.emit("history");
	}

	/** Reads another page; whether there was one. */
	async olderHistory(): Promise<boolean> {
		const last = this.edits_.at(-1);
		const page = last ? await this.client.edits(this.id, last.version, HISTORY_PAGE) : [];
		this.edits_ = [...this.edits_, ...page];
		this.emit("history");
		return page.length > 0;
	}

	private newVolume(): LabelVolume {
		const [z, y, x] = this.record.grid.shape;
		const [cz, cy, cx] = this.record.chunk_shape;
		return new LabelVolume(this.id, [z!, y!, x!], [cz!, cy!, cx!], this.chunks);
	}

	private async load(): Promise<void> {
		const [index, shapes, edits] = await Promise.all([
			this.client.chunks(this.id),
			this.client.shapes(this.id),
			this.client.edits(this.id, null, HISTORY_PAGE),
		]);
		this.head_ = index.version;
		this.live.show(new Map(Object.entries(index.chunks)));
		this.liveShapes = new Map(shapes.shapes.map((shape) => [shape.id, shape]));
		this.edits_ = edits;
		this.stacks = fromHistory(edits, this.account);
	}

	private lay(edit: QueuedEdit): void {
		this.live.apply({ id: edit.id, writes: writesOf(edit) });
		this.applyShapes(edit.body.shapes);
		this.emit("voxels");
		if (edit.body.shapes.length > 0) {
			this.emit("shapes");
		}
	}

	private applyShapes(acts: readonly ShapeAct[]): void {
		for (const act of acts) {
			if (act.op === "put") {
				this.liveShapes.set(act.shape.id, act.shape);
			} else {
				this.liveShapes.delete(act.id);
			}
		}
	}

	/** Sends what is queued until nothing is left. */
	private async flush(): Promise<void> {
		if (this.flushing) {
			return;
		}
		this.flushing = true;
		let failures = 0;
		try {
			for (let edit = this.queue[0]; edit; edit = this.queue[0]) {
				try {
					const collision = this.collision(edit);
					if (collision.length > 0) {
						await this.conflict(edit, collision, 0, this.head_);
						continue;
					}
					const sent = edit.base === null ? { ...edit, base: this.head_ } : edit;
					this.queue[0] = sent;
					await this.outbox.put(sent);
					this.setStatus({ kind: "saving", edits: this.queue.length });
					const receipt = await this.client.edit(this.id, { ...sent.body, base: sent.base!, request_id: sent.id });
					failures = 0;
					await this.acknowledge(sent, receipt);
				} catch (error) {
					await this.recover(this.queue[0]!, error, failures++);
				}
			}
		} finally {
			this.flushing = false;
		}
		this.settle();
	}

	private async acknowledge(edit: QueuedEdit, receipt: Receipt): Promise<void> {
		const alone = receipt.version === edit.base! + 1;
		await this.outbox.delete(edit.id);
		this.queue = this.queue.filter(({ id }) => id !== edit.id);
		this.live.acknowledge(edit.id, receipt.chunks, alone);
		this.stacks = record(this.stacks, receipt.version, null);
		if (alone) {
			this.head_ = receipt.version;
		} else {
			await this.noteForeign(edit.base!, receipt.version);
			await this.catchUp();
		}
		this.emit("version");
		if (this.queue.length === 0) {
			this.foreign = [];
			await this.refreshHistory();
		}
	}

	/** Others edited between `base` and `version`: remember where, for edits that were drawn before we saw it. */
	private async noteForeign(base: number, version: number): Promise<void> {
		const edits = await this.client.edits(this.id, version, version - base);
		for (const { box, version: other, actor } of edits) {
			if (other > base && actor.id !== this.account && box) {
				this.foreign.push(box);
			}
		}
	}

	private collision(edit: QueuedEdit): Box[] {
		if (edit.base !== null || this.foreign.length === 0) {
			return [];
		}
		const boxes = writesOf(edit).map(({ spans }) => spans.box);
		return this.foreign.filter((theirs) => boxes.some((ours) => ours !== null && overlap(ours, theirs)));
	}

	private async recover(edit: QueuedEdit, error: unknown, failures: number): Promise<void> {
		if (isProblem(error, "version-conflict")) {
			const { boxes, voxels, current } = error.problem;
			await this.conflict(edit, boxes, voxels, current);
		} else if (isProblem(error, "unreachable")) {
			this.setStatus({ kind: "offline", edits: this.queue.length });
			await this.clock.wait(RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]!);
		} else if (isProblem(error, "not-authenticated")) {
			this.setStatus({ kind: "signed-out", edits: this.queue.length });
			await new Promise<string>((resolve) => {
				this.decide = resolve;
			});
		} else {
			this.setStatus({ kind: "refused", message: explain(error) });
			const choice = await new Promise<"theirs" | "mine" | "retry">((resolve) => {
				this.decide = resolve;
			});
			if (choice === "theirs") {
				await this.forget(edit);
				await this.catchUp();
			}
		}
	}

	private async conflict(edit: QueuedEdit, boxes: readonly Box[], voxels: number, current: number): Promise<void> {
		this.setStatus({ kind: "conflict", boxes, voxels, current });
		const choice = await new Promise<"theirs" | "mine" | "retry">((resolve) => {
			this.decide = resolve;
		});
		await this.catchUp();
		this.foreign = [];
		if (choice === "theirs") {
			await this.forget(edit);
		} else {
			// It is a new request now: drawn on what they made.
			const again: QueuedEdit = { ...edit, id: this.clock.newId(), base: null, drawnOn: this.head_ };
			await this.outbox.put(again);
			await this.outbox.delete(edit.id);
			this.queue = this.queue.map((queued) => (queued.id === edit.id ? again : queued));
			this.live.rename(edit.id, again.id);
		}
	}

	private async forget(edit: QueuedEdit): Promise<void> {
		await this.outbox.delete(edit.id);
		this.queue = this.queue.filter(({ id }) => id !== edit.id);
		this.live.drop(edit.id);
		if (edit.body.shapes.length > 0) {
			await this.reloadShapes();
		}
		this.emit("voxels");
	}

	private async reloadShapes(): Promise<void> {
		const { shapes } = await this.client.shapes(this.id);
		this.liveShapes = new Map(shapes.map((shape) => [shape.id, shape]));
		for (const edit of this.queue) {
			this.applyShapes(edit.body.shapes);
		}
		this.emit("shapes");
	}

	/** Brings the mirror to the server's head. */
	private async catchUp(): Promise<void> {
		const changes = await this.client.changes(this.id, this.head_);
		this.live.update(changes.chunks);
		for (const shape of changes.shapes) {
			this.liveShapes.set(shape.id, shape);
		}
		for (const id of changes.deleted_shapes) {
			this.liveShapes.delete(id);
		}
		this.head_ = changes.version;
		this.emit("voxels");
		this.emit("shapes");
	}

	private async command(act: () => Promise<Receipt>, reverted: number | null): Promise<void> {
		this.setStatus({ kind: "saving", edits: 1 });
		try {
			const receipt = await act();
			this.stacks = record(this.stacks, receipt.version, reverted);
			await this.catchUp();
			this.emit("version");
			await this.refreshHistory();
		} finally {
			this.settle();
		}
	}

	private settle(): void {
		if (this.queue.length === 0) {
			this.setStatus({ kind: "saved" });
		}
	}

	/** Resolves when the outbox is empty. */
	private idle(): Promise<void> {
		if (this.queue.length === 0) {
			return Promise.resolve();
		}
		return new Promise((resolve) => {
			const stop = this.listen((change) => {
				if (change === "status" && this.queue.length === 0) {
					stop();
					resolve();
				}
			});
		});
	}

	private setStatus(status: SaveStatus): void {
		this.status_ = status;
		this.emit("status");
	}

	private emit(change: Change): void {
		for (const listener of this.listeners) {
			listener(change);
		}
	}
}

const PREVIEW = "preview";

function writesOf(edit: QueuedEdit): VoxelWrite[] {
	return edit.body.voxels.map(({ label, over, spans }) => ({
		label,
		over: over ?? null,
		spans: Spans.fromBase64(spans),
	}));
}
