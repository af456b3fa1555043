/** Tools on the left, and the options of the tool in hand above the image. */

import { explain } from "../api/errors";
import { COLORMAPS, type ColormapName } from "../render/colormap";
import type { ViewerState } from "../state/state";
import { type Bench, mayAnnotate, type Stage } from "./bench";
import { shownKey, TOOLS, toolIcon } from "./commands";
import { h, icon, replace, toast } from "./dom";
import { ICONS, type IconName } from "./icons";

export interface Actions {
	readonly undo: () => void;
	readonly redo: () => void;
	readonly acceptProposal: () => void;
	readonly rejectProposal: () => void;
	readonly showHelp: () => void;
}

export function buildToolbar(bench: Bench, stage: Stage, actions: Actions): HTMLElement {
	const bar = h("nav", { class: "toolbar", "aria-label": "Tools" });
	const tools = TOOLS.filter(
		({ name, needsLabels }) => stage.tools.includes(name) && (!needsLabels || mayAnnotate(bench.project)),
	);
	const buttons = tools.map((entry) => ({
		entry,
		button: toolButton(toolIcon(entry.name), entry.label, "", () => bench.state.update({ tool: entry.name })),
	}));
	const undo = toolButton("undo", "Undo", "Undo (Ctrl+Z)", actions.undo);
	const redo = toolButton("redo", "Redo", "Redo (Ctrl+Shift+Z)", actions.redo);
	const fit = toolButton("fit", "Fit", "Show everything (F)", () => stage.fit());
	const help = toolButton("help", "Help", "Keys and gestures (?)", actions.showHelp);
	const paints = buttons.findIndex(({ entry }) => entry.needsLabels);
	bar.append(
		...buttons.slice(0, paints < 0 ? undefined : paints).map(({ button }) => button),
		fit,
		...(paints < 0 ? [] : [h("hr"), ...buttons.slice(paints).map(({ button }) => button), h("hr"), undo, redo]),
		h("div", { class: "spacer" }),
		help,
	);
	const update = () => {
		const segmentation = bench.segmentation.value;
		const classes = bench.ontology.value?.classes ?? [];
		for (const { entry, button } of buttons) {
			button.setAttribute("aria-pressed", String(bench.state.value.tool === entry.name));
			button.title = `${entry.label} (${shownKey(entry, classes)})\n${entry.hint}`;
			button.disabled = entry.needsLabels && !segmentation?.canEdit;
		}
		undo.disabled = !segmentation?.canUndo;
		redo.disabled = !segmentation?.canRedo;
	};
	bench.state.listen(update);
	bench.ontology.listen(update);
	onSegmentation(bench, update);
	update();
	return bar;
}

export function buildOptions(bench: Bench, stage: Stage, actions: Actions): HTMLElement {
	const bar = h("div", { class: "options", role: "toolbar", "aria-label": "Options" });
	const left = h("div", { class: "options-group" });
	bar.append(left, h("div", { class: "spacer" }), stage.options ?? windowOptions(bench));
	let drawn = "";
	const update = () => {
		const { tool, ball, wholeObject, keepOthers } = bench.state.value;
		const { proposals } = bench;
		const key = JSON.stringify([
			tool,
			ball,
			wholeObject,
			keepOthers,
			proposals.state,
			proposals.prompts.length,
			proposals.proposal?.record.id,
			bench.segmentation.value?.canEdit,
		]);
		if (key !== drawn) {
			drawn = key;
			replace(left, ...optionsOf(bench, actions));
		}
		const radius = left.querySelector<HTMLInputElement>("#brush-radius");
		if (radius && document.activeElement !== radius) {
			radius.value = String(bench.state.value.brushRadius);
		}
		const shown = left.querySelector("#brush-shown");
		if (shown) {
			shown.textContent = `${round(bench.state.value.brushRadius)} ${unitOf(bench)}`;
		}
	};
	bench.state.listen(update);
	bench.proposals.listen(update);
	onSegmentation(bench, update);
	update();
	return bar;
}

