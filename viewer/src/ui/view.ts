/** The page of one image: header, tools, stage, panels, status bar. */

import type { Client } from "../api/client";
import type { ImageRecord, Me, ModelCard, SegmentationRecord } from "../api/types";
import { clampIndex } from "../geometry/grid";
import type { ChunkQueue } from "../image/chunk_queue";
import { Image } from "../image/image";
import type { Outbox } from "../labels/outbox";
import { Segmentation } from "../labels/segmentation";
import { ProposalSession } from "../models/proposal_session";
import { windowOf } from "../render/window";
import { INITIAL, type ViewerState } from "../state/state";
import { Store } from "../state/store";
import { type Address, formatAddress } from "../state/url";
import { type Bench, mayAnnotate, type Stage } from "./bench";
import { h, icon, replace } from "./dom";
import { showHelp } from "./help";
import { buildHistoryPanel } from "./history_panel";
import { ICONS } from "./icons";
import { listenToKeys } from "./keys";
import { buildLabelsPanel, createSegmentation } from "./labels_panel";
import { stageOf } from "./stages";
import { buildSaveStatus } from "./status";
import { type Actions, attempt, buildOptions, buildToolbar, onSegmentation } from "./toolbar";

export interface ViewContext {
	readonly client: Client;
	readonly me: Me;
	readonly queue: ChunkQueue;
	readonly outbox: Outbox;
	readonly leave: () => void;
	readonly relogin: () => Promise<void>;
}

/** How often to ask what others changed, and how long after the last movement of a hand. */
const FOLLOW_MS = 15_000;
const PRESENT_MS = 60_000;

/** Opens the image of an address; returns what closes it again. */
export async function showView(root: HTMLElement, context: ViewContext, address: Address): Promise<() => void> {
	const { client, queue } = context;
	const [record, segmentations, models] = await Promise.all([
		client.image(address.image!),
		client.segmentations(address.image!),
		client.models().catch((): ModelCard[] => []),
	]);
	const bench = makeBench(context, record, models, address);
	const stage = await (await stageOf(bench.image.kind))(bench);
	const closers: (() => void)[] = [() => stage.dispose(), () => bench.segmentation.set(null)];
	const actions = makeActions(bench);
	const header = buildHeader(context, bench, stage, segmentations);
	root.replaceChildren(
		h(
			"div",
			{ class: "view", data: { image: bench.image.id, kind: bench.image.kind } },
			header.element,
			h(
				"div",
				{ class: "work" },
				buildToolbar(bench, stage, actions),
				h(
					"main",
					{ class: "middle" },
					buildOptions(bench, stage, actions),
					warningBar(record),
					pastBar(bench),
					stage.element,
				),
				sidePanel(bench, stage),
			),
			statusBar(bench),
		),
	);
	closers.push(listenToKeys(bench, stage, actions), writeAddress(bench), autoWindow(bench, address, queue));
	await header.open(
		address.segmentation ?? segmentations.find(({ project_id }) => project_id === bench.project.id)?.id ?? null,
		address.version,
	);
	closers.push(followOthers(bench), followReads(context));
	return () => {
		for (const close of closers) {
			close();
		}
	};
}

function makeBench(context: ViewContext, record: ImageRecord, models: readonly ModelCard[], address: Address): Bench {
	const { client, me, queue } = context;
	const image = new Image(record, queue);
	const mine = me.projects.filter(({ id }) => record.projects.includes(id));
	const project = mine.find(({ id }) => id === address.project) ?? mine[0];
	if (!project) {
		throw new Error("This image belongs to none of your projects.");
	}
	const { shape } = image.grid;
	const preset = record.series.channels[0]?.windows[0];
	const initial: ViewerState = {
		...INITIAL,
		index: clampIndex(shape, address.index ?? [(shape[0] - 1) / 2, (shape[1] - 1) / 2, (shape[2] - 1) / 2]),
		window: address.window ?? (preset ? { center: preset.center, width: preset.width } : INITIAL.window),
		raster: image.kind === "raster" ? address.raster : null,
		brushRadius: image.kind === "raster" ? 10 : Math.max(2, Math.round(Math.max(...image.grid.affine.spacing) * 2)),
	};
	const segmentation = new Store<Segmentation | null>(null);
	return {
		client,
		me,
		project,
		record,
		image,
		queue,
		state: new Store(initial),
		segmentation,
		ontology: new Store(null as Bench["ontology"]["value"]),
		proposals: new ProposalSession(client, models, () => segmentation.value?.id ?? null),
		readout: new Store([] as Bench["readout"]["value"]),
	};
}

