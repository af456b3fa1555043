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
  const { spacing: s, radius, axis, shape } = brush;
  const [z0, z1] = range(brush, p, q, 0, plane);
  const [y0, y1] = range(brush, p, q, 1, plane);
  const [x0, x1] = range(brush, p, q, 2, plane);
  if (z0 >= z1 || y0 >= y1 || x0 >= x1 || z1 > shape[0]) {
    return;
  }
  // An axis that is not brushed adds an exact zero to each sum.
  const used = [axis !== 0, axis !== 1, axis !== 2] as const;
  const uz = used[0] ? (q[0] - p[0]) * s[0] : 0;
  const uy = used[1] ? (q[1] - p[1]) * s[1] : 0;
  const ux = used[2] ? (q[2] - p[2]) * s[2] : 0;
  const uu = uz * uz + uy * uy + ux * ux;
  const limit = radius * radius;
  for (let z = z0; z < z1; z++) {
    const wz = used[0] ? (z - p[0]) * s[0] : 0;
    for (let y = y0; y < y1; y++) {
      const wy = used[1] ? (y - p[1]) * s[1] : 0;
      let start = -1;
      for (let x = x0; x < x1; x++) {
        const wx = used[2] ? (x - p[2]) * s[2] : 0;
        const t = uu === 0 ? 0 : Math.min(1, Math.max(0, (uz * wz + uy * wy + ux * wx) / uu));
        const dz = wz - t * uz;
        const dy = wy - t * uy;
        const dx = wx - t * ux;
        if (dz * dz + dy * dy + dx * dx <= limit) {
          start = start < 0 ? x : start;
        } else if (start >= 0) {
          into.add(z, y, start, x);
          start = -1;
        }
      }
      if (start >= 0) {
        into.add(z, y, start, x1);
      }
    }
  }
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
