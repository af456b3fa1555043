/**
 * Polygon: which voxels of a plane lie inside rings. Twin of `polygon` in `labels/brush.py`; both obey
 * `tests/golden/brush.json`.
 *
 * Rows and columns are the two remaining array axes in their order, however the plane lies on the screen. An edge crosses row
 * `r` if `r0 <= r < r1`; sorted crossings are paired, and a pair `(a, b)` covers the columns `a <= column < b`. So voxel
 * centres decide, and polygons that share an edge share no voxel and leave no gap.
 */

import type { Vec3 } from "../geometry/affine";
import { AXES, type Axis } from "../geometry/orientation";
import type { SpanSet } from "./spans";

/** A vertex as continuous (row, column) index. */
export type Vertex = readonly [number, number];

/** The (row, column) of an index in planes cut along `axis`. */
export function vertexOf(index: Vec3, axis: Axis): Vertex {
	const [row, column] = AXES.filter((other) => other !== axis);
	return [index[row!], index[column!]];
}

/** Adds the voxels of plane `at` inside the rings, even-odd; rings close themselves. */
export function fill(rings: readonly (readonly Vertex[])[], axis: Axis, at: number, into: SpanSet): void {
	const rows = rings.flatMap((ring) => ring.map((vertex) => vertex[0]));
	if (rows.length === 0) {
		return;
	}
	const top = rows.reduce((a, b) => Math.min(a, b));
	const bottom = rows.reduce((a, b) => Math.max(a, b));
	for (let row = Math.max(0, Math.ceil(top)); row <= Math.floor(bottom); row++) {
		const crossings = rings.flatMap((ring) => cross(ring, row)).sort((a, b) => a - b);
		for (let i = 0; i + 1 < crossings.length; i += 2) {
			addRow(axis, at, row, Math.ceil(crossings[i]!), Math.ceil(crossings[i + 1]!), into);
		}
	}
}

function cross(ring: readonly Vertex[], row: number): number[] {
	const found: number[] = [];
	for (let i = 0; i < ring.length; i++) {
		let [r0, c0] = ring[i]!;
		let [r1, c1] = ring[(i + 1) % ring.length]!;
		if (r0 > r1) {
			[r0, c0, r1, c1] = [r1, c1, r0, c0];
		}
		if (r0 <= row && row < r1) {
			found.push(c0 + ((row - r0) * (c1 - c0)) / (r1 - r0));
		}
	}
	return found;
}

function addRow(axis: Axis, at: number, row: number, from: number, to: number, into: SpanSet): void {
	switch (axis) {
		case 0:
			into.add(at, row, from, to);
			break;
		case 1:
			into.add(row, at, from, to);
			break;
		case 2:
			// Columns run along y here, so every voxel is a run of its own.
			for (let y = from; y < to; y++) {
				into.add(row, y, at, at + 1);
			}
			break;
	}
}
