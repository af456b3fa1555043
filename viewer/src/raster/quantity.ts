/** Quantity: what is shown of the stored samples, and in which unit. */

import type { Image } from "../image/image";
import type { Samples } from "../image/samples";
import { type CalibrationTable, decibel, gainAt, gains } from "./sigma0";

export type Quantity = "sigma0_db" | "amplitude_db" | "real";

export interface QuantityChoice {
	readonly id: Quantity;
	readonly name: string;
	readonly unit: string;
}

interface RadarJson {
	readonly calibration: Readonly<Record<string, CalibrationTable>> | null;
}

export class Quantities {
	private readonly tables: readonly (CalibrationTable | null)[];
	readonly choices: readonly QuantityChoice[];
	private readonly nodata: number | null;

	constructor(private readonly image: Image) {
		const { series } = image.record;
		const calibration = (series.radar as RadarJson | null)?.calibration ?? null;
		this.tables = series.channels.map((channel) => calibration?.[channel.name] ?? null);
		this.nodata = series.nodata ?? null;
		const unit = series.channels[0]?.unit ?? "1";
		const choices: QuantityChoice[] = [];
		if (this.tables.every((table) => table !== null)) {
			choices.push({ id: "sigma0_db", name: "sigma0", unit: "dB" });
		}
		if (unit === "DN") {
			choices.push({ id: "amplitude_db", name: "amplitude, uncalibrated", unit: "dB" });
		}
		choices.push({ id: "real", name: unit === "DN" ? "amplitude" : "value", unit });
		this.choices = choices;
	}

	get initial(): Quantity {
		return this.choices[0]!.id;
	}

	choice(id: Quantity): QuantityChoice {
		return this.choices.find((choice) => choice.id === id) ?? this.choices[0]!;
	}

	/** One sample; NaN where there is no data. `line`, `pixel`: level-0 index. */
	value(stored: number, quantity: Quantity, channel: number, line: number, pixel: number): number {
		if (stored === this.nodata) {
			return Number.NaN;
		}
		switch (quantity) {
			case "sigma0_db":
				return decibel(stored, gainAt(this.tables[channel]!, line, pixel));
			case "amplitude_db":
				return decibel(stored, 1);
			case "real": {
				const [slope, intercept] = this.image.rescale(0);
				return stored * slope + intercept;
			}
		}
	}

	/**
	 * A chunk's samples into band `band` of an interleaved tile, NaN as 0 with the last band (the mask) 0.
	 * `origin`: level-0 (line, pixel) of the first sample's centre; `step`: level-0 samples per sample.
	 */
	fill(
		tile: Float32Array,
		bands: number,
		band: number,
		stored: Samples,
		quantity: Quantity,
		channel: number,
		origin: readonly [number, number],
		step: number,
		width: number,
	): void {
		const table = quantity === "sigma0_db" ? this.tables[channel]! : null;
		const [slope, intercept] = this.image.rescale(0);
		const height = stored.length / width;
		const mask = bands - 1;
		for (let row = 0; row < height; row++) {
			const gain = table ? gains(table, origin[0] + row * step, origin[1], step, width) : null;
			for (let column = 0; column < width; column++) {
				const i = row * width + column;
				const sample = stored[i]!;
				let value = Number.NaN;
				if (sample !== this.nodata) {
					value = quantity === "real" ? sample * slope + intercept : decibel(sample, gain ? gain[column]! : 1);
				}
				if (Number.isFinite(value)) {
					tile[i * bands + band] = value;
				} else {
					tile[i * bands + mask] = 0;
				}
			}
		}
	}
}
