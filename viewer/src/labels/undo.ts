/**
 * What a person can undo and redo. Undo is a new edit that reverts an older one, so both stacks hold versions on the server
 * and can be read back from the history after a reload.
 */

import type { EditRecord } from "../api/types";

export interface UndoStacks {
	/** Versions to revert, latest last. */
	readonly undo: readonly number[];
	/** Reverting edits that can be reverted again, latest last. */
	readonly redo: readonly number[];
}

export const EMPTY: UndoStacks = { undo: [], redo: [] };

/** After an edit of this person became `version`; `reverted` names the version it took back, if it did. */
export function record(stacks: UndoStacks, version: number, reverted: number | null): UndoStacks {
	if (reverted !== null && stacks.undo.includes(reverted)) {
		return { undo: stacks.undo.filter((v) => v !== reverted), redo: [...stacks.redo, version] };
	}
	if (reverted !== null && stacks.redo.includes(reverted)) {
		return { undo: [...stacks.undo, version], redo: stacks.redo.filter((v) => v !== reverted) };
	}
	return { undo: [...stacks.undo, version], redo: [] };
}

/** Stacks of `account` from a page of history, newest first as the server lists it. */
export function fromHistory(edits: readonly EditRecord[], account: string): UndoStacks {
	return [...edits]
		.sort((a, b) => a.version - b.version)
		.filter((edit) => edit.actor.id === account)
		.reduce((stacks, edit) => record(stacks, edit.version, revertedBy(edit)), EMPTY);
}

function revertedBy({ tool, params }: EditRecord): number | null {
	return tool === "revert" && typeof params.version === "number" ? params.version : null;
}
