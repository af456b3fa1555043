/** Segmentations of the image, their classes and shapes. */

import type { LabelClass, OntologyRecord, ShapeRecord } from "../api/types";
import { nextClass } from "../labels/ontology";
import { middle } from "../labels/shape";
import { type Bench, mayAdminister, type Stage } from "./bench";
import { h, icon, openDialog, replace } from "./dom";
import { ICONS } from "./icons";
import { attempt, onSegmentation } from "./toolbar";

export function buildLabelsPanel(bench: Bench, stage: Stage): HTMLElement {
	const classes = h("ul", { class: "classes", "aria-label": "Classes" });
	const shapes = h("ul", { class: "shapes", "aria-label": "Shapes" });
	const shapesTitle = h("h3", { hidden: true }, "Shapes");
	const panel = h("div", { class: "panel-body" }, lookOptions(bench), classes, addClass(bench), shapesTitle, shapes);
	const drawClasses = () =>
		replace(classes, ...(bench.ontology.value?.classes ?? []).map((entry) => classRow(bench, entry)));
	const drawShapes = () => {
		const known = bench.segmentation.value?.shapes ?? [];
		shapesTitle.hidden = known.length === 0;
		replace(shapes, ...known.map((shape, i) => shapeRow(bench, stage, shape, i)));
	};
	bench.state.listen((state, before) => {
		if (state.label !== before.label || state.hidden !== before.hidden) {
			drawClasses();
		}
	});
	bench.ontology.listen(() => {
		drawClasses();
		drawShapes();
	});
	let lastShapes: readonly ShapeRecord[] | null = null;
	onSegmentation(bench, () => {
		const now = bench.segmentation.value?.shapes ?? [];
		if (!lastShapes || now.length !== lastShapes.length || now.some((shape, i) => shape !== lastShapes![i])) {
			lastShapes = now;
			drawShapes();
		}
	});
	drawClasses();
	return panel;
}

function classRow(bench: Bench, entry: LabelClass): HTMLElement {
	const { label, hidden } = bench.state.value;
	const isHidden = hidden.has(entry.label);
	const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
	swatch.style.backgroundColor = entry.color;
	return h(
		"li",
		{ class: isHidden ? "class-row is-hidden" : "class-row", data: { label: String(entry.label) } },
		h(
			"button",
			{
				class: "class-name",
				"aria-pressed": String(label === entry.label),
				title: entry.code ? `${entry.code[2]} (${entry.code[1]} ${entry.code[0]})` : entry.name,
				on: { click: () => bench.state.update({ label: entry.label }) },
			},
			swatch,
			h("span", { class: "grow" }, entry.name),
			entry.hotkey ? h("kbd", {}, entry.hotkey.toUpperCase()) : null,
		),
		h(
			"button",
			{
				class: "quiet",
				"aria-label": `${isHidden ? "Show" : "Hide"} ${entry.name}`,
				"aria-pressed": String(isHidden),
				on: {
					click: () => {
						const next = new Set(hidden);
						if (!next.delete(entry.label)) {
							next.add(entry.label);
						}
						bench.state.update({ hidden: next });
					},
				},
			},
			icon(isHidden ? ICONS["eye-off"] : ICONS.eye),
		),
	);
}

function lookOptions(bench: Bench): HTMLElement {
	const opacity = h("input", {
		type: "range",
		min: 0,
		max: 1,
		step: 0.05,
		value: bench.state.value.opacity,
		"aria-label": "Label opacity",
		title: "Opacity of labels",
	});
	opacity.addEventListener("input", () => bench.state.update({ opacity: Number(opacity.value) }));
	const button = (name: "labelsVisible" | "outline", text: string, title: string) => {
		const made = h("button", { class: "toggle", title }, text);
		made.addEventListener("click", () => bench.state.update({ [name]: !bench.state.value[name] }));
		const update = () => made.setAttribute("aria-pressed", String(bench.state.value[name]));
		bench.state.listen(update);
		update();
		return made;
	};
	return h(
		"div",
		{ class: "look" },
		button("labelsVisible", "Labels", "Show labels (H)"),
		button("outline", "Outlines", "Show outlines (O)"),
		opacity,
	);
}

