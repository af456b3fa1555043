import { describe, expect, test } from "vitest";
import type { Vec3 } from "../geometry/affine";
import type { Shape } from "../geometry/grid";
import type { Axis } from "../geometry/orientation";
import { golden } from "../testing/golden";
import { stroke } from "./brush";
import { fill, type Vertex } from "./polygon";
import { SpanSet, Spans } from "./spans";

interface Table {
	readonly shape: Shape;
	readonly strokes: readonly {
		readonly name: string;
		readonly axis: "z" | "y" | "x" | null;
		readonly radius: number;
		readonly spacing: Vec3;
		readonly points: readonly Vec3[];
		readonly runs: readonly (readonly number[])[];
	}[];
	readonly polygons: readonly {
		readonly name: string;
		readonly axis: "z" | "y" | "x";
		readonly plane: number;
		readonly rings: readonly (readonly Vertex[])[];
		readonly runs: readonly (readonly number[])[];
	}[];
}

const table = golden<Table>("brush.json");
const rows = (spans: Spans) =>
	Array.from({ length: spans.length }, (_, i) => [...spans.runs.subarray(4 * i, 4 * i + 4)]);

describe("the preview under the cursor is what the server keeps", () => {
	test.each(table.strokes)("stroke: $name", ({ axis, radius, spacing, points, runs }) => {
		const set = new SpanSet(table.shape);
		stroke(
			{ radius, spacing, axis: axis === null ? null : ("zyx".indexOf(axis) as Axis), shape: table.shape },
			points,
			set,
		);
		expect(rows(set.toSpans())).toEqual(runs);
	});

	test.each(table.polygons)("polygon: $name", ({ axis, plane, rings, runs }) => {
		const set = new SpanSet(table.shape);
		fill(rings, "zyx".indexOf(axis) as Axis, plane, set);
		expect(rows(set.toSpans())).toEqual(runs);
	});
});

describe("span bytes are the server's", () => {
	const { good } = golden<{ good: { name: string; runs: number[][]; count: number; base64: string }[] }>("spans.json");
	test.each(good)("$name", ({ runs, count, base64 }) => {
		const spans = new Spans(Int32Array.from(runs.flat()));
		expect(spans.toBase64()).toBe(base64);
		expect(rows(Spans.fromBase64(base64))).toEqual(runs);
		expect(spans.count).toBe(count);
	});
});

describe("SpanSet", () => {
	test("voxels added in any order and again and again are the same set", () => {
		// A small generator, so that a failure can be repeated.
		let state = 7;
		const next = (below: number) => {
			state = (state * 48271) % 2147483647;
			return state % below;
		};
		for (let round = 0; round < 50; round++) {
			const set = new SpanSet([3, 4, 30]);
			const truth = new Set<string>();
			for (let i = 0; i < 40; i++) {
				const [z, y, x0] = [next(5) - 1, next(6) - 1, next(34) - 2];
				const x1 = x0 + next(9);
				set.add(z, y, x0, x1);
				for (let x = Math.max(0, x0); x < Math.min(30, x1); x++) {
					if (z >= 0 && z < 3 && y >= 0 && y < 4) {
						truth.add(`${z},${y},${x}`);
					}
				}
			}
			const found = new Set<string>();
			const spans = set.toSpans();
			let last = [-1, -1, -1];
			spans.forEach((z, y, x, length) => {
				// Sorted and disjoint, as the server demands.
				expect(z * 1e6 + y * 1e3 + x).toBeGreaterThanOrEqual(last[0]! * 1e6 + last[1]! * 1e3 + last[2]!);
				last = [z, y, x + length];
				for (let i = x; i < x + length; i++) {
					found.add(`${z},${y},${i}`);
				}
			});
			expect(found).toEqual(truth);
			expect(spans.count).toBe(truth.size);
		}
	});
});
