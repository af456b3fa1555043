/** Shape: a vector label in index space, with attributes. Twin of `Shape` in `labels/shapes.py`. */

import type { ShapeRecord } from "../api/types";
import type { Vec3 } from "../geometry/affine";

export type Shape = ShapeRecord;

/** The smallest and the largest corner, as a box stores them. */
export function corners(a: Vec3, b: Vec3): readonly [Vec3, Vec3] {
	const pick = (choose: (p: number, q: number) => number): Vec3 => [
		choose(a[0], b[0]),
		choose(a[1], b[1]),
		choose(a[2], b[2]),
	];
	return [pick(Math.min), pick(Math.max)];
}

/** The middle of the smallest box around a shape. */
export function middle(shape: Pick<Shape, "points">): Vec3 {
	const along = (axis: 0 | 1 | 2) => {
		const values = shape.points.map((point) => point[axis]);
		return (values.reduce((a, b) => Math.min(a, b)) + values.reduce((a, b) => Math.max(a, b))) / 2;
	};
	return [along(0), along(1), along(2)];
}
