/** The overlay that lists keys and gestures. */

import type { LabelClass } from "../api/types";
import { HELP, shownKey, TOOLS } from "./commands";
import { h, openDialog } from "./dom";

export function showHelp(classes: readonly LabelClass[]): void {
	const tools = TOOLS.map((entry) => [shownKey(entry, classes), `${entry.label}: ${entry.hint}`] as const);
	void openDialog<never>("Keys and gestures", (settle) => [
		h(
			"div",
			{ class: "help" },
			...[...HELP, ["Tools (Shift and the letter always work)", tools] as const].map(([title, rows]) =>
				h(
					"section",
					{},
					h("h3", {}, title),
					h("dl", {}, ...rows.flatMap(([keys, text]) => [h("dt", {}, keys), h("dd", {}, text)])),
				),
			),
		),
		h(
			"div",
			{ class: "dialog-actions" },
			h("button", { class: "primary", autofocus: true, on: { click: () => settle(null) } }, "Close"),
		),
	]);
}
