import { describe, expect, test } from "vitest";
import { crsName, degrees, distance } from "./position";
import { scaleBar } from "./scale_bar";

test("degrees say their side", () => {
	expect(degrees(-19.5267, "N", "S")).toBe("19.52670° S");
	expect(degrees(169.448712, "E", "W")).toBe("169.44871° E");
});

test("a CRS is called by its code or its name", () => {
	expect(crsName("EPSG:32631")).toBe("EPSG:32631");
	expect(crsName('PROJCRS["Local grid",BASEGEOGCRS["WGS 84"]]')).toBe("Local grid");
	expect(crsName(null)).toBe("Map");
});

test("a degree of latitude is 111.2 km of a sphere, of longitude half of it at 60° N", () => {
	expect(distance(10, 76, 11, 76)).toBeCloseTo(111_195, -1);
	expect(distance(60, 5, 60, 5.01) / distance(0, 5, 0, 5.01)).toBeCloseTo(0.5, 6);
	// Across the date line it is not around the world.
	expect(distance(0, 179.99, 0, -179.99)).toBeCloseTo(0.02 * 111_195, -1);
});

describe("a scale bar is a round length that fits", () => {
	test.each([
		[200, 1, { width: 100, text: "20 km" }],
		[9, 1, { width: 111, text: "1 km" }],
		[0.006, 1, { width: 83, text: "0.5 m" }],
		[null, 0.5, { width: 100, text: "50 px" }],
	])("%d m a pixel", (metres, samples, bar) => {
		expect(scaleBar(metres, samples)).toEqual(bar);
	});
});