function optionsOf(bench: Bench, actions: Actions): HTMLElement[] {
	const { tool } = bench.state.value;
	const entry = TOOLS.find(({ name }) => name === tool)!;
	if (tool === "ai-point" || tool === "ai-box") {
		return proposalOptions(bench, actions);
	}
	if ((tool === "brush" || tool === "eraser") && bench.segmentation.value?.canEdit) {
		return brushOptions(bench);
	}
	return [h("span", { class: "hint" }, entry.hint), ...(tool === "polygon-fill" ? [keepOthers(bench)] : [])];
}

function brushOptions(bench: Bench): HTMLElement[] {
	const radius = h("input", {
		id: "brush-radius",
		type: "range",
		min: 0.5,
		max: 50,
		step: 0.5,
		value: bench.state.value.brushRadius,
		"aria-label": "Brush radius",
		title: "Brush radius ([ and ])",
	});
	radius.addEventListener("input", () => bench.state.update({ brushRadius: Number(radius.value) }));
	return [
		h("label", { class: "option" }, "Radius", radius, h("output", { id: "brush-shown", class: "number" })),
		...(bench.image.grid.shape[0] > 1 ? [ballOption(bench)] : []),
		keepOthers(bench),
	];
}

function proposalOptions(bench: Bench, actions: Actions): HTMLElement[] {
	const { proposals } = bench;
	const model = h(
		"select",
		{ "aria-label": "Model" },
		...proposals.models.map((card) => h("option", { value: card.id, title: card.intended_use }, card.name)),
	);
	model.value = proposals.model ?? "";
	model.addEventListener("change", () => {
		proposals.model = model.value;
	});
	const { state, proposal } = proposals;
	const text =
		proposals.models.length === 0
			? "This server offers no model."
			: state.kind === "asking"
				? "Thinking…"
				: state.kind === "failed"
					? state.message
					: proposal
						? `${proposal.record.voxels.toLocaleString("en")} voxels in ${round(proposal.record.seconds)} s`
						: TOOLS.find(({ name }) => name === bench.state.value.tool)!.hint;
	return [
		proposals.models.length > 0 ? model : h("span"),
		...(bench.image.grid.shape[0] > 1
			? [
					toggle(
						"3D",
						"Ask for the whole object, not only its slice (T)",
						bench.state.value.wholeObject,
						(wholeObject) => bench.state.update({ wholeObject }),
					),
				]
			: []),
		h(
			"span",
			{ class: state.kind === "failed" ? "hint form-problem" : "hint", role: "status", data: { proposal: state.kind } },
			state.kind === "asking" ? h("span", { class: "spinner" }) : null,
			text,
		),
		h(
			"button",
			{ class: "primary", disabled: !proposal, title: "Enter", on: { click: actions.acceptProposal } },
			"Accept",
		),
		h("button", { disabled: !proposals.isOpen, title: "Esc", on: { click: actions.rejectProposal } }, "Reject"),
	];
}

function ballOption(bench: Bench): HTMLElement {
	const { ball } = bench.state.value;
	return toggle("Ball", "Paint in neighbouring slices too (T)", ball, (next) => bench.state.update({ ball: next }));
}

function keepOthers(bench: Bench): HTMLElement {
	return toggle("Keep others", "Do not change voxels of other classes (K)", bench.state.value.keepOthers, (keep) =>
		bench.state.update({ keepOthers: keep }),
	);
}

