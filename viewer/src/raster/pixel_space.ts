/**
 * OpenLayers coordinates of a raster's own pixels: x to the right, y up, one unit a pixel, (0, 0) at the top left *corner*.
 * Our indices are sample *centres* and lines count down, so half a pixel and a sign lie between the two, here only.
 */

import { Projection } from "ol/proj";
import TileGrid from "ol/tilegrid/TileGrid";
import type { Image } from "../image/image";

export function toCoordinate(index: readonly number[]): [number, number] {
	return [index[2]! + 0.5, -(index[1]! + 0.5)];
}

/** Continuous (z, y, x) index; z is 0. */
export function toIndex(coordinate: readonly number[]): [number, number, number] {
	return [0, -coordinate[1]! - 0.5, coordinate[0]! - 0.5];
}

export function extentOf(image: Image): [number, number, number, number] {
	const [, height, width] = image.grid.shape;
	return [0, -height, width, 0];
}

export function projectionOf(image: Image): Projection {
	return new Projection({ code: `specimg:${image.id}`, units: "pixels", extent: extentOf(image) });
}

/** One tile is one chunk; OpenLayers counts levels from the coarsest. */
export function tileGridOf(image: Image): TileGrid {
	const coarseFirst = [...image.levels].reverse();
	return new TileGrid({
		extent: extentOf(image),
		origin: [0, 0],
		resolutions: coarseFirst.map((level) => level.factors[2]),
		tileSizes: coarseFirst.map((level) => [level.chunk[2], level.chunk[1]]),
	});
}

export function levelOfTile(image: Image, z: number): number {
	return image.levels.length - 1 - z;
}

/** A ring as OpenLayers has it: its first point again at the end. */
export function closed(ring: readonly [number, number][]): [number, number][] {
	return [...ring, ring[0]!];
}
