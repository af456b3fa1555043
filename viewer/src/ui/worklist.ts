/** The worklist: the images of a project, one row each. */

import type { Client } from "../api/client";
import { explain } from "../api/errors";
import type { ImageSummary, Me, ProjectRecord } from "../api/types";
import { formatAddress, WORKLIST } from "../state/url";
import { h, icon, replace } from "./dom";
import { ICONS } from "./icons";

export interface WorklistActions {
	readonly open: (image: ImageSummary) => void;
	readonly logout: () => void;
}

export function showWorklist(root: HTMLElement, client: Client, me: Me, actions: WorklistActions): void {
	const body = h("div", { class: "worklist-body", "aria-live": "polite" });
	const filter = h("input", {
		type: "search",
		placeholder: "Filter by name or modality",
		"aria-label": "Filter images",
	});
	const projects = h(
		"select",
		{ "aria-label": "Project" },
		...me.projects.map((project) => h("option", { value: project.id }, project.name)),
	);
	let images: readonly ImageSummary[] = [];
	const draw = () => {
		const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
		const shown = images.filter((image) => {
			const text = `${image.name} ${image.modality} ${image.kind}`.toLowerCase();
			return words.every((word) => text.includes(word));
		});
		replace(body, table(client, shown, images.length, actions));
	};
	const load = async (project: ProjectRecord | undefined) => {
		if (!project) {
			replace(body, note("You belong to no project yet.", "An administrator can add you with specimg user add."));
			return;
		}
		replace(body, h("p", { class: "empty" }, h("span", { class: "spinner" }), "Loading images…"));
		try {
			images = await client.images(project.id);
			draw();
		} catch (error) {
			const retry = h("button", { on: { click: () => void load(project) } }, "Try again");
			replace(body, note("The images could not be listed.", explain(error), retry));
		}
	};
	filter.addEventListener("input", draw);
	projects.addEventListener("change", () => void load(me.projects.find(({ id }) => id === projects.value)));
	root.replaceChildren(
		h(
			"header",
			{ class: "app-bar" },
			h("div", { class: "brand" }, h("span", { class: "brand-mark", "aria-hidden": "true" }), "specimg"),
			me.projects.length > 1 ? projects : h("span", { class: "muted" }, me.projects[0]?.name ?? ""),
			h("div", { class: "spacer" }),
			filter,
			h("span", { class: "muted" }, me.name),
			h("button", { class: "quiet", on: { click: actions.logout } }, "Log out"),
		),
		h("main", { class: "worklist" }, h("h1", {}, "Images"), body),
	);
	void load(me.projects[0]);
}

function table(client: Client, images: readonly ImageSummary[], all: number, actions: WorklistActions): HTMLElement {
	if (all === 0) {
		return note("No images yet.", "Add some on the server: specimg ingest PATH");
	}
	if (images.length === 0) {
		return note("No image fits the filter.", `${all} images are hidden.`);
	}
	const head = ["", "Name", "Modality", "Size", "Spacing", "Segmentations", "Added", "Notes"];
	return h(
		"table",
		{ class: "images" },
		h("thead", {}, h("tr", {}, ...head.map((text) => h("th", { scope: "col" }, text)))),
		h("tbody", {}, ...images.map((image) => row(client, image, actions))),
	);
}

function row(client: Client, image: ImageSummary, actions: WorklistActions): HTMLElement {
	const link = h(
		"a",
		{
			href: formatAddress({ ...WORKLIST, image: image.id, project: image.project_id }),
			on: {
				click: (event) => {
					if (!event.ctrlKey && !event.metaKey && !event.shiftKey) {
						event.preventDefault();
						event.stopPropagation();
						actions.open(image);
					}
				},
			},
		},
		image.name,
	);
	const thumbnail = h("img", {
		src: client.thumbnail(image.id, 128),
		alt: "",
		width: 72,
		height: 72,
		loading: "lazy",
		decoding: "async",
	});
	thumbnail.addEventListener("error", () => thumbnail.classList.add("is-missing"));
	return h(
		"tr",
		{ data: { image: image.id, kind: image.kind }, on: { click: () => actions.open(image) } },
		h("td", { class: "thumbnail" }, thumbnail),
		h("td", {}, link, h("div", { class: "muted small" }, image.kind === "raster" ? "Raster" : "Volume")),
		h("td", {}, h("span", { class: "badge" }, image.modality || "–")),
		h("td", { class: "number" }, sizeText(image)),
		h("td", { class: "number" }, spacingText(image)),
		h("td", { class: "number" }, String(image.segmentations)),
		h("td", { class: "number" }, image.created_at.slice(0, 10)),
		h("td", {}, warnings(image.warnings)),
	);
}

/** Columns x rows x slices, as people say it. */
export function sizeText({ axes, shape }: Pick<ImageSummary, "axes" | "shape">): string {
	const named = new Map(axes.map((axis, i) => [axis, shape[i]!]));
	const space = ["x", "y", "z"].flatMap((axis) => named.get(axis) ?? []).join(" × ");
	const times = named.get("t") ? ` × ${named.get("t")} times` : "";
	const channels = (named.get("c") ?? 1) > 1 ? ` · ${named.get("c")} channels` : "";
	return space + times + channels;
}

/** Spacing comes as (z, y, x). */
export function spacingText({ spacing, kind }: Pick<ImageSummary, "spacing" | "kind">): string {
	const [z, y, x] = spacing;
	if (x === undefined || y === undefined || z === undefined) {
		return "–";
	}
	const short = (value: number) => String(Number(value.toPrecision(3)));
	return kind === "raster" ? `${short(x)} × ${short(y)}` : `${short(x)} × ${short(y)} × ${short(z)} mm`;
}

function warnings(texts: readonly string[]): HTMLElement | string {
	if (texts.length === 0) {
		return "";
	}
	return h(
		"span",
		{ class: "warning-badge", title: texts.join("\n"), role: "img", "aria-label": `Warnings: ${texts.join(" ")}` },
		icon(ICONS.warning),
		String(texts.length),
	);
}

function note(title: string, detail: string, ...more: HTMLElement[]): HTMLElement {
	return h("div", { class: "empty" }, h("strong", {}, title), h("p", { class: "muted" }, detail), ...more);
}
