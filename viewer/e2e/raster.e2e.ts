/** A person's work on a radar scene, in a real browser on a real server. */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { EditRecord, ImageRecord, PositionRecord, ShapeList } from "../src/api/types";
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
	saved,
	sharp,
	type Visit,
} from "./desk";

interface Gcps {
	readonly line: readonly number[];
	readonly pixel: readonly number[];
	readonly lon: readonly number[];
	readonly lat: readonly number[];
}

interface GeoJson {
	readonly features: readonly {
		readonly geometry: { readonly type: string; readonly coordinates: readonly (readonly number[][])[] };
		readonly properties: Readonly<Record<string, unknown>>;
	}[];
}

/** Where a scene of a known size lies when it is fitted: 8 px of margin, centred. */
const MARGIN = 8;

describe.skipIf(missing)(`a radar scene in the browser${missing ? ` (${missing})` : ""}`, () => {
	let desk: Desk;

	beforeAll(async () => {
		desk = await openDesk();
	});

	afterAll(async () => {
		await desk?.close();
	});

	const imageOf = ({ page }: Visit) => new URL(page.url()).searchParams.get("image")!;
	const record = (visit: Visit) => api<ImageRecord>(visit.page, `/images/${imageOf(visit)}`);
	const openScene = async () => {
		const visit = await desk.open();
		await openImage(visit.page, "SAR");
		await visit.page.waitForURL(/look=/);
		return visit;
	};
	/** Part of the map's width and height at which a (line, pixel) centre is drawn in a fitted map. */
	const fitted = async ({ page }: Visit, { series }: ImageRecord) => {
		const box = await paneBox(page, "raster");
		const [, height, width] = series.grid.shape as [number, number, number];
		const resolution = Math.max(width / (box.width - 2 * MARGIN), height / (box.height - 2 * MARGIN));
		return {
			box,
			at: (line: number, pixel: number) =>
				[
					box.width / 2 + (pixel + 0.5 - width / 2) / resolution,
					box.height / 2 + (line + 0.5 - height / 2) / resolution,
				] as const,
		};
	};
	const shot = async ({ page }: Visit) => {
		const box = await paneBox(page, "raster");
		await page.mouse.move(2, 2);
		return `data:image/png;base64,${(await page.screenshot({ clip: box })).toString("base64")}`;
	};
	const requestsOf = ({ page }: Visit) => {
		const requests: string[] = [];
		page.on("request", (request) => request.url().includes("/api/") && requests.push(request.url()));
		return requests;
	};

	test("the picture is the one the server renders, and its name is honest", async () => {
		const visit = await openScene();
		const { page } = visit;
		const scene = await record(visit);
		expect(scene.series.warnings.join(" ")).toContain("no calibration");
		await page.getByText(`${scene.series.warnings.length} warnings about this image`).waitFor();
		expect(await page.locator(".raster-legend").textContent()).toContain("amplitude, uncalibrated (dB)");
		expect(await page.getByLabel("Quantity").locator("option").allTextContents()).not.toContain("sigma0 (dB)");
		await page.getByRole("button", { name: "One raster pixel per screen pixel" }).click();
		await page.waitForURL(/look=[^&]*:1&|look=[^&]*:1$/);
		await sharp(page);
		const centre = new URL(page.url()).searchParams.get("at")!.split(",").map(Number);
		const box = await paneBox(page, "raster");
		// Level 0, tile (0, 1): pixels 512 to 1023, away from the legend and the buttons.
		const places: [number, number][] = [];
		for (let line = 200; line < 500; line += 13) {
			for (let pixel = 540; pixel < 900; pixel += 17) {
				places.push([line, pixel]);
			}
		}
		const { low, high } = await rangeOf(visit);
		const address = `/api/images/${scene.id}/tiles/0/0/1?bands=0&quantity=amplitude_db&low=${low}&high=${high}&format=png`;
		const server = await greys(
			page,
			address,
			places.map(([line, pixel]) => [pixel - 512, line]),
		);
		// Half a sample of the scene's even or odd size decides where its middle falls; the address rounds it.
		const [, height, width] = scene.series.grid.shape as [number, number, number];
		expect(Math.abs(centre[1]! - (height - 1) / 2)).toBeLessThanOrEqual(0.5);
		const shown = await greys(
			page,
			await shot(visit),
			places.map(([line, pixel]) => [
				Math.floor(box.width / 2 + pixel + 0.5 - width / 2),
				Math.floor(box.height / 2 + line + 0.5 - height / 2),
			]),
		);
		const apart = shown.filter((grey, i) => Math.abs(grey - server[i]!) > 2).length;
		expect(apart / places.length).toBeLessThan(0.02);
		expect(new Set(server).size).toBeGreaterThan(50);
		expect(visit.problems).toEqual([]);
		await visit.context.close();
	});

	const rangeOf = async ({ page }: Visit) => {
		const [, , pairs] = new URL(page.url()).searchParams.get("look")!.split(":");
		const [low, high] = pairs!.split(",").map(Number);
		return { low: low!, high: high! };
	};

	test("a stretch changes the picture and costs no request", async () => {
		const visit = await openScene();
		const { page } = visit;
		const scene = await record(visit);
		const { at } = await fitted(visit, scene);
		const places = [at(300, 300), at(500, 700), at(200, 800), at(400, 1150)];
		const before = await greys(page, await shot(visit), places);
		// A resting pointer asks for the values and the position under it; only then is everything quiet.
		const box = await paneBox(page, "raster");
		await page.mouse.move(box.x + 0.2 * box.width, box.y + 0.3 * box.height);
		await expect.poll(() => page.locator('[data-readout="vh"] .number').textContent()).toContain("dB");
		await page.waitForLoadState("networkidle");
		const requests = requestsOf(visit);
		const low = page.getByLabel("Low", { exact: true });
		await low.fill("20");
		await low.press("Tab");
		await page.waitForURL(/look=amplitude_db:0:20,/);
		const after = await greys(page, await shot(visit), places);
		// A lower black makes everything brighter that was not white.
		expect(after.every((grey, i) => grey > before[i]! || before[i] === 255)).toBe(true);
		expect(after).not.toEqual(before);
		const moves = [
			[0.2, 0.3],
			[0.25, 0.27],
		] as const;
		await drag(page, box, moves, "right");
		await expect.poll(async () => Number(await low.inputValue())).not.toBe(20);
		// A resting pointer asks where it is; the stretch asks for nothing.
		expect(requests.filter((url) => !url.includes("/position?"))).toEqual([]);
		await visit.context.close();
	});

	test("dual polarisation in colour, with its formula, and back to the same place by the address", async () => {
		const visit = await openScene();
		const { page } = visit;
		const scene = await record(visit);
		await page.getByLabel("Bands").selectOption({ label: "Dual-pol RGB" });
		await page.waitForURL(/look=amplitude_db:0,1:/);
		await sharp(page);
		const legend = page.locator(".raster-legend");
		for (const part of ["R = VV", "G = VH", "B = VV − VH"]) {
			await legend.getByText(part).waitFor();
		}
		const { at } = await fitted(visit, scene);
		const colors = await colorsOf(visit, await shot(visit), [at(600, 1150), at(420, 700)]);
		// The sea scatters back far less in VH than in VV; land does so in both.
		expect(colors[0]![2]).toBeGreaterThan(colors[0]![1]! + 100);
		expect(colors[1]![1]).toBeGreaterThan(colors[1]![2]!);
		await page.getByRole("button", { name: "Zoom in" }).click();
		await expect.poll(() => page.url()).not.toContain(":1.4");
		await page.waitForLoadState("networkidle");
		const address = page.url();
		const text = await legend.textContent();
		await page.reload();
		await sharp(page);
		expect(await legend.textContent()).toBe(text);
		await expect.poll(() => page.url()).toBe(address);
		await visit.context.close();
	});

	const colorsOf = async ({ page }: Visit, png: string, places: readonly (readonly [number, number])[]) =>
		page.evaluate(
			async ([source, points]) => {
				const picture = new Image();
				picture.src = source as string;
				await picture.decode();
				const canvas = new OffscreenCanvas(picture.width, picture.height);
				const context = canvas.getContext("2d")!;
				context.drawImage(picture, 0, 0);
				// The mean of a neighbourhood: radar speckles.
				return (points as [number, number][]).map(([x, y]) => {
					const { data } = context.getImageData(x - 6, y - 6, 13, 13);
					return [0, 1, 2].map((c) => data.filter((_, i) => i % 4 === c).reduce((a, b) => a + b, 0) / 169);
				});
			},
			[png, places] as const,
		);

	test("the pointer reads place and values", async () => {
		const visit = await openScene();
		const { page } = visit;
		const scene = await record(visit);
		const { box, at } = await fitted(visit, scene);
		const [x, y] = at(419, 700);
		await page.mouse.move(box.x + x, box.y + y);
		const readout = (name: string) => page.locator(`[data-readout="${name}"] .number`);
		const pixel = /line (\d+) {2}pixel (\d+)/
			.exec((await readout("pixel").textContent())!)!
			.slice(1)
			.map(Number);
		expect(Math.abs(pixel[0]! - 419)).toBeLessThanOrEqual(1);
		expect(Math.abs(pixel[1]! - 700)).toBeLessThanOrEqual(1);
		await readout("position").getByText("control-points").waitFor();
		const { lon, lat, error_m } = await api<PositionRecord>(
			page,
			`/images/${scene.id}/position?line=${pixel[0]}&pixel=${pixel[1]}`,
		);
		const text = (await readout("position").textContent())!;
		const [north, east] = /([\d.]+)° N ([\d.]+)° E/.exec(text)!.slice(1).map(Number);
		// Within a sample, of about 200 m.
		expect(Math.hypot(north! - lat, east! - lon)).toBeLessThan(0.003);
		expect(text).toContain(`± ${Math.round(error_m!)} m`);
		for (const channel of [0, 1]) {
			const shown = readout(scene.series.channels[channel]!.name.toLowerCase());
			await expect.poll(() => shown.textContent()).toMatch(/^-?\d+\.\d\d dB$/);
			const stored = await page.evaluate(
				async ([id, row, column, c]) => {
					const answer = await fetch(`/api/images/${id}/slices/z/0?c=${c}&format=raw`);
					const [, width] = answer.headers.get("x-specimg-shape")?.split(",").map(Number) ?? [];
					const samples = new Uint16Array(await answer.arrayBuffer());
					return samples[(row as number) * (width ?? 1280) + (column as number)]!;
				},
				[scene.id, pixel[0], pixel[1], channel] as const,
			);
			expect(Number.parseFloat((await shown.textContent())!)).toBeCloseTo(20 * Math.log10(stored), 2);
		}
		await visit.context.close();
	});

	test("a polygon is there after a reload, and its GeoJSON lies where the control points say", async () => {
		const visit = await openScene();
		const { page } = visit;
		const scene = await record(visit);
		const id = await newSegmentation(page, "Shapes");
		await page.keyboard.press("p");
		const { box, at } = await fitted(visit, scene);
		const corners = [
			[300, 400],
			[310, 640],
			[520, 600],
			[500, 380],
		] as const;
		for (const [line, pixel] of corners) {
			const [x, y] = at(line, pixel);
			await page.mouse.click(box.x + x, box.y + y);
		}
		await page.keyboard.press("Enter");
		await saved(page, 1);
		const { shapes } = await api<ShapeList>(page, `/segmentations/${id}/shapes`);
		expect(shapes).toHaveLength(1);
		shapes[0]!.points.forEach((point, i) => {
			expect(point[0]).toBe(0);
			expect(Math.abs(point[1]! - corners[i]![0])).toBeLessThan(1.5);
			expect(Math.abs(point[2]! - corners[i]![1])).toBeLessThan(1.5);
		});
		await page.reload();
		await sharp(page);
		await page.locator('[data-plane="raster"][data-shapes="1"]').waitFor();
		const name = page.getByRole("list", { name: "Shapes" }).getByRole("listitem");
		expect(await name.textContent()).toContain("polygon 1");

		const exported = await api<GeoJson>(page, `/segmentations/${id}/exports/geojson`);
		expect(exported.features).toHaveLength(1);
		const ring = exported.features[0]!.geometry.coordinates[0]!;
		expect(ring).toHaveLength(corners.length + 1);
		const gcps = (scene.series.radar as unknown as { gcps: Gcps }).gcps;
		for (const [, line, pixel] of shapes[0]!.points) {
			const [lon, lat] = onGround(gcps, line!, pixel!);
			const { error_m } = await api<PositionRecord>(page, `/images/${scene.id}/position?line=${line}&pixel=${pixel}`);
			const nearest = Math.min(...ring.map((place) => metres(place[0]!, place[1]!, lon, lat)));
			expect(nearest).toBeLessThan(error_m!);
			// The same model and the same points: to a centimetre, not only within what the model may be off.
			expect(nearest).toBeLessThan(0.02);
		}
		expect(visit.problems).toEqual([]);
		await visit.context.close();
	});

	test("shapes are moved, deleted and brought back", async () => {
		const visit = await openScene();
		const { page } = visit;
		const scene = await record(visit);
		const id = await newSegmentation(page, "Edits of shapes");
		const { box, at } = await fitted(visit, scene);
		const part = (line: number, pixel: number) => {
			const [x, y] = at(line, pixel);
			return [x / box.width, y / box.height] as const;
		};
		await page.keyboard.press("x");
		await drag(page, box, [part(300, 500), part(350, 560), part(400, 640)]);
		await saved(page, 1);
		await page.keyboard.press("q");
		const [x, y] = at(350, 570);
		await page.mouse.click(box.x + x, box.y + y);
		await drag(page, box, [part(400, 640), part(450, 700), part(480, 720)]);
		await saved(page, 2);
		const shapes = async () => (await api<ShapeList>(page, `/segmentations/${id}/shapes`)).shapes;
		const [moved] = await shapes();
		expect(moved!.kind).toBe("box");
		[300, 500].forEach((value, i) => {
			expect(Math.abs(moved!.points[0]![i + 1]! - value)).toBeLessThan(2);
		});
		[480, 720].forEach((value, i) => {
			expect(Math.abs(moved!.points[1]![i + 1]! - value)).toBeLessThan(2);
		});
		await page.keyboard.press("Delete");
		await saved(page, 3);
		expect(await shapes()).toEqual([]);
		await page.keyboard.press("Control+z");
		await saved(page, 4);
		expect(await shapes()).toEqual([moved]);
		await visit.context.close();
	});

	test("the brush paints a mask in the colour of its class, and undo takes it away", async () => {
		const visit = await openScene();
		const { page } = visit;
		const scene = await record(visit);
		const id = await newSegmentation(page, "Mask");
		const { box, at } = await fitted(visit, scene);
		const part = (line: number, pixel: number) => {
			const [x, y] = at(line, pixel);
			return [x / box.width, y / box.height] as const;
		};
		const bare = await colorsOf(visit, await shot(visit), [at(600, 1100)]);
		await page.keyboard.press("4");
		await page.keyboard.press("b");
		await drag(page, box, [part(600, 1060), part(600, 1140)]);
		await saved(page, 1);
		const [edit] = await api<EditRecord[]>(page, `/segmentations/${id}/edits`);
		// A disc of radius 10 drawn along 80 pixels: 20 x 80 and the two half discs.
		expect(Math.abs(edit!.voxels - (20 * 80 + Math.PI * 100))).toBeLessThan(150);
		const painted = await colorsOf(visit, await shot(visit), [at(600, 1100)]);
		// Water is blue.
		expect(painted[0]![2]! - bare[0]![2]!).toBeGreaterThan(30);
		await page.keyboard.press("Control+z");
		await saved(page, 2);
		const blue = async () => (await colorsOf(visit, await shot(visit), [at(600, 1100)]))[0]![2]!;
		await expect.poll(blue).toBeCloseTo(bare[0]![2]!, 1);
		expect(await api(page, `/segmentations/${id}/chunks`)).toMatchObject({ chunks: {} });
		expect(visit.problems).toEqual([]);
		await visit.context.close();
	});

	test("a model proposes, and nothing is a label before a person accepts", async () => {
		const visit = await openScene();
		const { page } = visit;
		const scene = await record(visit);
		const id = await newSegmentation(page, "Proposals");
		const { box, at } = await fitted(visit, scene);
		await page.keyboard.press("a");
		const [x, y] = at(292, 1100);
		await page.mouse.click(box.x + x, box.y + y);
		await page.locator('[data-plane="raster"][data-proposal="shown"]').waitFor();
		expect(await api<EditRecord[]>(page, `/segmentations/${id}/edits`)).toEqual([]);
		await page.getByRole("button", { name: "Accept" }).click();
		await saved(page, 1);
		const [edit] = await api<EditRecord[]>(page, `/segmentations/${id}/edits`);
		expect(edit!.tool).toMatch(/^model:/);
		expect(edit!.voxels).toBeGreaterThan(20);
		await visit.context.close();
	});
});

