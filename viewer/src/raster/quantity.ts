/** Quantity: what is shown of the stored samples, and in which unit. */

import type { Image } from "../image/image";
import type { Samples } from "../image/samples";
import { type CalibrationTable, decibel, gainAt, gains } from "./sigma0";
import type { Bands } from "./stretch";

export type Quantity = "sigma0_db" | "amplitude_db" | "real";

export interface QuantityChoice {
	readonly id: Quantity;
	readonly name: string;
	readonly unit: string;
}

export interface BandsChoice {
	readonly bands: Bands;
	readonly name: string;
	/** What each range stretches, in order. */
	readonly parts: readonly string[];
}

interface RadarJson {
	readonly calibration: Readonly<Record<string, CalibrationTable>> | null;
}

const POLARISATION_PAIRS = [
	["VV", "VH"],
	["HH", "HV"],
] as const;

/** Names that the formats give to windows of a derived quantity. */
const WINDOW_QUANTITY: Readonly<Record<string, Quantity>> = {
	"sigma0 dB": "sigma0_db",
	"amplitude dB": "amplitude_db",
};

export class Quantities {
	private readonly tables: readonly (CalibrationTable | null)[];
	readonly choices: readonly QuantityChoice[];
	private readonly nodata: number | null;

	constructor(private readonly image: Image) {
		const { series } = image.record;
		const calibration = (series.radar as RadarJson | null)?.calibration ?? null;
		this.tables = series.channels.map((channel) => calibration?.[channel.name] ?? null);
		// Text stands for what JSON has no number for: NaN, which is never a value anyway.
		const nodata: unknown = series.nodata;
		// Samples of 64 bits reach the screen in 32; what stands for "no data" must go the same way.
		this.nodata = typeof nodata === "number" ? (image.sampleType === "float32" ? Math.fround(nodata) : nodata) : null;
		const unit = series.channels[0]?.unit ?? "1";
		const choices: QuantityChoice[] = [];
		if (this.tables.every((table) => table !== null)) {
			choices.push({ id: "sigma0_db", name: "sigma0", unit: "dB" });
		}
		const radar = series.radar !== null && series.radar !== undefined;
		if (unit === "DN" || radar) {
			choices.push({ id: "amplitude_db", name: "amplitude, uncalibrated", unit: "dB" });
		}
		choices.push({ id: "real", name: unit === "DN" ? "digital number" : "value", unit: unit === "1" ? "" : unit });
		this.choices = choices;
	}

	get initial(): Quantity {
		return this.choices[0]!.id;
	}

	choice(id: Quantity): QuantityChoice {
		return this.choices.find((choice) => choice.id === id) ?? this.choices[0]!;
	}

	/** Pictures that make sense of this image's channels in a quantity. */
	bandsChoices(id: Quantity): readonly BandsChoice[] {
		const names = this.image.record.series.channels.map(({ name }, i) => name || `band ${i + 1}`);
		const choices: BandsChoice[] = names.map((name, i) => ({ bands: [i], name, parts: [name] }));
		// A ratio is a difference only in decibel.
		for (const [co, cross] of this.choice(id).unit === "dB" ? POLARISATION_PAIRS : []) {
			const pair = [names.indexOf(co), names.indexOf(cross)];
			if (!pair.includes(-1)) {
				const parts = [co, cross, `${co} − ${cross}`];
				choices.push({ bands: pair, name: "Dual-pol RGB", parts });
			}
		}
		if (names.length >= 3) {
			choices.push({ bands: [0, 1, 2], name: "RGB", parts: names.slice(0, 3) });
		}
		return choices;
	}

	/** The range a file suggests for a channel in a quantity, if it does. */
	suggested(id: Quantity, channel: number): { readonly low: number; readonly high: number } | null {
		const windows = this.image.record.series.channels[channel]?.windows ?? [];
		const window = windows.find(({ name }) => (WINDOW_QUANTITY[name] ?? "real") === id);
		return window && window.width > 0
			? { low: window.center - window.width / 2, high: window.center + window.width / 2 }
			: null;
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
