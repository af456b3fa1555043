/**
 * How one array plane lies on the screen.
 *
 * Radiological convention: axial and coronal planes show the patient's left on the right of the screen; axial planes
 * have anterior, the others superior at the top; sagittal planes have anterior on the left. Planes are cut along array
 * axes and nothing is resampled: a tilted stack is drawn with its true angle instead of being squared.
 */

import { type AxisCode, dot, norm, type Vec3 } from "./affine";
import type { Grid } from "./grid";

export type Axis = 0 | 1 | 2;
export type PlaneName = "axial" | "coronal" | "sagittal" | "xy" | "xz" | "yz";
export const AXES: readonly Axis[] = [0, 1, 2];
export const AXIS_NAMES = ["z", "y", "x"] as const;

/** Edge letters in CSS order; empty where the space has no anatomy. */
export interface Edges {
	readonly top: string;
	readonly right: string;
	readonly bottom: string;
	readonly left: string;
}

export interface PlaneFrame {
	/** The axis the plane is a cut of. */
	readonly axis: Axis;
	/** Array axes that run across (u) and down (v) the screen. */
	readonly u: Axis;
	readonly v: Axis;
	readonly name: PlaneName;
	/** Screen step (right, down) in world units of one sample along u and along v; its sign carries the flips. */
	readonly uStep: readonly [number, number];
	readonly vStep: readonly [number, number];
	readonly edges: Edges;
}

const OPPOSITE: Readonly<Record<AxisCode, AxisCode>> = { L: "R", R: "L", P: "A", A: "P", S: "I", I: "S" };
/** Which world direction points right and down on the screen, by the direction a plane is a cut of. */
const CONVENTION: Readonly<Record<"S" | "P" | "L", readonly [PlaneName, AxisCode, AxisCode]>> = {
	S: ["axial", "L", "P"],
	P: ["coronal", "L", "I"],
	L: ["sagittal", "P", "I"],
};

/** The frame of planes cut along `axis`. */
export function frameOf(grid: Grid, axis: Axis): PlaneFrame {
	if (grid.space.kind !== "patient") {
		return plainFrame(grid, axis);
	}
	const codes = grid.affine.axisCodes();
	const [name, right, down] = CONVENTION[family(codes[axis])];
	const others = AXES.filter((other) => other !== axis);
	const u = others.find((other) => family(codes[other]) === family(right))!;
	const v = others.find((other) => other !== u)!;
	const flipU = codes[u] === right ? 1 : -1;
	const flipV = codes[v] === down ? 1 : -1;
	const [uStep, vStep] = steps(grid.affine.step(u), grid.affine.step(v), flipU, flipV);
	return {
		axis,
		u,
		v,
		name,
		uStep,
		vStep,
		edges: { right, left: OPPOSITE[right], bottom: down, top: OPPOSITE[down] },
	};
}

/** The three frames in reading order: axial, coronal, sagittal where the space is a patient. */
export function framesOf(grid: Grid): readonly PlaneFrame[] {
	const order: readonly PlaneName[] = ["axial", "coronal", "sagittal", "xy", "xz", "yz"];
	return AXES.map((axis) => frameOf(grid, axis)).sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
}

/** A letter for a world position: `L 12.3` for +12.3 along X. */
export function anatomical(world: Vec3): string {
	const letters = [
		["L", "R"],
		["P", "A"],
		["S", "I"],
	] as const;
	return world.map((value, w) => `${letters[w]![value >= 0 ? 0 : 1]} ${Math.abs(value).toFixed(1)}`).join("  ");
}

function plainFrame(grid: Grid, axis: Axis): PlaneFrame {
	const [u, v] = (
		[
			[2, 1],
			[2, 0],
			[1, 0],
		] as const
	)[axis]!;
	const [uStep, vStep] = steps(grid.affine.step(u), grid.affine.step(v), 1, 1);
	const name = (["xy", "xz", "yz"] as const)[axis]!;
	return { axis, u, v, name, uStep, vStep, edges: { top: "", right: "", bottom: "", left: "" } };
}

/** Put u along the screen's horizontal and v below it at its true angle. */
function steps(
	u: Vec3,
	v: Vec3,
	flipU: number,
	flipV: number,
): readonly [readonly [number, number], readonly [number, number]] {
	const length = norm(u);
	const across = dot(u, v) / length;
	const down = Math.sqrt(Math.max(0, dot(v, v) - across * across));
	// Going one sample along v moves `across` along +u, which is to the right only where u is not flipped.
	return [
		[flipU * length, 0],
		[flipU * across, flipV * down],
	];
}

function family(code: AxisCode): "S" | "P" | "L" {
	return code === "S" || code === "I" ? "S" : code === "P" || code === "A" ? "P" : "L";
}
