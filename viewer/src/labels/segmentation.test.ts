/** Saving, and what can go wrong while saving. The server here keeps voxels one by one and merges as the real one does. */

import "fake-indexeddb/auto";
import { beforeEach, describe, expect, test } from "vitest";
import type { Client } from "../api/client";
import { ApiError } from "../api/errors";
import type { BoxRecord, Changes, EditBody, EditRecord, Receipt, SegmentationRecord, ShapeRecord } from "../api/types";
import type { Vec3 } from "../geometry/affine";
import { ChunkCache } from "../image/chunk_cache";
import { ChunkQueue } from "../image/chunk_queue";
import type { ChunkAddress, Decoder } from "../image/decoder";
import { MemoryOutbox, type Outbox, openOutbox, type QueuedEdit } from "./outbox";
import { type Clock, type Draft, Segmentation } from "./segmentation";
import { SpanSet, Spans } from "./spans";

const SHAPE = [8, 8, 64] as const;
const CHUNK = [4, 4, 32] as const;

interface State {
	readonly voxels: ReadonlyMap<string, number>;
	readonly shapes: ReadonlyMap<string, ShapeRecord>;
}

function boxAround(places: readonly (readonly number[])[]): BoxRecord | null {
	const corner = (of: (values: number[]) => number) =>
		[0, 1, 2].map((axis) => of(places.map((at) => at[axis]!))) as unknown as Vec3;
	return places.length === 0
		? null
		: { start: corner((values) => Math.min(...values)), stop: corner((values) => Math.max(...values) + 1) };
}

class MemoryServer {
	readonly states: State[] = [{ voxels: new Map(), shapes: new Map() }];
	readonly edits: (EditRecord & { readonly request: string | null; readonly changed: ReadonlySet<string> })[] = [];
	readonly blobs = new Map<string, Uint16Array>();
	readonly requests: string[] = [];
	offline = false;
	loseAnswers = 0;
	refuse: ApiError | null = null;

	get head(): number {
		return this.states.length - 1;
	}

	record(): SegmentationRecord {
		return {
			id: "seg",
			project_id: "p",
			image_id: "i",
			name: "S",
			version: this.head,
			head: this.head,
			ontology: { id: "o", version: 1, name: "O", classes: [] },
			grid: {
				shape: SHAPE,
				affine: [
					[0, 0, 1, 0],
					[0, 1, 0, 0],
					[1, 0, 0, 0],
					[0, 0, 0, 1],
				],
				space: { kind: "patient", crs: null },
			},
			chunk_shape: CHUNK,
			created_at: "",
		};
	}

	/** What somebody does, `me` or another. */
	act(actor: string, body: EditBody): Receipt {
		const known = this.edits.find(({ request }) => request === body.request_id);
		if (known) {
			return this.receipt(known.version);
		}
		const base = this.states[body.base]!.voxels;
		const head = this.states[this.head]!;
		const voxels = new Map(head.voxels);
		const changed = new Set<string>();
		const meets: Vec3[] = [];
		for (const { label, over = null, spans } of body.voxels) {
			Spans.fromBase64(spans).forEach((z, y, x0, length) => {
				for (let x = x0; x < x0 + length; x++) {
					const key = `${z}/${y}/${x}`;
					const was = base.get(key) ?? 0;
					if (over === null || over.includes(was)) {
						const now = head.voxels.get(key) ?? 0;
						if (now !== was && now !== label) {
							meets.push([z, y, x]);
						}
						voxels.set(key, label);
						changed.add(key);
					}
				}
			});
		}
		if (meets.length > 0) {
			throw new ApiError(
				{
					code: "version-conflict",
					base: body.base,
					current: this.head,
					boxes: [boxAround(meets)!],
					shapes: [],
					voxels: meets.length,
				},
				"conflict",
			);
		}
		const shapes = new Map(head.shapes);
		for (const act of body.shapes) {
			if (act.op === "put") {
				shapes.set(act.shape.id, act.shape);
			} else {
				shapes.delete(act.id);
			}
		}
		return this.push(actor, body.tool, body.params, body.base, { voxels, shapes }, body.request_id ?? null);
	}

