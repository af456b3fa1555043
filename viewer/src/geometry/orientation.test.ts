import { describe, expect, test } from "vitest";
import { Affine, type Vec3 } from "./affine";
import type { Grid, Shape } from "./grid";
import { AXES, anatomical, frameOf, framesOf } from "./orientation";
import { fitView, pan, type Size, toPixel, toSample, zoomAt } from "./view";

/** A patient seen by a scanner: where each array axis (z, y, x) points in LPS, with spacing and an origin. */
function grid(z: Vec3, y: Vec3, x: Vec3, origin: Vec3 = [-100, -120, -300], shape: Shape = [20, 30, 40]): Grid {
	const rows = [0, 1, 2].map((w) => [z[w]!, y[w]!, x[w]!, origin[w]!]);
	return { shape, affine: new Affine([...rows, [0, 0, 0, 1]]), space: { kind: "patient", crs: null } };
}

/** How real files store a patient; the picture on the screen must be the same for all of them. */
const STORED: readonly (readonly [string, Grid])[] = [
	["axial CT, feet first slice (DICOM)", grid([0, 0, 2], [0, 0.9, 0], [0.8, 0, 0])],
	["axial CT, head first slice", grid([0, 0, -2], [0, 0.9, 0], [0.8, 0, 0])],
	["NIfTI in RAS order", grid([0, 0, 2], [0, -0.9, 0], [-0.8, 0, 0])],
	["NIfTI in LAS order, radiological", grid([0, 0, 2], [0, -0.9, 0], [0.8, 0, 0])],
	["coronal MR", grid([0, 2, 0], [0, 0, -0.9], [0.8, 0, 0])],
	["sagittal MR", grid([2, 0, 0], [0, 0, -0.9], [0, 0.8, 0])],
	["sagittal, from the right", grid([-2, 0, 0], [0, 0, 0.9], [0, -0.8, 0])],
	["a head turned by 20 degrees", grid([0, -0.684, 1.879], [0, 0.846, 0.308], [0.8, 0, 0])],
];

const SIZE: Size = { width: 400, height: 300 };

describe.each(STORED)("%s", (_, stored) => {
	const pixel = (name: string, world: Vec3) => {
		const frame = framesOf(stored).find((entry) => entry.name === name)!;
		const view = fitView(frame, [stored.shape[frame.u], stored.shape[frame.v]], SIZE);
		const index = stored.affine.toIndex(world);
		return toPixel(frame, view, SIZE, [index[frame.u], index[frame.v]]);
	};
	const here = stored.affine.toWorld([10, 15, 20]);
	const moved = (dx: number, dy: number, dz: number): Vec3 => [here[0] + dx, here[1] + dy, here[2] + dz];

	test("the patient's left is on the right of axial and coronal pictures", () => {
		for (const name of ["axial", "coronal"]) {
			expect(pixel(name, moved(5, 0, 0))[0]).toBeGreaterThan(pixel(name, here)[0]);
		}
	});

	test("anterior is on top of axial and on the left of sagittal pictures", () => {
		expect(pixel("axial", moved(0, -5, 0))[1]).toBeLessThan(pixel("axial", here)[1]);
		expect(pixel("sagittal", moved(0, -5, 0))[0]).toBeLessThan(pixel("sagittal", here)[0]);
	});

	test("the head is on top of coronal and sagittal pictures", () => {
		for (const name of ["coronal", "sagittal"]) {
			expect(pixel(name, moved(0, 0, 5))[1]).toBeLessThan(pixel(name, here)[1]);
		}
	});

	test("letters say so", () => {
		const edges = Object.fromEntries(framesOf(stored).map((frame) => [frame.name, frame.edges]));
		expect(edges).toEqual({
			axial: { right: "L", left: "R", top: "A", bottom: "P" },
			coronal: { right: "L", left: "R", top: "S", bottom: "I" },
			sagittal: { right: "P", left: "A", top: "S", bottom: "I" },
		});
	});

	test("a millimetre is as long across as it is down", () => {
		for (const frame of framesOf(stored)) {
			const view = fitView(frame, [stored.shape[frame.u], stored.shape[frame.v]], SIZE);
			const spacing = stored.affine.spacing;
			const [x0, y0] = toPixel(frame, view, SIZE, [5, 5]);
			const [x1, y1] = toPixel(frame, view, SIZE, [5 + 10 / spacing[frame.u], 5]);
			const [x2, y2] = toPixel(frame, view, SIZE, [5, 5 + 10 / spacing[frame.v]]);
			expect(Math.hypot(x1 - x0, y1 - y0)).toBeCloseTo(Math.hypot(x2 - x0, y2 - y0), 6);
		}
	});

	test("a pixel leads back to its sample, also after zoom and pan", () => {
		for (const axis of AXES) {
			const frame = frameOf(stored, axis);
			let view = fitView(frame, [stored.shape[frame.u], stored.shape[frame.v]], SIZE);
			const held = toSample(frame, view, SIZE, [123, 77]);
			view = zoomAt(frame, view, SIZE, [123, 77], 3);
			const still = toSample(frame, view, SIZE, [123, 77]);
			expect(still[0]).toBeCloseTo(held[0], 9);
			expect(still[1]).toBeCloseTo(held[1], 9);
			view = pan(frame, view, SIZE, 31, -12);
			const [x, y] = toPixel(frame, view, SIZE, held);
			expect([x, y]).toEqual([expect.closeTo(154, 6), expect.closeTo(65, 6)]);
		}
	});
});