function makeActions(bench: Bench): Actions {
	const { proposals } = bench;
	return {
		undo: () => attempt(async () => bench.segmentation.value?.undo()),
		redo: () => attempt(async () => bench.segmentation.value?.redo()),
		acceptProposal: () =>
			attempt(async () => {
				const { proposal } = proposals;
				const segmentation = bench.segmentation.value;
				if (!proposal || !segmentation?.canEdit) {
					return;
				}
				const { label, keepOthers } = bench.state.value;
				await segmentation.accept((base) =>
					bench.client.accept(proposal.record.id, { base, label, over: keepOthers ? [0] : null }),
				);
				proposals.clear();
			}),
		rejectProposal: () => attempt(() => proposals.reject()),
		showHelp: () => showHelp(bench.ontology.value?.classes ?? []),
	};
}

// --- header --------------------------------------------------------------------------------------------------------

interface Header {
	readonly element: HTMLElement;
	readonly open: (id: string | null, version: number | null) => Promise<void>;
}

function buildHeader(context: ViewContext, bench: Bench, stage: Stage, listed: readonly SegmentationRecord[]): Header {
	const { client, me, outbox } = context;
	const known = new Map(
		listed.filter(({ project_id }) => project_id === bench.project.id).map((entry) => [entry.id, entry]),
	);
	const select = h("select", { "aria-label": "Segmentation", class: "segmentation-select" });
	const open: Header["open"] = async (id, version) => {
		const entry = id ? (known.get(id) ?? (await client.segmentation(id))) : null;
		if (entry) {
			known.set(entry.id, entry);
		}
		bench.proposals.clear();
		bench.ontology.set(entry?.ontology ?? null);
		const segmentation = entry
			? await Segmentation.open(entry, me.id, mayAnnotate(bench.project), client, bench.queue, outbox)
			: null;
		if (segmentation && version !== null) {
			await segmentation.view(version);
		}
		bench.segmentation.set(segmentation);
		bench.state.update({
			segmentationId: segmentation?.id ?? null,
			version: segmentation?.isPast ? segmentation.version : null,
			hidden: new Set(),
			label: firstLabel(bench, bench.state.value.label),
		});
		draw();
	};
	const draw = () => {
		replace(
			select,
			h("option", { value: "" }, known.size === 0 ? "No segmentation" : "None"),
			...[...known.values()].map((entry) => h("option", { value: entry.id }, entry.name)),
		);
		select.value = bench.segmentation.value?.id ?? "";
	};
	select.addEventListener("change", () => attempt(() => open(select.value || null, null)));
	const create = h(
		"button",
		{ class: known.size === 0 ? "primary" : "quiet", "aria-label": "New segmentation", title: "New segmentation" },
		icon(ICONS.plus),
		"New segmentation",
	);
	create.addEventListener("click", () =>
		attempt(async () => {
			const id = await createSegmentation(bench);
			if (id) {
				await open(id, null);
				create.className = "quiet";
			}
		}),
	);
	const { record } = bench;
	const element = h(
		"header",
		{ class: "app-bar" },
		h(
			"button",
			{ class: "quiet", "aria-label": "Back to the worklist", title: "Worklist", on: { click: context.leave } },
			icon(ICONS.back),
			"Worklist",
		),
		h("h1", { class: "image-name", title: record.name }, record.name),
		h("span", { class: "badge" }, record.series.modality),
		h("div", { class: "spacer" }),
		buildSaveStatus(bench, stage, context.relogin),
		select,
		mayAnnotate(bench.project) ? create : null,
		exportMenu(bench),
		h("span", { class: "muted" }, me.name),
	);
	return { element, open };
}

