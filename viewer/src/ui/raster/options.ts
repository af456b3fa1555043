/** Controls of what a raster shows: quantity, bands, stretch, colour map. */

import type { RasterLook } from "../../raster/look";
import type { Quantities, Quantity } from "../../raster/quantity";
import type { Range } from "../../raster/stretch";
import { COLORMAPS, type ColormapName } from "../../render/colormap";
import type { ViewerState } from "../../state/state";
import type { Bench } from "../bench";
import { h, replace } from "../dom";
import { round } from "../toolbar";

export interface LookActions {
	/** Shows other bands or another quantity, with the ranges they had before or start with. */
	readonly choose: (quantity: Quantity, bands: readonly number[]) => void;
	readonly setRanges: (ranges: readonly Range[]) => void;
	/** Ranges from the picture's own percentiles. */
	readonly auto: () => void;
}

/** Quantity and unit, honest about calibration: `amplitude, uncalibrated (dB)`. */
export function quantityText(quantities: Quantities, quantity: Quantity): string {
	const { name, unit } = quantities.choice(quantity);
	return unit === "" || unit === "DN" ? name : `${name} (${unit})`;
}

export function buildLookOptions(bench: Bench, quantities: Quantities, actions: LookActions): HTMLElement {
	const look = () => bench.state.value.raster!;
	const quantity = h(
		"select",
		{ "aria-label": "Quantity" },
		...quantities.choices.map(({ id }) => h("option", { value: id }, quantityText(quantities, id))),
	);
	const bands = h("select", { "aria-label": "Bands" });
	const part = h("select", { "aria-label": "Stretched channel" });
	const colors = h(
		"select",
		{ "aria-label": "Colour map" },
		...COLORMAPS.map((name) => h("option", { value: name }, name)),
	);
	const low = h("input", { type: "number", class: "number-field", step: "any", "aria-label": "Low" });
	const high = h("input", { type: "number", class: "number-field", step: "any", "aria-label": "High" });
	const auto = h("button", { title: "Stretch between the 2nd and 98th percentile" }, "Auto");
	const chosenPart = () => Math.max(0, Math.min(look().ranges.length - 1, Number(part.value) || 0));
	const setRange = () => {
		const [from, to] = [Number(low.value), Number(high.value)];
		if (low.value === "" || high.value === "" || !(to > from)) {
			fill(look());
			return;
		}
		actions.setRanges(look().ranges.map((range, i) => (i === chosenPart() ? { low: from, high: to } : range)));
	};
	const fill = ({ ranges }: RasterLook) => {
		const range = ranges[chosenPart()]!;
		low.value = String(round(range.low));
		high.value = String(round(range.high));
	};
	quantity.addEventListener("change", () => {
		const next = quantity.value as Quantity;
		const still = quantities.bandsChoices(next).some((choice) => choice.bands.join() === look().bands.join());
		actions.choose(next, still ? look().bands : quantities.bandsChoices(next)[0]!.bands);
	});
	bands.addEventListener("change", () => actions.choose(look().quantity, bands.value.split(",").map(Number)));
	part.addEventListener("change", () => fill(look()));
	low.addEventListener("change", setRange);
	high.addEventListener("change", setRange);
	auto.addEventListener("click", actions.auto);
	colors.addEventListener("change", () => bench.state.update({ colormap: colors.value as ColormapName }));
	const draw = ({ raster, colormap }: ViewerState) => {
		const shown = raster!;
		const choices = quantities.bandsChoices(shown.quantity);
		quantity.value = shown.quantity;
		replace(
			bands,
			...choices.map((choice) =>
				h(
					"option",
					{
						value: choice.bands.join(),
						title: choice.parts.length > 1 ? choice.parts.map((name, i) => `${"RGB"[i]!} = ${name}`).join(", ") : null,
					},
					choice.name,
				),
			),
		);
		bands.value = shown.bands.join();
		const parts = choices.find((choice) => choice.bands.join() === shown.bands.join())?.parts ?? [];
		const kept = part.value;
		replace(part, ...parts.map((name, i) => h("option", { value: i }, `${"RGB"[i]!} = ${name}`)));
		part.value = shown.ranges.length === 3 && kept !== "" ? kept : "0";
		part.hidden = shown.ranges.length === 1;
		colors.hidden = shown.bands.length !== 1;
		colors.value = colormap;
		fill(shown);
	};
	bench.state.listen((state, before) => {
		if (state.raster !== before.raster || state.colormap !== before.colormap) {
			draw(state);
		}
	});
	draw(bench.state.value);
	return h(
		"div",
		{ class: "options-group look-options" },
		quantity,
		bands,
		part,
		h("label", { class: "option" }, "Low", low),
		h("label", { class: "option" }, "High", high),
		auto,
		colors,
	);
}