	back(actor: string, version: number, tool: "revert" | "restore"): Receipt {
		const head = this.states[this.head]!;
		const voxels = new Map(tool === "restore" ? this.states[version]!.voxels : head.voxels);
		if (tool === "revert") {
			for (const key of this.edits[version - 1]!.changed) {
				voxels.set(key, this.states[version - 1]!.voxels.get(key) ?? 0);
			}
		}
		const shapes = this.states[tool === "restore" ? version : version - 1]!.shapes;
		return this.push(actor, tool, { version }, this.head, { voxels, shapes }, null);
	}

	chunks(version: number): Record<string, string> {
		const found: Record<string, string> = {};
		for (let z = 0; z < 2; z++) {
			for (let y = 0; y < 2; y++) {
				for (let x = 0; x < 2; x++) {
					const voxels = new Uint16Array(CHUNK[0] * CHUNK[1] * CHUNK[2]);
					voxels.forEach((_, i) => {
						const at = [z * 4 + Math.floor(i / 128), y * 4 + (Math.floor(i / 32) % 4), x * 32 + (i % 32)];
						voxels[i] = this.states[version]!.voxels.get(at.join("/")) ?? 0;
					});
					if (voxels.some((value) => value !== 0)) {
						const digest = `sha256:${Buffer.from(voxels.buffer)
							.toString("hex")
							.replace(/(00)+$/, "")}`;
						this.blobs.set(digest, voxels);
						found[`${z}/${y}/${x}`] = digest;
					}
				}
			}
		}
		return found;
	}

	differences(from: number, to: number): Record<string, string | null> {
		const [a, b] = [this.chunks(from), this.chunks(to)];
		const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((key) => a[key] !== b[key]);
		return Object.fromEntries(keys.map((key) => [key, b[key] ?? null]));
	}

	private push(
		actor: string,
		tool: string,
		params: EditRecord["params"],
		base: number,
		state: State,
		request: string | null,
	): Receipt {
		const before = this.states[this.head]!.voxels;
		this.states.push(state);
		const changed = new Set(
			[...state.voxels.keys()].filter((key) => (before.get(key) ?? 0) !== (state.voxels.get(key) ?? 0)),
		);
		const box = boxAround([...changed].map((key) => key.split("/").map(Number)));
		const version = this.head;
		this.edits.push({
			version,
			base,
			time: "2026-11-21T10:00:00.000000Z",
			actor: { id: actor, name: actor },
			tool,
			params,
			reason: null,
			voxels: changed.size,
			box,
			digest: `d${version}`,
			entry_id: `e${version}`,
			request,
			changed,
		});
		return this.receipt(version);
	}

	private receipt(version: number): Receipt {
		const edit = this.edits[version - 1]!;
		return {
			segmentation_id: "seg",
			version,
			digest: edit.digest,
			entry_id: edit.entry_id,
			voxels: edit.voxels,
			box: edit.box,
			chunks: this.differences(version - 1, version),
		};
	}
}

