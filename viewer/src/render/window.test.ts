import { describe, expect, test } from "vitest";
import { golden } from "../testing/golden";
import { COLORMAPS, colormap } from "./colormap";
import { dragWindow, toGrey, type WindowFunction, windowOf } from "./window";

interface Case {
	readonly name: string;
	readonly function: WindowFunction;
	readonly center: number;
	readonly width: number;
	readonly rows: readonly (readonly [number, number, number])[];
}

describe("the window rule of DICOM, as the server has it", () => {
	test.each(golden<{ cases: Case[] }>("window.json").cases)("$name", ({ rows, function: rule, ...window }) => {
		for (const [value, , grey] of rows) {
			expect([value, toGrey(value, window, rule)]).toEqual([value, grey]);
		}
	});

	test("nothing is brighter than a number that is none", () => {
		expect(toGrey(Number.NaN, { center: 40, width: 400 }, "LINEAR")).toBe(0);
	});
});

describe("colour maps are the server's", () => {
	const { maps } = golden<{ maps: Record<string, string[]> }>("colormap.json");
	test.each([...COLORMAPS])("%s", (name) => {
		const bytes = colormap(name);
		const hex = Array.from(
			{ length: 256 },
			(_, i) => `#${[...bytes.subarray(4 * i, 4 * i + 3)].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`,
		);
		expect(hex).toEqual(maps[name]);
	});
});

describe("dragging", () => {
	const start = { center: 40, width: 400 };

	test("right widens, left narrows, and the way back leads back", () => {
		const wide = dragWindow(start, 200, 0, 800, "LINEAR");
		expect(wide.width).toBeGreaterThan(400);
		expect(dragWindow(wide, -200, 0, 800, "LINEAR").width).toBeCloseTo(400);
	});

	test("up brightens: the centre goes down", () => {
		expect(dragWindow(start, 0, -50, 800, "LINEAR").center).toBeLessThan(40);
	});

	test("a window for whole numbers never gets narrower than 1", () => {
		expect(dragWindow(start, -1e6, 0, 800, "LINEAR").width).toBe(1);
		expect(dragWindow(start, -1e6, 0, 800, "LINEAR_EXACT").width).toBeGreaterThan(0);
	});
});

test("a window from values leaves outliers aside, and is never empty", () => {
	const values = [...Array.from({ length: 1000 }, (_, i) => i), 1e9, Number.NaN];
	const { center, width } = windowOf(values);
	expect(center).toBeCloseTo(500, -2);
	expect(width).toBeLessThan(1100);
	expect(windowOf([7, 7, 7]).width).toBeGreaterThan(0);
	expect(windowOf([]).width).toBeGreaterThan(0);
});
