/** Whether the work is safe: the saved state in the header, and the dialog when two people changed the same voxels. */

import type { SaveStatus, Segmentation } from "../labels/segmentation";
import type { Bench, Stage } from "./bench";
import { h, openDialog, replace } from "./dom";
import { onSegmentation } from "./toolbar";

export function buildSaveStatus(bench: Bench, stage: Stage, relogin: () => Promise<void>): HTMLElement {
	const line = h("div", { class: "save", role: "status", "aria-label": "Saving" });
	let asked: SaveStatus | null = null;
	const update = () => {
		const segmentation = bench.segmentation.value;
		if (!segmentation) {
			line.hidden = true;
			return;
		}
		line.hidden = false;
		const { status } = segmentation;
		line.dataset.save = status.kind;
		line.dataset.savedVersion = status.kind === "saved" ? String(segmentation.head) : "";
		replace(line, h("span", { class: "save-dot", "aria-hidden": "true" }), saveText(status, segmentation.head));
		if (status === asked) {
			return;
		}
		if (status.kind === "conflict") {
			asked = status;
			void askConflict(segmentation, status, stage);
		} else if (status.kind === "refused") {
			asked = status;
			void askRefused(segmentation, status.message);
		} else if (status.kind === "signed-out") {
			asked = status;
			void relogin().then(() => segmentation.resolve("retry"));
		}
	};
	onSegmentation(bench, update);
	return line;
}

export function saveText(status: SaveStatus, head: number): string {
	const edits = (count: number) => `${count} ${count === 1 ? "edit" : "edits"}`;
	switch (status.kind) {
		case "saved":
			return head === 0 ? "Saved · empty" : `Saved · version ${head}`;
		case "saving":
			return "Saving…";
		case "offline":
			return `Offline, ${edits(status.edits)} kept`;
		case "conflict":
			return "Conflict: please decide";
		case "refused":
			return "Not saved";
		case "signed-out":
			return `Signed out, ${edits(status.edits)} kept`;
	}
}

async function askConflict(
	segmentation: Segmentation,
	status: Extract<SaveStatus, { kind: "conflict" }>,
	stage: Stage,
): Promise<void> {
	const [first] = status.boxes;
	if (first) {
		stage.goTo([0, 1, 2].map((axis) => (first.start[axis]! + first.stop[axis]! - 1) / 2) as [number, number, number]);
	}
	const choice = await openDialog<"theirs" | "mine">("Somebody else changed these voxels", (settle) => [
		h(
			"p",
			{},
			`Your last edit meets changes up to version ${status.current}`,
			status.voxels > 0 ? `, in ${status.voxels.toLocaleString("en")} voxels.` : ".",
		),
		h(
			"ul",
			{ class: "boxes" },
			...status.boxes
				.slice(0, 8)
				.map(({ start, stop }) =>
					h("li", {}, `x ${start[2]}–${stop[2] - 1}, y ${start[1]}–${stop[1] - 1}, z ${start[0]}–${stop[0] - 1}`),
				),
		),
		h(
			"div",
			{ class: "dialog-actions" },
			h("button", { on: { click: () => settle("theirs") } }, "Keep theirs"),
			h("button", { class: "primary", on: { click: () => settle("mine") } }, "Apply mine on top"),
		),
	]);
	// Leaving the question open would stop saving: theirs is the answer that overwrites nobody.
	segmentation.resolve(choice ?? "theirs");
}

async function askRefused(segmentation: Segmentation, message: string): Promise<void> {
	const choice = await openDialog<"theirs" | "retry">("The edit was not accepted", (settle) => [
		h("p", {}, message),
		h(
			"div",
			{ class: "dialog-actions" },
			h("button", { on: { click: () => settle("theirs") } }, "Discard the edit"),
			h("button", { class: "primary", on: { click: () => settle("retry") } }, "Try again"),
		),
	]);
	segmentation.resolve(choice ?? "retry");
}
