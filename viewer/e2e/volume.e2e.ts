/** A person's day with a volume, in a real browser on a real server. */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { EditRecord, ImageRecord, ImageSummary, Me } from "../src/api/types";
import { Affine } from "../src/geometry/affine";
import {
	api,
	type Desk,
	drag,
	greys,
	missing,
	newSegmentation,
	openDesk,
	openImage,
	paneBox,
	post,
	saved,
	sharp,
	type Visit,
} from "./desk";

describe.skipIf(missing)(`a volume in the browser${missing ? ` (${missing})` : ""}`, () => {
	let desk: Desk;

	beforeAll(async () => {
		desk = await openDesk();
	});

	afterAll(async () => {
		await desk?.close();
	});

	const imageOf = ({ page }: Visit) => new URL(page.url()).searchParams.get("image")!;
	const index = async ({ page }: Visit, plane: string) =>
		Number(await page.locator(`[data-plane="${plane}"]`).getAttribute("data-index"));
	const settled = ({ page }: Visit) => page.waitForURL(/seg=/);

	test("a wrong password is told, and nothing is shown", async () => {
		const page = await desk.browser.newPage();
		await page.goto(desk.url);
		await page.getByLabel("Name", { exact: true }).fill(desk.name);
		await page.getByLabel("Password").fill("not the password");
		await page.getByRole("button", { name: "Log in" }).click();
		expect(await page.getByRole("alert").textContent()).toContain("do not fit");
		expect((await api<{ status: number }>(page, "/me")).status).toBe(401);
		await page.close();
	});

	test("the picture is the one the server renders, voxel for voxel", async () => {
		const visit = await desk.open();
		const { page } = visit;
		await openImage(page, "CT");
		await page.keyboard.press("h");
		await page.keyboard.press("c");
		await page.keyboard.press("i");
		await page.waitForURL(/at=/).catch(() => undefined);
		const record = await api<ImageRecord>(page, `/images/${imageOf(visit)}`);
		const [, ny, nx] = record.series.grid.shape as [number, number, number];
		const z = await index(visit, "axial");
		const place = await paneBox(page, "axial");
		// The viewer works in whole pixels; a grid's columns may end between two.
		const box = { ...place, width: Math.round(place.width), height: Math.round(place.height) };
		const [, sy, sx] = new Affine(record.series.grid.affine).spacing;
		const scale = Math.min(box.width / (nx * sx), box.height / (ny * sy)) * 0.98;
		const voxels: [number, number][] = [];
		for (let y = 100; y < 440; y += 17) {
			for (let x = 60; x < 460; x += 19) {
				voxels.push([x, y]);
			}
		}
		const { center, width } = record.series.channels[0]!.windows[0]!;
		const server = await greys(
			page,
			`/api/images/${record.id}/slices/z/${z}?center=${center}&width=${width}&format=png`,
			voxels,
		);
		const clip = { x: box.x, y: box.y, width: box.width, height: box.height };
		await page.mouse.move(2, 2);
		const shot = `data:image/png;base64,${(await page.screenshot({ clip })).toString("base64")}`;
		const shown = await greys(
			page,
			shot,
			voxels.map(([x, y]) => [
				Math.floor(box.width / 2 + (x - (nx - 1) / 2) * sx * scale),
				Math.floor(box.height / 2 + (y - (ny - 1) / 2) * sy * scale),
			]),
		);
		const apart = shown.filter((grey, i) => Math.abs(grey - server[i]!) > 1).length;
		// A letter may lie over a place.
		expect(apart / voxels.length).toBeLessThan(0.01);
		expect(new Set(server).size).toBeGreaterThan(50);
		expect(visit.problems).toEqual([]);
		await visit.context.close();
	});

	test("scrolling moves one plane, a click moves the others, and a window costs no request", async () => {
		const visit = await desk.open();
		const { page } = visit;
		await openImage(page, "CT");
		await settled(visit);
		const before = await index(visit, "axial");
		const box = await paneBox(page, "axial");
		await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
		await page.mouse.wheel(0, 100);
		await page.locator(`[data-plane="axial"][data-index="${before + 1}"]`).waitFor();
		await page.mouse.click(box.x + 0.7 * box.width, box.y + 0.4 * box.height);
		await page.waitForFunction(
			(was) => document.querySelector<HTMLElement>('[data-plane="sagittal"]')!.dataset.index !== was,
			"256",
		);
		expect(await index(visit, "sagittal")).toBeGreaterThan(300);
		expect(await index(visit, "axial")).toBe(before + 1);
		await sharp(page);
		await page.waitForLoadState("networkidle");
		const requests: string[] = [];
		page.on("request", (request) => request.url().includes("/api/") && requests.push(request.url()));
		const width = page.getByLabel("Window width");
		const old = Number(await width.inputValue());
		await drag(
			page,
			box,
			[
				[0.4, 0.5],
				[0.8, 0.4],
			],
			"right",
		);
		await expect.poll(async () => Number(await width.inputValue())).toBeGreaterThan(old * 1.3);
		expect(requests).toEqual([]);
		await visit.context.close();
	});

	test("the side of the patient is right: what is painted on the right of the screen lies on the left of the body", async () => {
		const visit = await desk.open();
		const { page } = visit;
		for (const modality of ["CT", "MR"]) {
			await openImage(page, modality);
			const id = await newSegmentation(page, "Sides");
			await page.getByRole("button", { name: "Brush", exact: true }).click();
			await drag(page, await paneBox(page, "axial"), [
				[0.7, 0.5],
				[0.71, 0.5],
			]);
			await saved(page, 1);
			await drag(page, await paneBox(page, "coronal"), [
				[0.3, 0.5],
				[0.31, 0.5],
			]);
			await saved(page, 2);
			const record = await api<ImageRecord>(page, `/images/${imageOf(visit)}`);
			const affine = new Affine(record.series.grid.affine);
			const middle = affine.toWorld(record.series.grid.shape.map((n) => (n - 1) / 2) as never);
			const edits = await api<EditRecord[]>(page, `/segmentations/${id}/edits`);
			const world = (version: number) => {
				const box = edits.find((edit) => edit.version === version)!.box!;
				return affine.toWorld([0, 1, 2].map((axis) => (box.start[axis]! + box.stop[axis]! - 1) / 2) as never);
			};
			// LPS: X grows to the patient's left.
			expect(world(1)[0]).toBeGreaterThan(middle[0] + 10);
			expect(world(2)[0]).toBeLessThan(middle[0] - 10);
			await page.getByRole("button", { name: "Back to the worklist" }).click();
		}
		await visit.context.close();
	});

	test("paint three slices, undo, redo, reload: everything is there, and the history says who", async () => {
		const visit = await desk.open();
		const { page } = visit;
		await openImage(page, "CT");
		const id = await newSegmentation(page, "Three slices");
		await page.getByRole("button", { name: "Brush", exact: true }).click();
		const box = await paneBox(page, "axial");
		for (let version = 1; version <= 3; version++) {
			await drag(page, box, [
				[0.35, 0.45],
				[0.45, 0.5],
				[0.42, 0.6],
			]);
			await saved(page, version);
			await page.mouse.wheel(0, 100);
		}
		await page.getByRole("button", { name: "Undo" }).click();
		await saved(page, 4);
		await page.getByRole("button", { name: "Redo" }).click();
		await saved(page, 5);
		const chunks = await api<{ chunks: Record<string, string> }>(page, `/segmentations/${id}/chunks`);
		const third = await api<{ chunks: Record<string, string> }>(page, `/segmentations/${id}@3/chunks`);
		expect(chunks.chunks).toEqual(third.chunks);
		await page.reload();
		await sharp(page);
		await saved(page, 5);
		await page.locator('[data-plane="axial"][data-labels="shown"]').waitFor();
		await page.getByRole("tab", { name: "History" }).click();
		const rows = page.getByRole("list", { name: "History" }).getByRole("listitem");
		await expect.poll(() => rows.count()).toBe(5);
		expect(await rows.first().textContent()).toContain(desk.name);
		expect(await rows.last().textContent()).toContain("Brush");
		expect(visit.problems).toEqual([]);
		await visit.context.close();
	});

	test("an older version can be looked at and brought back", async () => {
		const visit = await desk.open();
		const { page } = visit;
		await openImage(page, "MR");
		const id = await newSegmentation(page, "Versions");
		await page.getByRole("button", { name: "Brush", exact: true }).click();
		const box = await paneBox(page, "axial");
		await drag(page, box, [
			[0.4, 0.4],
			[0.5, 0.4],
		]);
		await saved(page, 1);
		await drag(page, box, [
			[0.4, 0.6],
			[0.5, 0.6],
		]);
		await saved(page, 2);
		await page.getByRole("tab", { name: "History" }).click();
		await page.getByRole("button", { name: "View version 1", exact: true }).click();
		await page.getByText("Version 1 of 2, read-only").waitFor();
		expect(await page.getByRole("button", { name: "Brush", exact: true }).isDisabled()).toBe(true);
		await page.getByRole("button", { name: "Restore version 1", exact: true }).click();
		await page.getByLabel("Reason").fill("the second stroke was a slip");
		await page.getByRole("dialog").getByRole("button", { name: "Restore" }).click();
		await saved(page, 3);
		const [newest, first] = await Promise.all(
			["", "@1"].map((at) => api<{ chunks: Record<string, string> }>(page, `/segmentations/${id}${at}/chunks`)),
		);
		expect(newest!.chunks).toEqual(first!.chunks);
		await page.getByText("the second stroke was a slip").waitFor();
		await visit.context.close();
	});

	test("polygons and boxes become shapes, a filled polygon becomes voxels", async () => {
		const visit = await desk.open();
		const { page } = visit;
		await openImage(page, "MR");
		const id = await newSegmentation(page, "Shapes");
		const box = await paneBox(page, "axial");
		const click = (x: number, y: number) => page.mouse.click(box.x + x * box.width, box.y + y * box.height);
		await page.getByRole("button", { name: "Box", exact: true }).click();
		await drag(page, box, [
			[0.3, 0.3],
			[0.4, 0.4],
		]);
		await saved(page, 1);
		for (const [tool, version] of [
			["Polygon", 2],
			["Fill", 3],
		] as const) {
			await page.getByRole("button", { name: tool, exact: true }).click();
			await click(0.5, 0.4);
			await click(0.6, 0.45);
			await click(0.52, 0.6);
			await page.keyboard.press("Enter");
			await saved(page, version);
		}
		const { shapes } = await api<{ shapes: { kind: string; points: number[][] }[] }>(
			page,
			`/segmentations/${id}/shapes`,
		);
		expect(shapes.map(({ kind }) => kind).sort()).toEqual(["box", "polygon"]);
		const edits = await api<EditRecord[]>(page, `/segmentations/${id}/edits`);
		expect(edits[0]).toMatchObject({ version: 3, tool: "polygon-fill" });
		expect(edits[0]!.voxels).toBeGreaterThan(10);
		await page.getByRole("button", { name: /^Delete .* box/ }).click();
		await saved(page, 4);
		await visit.context.close();
	});

	test("a click asks the model; the answer becomes labels only when it is accepted", async () => {
		const visit = await desk.open();
		const { page } = visit;
		await openImage(page, "CT");
		const id = await newSegmentation(page, "Liver");
		await page.getByRole("button", { name: "AI click" }).click();
		const box = await paneBox(page, "axial");
		await page.mouse.click(box.x + 0.33 * box.width, box.y + 0.55 * box.height);
		await page.locator('[data-proposal="ready"]').waitFor();
		await page.getByRole("button", { name: "Reject" }).click();
		await page.locator('[data-proposal="idle"]').waitFor();
		expect(await api<EditRecord[]>(page, `/segmentations/${id}/edits`)).toEqual([]);
		await page.mouse.click(box.x + 0.33 * box.width, box.y + 0.55 * box.height);
		await page.locator('[data-proposal="ready"]').waitFor();
		await page.keyboard.press("Enter");
		await saved(page, 1);
		const [edit] = await api<EditRecord[]>(page, `/segmentations/${id}/edits`);
		expect(edit!.tool).toMatch(/^model:/);
		expect(edit!.voxels).toBeGreaterThan(100);
		expect(visit.problems).toEqual([]);
		await visit.context.close();
	});

	test("without a network strokes are kept, survive, and are saved when it is back", async () => {
		const visit = await desk.open();
		const { page, context } = visit;
		await openImage(page, "MR");
		await newSegmentation(page, "Offline");
		await page.getByRole("button", { name: "Brush", exact: true }).click();
		const box = await paneBox(page, "axial");
		await context.route("**/edits", (route) => route.abort());
		await drag(page, box, [
			[0.4, 0.4],
			[0.5, 0.4],
		]);
		await page.getByText("Offline, 1 edit kept").waitFor();
		// The page is gone with the edit unsent; the next one finds it.
		await context.unroute("**/edits");
		await page.reload();
		await saved(page, 1);
		await visit.context.close();
	});

	test("two people change the same voxels: the second one is asked", async () => {
		const visit = await desk.open();
		const { page } = visit;
		await openImage(page, "MR");
		const id = await newSegmentation(page, "Two people");
		const [nz, ny, nx] = (await api<ImageRecord>(page, `/images/${imageOf(visit)}`)).series.grid.shape as [
			number,
			number,
			number,
		];
		// Somebody gives the whole middle slice another label, behind this page's back.
		const runs = Int32Array.from(Array.from({ length: ny }, (_, y) => [Math.round((nz - 1) / 2), y, 0, nx]).flat());
		const spans = Buffer.from(runs.buffer).toString("base64");
		expect(
			await post(page, `/segmentations/${id}/edits`, {
				base: 0,
				tool: "brush",
				voxels: [{ label: 2, over: null, spans }],
			}),
		).toBe(201);
		await page.getByRole("button", { name: "Brush", exact: true }).click();
		await drag(page, await paneBox(page, "axial"), [
			[0.4, 0.4],
			[0.5, 0.4],
		]);
		const dialog = page.getByRole("dialog", { name: "Somebody else changed these voxels" });
		await dialog.getByRole("button", { name: "Apply mine on top" }).click();
		await saved(page, 2);
		const me = await api<Me>(page, "/me");
		const edits = await api<EditRecord[]>(page, `/segmentations/${id}/edits`);
		expect(edits[0]).toMatchObject({ version: 2, base: 1, tool: "brush", actor: { id: me.id } });
		await visit.context.close();
	});

	test("the address restores place, window and segmentation", async () => {
		const visit = await desk.open();
		const { page } = visit;
		const [first] = (
			await api<ImageSummary[]>(page, `/projects/${(await api<Me>(page, "/me")).projects[0]!.id}/images`)
		).filter(({ modality }) => modality === "CT");
		await page.goto(`${desk.url}/?image=${first!.id}&at=3,100,200&window=-600,1500`);
		await sharp(page);
		expect(await Promise.all(["axial", "coronal", "sagittal"].map((plane) => index(visit, plane)))).toEqual([
			3, 100, 200,
		]);
		expect([
			await page.getByLabel("Window centre").inputValue(),
			await page.getByLabel("Window width").inputValue(),
		]).toEqual(["-600", "1500"]);
		await visit.context.close();
	});
});