function firstLabel(bench: Bench, label: number): number {
	const classes = bench.ontology.value?.classes ?? [];
	return classes.some((entry) => entry.label === label) ? label : (classes[0]?.label ?? 1);
}

const EXPORTS: Readonly<Record<"volume" | "raster", readonly (readonly [string, string])[]>> = {
	volume: [
		["nifti", "NIfTI labels"],
		["dicom-seg", "DICOM Segmentation"],
		["coco", "COCO shapes"],
	],
	raster: [
		["geotiff", "GeoTIFF mask"],
		["geojson", "GeoJSON shapes"],
		["coco", "COCO shapes"],
	],
};

function exportMenu(bench: Bench): HTMLElement {
	const list = h("div", { class: "menu-list" });
	const menu = h(
		"details",
		{ class: "menu" },
		h("summary", { "aria-label": "Export" }, icon(ICONS.download), "Export"),
		list,
	);
	const draw = () => {
		const segmentation = bench.segmentation.value;
		menu.hidden = !segmentation;
		if (segmentation) {
			const ref = `${segmentation.id}@${segmentation.version}`;
			replace(
				list,
				...EXPORTS[bench.image.kind].map(([format, name]) =>
					h(
						"a",
						{
							href: bench.client.exportUrl(ref, format),
							download: true,
							on: {
								click: () => {
									menu.open = false;
								},
							},
						},
						name,
					),
				),
			);
		}
	};
	onSegmentation(bench, draw);
	document.addEventListener("pointerdown", (event) => {
		if (!menu.contains(event.target as Node)) {
			menu.open = false;
		}
	});
	return menu;
}

// --- bars and panels -----------------------------------------------------------------------------------------------

function warningBar(record: ImageRecord): HTMLElement | null {
	const { warnings } = record.series;
	if (warnings.length === 0) {
		return null;
	}
	return h(
		"details",
		{ class: "warnings" },
		h(
			"summary",
			{},
			icon(ICONS.warning),
			warnings.length === 1 ? warnings[0]! : `${warnings.length} warnings about this image`,
		),
		warnings.length === 1 ? null : h("ul", {}, ...warnings.map((text) => h("li", {}, text))),
	);
}

/** Says that an older version is shown, and leads back. */
function pastBar(bench: Bench): HTMLElement {
	const text = h("span");
	const bar = h(
		"div",
		{ class: "past", role: "status", hidden: true },
		text,
		h(
			"button",
			{
				on: {
					click: () =>
						attempt(async () => {
							await bench.segmentation.value?.view(null);
							bench.state.update({ version: null });
						}),
				},
			},
			"Back to the newest",
		),
	);
	onSegmentation(bench, () => {
		const segmentation = bench.segmentation.value;
		bar.hidden = !segmentation?.isPast;
		text.textContent = segmentation?.isPast ? `Version ${segmentation.version} of ${segmentation.head}, read-only` : "";
	});
	return bar;
}

function sidePanel(bench: Bench, stage: Stage): HTMLElement {
	const pages = [
		["Labels", buildLabelsPanel(bench, stage)],
		["History", buildHistoryPanel(bench, stage)],
	] as const;
	const tabs = pages.map(([name]) =>
		h("button", { role: "tab", id: `tab-${name}`, "aria-controls": `page-${name}` }, name),
	);
	const bodies = pages.map(([name, body]) =>
		h("div", { role: "tabpanel", id: `page-${name}`, "aria-labelledby": `tab-${name}`, class: "tab-page" }, body),
	);
	const choose = (chosen: number) => {
		tabs.forEach((tab, i) => {
			tab.setAttribute("aria-selected", String(i === chosen));
			tab.tabIndex = i === chosen ? 0 : -1;
			bodies[i]!.hidden = i !== chosen;
		});
	};
	tabs.forEach((tab, i) => {
		tab.addEventListener("click", () => choose(i));
		tab.addEventListener("keydown", (event) => {
			if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
				const next = (i + 1) % tabs.length;
				choose(next);
				tabs[next]!.focus();
				event.preventDefault();
			}
		});
	});
	choose(0);
	const empty = h(
		"p",
		{ class: "empty muted" },
		mayAnnotate(bench.project) ? "Make a segmentation to label this image." : "This image has no segmentation yet.",
	);
	const panel = h(
		"aside",
		{ class: "side", "aria-label": "Labels and history" },
		h("div", { role: "tablist", class: "tabs", "aria-label": "Panels" }, ...tabs),
		empty,
		...bodies,
	);
	onSegmentation(bench, () => {
		const open = bench.segmentation.value !== null;
		empty.hidden = open;
		panel.classList.toggle("is-empty", !open);
	});
	return panel;
}

