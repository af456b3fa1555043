/**
 * Affine: array index to world. Twin of `geometry/affine.py`.
 *
 * An index is `(z, y, x)`, slowest axis first; integers are the centres of samples. World is `(X, Y, Z)`: LPS
 * millimetres for a patient, CRS units for a map.
 */

export type Vec3 = readonly [number, number, number];
export type AxisCode = "L" | "R" | "P" | "A" | "S" | "I";

const POSITIVE = ["L", "P", "S"] as const;
const NEGATIVE = ["R", "A", "I"] as const;
/** Largest cosine between two axes that still counts as a right angle. */
const RIGHT_ANGLE = 1e-4;

export class Affine {
	private readonly inverse: readonly number[];

	/** `rows` is a 4 x 4 matrix whose columns 0..2 are the world steps of z, y, x, and column 3 the first sample. */
	constructor(readonly rows: readonly (readonly number[])[]) {
		if (rows.length !== 4 || rows.some((row) => row.length !== 4 || !row.every(Number.isFinite))) {
			throw new RangeError("an affine is a 4 x 4 matrix of finite numbers");
		}
		this.inverse = invert3(rows);
	}

	/** World step of one sample along an axis (0: z, 1: y, 2: x). */
	step(axis: number): Vec3 {
		return [this.at(0, axis), this.at(1, axis), this.at(2, axis)];
	}

	/** World length of one sample along (z, y, x). */
	get spacing(): Vec3 {
		return [norm(this.step(0)), norm(this.step(1)), norm(this.step(2))];
	}

	/** Unit world vectors of (z, y, x). */
	get directions(): readonly [Vec3, Vec3, Vec3] {
		return [unit(this.step(0)), unit(this.step(1)), unit(this.step(2))];
	}

	/** False for a gantry tilt or a sheared matrix. */
	get isOrthogonal(): boolean {
		const [z, y, x] = this.directions;
		return [dot(z, y), dot(z, x), dot(y, x)].every((cosine) => Math.abs(cosine) < RIGHT_ANGLE);
	}

	toWorld(index: Vec3): Vec3 {
		const row = (r: number) =>
			this.at(r, 0) * index[0] + this.at(r, 1) * index[1] + this.at(r, 2) * index[2] + this.at(r, 3);
		return [row(0), row(1), row(2)];
	}

	/** Inverse of `toWorld`; fractional indices. */
	toIndex(world: Vec3): Vec3 {
		const d = [world[0] - this.at(0, 3), world[1] - this.at(1, 3), world[2] - this.at(2, 3)];
		const row = (r: number) =>
			this.inverse[3 * r]! * d[0]! + this.inverse[3 * r + 1]! * d[1]! + this.inverse[3 * r + 2]! * d[2]!;
		return [row(0), row(1), row(2)];
	}

	/** Anatomical direction towards which (z, y, x) grow, for an LPS world; the clearest axis chooses first. */
	axisCodes(): readonly [AxisCode, AxisCode, AxisCode] {
		const directions = this.directions;
		const clearest = (axis: number) => Math.max(...directions[axis]!.map(Math.abs));
		const order = [0, 1, 2].sort((a, b) => clearest(b) - clearest(a));
		const free = new Set([0, 1, 2]);
		const codes: AxisCode[] = ["S", "P", "L"];
		for (const axis of order) {
			const direction = directions[axis]!;
			const world = [...free].reduce((best, w) => (Math.abs(direction[w]!) > Math.abs(direction[best]!) ? w : best));
			free.delete(world);
			codes[axis] = (direction[world]! > 0 ? POSITIVE : NEGATIVE)[world]!;
		}
		return [codes[0]!, codes[1]!, codes[2]!];
	}

	private at(row: number, column: number): number {
		return this.rows[row]![column]!;
	}
}

export const dot = (a: Vec3, b: Vec3): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const norm = (a: Vec3): number => Math.hypot(a[0], a[1], a[2]);

function unit(a: Vec3): Vec3 {
	const length = norm(a);
	return [a[0] / length, a[1] / length, a[2] / length];
}

function invert3(rows: readonly (readonly number[])[]): number[] {
	const [a, b, c] = [rows[0]![0]!, rows[0]![1]!, rows[0]![2]!];
	const [d, e, f] = [rows[1]![0]!, rows[1]![1]!, rows[1]![2]!];
	const [g, h, i] = [rows[2]![0]!, rows[2]![1]!, rows[2]![2]!];
	const [A, B, C] = [e * i - f * h, f * g - d * i, d * h - e * g];
	const determinant = a * A + b * B + c * C;
	if (determinant === 0 || !Number.isFinite(determinant)) {
		throw new RangeError("the affine is singular: two axes coincide or a spacing is zero");
	}
	return [A, c * h - b * i, b * f - c * e, B, a * i - c * g, c * d - a * f, C, b * g - a * h, a * e - b * d].map(
		(value) => value / determinant,
	);
}
