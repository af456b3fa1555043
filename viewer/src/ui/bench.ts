/**
 * Bench: what everything around one open image shares. A *stage* draws the image and takes the pointer; toolbar, label list,
 * history, saving and proposals know only the bench, so volumes and rasters have them in common.
 */

import type { Client } from "../api/client";
import type { ImageRecord, Me, OntologyRecord, ProjectRecord } from "../api/types";
import type { Vec3 } from "../geometry/affine";
import type { ChunkQueue } from "../image/chunk_queue";
import type { Image } from "../image/image";
import type { Segmentation } from "../labels/segmentation";
import type { ProposalSession } from "../models/proposal_session";
import type { ToolName, ViewerState } from "../state/state";
import type { Store } from "../state/store";

export interface Bench {
	readonly client: Client;
	readonly me: Me;
	readonly project: ProjectRecord;
	readonly record: ImageRecord;
	readonly image: Image;
	readonly queue: ChunkQueue;
	readonly state: Store<ViewerState>;
	/** The segmentation that is open, with its outbox, undo and history. */
	readonly segmentation: Store<Segmentation | null>;
	readonly ontology: Store<OntologyRecord | null>;
	readonly proposals: ProposalSession;
	/** What lies under the pointer, for the status bar: label and text. */
	readonly readout: Store<readonly Readout[]>;
}

export interface Readout {
	readonly name: string;
	readonly text: string;
}

export interface Stage {
	readonly element: HTMLElement;
	/** Tools this stage can drive, of all in the toolbar. */
	readonly tools: readonly ToolName[];
	/** Controls of its own, shown at the end of the option bar (a raster's quantity and bands). */
	readonly options?: HTMLElement;
	/** Brings an index (z, y, x) into view. */
	goTo(index: Vec3): void;
	fit(): void;
	/** Zooms about the middle. */
	zoom(factor: number): void;
	/** A key no one else took; whether the stage used it. */
	key(event: KeyboardEvent): boolean;
	dispose(): void;
}

/** How a stage starts. `raster/stage.ts` and `volume/stage.ts` each export one as `openStage`. */
export type OpenStage = (bench: Bench) => Stage | Promise<Stage>;

/** Whether this person may change labels here. */
export const mayAnnotate = ({ role }: ProjectRecord): boolean => role !== "viewer";

/** Whether this person may change the project's classes. */
export const mayAdminister = ({ role }: ProjectRecord): boolean => role === "admin";
