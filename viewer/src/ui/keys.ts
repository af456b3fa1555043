/** The keyboard: one listener, and one place that says what wins. */

import type { Bench, Stage } from "./bench";
import { mayAnnotate } from "./bench";
import { TOOLS } from "./commands";
import type { Actions } from "./toolbar";

export function listenToKeys(bench: Bench, stage: Stage, actions: Actions): () => void {
	const pressed = (event: KeyboardEvent) => {
		const target = event.target as HTMLElement;
		if (event.defaultPrevented || isTyping(target)) {
			return;
		}
		if (command(event, bench, stage, actions)) {
			event.preventDefault();
		}
	};
	window.addEventListener("keydown", pressed);
	return () => window.removeEventListener("keydown", pressed);
}

/** Text fields and lists keep their keys; a slider of an option keeps its arrows. */
function isTyping(target: HTMLElement): boolean {
	return target.closest("input:not([type=range]), select, textarea, dialog") !== null;
}

function command(event: KeyboardEvent, bench: Bench, stage: Stage, actions: Actions): boolean {
	const { key, shiftKey } = event;
	const letter = key.toLowerCase();
	if (event.ctrlKey || event.metaKey) {
		if (letter === "z") {
			(shiftKey ? actions.redo : actions.undo)();
			return true;
		}
		if (letter === "y") {
			actions.redo();
			return true;
		}
		return false;
	}
	if (event.altKey) {
		return false;
	}
	// A button that has the focus is pressed by Enter; only then does Enter not finish what is being drawn.
	const onButton = (event.target as HTMLElement).closest("button, a") !== null;
	if (key === "Enter" && onButton) {
		return false;
	}
	if (stage.key(event) || proposalKey(key, bench, actions)) {
		return true;
	}
	return (
		preset(event, bench) ||
		classKey(event, bench) ||
		toolKey(event, bench, stage) ||
		lookKey(key, bench, stage, actions)
	);
}

function proposalKey(key: string, bench: Bench, actions: Actions): boolean {
	const { proposals } = bench;
	if (key === "Enter" && proposals.proposal) {
		actions.acceptProposal();
		return true;
	}
	if (key === "Escape" && proposals.isOpen) {
		actions.rejectProposal();
		return true;
	}
	if (key === "Backspace" && proposals.prompts.length > 0) {
		void proposals.removeLast();
		return true;
	}
	return false;
}

/** Shift and a digit: the key's place counts, whatever sign the layout puts there. */
function preset(event: KeyboardEvent, bench: Bench): boolean {
	const digit = /^Digit([1-9])$/.exec(event.code);
	const windows = bench.record.series.channels[0]?.windows ?? [];
	const window = digit && event.shiftKey ? windows[Number(digit[1]) - 1] : undefined;
	if (window) {
		bench.state.update({ window: { center: window.center, width: window.width } });
	}
	return window !== undefined;
}

function classKey(event: KeyboardEvent, bench: Bench): boolean {
	if (event.shiftKey || !bench.segmentation.value) {
		return false;
	}
	const entry = bench.ontology.value?.classes.find(({ hotkey }) => hotkey !== null && hotkey === event.key);
	if (entry) {
		bench.state.update({ label: entry.label });
	}
	return entry !== undefined;
}

function toolKey(event: KeyboardEvent, bench: Bench, stage: Stage): boolean {
	const entry = TOOLS.find(({ key }) => key === event.key.toLowerCase());
	if (!entry || !stage.tools.includes(entry.name)) {
		return false;
	}
	if (entry.needsLabels && !(mayAnnotate(bench.project) && bench.segmentation.value?.canEdit)) {
		return false;
	}
	bench.state.update({ tool: entry.name });
	return true;
}

function lookKey(key: string, bench: Bench, stage: Stage, actions: Actions): boolean {
	const { state } = bench;
	const value = state.value;
	switch (key.toLowerCase()) {
		case "f":
			stage.fit();
			return true;
		case "d":
			state.update({ layout: value.layout === "main" ? "single" : "main" });
			return true;
		case "c":
			state.update({ crosshair: !value.crosshair });
			return true;
		case "i":
			state.update({ smooth: !value.smooth });
			return true;
		case "h":
			state.update({ labelsVisible: !value.labelsVisible });
			return true;
		case "o":
			state.update({ outline: !value.outline });
			return true;
		case "t":
			state.update(value.tool.startsWith("ai-") ? { wholeObject: !value.wholeObject } : { ball: !value.ball });
			return true;
		case "k":
			state.update({ keepOthers: !value.keepOthers });
			return true;
		case "[":
			state.update({ brushRadius: Math.max(0.5, value.brushRadius * 0.8) });
			return true;
		case "]":
			state.update({ brushRadius: Math.min(200, value.brushRadius * 1.25) });
			return true;
		case "+":
		case "=":
			stage.zoom(1.25);
			return true;
		case "-":
			stage.zoom(0.8);
			return true;
		case "?":
			actions.showHelp();
			return true;
		default:
			return false;
	}
}
