/** Names and keys of everything the viewer can do: one table for the toolbar, the keyboard and the help. */

import type { LabelClass } from "../api/types";
import type { ToolName } from "../state/state";
import type { IconName } from "./icons";

export interface ToolEntry {
	readonly name: ToolName;
	readonly label: string;
	readonly key: string;
	readonly hint: string;
	readonly needsLabels: boolean;
}

export const TOOLS: readonly ToolEntry[] = [
	{ name: "navigate", label: "Navigate", key: "v", hint: "Click or drag moves the crosshair", needsLabels: false },
	{
		name: "window",
		label: "Window",
		key: "w",
		hint: "Drag: right widens, up brightens (right button: any time)",
		needsLabels: false,
	},
	{ name: "pan", label: "Pan", key: "m", hint: "Drag moves the picture (middle button: any time)", needsLabels: false },
	{
		name: "select",
		label: "Select",
		key: "q",
		hint: "Click a shape; drag its corners, Delete removes it",
		needsLabels: true,
	},
	{ name: "brush", label: "Brush", key: "b", hint: "Paint the active class", needsLabels: true },
	{ name: "eraser", label: "Eraser", key: "e", hint: "Erase labels", needsLabels: true },
	{ name: "polygon-fill", label: "Fill", key: "g", hint: "Click corners, Enter fills their inside", needsLabels: true },
	{ name: "polygon", label: "Polygon", key: "p", hint: "Click corners, Enter makes a shape", needsLabels: true },
	{ name: "polyline", label: "Line", key: "l", hint: "Click corners, Enter makes a line", needsLabels: true },
	{ name: "point", label: "Point", key: "u", hint: "Click marks a point", needsLabels: true },
	{ name: "box", label: "Box", key: "x", hint: "Drag makes a box", needsLabels: true },
	{
		name: "ai-point",
		label: "AI click",
		key: "a",
		hint: "Click inside; Shift or Alt click: not this",
		needsLabels: true,
	},
	{ name: "ai-box", label: "AI box", key: "s", hint: "Drag a box around an object", needsLabels: true },
];

export const toolIcon = (name: ToolName): IconName => name;

/** Key of a tool as shown: a class may have taken the plain letter, Shift and the letter always work. */
export function shownKey(entry: ToolEntry, classes: readonly LabelClass[]): string {
	const taken = classes.some(({ hotkey }) => hotkey === entry.key);
	return `${taken ? "Shift+" : ""}${entry.key.toUpperCase()}`;
}

/** Rows of the help: keys, then what they do. */
export const HELP: readonly (readonly [string, readonly (readonly [string, string])[]])[] = [
	[
		"Look",
		[
			["Wheel, ↑ ↓, PgUp PgDn", "Scroll through slices"],
			["Ctrl + wheel, + −", "Zoom"],
			["Middle drag, Ctrl + drag", "Pan"],
			["Right drag", "Window: right widens, up brightens"],
			["Shift + 1 … 9", "Window presets of the series"],
			["F · D", "Fit · one pane or three (also double click)"],
			["C · I", "Crosshair · smooth or plain samples"],
		],
	],
	[
		"Label",
		[
			["Key of a class", "Make it the active class"],
			["[ ]", "Smaller, larger brush"],
			["T", "Brush: disc or ball; AI: whole object or its slice"],
			["K", "Keep other classes while painting and erasing"],
			["H · O", "Hide labels · outlines"],
			["Enter · Esc", "Finish, accept · leave, reject"],
			["Backspace", "Take the last corner or click back"],
			["Ctrl + Z · Ctrl + Shift + Z", "Undo · redo"],
		],
	],
];