/** Sliders for the axes that are not space: time and channel, where the image has more than one. */
function frameOptions(bench: Bench): HTMLElement[] {
	const { image, state } = bench;
	const axes = [
		["t", "Time", image.times],
		["c", "Channel", image.channels],
	] as const;
	return axes.flatMap(([axis, name, count]) => {
		if (count <= 1) {
			return [];
		}
		const slider = h("input", { type: "range", min: 0, max: count - 1, step: 1, value: 0, "aria-label": name });
		const shown = h("output", { class: "number" }, `1 / ${count}`);
		slider.addEventListener("input", () =>
			state.update({ frame: { ...state.value.frame, [axis]: Number(slider.value) } }),
		);
		state.listen(({ frame }) => {
			slider.value = String(frame[axis]);
			shown.textContent = `${frame[axis] + 1} / ${count}`;
		});
		return [h("label", { class: "option" }, name, slider, shown)];
	});
}

/** Presets, numbers and colour map of a volume's window. */
export function windowOptions(bench: Bench): HTMLElement {
	const presets = bench.image.record.series.channels[0]?.windows ?? [];
	const number = (name: "center" | "width", label: string) => {
		const input = h("input", { type: "number", class: "number-field", step: "any", "aria-label": label });
		input.addEventListener("change", () => {
			const value = Number(input.value);
			if (input.value !== "" && Number.isFinite(value) && (name === "center" || value > 0)) {
				bench.state.update({ window: { ...bench.state.value.window, [name]: value } });
			}
		});
		return input;
	};
	const center = number("center", "Window centre");
	const width = number("width", "Window width");
	const select = h(
		"select",
		{ "aria-label": "Window preset", title: "Window presets (Shift+1 … 9)" },
		h("option", { value: "" }, "Window"),
		...presets.map((preset, i) => h("option", { value: i }, preset.name || `Preset ${i + 1}`)),
	);
	select.addEventListener("change", () => {
		const preset = presets[Number(select.value)];
		if (select.value !== "" && preset) {
			bench.state.update({ window: { center: preset.center, width: preset.width } });
		}
	});
	const colors = h(
		"select",
		{ "aria-label": "Colour map" },
		...COLORMAPS.map((name) => h("option", { value: name }, name)),
	);
	colors.addEventListener("change", () => bench.state.update({ colormap: colors.value as ColormapName }));
	const update = ({ window, colormap }: ViewerState) => {
		center.value = String(round(window.center));
		width.value = String(round(window.width));
		const at = presets.findIndex((preset) => preset.center === window.center && preset.width === window.width);
		select.value = at < 0 ? "" : String(at);
		colors.value = colormap;
	};
	bench.state.listen((state, before) => {
		if (state.window !== before.window || state.colormap !== before.colormap) {
			update(state);
		}
	});
	update(bench.state.value);
	return h(
		"div",
		{ class: "options-group" },
		...frameOptions(bench),
		select,
		h("label", { class: "option" }, "C", center),
		h("label", { class: "option" }, "W", width),
		colors,
	);
}

function toggle(label: string, title: string, pressed: boolean, set: (on: boolean) => void): HTMLElement {
	return h(
		"button",
		{ class: "toggle", title, "aria-pressed": String(pressed), on: { click: () => set(!pressed) } },
		label,
	);
}

function toolButton(drawing: IconName, label: string, title: string, act: () => void): HTMLButtonElement {
	return h(
		"button",
		{ class: "tool", title, "aria-label": label, on: { click: act } },
		icon(ICONS[drawing]),
		h("span", {}, label),
	);
}

/** Calls `act` whenever the open segmentation is another or has changed. */
export function onSegmentation(bench: Bench, act: () => void): void {
	let stop: (() => void) | null = null;
	const follow = () => {
		stop?.();
		stop = bench.segmentation.value?.listen(act) ?? null;
		act();
	};
	bench.segmentation.listen(follow);
	follow();
}

export const unitOf = (bench: Bench): string => (bench.image.grid.space.kind === "patient" ? "mm" : "px");
export const round = (value: number): number => Number(value.toPrecision(4));

/** Runs what may fail and says so. */
export function attempt(act: () => Promise<unknown>): void {
	act().catch((error: unknown) => toast(explain(error), "error"));
}
