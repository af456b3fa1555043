/**
 * Brush: which voxels a stroke covers. Twin of `stroke` in `labels/brush.py`, whose rule is written out there; both obey
 * `tests/golden/brush.json` to the last voxel, so they do the same double-precision operations in the same order.
 *
 * A voxel belongs to a stroke if its centre is at most the radius away from the polyline through the gesture's points. A disc
 * brushes the two axes of one plane, a ball all three.
 */

import type { Vec3 } from "../geometry/affine";
import type { Shape } from "../geometry/grid";
import type { Axis } from "../geometry/orientation";
import type { SpanSet } from "./spans";

export interface Brush {
	/** World units, millimetres for a patient. */
	readonly radius: number;
	/** World units per sample of (z, y, x). */
	readonly spacing: Vec3;
	/** The normal of the brushed plane, which is the one nearest to the first point; `null` is a ball. */
	readonly axis: Axis | null;
	readonly shape: Shape;
}

/** Adds the voxels of a whole stroke. Points are continuous indices (z, y, x). */
export function stroke(brush: Brush, points: readonly Vec3[], into: SpanSet): void {
	const first = points[0];
	if (!first) {
		return;
	}
	const plane = brush.axis === null ? null : Math.floor(first[brush.axis] + 0.5);
	if (points.length === 1) {
		capsule(brush, first, first, plane, into);
	}
	for (let i = 1; i < points.length; i++) {
		capsule(brush, points[i - 1]!, points[i]!, plane, into);
	}
}

/** Adds the voxels within the radius of the line from `p` to `q`. */
export function capsule(brush: Brush, p: Vec3, q: Vec3, plane: number | null, into: SpanSet): void {
	const [z0, z1] = range(brush, p, q, 0, plane);
	const [y0, y1] = range(brush, p, q, 1, plane);
	const [x0, x1] = range(brush, p, q, 2, plane);
	const line = lineOf(brush, p, q);
	for (let z = z0; z < z1; z++) {
		for (let y = y0; y < y1; y++) {
			let start = -1;
			for (let x = x0; x <= x1; x++) {
				const covered = x < x1 && covers(line, z, y, x);
				if (covered && start < 0) {
					start = x;
				} else if (!covered && start >= 0) {
					into.add(z, y, start, x);
					start = -1;
				}
			}
		}
	}
}

interface Line {
	readonly p: Vec3;
	/** Spacing; 0 along an axis that is not brushed, so that it adds an exact zero to each sum. */
	readonly s: Vec3;
	readonly u: Vec3;
	readonly uu: number;
	readonly limit: number;
}

function lineOf({ axis, spacing, radius }: Brush, p: Vec3, q: Vec3): Line {
	const s: Vec3 = [axis === 0 ? 0 : spacing[0], axis === 1 ? 0 : spacing[1], axis === 2 ? 0 : spacing[2]];
	const u: Vec3 = [(q[0] - p[0]) * s[0], (q[1] - p[1]) * s[1], (q[2] - p[2]) * s[2]];
	return { p, s, u, uu: u[0] * u[0] + u[1] * u[1] + u[2] * u[2], limit: radius * radius };
}

function covers({ p, s, u, uu, limit }: Line, z: number, y: number, x: number): boolean {
	const wz = (z - p[0]) * s[0];
	const wy = (y - p[1]) * s[1];
	const wx = (x - p[2]) * s[2];
	const t = uu === 0 ? 0 : Math.min(1, Math.max(0, (u[0] * wz + u[1] * wy + u[2] * wx) / uu));
	const dz = wz - t * u[0];
	const dy = wy - t * u[1];
	const dx = wx - t * u[2];
	return dz * dz + dy * dy + dx * dx <= limit;
}

/** Samples `low <= i < high` of an axis that can be covered; one of margin, so that rounding cuts nothing. */
function range(brush: Brush, p: Vec3, q: Vec3, axis: Axis, plane: number | null): readonly [number, number] {
	const size = brush.shape[axis];
	if (brush.axis === axis && plane !== null) {
		return plane < 0 || plane >= size ? [0, 0] : [plane, plane + 1];
	}
	const reach = brush.radius / brush.spacing[axis];
	return [
		Math.max(0, Math.floor(Math.min(p[axis], q[axis]) - reach) - 1),
		Math.min(size, Math.ceil(Math.max(p[axis], q[axis]) + reach) + 2),
	];
}
