import { describe, expect, test } from "vitest";
import { color, percentileRange, rangeCount, variables } from "./stretch";

describe("percentileRange is numpy.percentile(values, (2, 98))", () => {
	// numpy 2.4: np.percentile(np.arange(101.0), (2, 98)); np.percentile([1, 2, 4, 8], (2, 98)).
	test.each([
		[Array.from({ length: 101 }, (_, i) => 100 - i), 2, 98],
		[[8, 1, 4, 2], 1.06, 7.76],
	])("%#", (values, low, high) => {
		const range = percentileRange(Float32Array.from(values));
		expect(range.low).toBeCloseTo(low, 5);
		expect(range.high).toBeCloseTo(high, 5);
	});

	test("no-data does not count, and negative decibels sort as numbers", () => {
		const range = percentileRange(Float32Array.from([Number.NaN, -5, -30, -100, Number.NaN]));
		expect(range.low).toBeCloseTo(-97.2, 4);
		expect(range.high).toBeCloseTo(-6, 4);
	});

	test("a picture of one value, or of none, has a range too", () => {
		expect(percentileRange(Float32Array.from([7, 7, 7]))).toEqual({ low: 6.5, high: 7.5 });
		expect(percentileRange(Float32Array.from([Number.NaN]))).toEqual({ low: 0, high: 1 });
	});
});

test("one channel has one range, pictures in colour have three", () => {
	expect([[4], [0, 1], [2, 1, 0]].map(rangeCount)).toEqual([1, 3, 3]);
	expect(variables([{ low: -25, high: -5 }])).toMatchObject({ low0: -25, span0: 20, low2: -25, span2: 20 });
	expect(variables([{ low: 3, high: 3 }]).span0).toBeGreaterThan(0);
});

/** What an OpenLayers colour expression gives for a pixel, for the operators used here. */
function evaluate(expression: unknown, bands: readonly number[], values: Readonly<Record<string, number>>): unknown {
	if (!Array.isArray(expression)) {
		return expression;
	}
	const [operator, ...rest] = expression as [string, ...unknown[]];
	const args = () => rest.map((part) => evaluate(part, bands, values) as number);
	switch (operator) {
		case "band":
			return bands[(rest[0] as number) - 1];
		case "var":
			return values[rest[0] as string];
		case "-":
			return args().reduce((a, b) => a - b);
		case "/":
			return args().reduce((a, b) => a / b);
		case "clamp": {
			const [value, low, high] = args();
			return Math.min(high!, Math.max(low!, value!));
		}
		case "array":
			return args();
		default:
			throw new Error(`not used: ${operator}`);
	}
}

describe("colour", () => {
	test("dual polarisation: red VV, green VH, blue VV − VH", () => {
		const ranges = [
			{ low: -20, high: 0 },
			{ low: -30, high: -10 },
			{ low: 0, high: 10 },
		];
		const shown = evaluate(color(2, "grey"), [-5, -15, 1], variables(ranges)) as number[];
		[0.75, 0.75, 1, 1].forEach((value, i) => {
			expect(shown[i]).toBeCloseTo(value, 12);
		});
		const ship = evaluate(color(2, "grey"), [-15, -17, 1], variables(ranges)) as number[];
		[0.25, 0.65, 0.2, 1].forEach((value, i) => {
			expect(ship[i]).toBeCloseTo(value, 12);
		});
	});

	test("three bands keep their order, and the mask is the last one", () => {
		const shown = evaluate(color(3, "grey"), [10, 20, 40, 0], variables([{ low: 0, high: 40 }]));
		expect(shown).toEqual([0.25, 0.5, 1, 0]);
	});
});
