/**
 * Outbox: edits that the server has not acknowledged, in order, kept in the browser's database so that a reload, a crash or a
 * night without network loses nothing. Who drew them is part of the key: nobody sends another person's strokes as their own.
 */

import type { EditBody } from "../api/types";

export interface QueuedEdit {
	/** The request id: the same for each retry, so that the server applies it once. */
	readonly id: string;
	/** Account and segmentation. */
	readonly owner: string;
	readonly order: number;
	/** The version on the screen when it was drawn. */
	readonly drawnOn: number;
	/** The version it was first sent for; a retry must name the same. */
	readonly base: number | null;
	readonly body: Omit<EditBody, "base" | "request_id">;
}

export interface Outbox {
	/** Unsent edits of an owner, oldest first. */
	load(owner: string): Promise<QueuedEdit[]>;
	put(edit: QueuedEdit): Promise<void>;
	delete(id: string): Promise<void>;
}

export const ownerKey = (account: string, segmentation: string): string => `${account}/${segmentation}`;

const STORE = "edits";

/** Opens the browser's database; falls back to memory where there is none (private windows of some browsers). */
export async function openOutbox(
	name = "specimg-outbox",
	factory: IDBFactory | null = globalThis.indexedDB ?? null,
): Promise<Outbox> {
	if (!factory) {
		return new MemoryOutbox();
	}
	try {
		const opening = factory.open(name, 1);
		opening.onupgradeneeded = () => {
			opening.result.createObjectStore(STORE, { keyPath: "id" }).createIndex("owner", "owner");
		};
		return new DatabaseOutbox(await settled(opening));
	} catch {
		return new MemoryOutbox();
	}
}

class DatabaseOutbox implements Outbox {
	constructor(private readonly database: IDBDatabase) {}

	async load(owner: string): Promise<QueuedEdit[]> {
		const index = this.database.transaction(STORE).objectStore(STORE).index("owner");
		return inOrder((await settled(index.getAll(owner))) as QueuedEdit[]);
	}

	put(edit: QueuedEdit): Promise<void> {
		return this.change((store) => store.put(edit));
	}

	delete(id: string): Promise<void> {
		return this.change((store) => store.delete(id));
	}

	/** Done only when the transaction is: a request that succeeded may still be lost before that. */
	private change(act: (store: IDBObjectStore) => void): Promise<void> {
		return new Promise((resolve, reject) => {
			const transaction = this.database.transaction(STORE, "readwrite", { durability: "strict" });
			transaction.oncomplete = () => resolve();
			transaction.onabort = () => reject(transaction.error);
			act(transaction.objectStore(STORE));
		});
	}
}

export class MemoryOutbox implements Outbox {
	private readonly edits = new Map<string, QueuedEdit>();

	async load(owner: string): Promise<QueuedEdit[]> {
		return inOrder([...this.edits.values()].filter((edit) => edit.owner === owner));
	}

	async put(edit: QueuedEdit): Promise<void> {
		this.edits.set(edit.id, edit);
	}

	async delete(id: string): Promise<void> {
		this.edits.delete(id);
	}
}

function inOrder(edits: QueuedEdit[]): QueuedEdit[] {
	return edits.sort((a, b) => a.order - b.order);
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
	return new Promise((resolve, reject) => {
		request.onsuccess = () => resolve(request.result);
		request.onerror = () => reject(request.error);
	});
}