/** The part of the client that a segmentation uses, on that server. */
function clientOf(server: MemoryServer): Client {
	const answer = async <T>(name: string, act: () => T): Promise<T> => {
		await Promise.resolve();
		server.requests.push(name);
		if (server.offline) {
			throw new ApiError({ code: "unreachable" }, "away");
		}
		if (server.refuse && name === "edit") {
			throw server.refuse;
		}
		const result = act();
		if (name === "edit" && server.loseAnswers > 0) {
			server.loseAnswers -= 1;
			throw new ApiError({ code: "unreachable" }, "the answer was lost");
		}
		return result;
	};
	const versionOf = (ref: string) => (ref.includes("@") ? Number(ref.split("@")[1]) : server.head);
	return {
		chunks: (ref: string) =>
			answer("chunks", () => ({ version: versionOf(ref), chunks: server.chunks(versionOf(ref)) })),
		shapes: (ref: string) =>
			answer("shapes", () => ({
				version: versionOf(ref),
				shapes: [...server.states[versionOf(ref)]!.shapes.values()],
			})),
		changes: (_: string, since: number) =>
			answer("changes", (): Changes => {
				const [a, b] = [server.states[since]!.shapes, server.states[server.head]!.shapes];
				return {
					version: server.head,
					chunks: server.differences(since, server.head),
					shapes: [...b.values()].filter((shape) => a.get(shape.id) !== shape),
					deleted_shapes: [...a.keys()].filter((id) => !b.has(id)),
				};
			}),
		edits: (_: string, before: number | null, limit: number) =>
			answer("edits", () =>
				server.edits
					.filter(({ version }) => before === null || version < before)
					.reverse()
					.slice(0, limit),
			),
		edit: (_: string, body: EditBody) => answer("edit", () => server.act("me", body)),
		revert: (_: string, version: number) => answer("revert", () => server.back("me", version, "revert")),
		restore: (_: string, version: number) => answer("restore", () => server.back("me", version, "restore")),
	} as unknown as Client;
}

/** A clock whose waits end when the test says so. */
class HandClock implements Clock {
	private count = 0;
	private waiting: (() => void)[] = [];
	readonly waits: number[] = [];

	wait(ms: number): Promise<void> {
		this.waits.push(ms);
		return new Promise((resolve) => this.waiting.push(resolve));
	}

	newId(): string {
		return `request-${Math.random()}-${this.count++}`;
	}

	tick(): void {
		for (const resolve of this.waiting.splice(0)) {
			resolve();
		}
	}
}

class BlobDecoder implements Decoder {
	readonly width = 1;
	constructor(private readonly server: MemoryServer) {}
	async read({ blob }: ChunkAddress): Promise<Uint16Array> {
		return this.server.blobs.get(`sha256:${blob!.split("/").at(-1)}`)!.slice();
	}
}

const settle = async () => {
	for (let i = 0; i < 40; i++) {
		await new Promise<void>((resolve) => setImmediate(resolve));
	}
};

const run = (z: number, y: number, x: number, length: number): Spans => {
	const set = new SpanSet(SHAPE);
	set.add(z, y, x, x + length);
	return set.toSpans();
};

const paint = (label: number, spans: Spans, over: readonly number[] | null = null): Draft => ({
	tool: "brush",
	params: {},
	writes: [{ label, spans, over }],
	shapes: [],
});

const theirs = (server: MemoryServer, base: number, label: number, spans: Spans): Receipt =>
	server.act("you", {
		base,
		tool: "brush",
		params: {},
		reason: null,
		request_id: `theirs-${Math.random()}`,
		voxels: [{ label, over: null, spans: spans.toBase64() }],
		shapes: [],
	});

let server: MemoryServer;
let clock: HandClock;
let outbox: Outbox;

beforeEach(() => {
	server = new MemoryServer();
	clock = new HandClock();
	outbox = new MemoryOutbox();
});

async function open(): Promise<Segmentation> {
	const queue = new ChunkQueue(new BlobDecoder(server), new ChunkCache(2 ** 22));
	const opened = await Segmentation.open(server.record(), "me", true, clientOf(server), queue, outbox, clock);
	queue.want(
		"all",
		[...opened.volume.occupied()].flatMap((chunk) => opened.volume.wanted(chunk) ?? []),
	);
	// Whoever draws asks for what changed; here everything, whenever anything did.
	opened.listen((change) => {
		if (change === "voxels") {
			queue.want(
				"all",
				[...opened.volume.occupied()].flatMap((chunk) => opened.volume.wanted(chunk) ?? []),
			);
		}
	});
	await settle();
	return opened;
}