/** Bilinear in the cell of four control points around (line, pixel), written apart from the viewer's own. */
function onGround({ line, pixel, lon, lat }: Gcps, at: number, across: number): readonly [number, number] {
	const below = (values: readonly number[], value: number) => Math.max(...values.filter((known) => known <= value));
	const above = (values: readonly number[], value: number) => Math.min(...values.filter((known) => known > value));
	const [l0, l1, p0, p1] = [below(line, at), above(line, at), below(pixel, across), above(pixel, across)];
	const corner = (l: number, p: number) => line.findIndex((known, i) => known === l && pixel[i] === p);
	const [v, u] = [(at - l0) / (l1 - l0), (across - p0) / (p1 - p0)];
	const mix = (values: readonly number[]) =>
		values[corner(l0, p0)]! * (1 - v) * (1 - u) +
		values[corner(l0, p1)]! * (1 - v) * u +
		values[corner(l1, p0)]! * v * (1 - u) +
		values[corner(l1, p1)]! * v * u;
	return [mix(lon), mix(lat)];
}

/** On a sphere; distances here are metres. */
function metres(lon0: number, lat0: number, lon1: number, lat1: number): number {
	const degree = 111_195;
	return Math.hypot((lat1 - lat0) * degree, (lon1 - lon0) * degree * Math.cos((lat0 * Math.PI) / 180));
}
