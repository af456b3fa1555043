/** Who changed what, when; older versions to look at and to restore. */

import type { EditRecord } from "../api/types";
import type { Segmentation } from "../labels/segmentation";
import type { Bench, Stage } from "./bench";
import { h, icon, openDialog, replace } from "./dom";
import { ICONS } from "./icons";
import { attempt, onSegmentation } from "./toolbar";

const TOOL_NAMES: Readonly<Record<string, string>> = {
	brush: "Brush",
	eraser: "Eraser",
	"polygon-fill": "Filled polygon",
	polygon: "Polygon",
	box: "Box",
	"delete-shape": "Deleted a shape",
	revert: "Undo",
	restore: "Restored",
	import: "Import",
};

/** `model:click`: an accepted proposal of that model. */
function toolName(tool: string): string {
	return tool.startsWith("model:") ? `AI ${tool.slice("model:".length)}` : (TOOL_NAMES[tool] ?? tool);
}

export function buildHistoryPanel(bench: Bench, stage: Stage): HTMLElement {
	const list = h("ol", { class: "history", "aria-label": "History" });
	const older = h("button", { class: "quiet" }, "Older");
	older.addEventListener("click", () =>
		attempt(async () => {
			older.hidden = !((await bench.segmentation.value?.olderHistory()) ?? false);
		}),
	);
	let drawn: unknown = null;
	const draw = () => {
		const segmentation = bench.segmentation.value;
		const key = JSON.stringify([
			segmentation?.id,
			segmentation?.history.length,
			segmentation?.history[0]?.version,
			segmentation?.version,
			segmentation?.canEdit,
		]);
		if (key === drawn) {
			return;
		}
		drawn = key;
		older.hidden = !segmentation || (segmentation.history.at(-1)?.version ?? 1) <= 1;
		replace(
			list,
			...(segmentation && segmentation.history.length > 0
				? segmentation.history.map((edit) => row(bench, stage, segmentation, edit))
				: [h("li", { class: "empty muted" }, "Nothing has been changed yet.")]),
		);
	};
	onSegmentation(bench, draw);
	return h("div", { class: "panel-body" }, list, older);
}

function row(bench: Bench, stage: Stage, segmentation: Segmentation, edit: EditRecord): HTMLElement {
	const shown = segmentation.version === edit.version;
	const { box } = edit;
	const amount = edit.voxels > 0 ? `${edit.voxels.toLocaleString("en")} voxels` : "no voxels";
	return h(
		"li",
		{
			class: shown ? "edit is-shown" : "edit",
			data: { version: String(edit.version) },
			"aria-current": shown ? "true" : null,
		},
		h(
			"div",
			{ class: "edit-line" },
			h("strong", {}, `${edit.version} · ${toolName(edit.tool)}`),
			h("time", { datetime: edit.time, title: edit.time, class: "muted" }, when(edit.time)),
		),
		h("div", { class: "edit-line muted" }, h("span", {}, edit.actor.name), h("span", {}, amount)),
		edit.reason ? h("div", { class: "edit-reason" }, `“${edit.reason}”`) : null,
		h(
			"div",
			{ class: "edit-actions" },
			h(
				"button",
				{
					class: "quiet",
					"aria-label": `View version ${edit.version}`,
					on: { click: () => view(bench, segmentation, edit.version) },
				},
				icon(ICONS.eye),
				"View",
			),
			h(
				"button",
				{
					class: "quiet",
					"aria-label": `Restore version ${edit.version}`,
					disabled: !segmentation.mayEdit || edit.version === segmentation.head,
					on: { click: () => attempt(() => restore(segmentation, edit.version)) },
				},
				icon(ICONS.undo),
				"Restore",
			),
			box
				? h(
						"button",
						{
							class: "quiet",
							"aria-label": `Go to the change of version ${edit.version}`,
							on: {
								click: () =>
									stage.goTo(
										[0, 1, 2].map((axis) => (box.start[axis]! + box.stop[axis]! - 1) / 2) as [number, number, number],
									),
							},
						},
						icon(ICONS.target),
						"Go to",
					)
				: null,
		),
	);
}

function view(bench: Bench, segmentation: Segmentation, version: number): void {
	attempt(async () => {
		await segmentation.view(version === segmentation.version && segmentation.isPast ? null : version);
		bench.state.update({ version: segmentation.isPast ? segmentation.version : null });
	});
}

async function restore(segmentation: Segmentation, version: number): Promise<void> {
	const reason = await openDialog<string>(`Restore version ${version}`, (settle) => {
		const input = h("input", { id: "restore-reason", maxlength: 2000, placeholder: "Optional" });
		const form = h(
			"form",
			{ class: "form" },
			h("p", { class: "muted" }, "The labels become what they were then, as a new version. Nothing is lost."),
			h("label", { for: "restore-reason" }, "Reason"),
			input,
			h(
				"div",
				{ class: "dialog-actions" },
				h("button", { type: "button", on: { click: () => settle(null) } }, "Cancel"),
				h("button", { type: "submit", class: "primary" }, "Restore"),
			),
		);
		form.addEventListener("submit", (event) => {
			event.preventDefault();
			settle(input.value.trim());
		});
		return [form];
	});
	if (reason !== null) {
		await segmentation.restore(version, reason === "" ? null : reason);
	}
}

/** Today by the clock, before that by the day. */
export function when(time: string, now: Date = new Date()): string {
	const date = new Date(time);
	return date.toDateString() === now.toDateString()
		? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" })
		: date.toLocaleDateString([], { year: "numeric", month: "short", day: "numeric" });
}
