/**
 * Position under the pointer. What the page knows itself is said at once: the product's control points, or the affine of a map.
 * When the pointer rests, the server adds height, model and the error to expect.
 */

import type { Client } from "../../api/client";
import type { PositionRecord } from "../../api/types";
import type { Vec3 } from "../../geometry/affine";
import type { Image } from "../../image/image";
import { GcpGrid, type GroundControlPoints } from "../../raster/gcp_grid";
import type { Readout } from "../bench";

const REST_MS = 150;

/** Mean radius of the Earth, metres: good enough for a scale bar. */
const EARTH = 6_371_009;

export class PositionReadout {
	readonly grid: GcpGrid | null;
	private answer: { readonly line: number; readonly pixel: number; readonly record: PositionRecord } | null = null;
	private timer: ReturnType<typeof setTimeout> | undefined;
	private asking: AbortController | null = null;

	constructor(
		private readonly image: Image,
		private readonly client: Client,
		/** The server has answered for where the pointer rests. */
		private readonly changed: () => void,
	) {
		const gcps = (image.record.series.radar as { gcps?: GroundControlPoints | null } | null)?.gcps;
		this.grid = gcps ? GcpGrid.from(gcps) : null;
	}

	/** The pointer is over (line, pixel); `null`: it left. */
	moveTo(at: { readonly line: number; readonly pixel: number } | null): void {
		clearTimeout(this.timer);
		this.asking?.abort();
		if (!at) {
			this.answer = null;
		} else if (this.image.grid.space.kind !== "pixel" && !this.knows(at.line, at.pixel)) {
			this.timer = setTimeout(() => void this.ask(at.line, at.pixel), REST_MS);
		}
	}

	readouts(line: number, pixel: number): readonly Readout[] {
		const index: Vec3 = [0, line, pixel];
		const { space, affine } = this.image.grid;
		const entries: Readout[] = [];
		if (space.kind === "map") {
			const [x, y] = affine.toWorld(index);
			entries.push({ name: crsName(space.crs), text: `${plain(x)}, ${plain(y)}` });
		}
		const known = this.knows(line, pixel) ? this.answer!.record : null;
		const here = known ?? this.grid?.toGround(line, pixel);
		if (here) {
			const more = known ? ` ${errorText(known)}` : "";
			entries.push({ name: "Position", text: `${degrees(here.lat, "N", "S")} ${degrees(here.lon, "E", "W")}${more}` });
		}
		return entries;
	}

	/** Metres on the ground a raster pixel measures across, about here; `null` where the page cannot know. */
	metresPerPixel(line: number, pixel: number): number | null {
		const { space, affine } = this.image.grid;
		if (this.grid) {
			const [a, b] = [this.grid.toGround(line, pixel - 50), this.grid.toGround(line, pixel + 50)];
			return distance(a.lat, a.lon, b.lat, b.lon) / 100;
		}
		if (space.kind !== "map") {
			return null;
		}
		const [a, b] = [affine.toWorld([0, line, pixel - 50]), affine.toWorld([0, line, pixel + 50])];
		if (isGeographic(space.crs)) {
			return distance(a[1], a[0], b[1], b[0]) / 100;
		}
		return isMetric(space.crs) ? Math.hypot(b[0] - a[0], b[1] - a[1]) / 100 : null;
	}

	close(): void {
		this.moveTo(null);
	}

	private knows(line: number, pixel: number): boolean {
		return this.answer?.line === line && this.answer.pixel === pixel;
	}

	private async ask(line: number, pixel: number): Promise<void> {
		const asking = new AbortController();
		this.asking = asking;
		try {
			const record = await this.client.position(this.image.id, line, pixel, asking.signal);
			if (!asking.signal.aborted) {
				this.answer = { line, pixel, record };
				this.changed();
			}
		} catch {
			// Outside the scene there is no position, and without a network the page says what it knows itself.
		}
	}
}

function errorText({ error_m, height_m, model }: PositionRecord): string {
	const error = error_m === null ? "" : `± ${error_m < 10 ? error_m.toPrecision(2) : Math.round(error_m)} m `;
	// A map is flat: only models of the sensor have a height to say.
	const height = height_m === null || model === "crs" ? "" : ` at ${Math.round(height_m)} m`;
	return `${error}(${model}${height})`;
}

export function degrees(value: number, positive: string, negative: string): string {
	return `${Math.abs(value).toFixed(5)}° ${value < 0 ? negative : positive}`;
}

/** Enough digits for a centimetre, whether metres or degrees. */
function plain(value: number): string {
	return Math.abs(value) <= 360 ? value.toFixed(7) : value.toFixed(2);
}

/** `EPSG:32631` or the name that stands first in WKT. */
export function crsName(crs: string | null): string {
	const text = crs ?? "";
	return /^EPSG:\d+$/.test(text) ? text : (/^\w+\["([^"]+)"/.exec(text)?.[1] ?? "Map");
}

function isGeographic(crs: string | null): boolean {
	return crs === "EPSG:4326" || /^(GEOGCS|GEOGCRS|GEODCRS)\[/.test(crs ?? "");
}

/** UTM and Web Mercator by their codes, others by the unit that closes their WKT. */
function isMetric(crs: string | null): boolean {
	return /^EPSG:(32[67]\d\d)$/.test(crs ?? "") || /UNIT\["met(re|er)",\s*1[\],]/i.test(crs ?? "");
}

/** Great-circle distance in metres. */
export function distance(lat0: number, lon0: number, lat1: number, lon1: number): number {
	const rad = Math.PI / 180;
	const [dLat, dLon] = [(lat1 - lat0) * rad, (lon1 - lon0) * rad];
	const a = Math.sin(dLat / 2) ** 2 + Math.cos(lat0 * rad) * Math.cos(lat1 * rad) * Math.sin(dLon / 2) ** 2;
	return 2 * EARTH * Math.asin(Math.min(1, Math.sqrt(a)));
}
