/**
 * The address: which page, and where in an image. It carries ids and numbers only, never a name, and everything in it is
 * checked on the way in.
 */

import type { Vec3 } from "../geometry/affine";
import { formatLook, parseLook, type RasterLook } from "../raster/look";
import type { WindowLevel } from "../render/window";

export interface Address {
	readonly image: string | null;
	readonly project: string | null;
	readonly index: Vec3 | null;
	readonly window: WindowLevel | null;
	readonly raster: RasterLook | null;
	readonly segmentation: string | null;
	readonly version: number | null;
}

export const WORKLIST: Address = {
	image: null,
	project: null,
	index: null,
	window: null,
	raster: null,
	segmentation: null,
	version: null,
};

const ID = /^[0-9a-zA-Z-]{1,64}$/;

/** What of a query string makes sense; the rest is as if it were not there. */
export function parseAddress(search: string): Address {
	const query = new URLSearchParams(search);
	const id = (text: string | null | undefined) => (text && ID.test(text) ? text : null);
	const [segmentation, version] = (query.get("seg") ?? "").split("@");
	const index = numbers(query.get("at"), 3);
	const window = numbers(query.get("window"), 2);
	return {
		image: id(query.get("image")),
		project: id(query.get("project")),
		index: index?.every((i) => Number.isInteger(i) && i >= 0) ? [index[0]!, index[1]!, index[2]!] : null,
		window: window && window[1]! > 0 ? { center: window[0]!, width: window[1]! } : null,
		raster: parseLook(query.get("look")),
		segmentation: id(segmentation),
		version: version !== undefined && /^\d{1,12}$/.test(version) ? Number(version) : null,
	};
}

export function formatAddress({ image, project, index, window, raster, segmentation, version }: Address): string {
	if (!image) {
		return "/";
	}
	const parts = [`image=${image}`];
	if (project) {
		parts.push(`project=${project}`);
	}
	if (index) {
		parts.push(`at=${index.join(",")}`);
	}
	if (window) {
		parts.push(`window=${short(window.center)},${short(window.width)}`);
	}
	if (raster) {
		parts.push(`look=${formatLook(raster)}`);
	}
	if (segmentation) {
		parts.push(`seg=${segmentation}${version === null ? "" : `@${version}`}`);
	}
	return `/?${parts.join("&")}`;
}

const short = (value: number): string => String(Number(value.toPrecision(6)));

function numbers(text: string | null, count: number): number[] | null {
	const values = (text ?? "").split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
	return values.length === count && values.every(Number.isFinite) ? values : null;
}
