/** Grid: the geometry of an image without its pixels. Twin of `geometry/grid.py`. */

import { Affine, type Vec3 } from "./affine";

export type SpaceKind = "patient" | "map" | "radar" | "pixel";
export type Shape = readonly [number, number, number];

export interface Space {
	readonly kind: SpaceKind;
	readonly crs: string | null;
}

/** `shape` in (z, y, x); a raster has one z. */
export interface Grid {
	readonly shape: Shape;
	readonly affine: Affine;
	readonly space: Space;
}

export interface GridJson {
	readonly shape: readonly number[];
	readonly affine: readonly (readonly number[])[];
	readonly space: { readonly kind: string; readonly crs: string | null };
}

/** From the JSON both sides share; throws `RangeError` if it is not a grid. */
export function parseGrid(json: GridJson): Grid {
	const [z, y, x] = json.shape;
	if (json.shape.length !== 3 || !z || !y || !x || z < 1 || y < 1 || x < 1) {
		throw new RangeError("a grid has three positive sizes (z, y, x)");
	}
	return {
		shape: [z, y, x],
		affine: new Affine(json.affine),
		space: { kind: json.space.kind as SpaceKind, crs: json.space.crs },
	};
}

/** The nearest sample inside the grid. */
export function clampIndex(shape: Shape, index: Vec3): Vec3 {
	const clamp = (value: number, size: number) => Math.min(size - 1, Math.max(0, Math.round(value)));
	return [clamp(index[0], shape[0]), clamp(index[1], shape[1]), clamp(index[2], shape[2])];
}

export function contains(shape: Shape, index: Vec3): boolean {
	return index.every((value, axis) => value >= -0.5 && value < shape[axis]! - 0.5);
}