/** What the screen shows is what the server has. */
function expectAgreement(segmentation: Segmentation): void {
	for (let z = 0; z < SHAPE[0]; z++) {
		for (let y = 0; y < SHAPE[1]; y++) {
			for (let x = 0; x < SHAPE[2]; x++) {
				const stored = server.states[server.head]!.voxels.get(`${z}/${y}/${x}`) ?? 0;
				if (segmentation.volume.at([z, y, x]) !== stored) {
					throw new Error(`${z}/${y}/${x}: shown ${segmentation.volume.at([z, y, x])}, stored ${stored}`);
				}
			}
		}
	}
}

describe("saving", () => {
	test("an edit is seen at once, saved, and not fetched back", async () => {
		const segmentation = await open();
		const saved = segmentation.write(paint(3, run(1, 2, 20, 30)));
		expect(segmentation.volume.at([1, 2, 40])).toBe(3);
		expect(segmentation.status.kind).toBe("saving");
		await saved;
		await settle();
		expect(segmentation.status.kind).toBe("saved");
		expect(segmentation.head).toBe(1);
		expect(segmentation.history[0]).toMatchObject({ version: 1, tool: "brush", voxels: 30 });
		expectAgreement(segmentation);
	});

	test("edits drawn faster than they are sent keep their order and each gets a version", async () => {
		const segmentation = await open();
		for (let i = 1; i <= 5; i++) {
			void segmentation.write(paint(i, run(0, 0, 10, 10 - i)));
		}
		await settle();
		expect(segmentation.head).toBe(5);
		expect(server.edits.map(({ base }) => base)).toEqual([0, 1, 2, 3, 4]);
		expectAgreement(segmentation);
	});

	test("painting only over background means the background of that moment", async () => {
		const segmentation = await open();
		await segmentation.write(paint(1, run(0, 0, 0, 10)));
		await segmentation.write(paint(2, run(0, 0, 5, 10), [0]));
		await settle();
		expect([4, 9, 10, 14].map((x) => segmentation.volume.at([0, 0, x]))).toEqual([1, 1, 2, 2]);
		expectAgreement(segmentation);
	});

	test("a stroke in progress is a preview: it can be taken away without a trace", async () => {
		const segmentation = await open();
		segmentation.preview({ label: 1, over: null, spans: run(0, 0, 0, 4) });
		segmentation.preview({ label: 1, over: null, spans: run(0, 1, 30, 4) });
		expect(segmentation.volume.at([0, 1, 33])).toBe(1);
		segmentation.cancelPreview();
		expectAgreement(segmentation);
		expect(server.edits).toHaveLength(0);
	});
});

describe("undo", () => {
	test("undo, undo, redo; and it still works after a reload", async () => {
		const first = await open();
		await first.write(paint(1, run(0, 0, 0, 10)));
		await first.write(paint(2, run(0, 0, 5, 10)));
		await settle();
		await first.undo();
		await settle();
		expect(first.volume.at([0, 0, 7])).toBe(1);
		expectAgreement(first);
		const second = await open();
		expect([second.canUndo, second.canRedo]).toEqual([true, true]);
		await second.undo();
		await settle();
		expect(second.volume.at([0, 0, 7])).toBe(0);
		await second.redo();
		await second.redo();
		await settle();
		expect(second.volume.at([0, 0, 7])).toBe(2);
		expect(second.canRedo).toBe(false);
		expectAgreement(second);
	});

	test("a new edit ends what can be redone", async () => {
		const segmentation = await open();
		await segmentation.write(paint(1, run(0, 0, 0, 10)));
		await settle();
		await segmentation.undo();
		await settle();
		await segmentation.write(paint(2, run(3, 0, 0, 10)));
		await settle();
		expect(segmentation.canRedo).toBe(false);
	});

	test("what was never sent is taken back without a version", async () => {
		const segmentation = await open();
		server.offline = true;
		await segmentation.write(paint(1, run(0, 0, 0, 10)));
		await segmentation.write(paint(2, run(1, 0, 0, 10)));
		await settle();
		await segmentation.undo();
		expect(segmentation.volume.at([1, 0, 5])).toBe(0);
		expect(segmentation.volume.at([0, 0, 5])).toBe(1);
		server.offline = false;
		clock.tick();
		await settle();
		expect(server.head).toBe(1);
		expectAgreement(segmentation);
	});
});

