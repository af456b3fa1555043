import { describe, expect, test } from "vitest";
import type { ImageRecord } from "../api/types";
import { ChunkCache } from "../image/chunk_cache";
import { ChunkQueue } from "../image/chunk_queue";
import { Image } from "../image/image";
import { Quantities } from "./quantity";

const TABLE = {
	lines: [0, 100],
	pixels: [0, 200],
	sigma0: [
		[500, 300],
		[500, 300],
	],
};

function quantities(series: Record<string, unknown>): Quantities {
	const record = {
		id: "ab",
		levels: [],
		series: {
			kind: "raster",
			axes: ["c", "y", "x"],
			shape: [2, 10, 10],
			dtype: "uint16",
			grid: {
				shape: [1, 10, 10],
				affine: [
					[0, 0, 1, 0],
					[0, 1, 0, 0],
					[1, 0, 0, 0],
					[0, 0, 0, 1],
				],
				space: { kind: "radar", crs: null },
			},
			channels: [
				{ name: "VV", unit: "DN", windows: [] },
				{ name: "VH", unit: "DN", windows: [] },
			],
			rescale: { slope: [1], intercept: [0] },
			nodata: 0,
			radar: null,
			...series,
		},
	} as unknown as ImageRecord;
	const decoder = { width: 1, read: () => new Promise<never>(() => undefined) };
	return new Quantities(new Image(record, new ChunkQueue(decoder, new ChunkCache(0))));
}

describe("a quantity is called what it is", () => {
	test("sigma0 only where every channel is calibrated", () => {
		const both = quantities({ radar: { calibration: { VV: TABLE, VH: TABLE } } });
		expect(both.choice(both.initial)).toEqual({ id: "sigma0_db", name: "sigma0", unit: "dB" });
		const half = quantities({ radar: { calibration: { VV: TABLE } } });
		expect(half.choices.map(({ id }) => id)).not.toContain("sigma0_db");
		expect(half.choice(half.initial).name).toBe("amplitude, uncalibrated");
	});

	test("a picture of a camera is neither", () => {
		const optical = quantities({
			channels: ["red", "green", "blue"].map((name) => ({ name, unit: "1", windows: [] })),
		});
		expect(optical.choices).toEqual([{ id: "real", name: "value", unit: "" }]);
		expect(optical.bandsChoices("real").at(-1)).toEqual({
			bands: [0, 1, 2],
			name: "RGB",
			parts: ["red", "green", "blue"],
		});
	});
});

describe("dual polarisation", () => {
	test("is found by name, and only in decibel", () => {
		const swapped = quantities({
			channels: [
				{ name: "HV", unit: "DN", windows: [] },
				{ name: "HH", unit: "DN", windows: [] },
			],
		});
		expect(swapped.bandsChoices("amplitude_db").at(-1)).toMatchObject({
			bands: [1, 0],
			parts: ["HH", "HV", "HH − HV"],
		});
		expect(swapped.bandsChoices("real")).toHaveLength(2);
	});
});

describe("values", () => {
	test("sigma0 at a pixel is 20 log10(DN / A)", () => {
		const calibrated = quantities({ radar: { calibration: { VV: TABLE, VH: TABLE } } });
		// A = 400 in the middle of the row.
		expect(calibrated.value(40, "sigma0_db", 0, 50, 100)).toBeCloseTo(-20, 12);
		expect(calibrated.value(40, "amplitude_db", 0, 50, 100)).toBeCloseTo(20 * Math.log10(40), 12);
	});

	test.each([
		[0, "uint16", 0],
		[-9999.9, "float32", Math.fround(-9999.9)],
		[1e39, "float64", Number.POSITIVE_INFINITY],
		["NaN", "float32", Number.NaN],
	])("no data %s in %s is no value", (nodata, dtype, sample) => {
		const found = quantities({ nodata, dtype });
		expect(found.value(sample, "real", 0, 0, 0)).toBeNaN();
		expect(found.value(sample === 0 ? 1 : 2, "real", 0, 0, 0)).toBe(sample === 0 ? 1 : 2);
	});

	test("a tile has values beside its mask, and what is not a value is masked", () => {
		const tile = Float32Array.from([0, 1, 0, 1, 0, 1, 0, 1]);
		quantities({}).fill(tile, 2, 0, Uint16Array.from([10, 0, 100, 1]), "amplitude_db", 0, [0, 0], 1, 2);
		expect([...tile]).toEqual([20, 1, 0, 0, 40, 1, 0, 1]);
	});

	test("a window of a file is for its own quantity", () => {
		const channels = [{ name: "VV", unit: "DN", windows: [{ name: "amplitude dB", center: 40, width: 20 }] }];
		const found = quantities({ channels });
		expect(found.suggested("amplitude_db", 0)).toEqual({ low: 30, high: 50 });
		expect(found.suggested("real", 0)).toBeNull();
	});
});
