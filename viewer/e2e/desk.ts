/** A real server on a data folder of its own, and a browser in front of it. */

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const SPECIMG = process.env.SPECIMG_BIN ?? join(ROOT, ".venv/bin/specimg");
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** Why browser tests cannot run here, or `null`. */
export const missing: string | null = !existsSync(CHROMIUM) ? "needs the Debian package chromium" : null;

export interface Desk {
	readonly url: string;
	readonly name: string;
	readonly password: string;
	readonly browser: Browser;
	/** A browser of its own, logged in, at the worklist. */
	open(): Promise<Visit>;
	close(): Promise<void>;
}

export interface Visit {
	readonly page: Page;
	readonly context: BrowserContext;
	/** Errors the page reported; a test that expects none checks that it is empty. */
	readonly problems: string[];
}

/** Starts `specimg demo` on a free port with a fresh folder. */
export async function openDesk(): Promise<Desk> {
	if (!existsSync(SPECIMG)) {
		throw new Error(`${SPECIMG} is not there; make test installs it, or set SPECIMG_BIN`);
	}
	const home = await mkdtemp(join(tmpdir(), "specimg-e2e-"));
	const server = spawn(SPECIMG, ["demo"], { env: { ...process.env, SPECIMG_HOME: home, PORT: "0" } });
	const { url, name, password } = await announced(server);
	const browser = await chromium.launch({
		executablePath: CHROMIUM,
		args: ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
	});
	return {
		url,
		name,
		password,
		browser,
		async open() {
			const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
			const page = await context.newPage();
			const problems: string[] = [];
			page.on("pageerror", (error) => problems.push(String(error)));
			await page.goto(url);
			await page.getByLabel("Name", { exact: true }).fill(name);
			await page.getByLabel("Password").fill(password);
			await page.getByRole("button", { name: "Log in" }).click();
			await page.getByRole("heading", { name: "Images" }).waitFor();
			return { page, context, problems };
		},
		async close() {
			await browser.close();
			const gone = new Promise((resolve) => server.once("exit", resolve));
			server.kill("SIGINT");
			await gone;
			await rm(home, { recursive: true, force: true });
		},
	};
}

/** Reads the address and the login from what the demo says. */
function announced(server: ChildProcess): Promise<{ url: string; name: string; password: string }> {
	return new Promise((resolve, reject) => {
		let said = "";
		const hear = (part: Buffer) => {
			said += part.toString();
			const url = /http:\/\/[\w.:[\]-]+/.exec(said)?.[0];
			const login = /Log in as (\S+) with the password (\S+)/.exec(said);
			if (url && login) {
				resolve({ url, name: login[1]!, password: login[2]! });
			}
		};
		server.stdout?.on("data", hear);
		server.stderr?.on("data", hear);
		server.once("exit", (code) => reject(new Error(`specimg demo ended with ${code}:\n${said}`)));
	});
}

/** Opens the first image of a modality and waits until all planes are sharp. */
export async function openImage(page: Page, modality: string): Promise<void> {
	await page
		.getByRole("row")
		.filter({ has: page.getByText(modality, { exact: true }) })
		.first()
		.getByRole("link")
		.click();
	await sharp(page);
}

export async function sharp(page: Page): Promise<void> {
	await page.waitForFunction(() => {
		const panes = [...document.querySelectorAll<HTMLElement>(".pane")].filter((pane) => pane.clientWidth > 0);
		return panes.length > 0 && panes.every((pane) => pane.dataset.state === "sharp");
	});
}

export async function saved(page: Page, version: number): Promise<void> {
	await page.locator(`[data-saved-version="${version}"]`).waitFor();
}

/** A new, empty segmentation with the ontology the viewer offers; its id. */
export async function newSegmentation(page: Page, name: string): Promise<string> {
	await page.getByRole("button", { name: "New segmentation" }).click();
	await page.getByLabel("Name", { exact: true }).fill(name);
	const answer = page.waitForResponse(
		(response) => response.url().endsWith("/segmentations") && response.request().method() === "POST",
	);
	await page.getByRole("button", { name: "Create" }).click();
	const { id } = (await (await answer).json()) as { id: string };
	await page.locator('[data-saved-version="0"]').waitFor();
	await page.waitForURL(new RegExp(`seg=${id}`));
	return id;
}

export interface Box {
	readonly x: number;
	readonly y: number;
	readonly width: number;
	readonly height: number;
}

export async function paneBox(page: Page, plane: string): Promise<Box> {
	return (await page.locator(`[data-plane="${plane}"]`).boundingBox())!;
}

/** Drags through points given as parts of a pane's width and height. */
export async function drag(
	page: Page,
	box: Box,
	points: readonly (readonly [number, number])[],
	button: "left" | "right" | "middle" = "left",
): Promise<void> {
	const at = ([x, y]: readonly [number, number]) => [box.x + x * box.width, box.y + y * box.height] as const;
	await page.mouse.move(...at(points[0]!));
	await page.mouse.down({ button });
	for (const point of points.slice(1)) {
		await page.mouse.move(...at(point), { steps: 6 });
	}
	await page.mouse.up({ button });
}

/** An answer of the server's API with the page's own session. */
export function api<T>(page: Page, path: string): Promise<T> {
	return page.evaluate(async (address) => (await fetch(`/api${address}`)).json(), path) as Promise<T>;
}

/** Sends as the viewer does. */
export function post(page: Page, path: string, body: unknown): Promise<number> {
	return page.evaluate(
		async ([address, json]) =>
			(
				await fetch(`/api${address}`, {
					method: "POST",
					headers: { "Content-Type": "application/json", "X-Specimg": "1" },
					body: json!,
				})
			).status,
		[path, JSON.stringify(body)],
	);
}

/** Grey (red channel) of a picture at places given in its pixels. */
export function greys(page: Page, png: string, places: readonly (readonly [number, number])[]): Promise<number[]> {
	return page.evaluate(
		async ([source, at]) => {
			const picture = new Image();
			picture.src = source as string;
			await picture.decode();
			const canvas = new OffscreenCanvas(picture.width, picture.height);
			const context = canvas.getContext("2d")!;
			context.drawImage(picture, 0, 0);
			const { data } = context.getImageData(0, 0, picture.width, picture.height);
			return (at as [number, number][]).map(([x, y]) => data[4 * (Math.round(y) * picture.width + Math.round(x))]!);
		},
		[png, places] as const,
	);
}
