/** What the server answers, as docs/architecture.md has it. */

import type { GridJson } from "../geometry/grid";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
/** (z, y, x). */
export type Triple = readonly [number, number, number];
export type Role = "viewer" | "annotator" | "reviewer" | "admin";

export interface ProjectRecord {
	readonly id: string;
	readonly name: string;
	readonly role: Role;
}

export interface Me {
	readonly id: string;
	readonly name: string;
	readonly projects: readonly ProjectRecord[];
}

/** A row of the worklist. */
export interface ImageSummary {
	readonly id: string;
	readonly name: string;
	readonly project_id: string;
	readonly kind: string;
	readonly modality: string;
	readonly shape: readonly number[];
	readonly axes: readonly string[];
	readonly spacing: readonly number[];
	readonly created_at: string;
	readonly segmentations: number;
	readonly warnings: readonly string[];
}

export interface WindowRecord {
	readonly name: string;
	readonly center: number;
	readonly width: number;
}

export interface SeriesRecord {
	readonly name: string;
	readonly kind: string;
	readonly modality: string;
	readonly axes: readonly string[];
	readonly shape: readonly number[];
	readonly dtype: string;
	readonly grid: GridJson;
	readonly channels: readonly {
		readonly name: string;
		readonly unit: string;
		readonly windows: readonly WindowRecord[];
	}[];
	readonly rescale: { readonly slope: readonly number[]; readonly intercept: readonly number[] };
	readonly nodata: number | null;
	readonly radar: Json;
	readonly warnings: readonly string[];
	/** The DICOM VOI rule that fits the values. */
	readonly window_function?: "LINEAR" | "LINEAR_EXACT";
}

export interface LevelRecord {
	readonly path: string;
	readonly shape: readonly number[];
	readonly chunks: readonly number[];
	readonly shards: readonly number[];
	readonly factors: readonly number[];
}

export interface ImageRecord {
	readonly id: string;
	readonly digest: string;
	readonly name: string;
	readonly format: string;
	readonly series: SeriesRecord;
	readonly levels: readonly LevelRecord[];
	readonly bytes: number;
	readonly created_at: string;
	readonly projects: readonly string[];
}

/** DICOM code value, coding scheme designator, code meaning. */
export type Code = readonly [string, string, string];

export interface LabelClass {
	readonly label: number;
	readonly name: string;
	readonly color: string;
	readonly hotkey: string | null;
	readonly code: Code | null;
	readonly category?: Code | null;
}

export interface OntologyRecord {
	readonly id: string;
	readonly version: number;
	readonly name: string;
	readonly classes: readonly LabelClass[];
}

/** The next version of an ontology. `base` is the version it was made from; 0: a new one. */
export interface OntologyBody {
	readonly name: string;
	readonly classes: readonly LabelClass[];
	readonly base: number;
}

export interface SegmentationRecord {
	readonly id: string;
	readonly project_id: string;
	readonly image_id: string;
	readonly name: string;
	readonly head: number;
	readonly ontology: OntologyRecord;
	readonly grid: GridJson;
	readonly chunk_shape: readonly number[];
	readonly created_at: string;
}

export interface ChunkIndex {
	readonly version: number;
	readonly chunks: Readonly<Record<string, string>>;
}

export interface ShapeRecord {
	readonly id: string;
	readonly kind: "point" | "polyline" | "polygon" | "box";
	readonly label: number;
	readonly points: readonly Triple[];
	readonly holes: readonly (readonly Triple[])[];
	readonly attributes: Readonly<Record<string, Json>>;
}

export interface ShapeList {
	readonly version: number;
	readonly shapes: readonly ShapeRecord[];
}

export interface Changes {
	readonly version: number;
	readonly chunks: Readonly<Record<string, string | null>>;
	readonly shapes: readonly ShapeRecord[];
	readonly deleted_shapes: readonly string[];
}

export type ShapeAct =
	| { readonly op: "put"; readonly shape: ShapeRecord }
	| { readonly op: "delete"; readonly id: string };

export interface EditBody {
	readonly base: number;
	readonly tool: string;
	readonly params: Readonly<Record<string, Json>>;
	readonly reason: string | null;
	readonly request_id: string;
	readonly voxels: readonly {
		readonly label: number;
		readonly over: readonly number[] | null;
		readonly spans: string;
	}[];
	readonly shapes: readonly ShapeAct[];
}

export interface BoxRecord {
	readonly start: readonly number[];
	readonly stop: readonly number[];
}

export interface Receipt {
	readonly segmentation_id: string;
	readonly version: number;
	readonly digest: string;
	readonly entry_id: string;
	readonly voxels: number;
	readonly box: BoxRecord | null;
	readonly chunks: Readonly<Record<string, string | null>>;
}

export interface EditRecord {
	readonly version: number;
	readonly base: number;
	readonly time: string;
	readonly actor: { readonly id: string; readonly name: string };
	readonly tool: string;
	readonly params: Readonly<Record<string, Json>>;
	readonly reason: string | null;
	readonly voxels: number;
	readonly box: BoxRecord | readonly (readonly number[])[] | null;
	readonly digest: string;
	readonly entry_id: string;
}

export interface ModelCard {
	readonly id: string;
	readonly name: string;
	readonly version: string;
	readonly dims: readonly number[] | number | string;
	readonly prompts: readonly string[];
	readonly intended_use: string;
}

export interface PromptRecord {
	readonly kind: "point" | "box" | "scribble";
	readonly positive: boolean;
	readonly points: readonly (readonly number[])[];
	readonly axis: "z" | "y" | "x" | null;
}

export interface ProposalRecord {
	readonly id: string;
	readonly start: readonly number[];
	readonly stop: readonly number[];
	readonly spans: string;
	readonly voxels: number;
	readonly score: number | null;
	readonly seconds: number;
	readonly notes: readonly string[];
}