describe("a tilted gantry", () => {
	// Slices are square to the patient, but each is shifted in y: 20 degrees, as head CT was made for years.
	const tilted = grid([0, 2 * Math.tan(Math.PI / 9), 2], [0, 0.9, 0], [0.8, 0, 0]);

	test("is drawn with its true angle, not squared", () => {
		expect(tilted.affine.isOrthogonal).toBe(false);
		const frame = framesOf(tilted).find(({ name }) => name === "sagittal")!;
		const view = fitView(frame, [tilted.shape[frame.u], tilted.shape[frame.v]], SIZE);
		const at = (index: Vec3) => toPixel(frame, view, SIZE, [index[frame.u], index[frame.v]]);
		const [a, b] = [at([0, 15, 20]), at([10, 15, 20])];
		// Ten slices up are 20 mm towards the head and 7.28 mm towards the back.
		expect((b[0] - a[0]) / view.scale).toBeCloseTo(7.279, 2);
		expect((a[1] - b[1]) / view.scale).toBeCloseTo(20, 6);
	});
});

test("axis codes of DICOM's own example: a standard axial series grows to left, back, head", () => {
	expect(STORED[0]![1].affine.axisCodes()).toEqual(["S", "P", "L"]);
});

test("world and index are inverses for a sheared affine", () => {
	const { affine } = grid([0.1, 0.7, 2], [0.05, 0.9, 0.02], [0.8, -0.1, 0.03]);
	const back = affine.toIndex(affine.toWorld([3.5, -2, 17]));
	expect(back.map((value) => Number(value.toFixed(9)))).toEqual([3.5, -2, 17]);
});

test("a singular affine is refused", () => {
	expect(() => grid([0, 0, 1], [0, 1, 0], [0, 2, 0])).toThrow(RangeError);
});

test("positions read as people say them", () => {
	expect(anatomical([12.34, -5, -7.25])).toBe("L 12.3  A 5.0  I 7.3");
});

test("a space without anatomy has no letters and is drawn as stored", () => {
	const plain: Grid = { ...grid([0, 0, 1], [0, 1, 0], [1, 0, 0]), space: { kind: "pixel", crs: null } };
	const frame = frameOf(plain, 0);
	expect(frame).toMatchObject({ name: "xy", u: 2, v: 1, edges: { top: "", left: "" } });
	expect(frame.uStep[0]).toBeGreaterThan(0);
	expect(frame.vStep[1]).toBeGreaterThan(0);
});
