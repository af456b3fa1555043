/** Ontology: the classes of a segmentation and how they look. */

import type { LabelClass, OntologyRecord } from "../api/types";

export type { LabelClass, OntologyRecord };

/** RGB of `#rrggbb`, 0 to 255; a warning pink for what is not a colour. */
export function parseColor(color: string): readonly [number, number, number] {
	const match = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(color);
	return match ? [parseInt(match[1]!, 16), parseInt(match[2]!, 16), parseInt(match[3]!, 16)] : [255, 64, 160];
}

/**
 * RGBA for all 65,536 labels. A label without a class gets a colour of its own rather than none, so that nothing in a
 * file stays unseen. Alpha 0 hides.
 */
export function colorTable(classes: readonly LabelClass[], hidden: ReadonlySet<number>): Uint8Array<ArrayBuffer> {
	const table = new Uint8Array(65536 * 4);
	for (let label = 1; label < 65536; label++) {
		table[4 * label] = 96 + ((label * 67) % 160);
		table[4 * label + 1] = 96 + ((label * 131) % 160);
		table[4 * label + 2] = 96 + ((label * 29) % 160);
		table[4 * label + 3] = 255;
	}
	for (const { label, color } of classes) {
		table.set(parseColor(color), 4 * label);
	}
	for (const label of hidden) {
		table[4 * label + 3] = 0;
	}
	return table;
}

/** Colours for classes that people add: apart from one another and from grey. */
const PALETTE = [
	"#e6794b",
	"#4ba3e6",
	"#8bd450",
	"#e0c341",
	"#c06be0",
	"#43cfc0",
	"#e05a7a",
	"#9aa8ff",
	"#b98a5a",
	"#6fdc9a",
];

/** The next free class of an ontology. */
export function nextClass(classes: readonly LabelClass[], name: string): LabelClass {
	const label = Math.max(0, ...classes.map((known) => known.label)) + 1;
	const taken = new Set(classes.map((known) => known.hotkey));
	const hotkey = ["1", "2", "3", "4", "5", "6", "7", "8", "9"].find((key) => !taken.has(key)) ?? null;
	return { label, name, color: PALETTE[(label - 1) % PALETTE.length]!, hotkey, code: null };
}
