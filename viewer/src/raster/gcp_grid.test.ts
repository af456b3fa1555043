import { describe, expect, test } from "vitest";
import { GcpGrid, type GroundControlPoints } from "./gcp_grid";

/** A lattice whose ground position is bilinear in (line, pixel), so every point inside is known. */
function lattice(lon0: number): GroundControlPoints {
	const rows: { line: number; pixel: number; lon: number; lat: number; height: number }[] = [];
	for (const line of [0, 100, 250]) {
		for (const pixel of [0, 40, 80, 199]) {
			rows.push({
				line,
				pixel,
				lon: wrap(lon0 + 0.01 * pixel + 0.001 * line),
				lat: 10 - 0.02 * line + 0.003 * pixel,
				height: line / 10,
			});
		}
	}
	const column = (key: "line" | "pixel" | "lon" | "lat" | "height") => rows.map((row) => row[key]);
	return {
		line: column("line"),
		pixel: column("pixel"),
		lon: column("lon"),
		lat: column("lat"),
		height: column("height"),
	};
}

const wrap = (lon: number) => lon - 360 * Math.round(lon / 360);

describe("GcpGrid", () => {
	test.each([
		[0, 0],
		[100, 40],
		[250, 199],
		[57, 61.5],
		[249, 198],
		[-3, 205], // continued beyond the lattice
	])("line %d, pixel %d", (line, pixel) => {
		const at = GcpGrid.from(lattice(76))?.toGround(line, pixel);
		expect(at?.lon).toBeCloseTo(76 + 0.01 * pixel + 0.001 * line, 9);
		expect(at?.lat).toBeCloseTo(10 - 0.02 * line + 0.003 * pixel, 9);
		expect(at?.height).toBeCloseTo(line / 10, 9);
	});

	test("a scene across the date line does not run around the world", () => {
		const at = GcpGrid.from(lattice(179))?.toGround(100, 150);
		expect(at?.lon).toBeCloseTo(wrap(179 + 1.5 + 0.1), 9);
	});

	test("points off a lattice are refused rather than guessed", () => {
		const gcps = lattice(0);
		expect(GcpGrid.from({ ...gcps, line: gcps.line.map((line, i) => (i === 5 ? line + 1 : line)) })).toBeNull();
	});
});