function statusBar(bench: Bench): HTMLElement {
	const bar = h("footer", { class: "status", "aria-label": "Under the pointer" });
	bench.readout.listen((entries) => {
		replace(
			bar,
			...entries.map(({ name, text }) =>
				h(
					"span",
					{ class: "readout", data: { readout: name.toLowerCase() } },
					h("span", { class: "muted" }, name),
					h("span", { class: "number" }, text),
				),
			),
		);
	});
	return bar;
}

/** Asks what others changed while somebody is at work. An empty chair asks nothing, so that its session can end. */
function followOthers(bench: Bench): () => void {
	let touched = performance.now();
	const touch = () => {
		touched = performance.now();
	};
	const events = ["pointermove", "keydown", "wheel"] as const;
	for (const event of events) {
		window.addEventListener(event, touch, { passive: true });
	}
	const timer = setInterval(() => {
		if (document.visibilityState === "visible" && performance.now() - touched < PRESENT_MS) {
			// What fails here is asked again, and told when it is in somebody's way.
			bench.segmentation.value?.follow().catch(() => undefined);
		}
	}, FOLLOW_MS);
	return () => {
		clearInterval(timer);
		for (const event of events) {
			window.removeEventListener(event, touch);
		}
	};
}

/** Chunks that could not be read are asked for again when somebody has logged in, or the network is back. */
function followReads({ queue, relogin }: ViewContext): () => void {
	const retry = () => queue.retry();
	window.addEventListener("online", retry);
	const stop = queue.listen((event) => {
		if (event.type === "failed" && event.error.status === 401) {
			void relogin().then(retry);
		}
	});
	return () => {
		window.removeEventListener("online", retry);
		stop();
	};
}

// --- address and window --------------------------------------------------------------------------------------------

/** Keeps the address in step with the state, without filling the browser's history. */
function writeAddress(bench: Bench): () => void {
	let timer: ReturnType<typeof setTimeout> | undefined;
	const write = () => {
		const { index, window, raster, segmentationId, version } = bench.state.value;
		const address = formatAddress({
			image: bench.image.id,
			project: bench.project.id,
			index,
			// A raster's stretch is part of its look.
			window: bench.image.kind === "raster" ? null : window,
			raster,
			segmentation: segmentationId,
			version,
		});
		history.replaceState(history.state, "", address);
	};
	const stop = bench.state.listen((state, before) => {
		if (
			state.index !== before.index ||
			state.window !== before.window ||
			state.raster !== before.raster ||
			state.segmentationId !== before.segmentationId ||
			state.version !== before.version
		) {
			clearTimeout(timer);
			timer = setTimeout(write, 200);
		}
	});
	return () => {
		stop();
		clearTimeout(timer);
	};
}

/** A series that suggests no window gets one from its own values, as soon as the coarse level is here. */
function autoWindow(bench: Bench, address: Address, queue: ChunkQueue): () => void {
	const { image, record, state } = bench;
	if (image.kind === "raster" || address.window || record.series.channels[0]?.windows.length) {
		return () => undefined;
	}
	const prefix = `${image.id}/${image.levels.length - 1}/`;
	const stop = queue.listen((event) => {
		const samples = event.type === "chunk" && event.key.startsWith(prefix) ? queue.cache.get(event.key) : undefined;
		if (samples) {
			stop();
			const step = Math.max(1, Math.floor(samples.length / 20_000));
			const [slope, intercept] = image.rescale(Math.floor(image.grid.shape[0] / 2));
			const values: number[] = [];
			for (let i = 0; i < samples.length; i += step) {
				values.push(samples[i]! * slope + intercept);
			}
			state.update({ window: windowOf(values) });
		}
	});
	return stop;
}
