import { describe, expect, test } from "vitest";
import { formatAddress, parseAddress, WORKLIST } from "./url";

const ADDRESS = {
	image: "ad561c63e89bb2d9b2e7c0cb35dd94cd",
	project: "a99a703e-00da-42ee-a806-0d501a2a5ab6",
	index: [10, 45, 58] as const,
	window: { center: 40, width: 400 },
	raster: null,
	segmentation: "b8da02e8-dbc9-4891-917a-79608f7b0979",
	version: 3,
};

test("an address leads back to the same place", () => {
	expect(parseAddress(formatAddress(ADDRESS).slice(1))).toEqual(ADDRESS);
	expect(parseAddress(formatAddress({ ...ADDRESS, version: null, window: null }).slice(1))).toEqual({
		...ADDRESS,
		version: null,
		window: null,
	});
	const raster = {
		quantity: "amplitude_db",
		bands: [0, 1],
		ranges: [
			{ low: 30, high: 60 },
			{ low: 20.5, high: 50 },
			{ low: -5, high: 15 },
		],
		resolution: 0.25,
	} as const;
	const scene = { ...ADDRESS, window: null, raster };
	expect(parseAddress(formatAddress(scene).slice(1))).toEqual(scene);
	expect(formatAddress(WORKLIST)).toBe("/");
});

describe("what does not make sense is as if it were not there", () => {
	test.each([
		["?image=../../etc", "image"],
		["?image=<script>", "image"],
		["?at=1,2", "index"],
		["?at=1,2,x", "index"],
		["?at=-1,2,3", "index"],
		["?at=1.5,2,3", "index"],
		["?window=40,-5", "window"],
		["?window=40,", "window"],
		["?window=Infinity,4", "window"],
		["?look=volts:0:1,2:", "raster"],
		["?look=real:0,1,2,3:1,2:", "raster"],
		["?look=real:0:2,1:", "raster"],
		["?look=real:0,1:0,1:", "raster"],
		["?look=real:0:0,1:-1", "raster"],
		["?seg=a/b@2", "segmentation"],
		["?seg=ab@x", "version"],
	] as const)("%s", (search, field) => {
		expect(parseAddress(search)[field]).toBeNull();
	});
});