describe("when the network goes away", () => {
	test("edits are kept, counted and sent in order when it is back", async () => {
		const segmentation = await open();
		server.offline = true;
		await segmentation.write(paint(1, run(0, 0, 0, 10)));
		await segmentation.write(paint(2, run(0, 0, 5, 10)));
		await settle();
		expect(segmentation.status).toEqual({ kind: "offline", edits: 2 });
		for (let i = 0; i < 3; i++) {
			clock.tick();
			await settle();
		}
		expect(clock.waits.slice(0, 4)).toEqual([500, 1000, 2000, 5000]);
		server.offline = false;
		clock.tick();
		await settle();
		expect(segmentation.status.kind).toBe("saved");
		expect(server.head).toBe(2);
		expectAgreement(segmentation);
	});

	test("an answer that got lost does not make the edit twice", async () => {
		const segmentation = await open();
		server.loseAnswers = 1;
		await segmentation.write(paint(1, run(0, 0, 0, 10)));
		await settle();
		expect(segmentation.status.kind).toBe("offline");
		clock.tick();
		await settle();
		expect(server.head).toBe(1);
		expect(segmentation.head).toBe(1);
		expectAgreement(segmentation);
	});

	test("the page closes before anything was sent: the next page shows it and sends it", async () => {
		const first = await open();
		server.offline = true;
		await first.write(paint(4, run(2, 2, 2, 40)));
		await settle();
		server.offline = false;
		const second = await open();
		expect(second.volume.at([2, 2, 30])).toBe(4);
		expect(server.head).toBe(1);
		expectAgreement(second);
	});
});

describe("when somebody else edits too", () => {
	test("other voxels of the same chunk: both stay, and theirs appear", async () => {
		const segmentation = await open();
		theirs(server, 0, 7, run(0, 1, 0, 8));
		await segmentation.write(paint(1, run(0, 0, 0, 10)));
		await settle();
		expect(segmentation.volume.at([0, 1, 4])).toBe(7);
		expect(segmentation.head).toBe(2);
		expectAgreement(segmentation);
	});

	test("the same voxels: asked, and theirs kept", async () => {
		const segmentation = await open();
		theirs(server, 0, 7, run(0, 0, 4, 8));
		await segmentation.write(paint(1, run(0, 0, 0, 10)));
		await settle();
		expect(segmentation.status).toEqual({
			kind: "conflict",
			voxels: 6,
			current: 1,
			boxes: [{ start: [0, 0, 4], stop: [1, 1, 10] }],
		});
		segmentation.resolve("theirs");
		await settle();
		expect(segmentation.status.kind).toBe("saved");
		expect(server.head).toBe(1);
		expectAgreement(segmentation);
	});

	test("the same voxels: asked, and mine put on top of theirs", async () => {
		const segmentation = await open();
		theirs(server, 0, 7, run(0, 0, 4, 8));
		await segmentation.write(paint(1, run(0, 0, 0, 10)));
		await settle();
		segmentation.resolve("mine");
		await settle();
		expect(server.head).toBe(2);
		expect([3, 9, 10].map((x) => segmentation.volume.at([0, 0, x]))).toEqual([1, 1, 7]);
		expectAgreement(segmentation);
	});

	test("an edit that waited behind a merged one is not sent over changes its author never saw", async () => {
		const segmentation = await open();
		server.offline = true;
		await segmentation.write(paint(1, run(0, 0, 0, 10)));
		await segmentation.write(paint(2, run(4, 4, 0, 10)));
		await settle();
		theirs(server, 0, 7, run(4, 4, 5, 10));
		server.offline = false;
		clock.tick();
		await settle();
		expect(segmentation.status.kind).toBe("conflict");
		segmentation.resolve("theirs");
		await settle();
		expect([0, 5].map((x) => segmentation.volume.at([4, 4, x]))).toEqual([0, 7]);
		expectAgreement(segmentation);
	});

	test("nothing of mine is waiting: their work appears when I follow", async () => {
		const segmentation = await open();
		theirs(server, 0, 7, run(5, 5, 5, 5));
		await segmentation.follow();
		await settle();
		expect(segmentation.head).toBe(1);
		expectAgreement(segmentation);
	});
});

