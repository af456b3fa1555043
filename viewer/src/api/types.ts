/** What the server takes and answers. `schema.ts` is made from its OpenAPI description: `npm run api-types`. */

import type { components } from "./schema";

type Schemas = components["schemas"];

/** Answers are values: nobody changes them. */
type Value<T> = T extends (...args: never[]) => unknown
	? T
	: T extends object
		? { readonly [K in keyof T]: Value<T[K]> }
		: T;

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
/** (z, y, x). */
export type Triple = readonly [number, number, number];

export type Me = Value<Schemas["MeOut"]>;
export type ProjectRecord = Value<Schemas["ProjectOut"]>;
export type Role = ProjectRecord["role"];

/** A row of the worklist. */
export type ImageSummary = Value<Schemas["WorklistItem"]>;
export type ImageRecord = Value<Schemas["ImageOut"]>;
export type SeriesRecord = Value<Schemas["SeriesOut"]>;
export type LevelRecord = Value<Schemas["LevelOut"]>;
export type WindowRecord = Value<Schemas["WindowOut"]>;
/** Where a raster pixel lies on the Earth, by which model, and the error to expect. */
export type PositionRecord = Value<Schemas["PositionOut"]>;

export type LabelClass = Value<Schemas["ClassOut"]>;
export type OntologyRecord = Value<Schemas["OntologyOut"]>;
/** The next version of an ontology. `base` is the version it was made from; 0: a new one. */
export type OntologyBody = Value<Schemas["OntologyIn"]>;

export type SegmentationRecord = Value<Schemas["SegmentationOut"]>;
export type ChunkIndex = Value<Schemas["ChunksOut"]>;
export type ShapeRecord = Value<Schemas["ShapeOut"]>;
export type ShapeList = Value<Schemas["ShapesOut"]>;
export type Changes = Value<Schemas["ChangesOut"]>;

export type EditBody = Value<Schemas["EditIn"]>;
export type ShapeAct = Value<Schemas["ShapePutIn"] | Schemas["ShapeDeleteIn"]>;
export type BoxRecord = Value<Schemas["BoxOut"]>;
export type Receipt = Value<Schemas["ReceiptOut"]>;
export type EditRecord = Value<Schemas["EditOut"]>;

export type ModelCard = Value<Schemas["CardOut"]>;
export type PromptRecord = Value<Schemas["PromptIn"]>;
export type ProposalRecord = Value<Schemas["ProposalOut"]>;