function addClass(bench: Bench): HTMLElement | null {
	if (!mayAdminister(bench.project)) {
		return null;
	}
	const input = h("input", {
		placeholder: "New class",
		"aria-label": "Name of a new class",
		maxlength: 64,
		required: true,
	});
	const form = h(
		"form",
		{ class: "add-class" },
		input,
		h("button", { class: "quiet", type: "submit", "aria-label": "Add class", title: "Add class" }, icon(ICONS.plus)),
	);
	form.addEventListener("submit", (event) => {
		event.preventDefault();
		const ontology = bench.ontology.value;
		const name = input.value.trim();
		if (!ontology || name === "") {
			return;
		}
		attempt(async () => {
			const entry = nextClass(ontology.classes, name);
			const stored = await bench.client.putOntology(bench.project.id, ontology.id, {
				name: ontology.name,
				classes: [...ontology.classes, entry],
				base: ontology.version,
			});
			bench.ontology.set(stored);
			bench.state.update({ label: entry.label });
			input.value = "";
		});
	});
	const update = () => {
		form.hidden = !bench.ontology.value;
	};
	bench.ontology.listen(update);
	update();
	return form;
}

function shapeRow(bench: Bench, stage: Stage, shape: ShapeRecord, index: number): HTMLElement {
	const entry = bench.ontology.value?.classes.find(({ label }) => label === shape.label);
	const swatch = h("span", { class: "swatch swatch-line", "aria-hidden": "true" });
	swatch.style.borderColor = entry?.color ?? "#ff40a0";
	const name = `${entry?.name ?? `label ${shape.label}`} ${shape.kind} ${index + 1}`;
	const canEdit = bench.segmentation.value?.canEdit ?? false;
	return h(
		"li",
		{ class: "class-row", data: { shape: shape.id } },
		h(
			"button",
			{ class: "class-name", title: "Go there", on: { click: () => stage.goTo(middle(shape)) } },
			swatch,
			h("span", { class: "grow" }, name),
		),
		h(
			"button",
			{
				class: "quiet",
				"aria-label": `Delete ${name}`,
				disabled: !canEdit,
				on: {
					click: () =>
						attempt(async () => {
							await bench.segmentation.value?.write({
								tool: "delete-shape",
								params: {},
								writes: [],
								shapes: [{ op: "delete", id: shape.id }],
							});
						}),
				},
			},
			icon(ICONS.trash),
		),
	);
}

/** Asks for name and ontology of a new segmentation and makes it; `null` if the person left. */
export async function createSegmentation(bench: Bench): Promise<string | null> {
	const ontologies = await bench.client.ontologies(bench.project.id);
	const asked = await openDialog<{ name: string; ontology: string }>("New segmentation", (settle) => {
		const name = h("input", { id: "segmentation-name", required: true, maxlength: 100, value: "Segmentation" });
		const ontology = h(
			"select",
			{ id: "segmentation-ontology" },
			...ontologies.map((entry) => h("option", { value: entry.id }, `${entry.name} (${entry.classes.length} classes)`)),
			mayAdminister(bench.project) ? h("option", { value: "" }, "A new list of classes") : null,
		);
		const fit = bestOntology(ontologies, bench.image.kind, bench.image.record.series.modality);
		ontology.value = fit?.id ?? "";
		const form = h(
			"form",
			{ class: "form" },
			h("label", { for: "segmentation-name" }, "Name"),
			name,
			h("label", { for: "segmentation-ontology" }, "Classes"),
			ontology,
			h(
				"div",
				{ class: "dialog-actions" },
				h("button", { type: "button", on: { click: () => settle(null) } }, "Cancel"),
				h("button", { type: "submit", class: "primary" }, "Create"),
			),
		);
		form.addEventListener("submit", (event) => {
			event.preventDefault();
			settle({ name: name.value.trim() || "Segmentation", ontology: ontology.value });
		});
		queueMicrotask(() => name.select());
		return [form];
	});
	if (!asked) {
		return null;
	}
	let ontologyId = asked.ontology;
	if (ontologyId === "") {
		const first = nextClass([], "Object");
		const made = await bench.client.putOntology(bench.project.id, crypto.randomUUID(), {
			name: `Classes of ${asked.name}`.slice(0, 64),
			classes: [first],
			base: 0,
		});
		ontologyId = made.id;
	}
	const body = { image_id: bench.image.id, name: asked.name, ontology_id: ontologyId };
	const record = await bench.client.createSegmentation(bench.project.id, body);
	return record.id;
}

/** Radar classes for rasters, organs for volumes, where the project has both. */
function bestOntology(
	ontologies: readonly OntologyRecord[],
	kind: "volume" | "raster",
	modality: string,
): OntologyRecord | undefined {
	const isRadar = ({ name }: OntologyRecord) => /radar|ship|scene/i.test(name);
	const fit = ontologies.filter((entry) => isRadar(entry) === (kind === "raster"));
	return fit.find(({ name }) => name.includes(`(${modality})`)) ?? fit[0] ?? ontologies[0];
}