describe("when the server refuses", () => {
	test("the edit can be discarded, and the screen shows what is stored", async () => {
		const segmentation = await open();
		server.refuse = new ApiError(
			{ code: "refused", status: 422, reason: "invalid-input" },
			"the voxels leave the grid",
		);
		await segmentation.write(paint(1, run(0, 0, 0, 10)));
		await settle();
		expect(segmentation.status).toEqual({ kind: "refused", message: "the voxels leave the grid" });
		server.refuse = null;
		segmentation.resolve("theirs");
		await settle();
		expect(segmentation.status.kind).toBe("saved");
		expectAgreement(segmentation);
	});

	test("a session that ended keeps the edit until somebody logs in again", async () => {
		const segmentation = await open();
		server.refuse = new ApiError({ code: "not-authenticated" }, "log in first");
		await segmentation.write(paint(1, run(0, 0, 0, 10)));
		await settle();
		expect(segmentation.status).toEqual({ kind: "signed-out", edits: 1 });
		server.refuse = null;
		segmentation.resolve("retry");
		await settle();
		expect(server.head).toBe(1);
		expectAgreement(segmentation);
	});
});

describe("versions", () => {
	test("an older version is shown read-only, and restoring it is a new version", async () => {
		const segmentation = await open();
		await segmentation.write(paint(1, run(0, 0, 0, 10)));
		await segmentation.write(paint(2, run(0, 0, 0, 10)));
		await settle();
		await segmentation.view(1);
		await settle();
		expect([segmentation.version, segmentation.canEdit, segmentation.volume.at([0, 0, 3])]).toEqual([1, false, 1]);
		await segmentation.write(paint(5, run(0, 0, 0, 10)));
		expect(server.head).toBe(2);
		await segmentation.restore(1, null);
		await settle();
		expect([segmentation.version, segmentation.head, segmentation.isPast]).toEqual([3, 3, false]);
		expect(segmentation.volume.at([0, 0, 3])).toBe(1);
		expectAgreement(segmentation);
	});
});

test("shapes are put, deleted and undone like voxels", async () => {
	const segmentation = await open();
	const shape: ShapeRecord = {
		id: "s1",
		kind: "box",
		label: 1,
		points: [
			[0, 0, 0],
			[0, 4, 4],
		],
		holes: [],
		attributes: {},
	};
	await segmentation.write({ tool: "box", params: {}, writes: [], shapes: [{ op: "put", shape }] });
	await settle();
	expect(segmentation.shapes).toEqual([shape]);
	await segmentation.undo();
	await settle();
	expect(segmentation.shapes).toEqual([]);
});

describe("the outbox", () => {
	const edit = (id: string, owner: string, order: number): QueuedEdit => ({
		id,
		owner,
		order,
		drawnOn: 0,
		base: null,
		body: { tool: "brush", params: {}, reason: null, voxels: [], shapes: [] },
	});

	test.each([
		["in the browser's database", () => openOutbox("test")],
		["in memory, where there is none", () => openOutbox("test", null)],
	] as const)("%s: keeps order, and one person's edits from another's", async (_, make) => {
		const box = await make();
		await box.put(edit("b", "me/seg", 2));
		await box.put(edit("a", "me/seg", 1));
		await box.put(edit("c", "you/seg", 1));
		expect((await box.load("me/seg")).map(({ id }) => id)).toEqual(["a", "b"]);
		await box.delete("a");
		expect((await box.load("me/seg")).map(({ id }) => id)).toEqual(["b"]);
	});

	test("is still there for the next page", async () => {
		await (await openOutbox("durable")).put(edit("a", "me/seg", 1));
		expect(await (await openOutbox("durable")).load("me/seg")).toHaveLength(1);
	});
});
