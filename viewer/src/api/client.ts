/** One typed fetch for every route the viewer uses. */

import { ApiError, parseProblem } from "./errors";
import type {
	Changes,
	ChunkIndex,
	EditBody,
	EditRecord,
	ImageRecord,
	ImageSummary,
	Me,
	ModelCard,
	OntologyBody,
	OntologyRecord,
	PositionRecord,
	PromptRecord,
	ProposalRecord,
	Receipt,
	SegmentationRecord,
	ShapeList,
} from "./types";

type Fetch = (url: string, init?: RequestInit) => Promise<Response>;

interface Call {
	readonly method?: "GET" | "POST" | "PUT" | "DELETE";
	readonly body?: unknown;
	readonly signal?: AbortSignal;
}

export class Client {
	constructor(
		private readonly base: string = "/api",
		private readonly fetch: Fetch = (url, init) => globalThis.fetch(url, init),
	) {}

	me = (): Promise<Me> => this.call("/me");
	login = (name: string, password: string): Promise<Me> =>
		this.call("/login", { method: "POST", body: { name, password } });
	logout = (): Promise<void> => this.call("/logout", { method: "POST" });

	images = (project: string): Promise<ImageSummary[]> => this.call(`/projects/${project}/images`);
	image = (id: string): Promise<ImageRecord> => this.call(`/images/${id}`);
	position = (id: string, line: number, pixel: number, signal: AbortSignal): Promise<PositionRecord> =>
		this.call(`/images/${id}/position?line=${line}&pixel=${pixel}`, { signal });
	thumbnail = (id: string, size: number): string => `${this.base}/images/${id}/thumbnail?size=${size}`;

	ontologies = (project: string): Promise<OntologyRecord[]> => this.call(`/projects/${project}/ontologies`);
	putOntology = (project: string, id: string, body: OntologyBody): Promise<OntologyRecord> =>
		this.call(`/projects/${project}/ontologies/${id}`, { method: "PUT", body });

	segmentations = (image: string): Promise<SegmentationRecord[]> => this.call(`/images/${image}/segmentations`);
	segmentation = (ref: string): Promise<SegmentationRecord> => this.call(`/segmentations/${ref}`);
	createSegmentation = (
		project: string,
		body: { readonly image_id: string; readonly name: string; readonly ontology_id: string },
	): Promise<SegmentationRecord> => this.call(`/projects/${project}/segmentations`, { method: "POST", body });

	chunks = (ref: string): Promise<ChunkIndex> => this.call(`/segmentations/${ref}/chunks`);
	shapes = (ref: string): Promise<ShapeList> => this.call(`/segmentations/${ref}/shapes`);
	changes = (id: string, since: number): Promise<Changes> => this.call(`/segmentations/${id}/changes?since=${since}`);
	edit = (id: string, body: EditBody): Promise<Receipt> =>
		this.call(`/segmentations/${id}/edits`, { method: "POST", body });
	revert = (id: string, version: number, base: number): Promise<Receipt> =>
		this.call(`/segmentations/${id}/edits/${version}/revert`, { method: "POST", body: { base } });
	restore = (id: string, version: number, base: number, reason: string | null): Promise<Receipt> =>
		this.call(`/segmentations/${id}/restore`, { method: "POST", body: { version, base, reason } });
	edits = (id: string, before: number | null, limit: number): Promise<EditRecord[]> =>
		this.call(`/segmentations/${id}/edits?limit=${limit}${before === null ? "" : `&before=${before}`}`);

	models = (): Promise<ModelCard[]> => this.call("/models");
	propose = (
		id: string,
		model: string,
		prompts: readonly PromptRecord[],
		signal: AbortSignal,
	): Promise<ProposalRecord> =>
		this.call(`/segmentations/${id}/proposals`, { method: "POST", body: { model, prompts }, signal });
	accept = (
		proposal: string,
		body: { readonly base: number; readonly label: number; readonly over: readonly number[] | null },
	): Promise<Receipt> => this.call(`/proposals/${proposal}/accept`, { method: "POST", body });
	reject = (proposal: string): Promise<void> => this.call(`/proposals/${proposal}/reject`, { method: "POST" });

	exportUrl = (ref: string, format: string): string => `${this.base}/segmentations/${ref}/exports/${format}`;

	private async call<T>(path: string, { method = "GET", body, signal }: Call = {}): Promise<T> {
		const headers: Record<string, string> = { Accept: "application/json" };
		if (method !== "GET") {
			// A page of another origin cannot set this header: the server's guard against forged requests.
			headers["X-Specimg"] = "1";
		}
		if (body !== undefined) {
			headers["Content-Type"] = "application/json";
		}
		let response: Response;
		try {
			response = await this.fetch(this.base + path, {
				method,
				headers,
				credentials: "same-origin",
				...(body === undefined ? {} : { body: JSON.stringify(body) }),
				...(signal ? { signal } : {}),
			});
		} catch (cause) {
			signal?.throwIfAborted();
			throw new ApiError({ code: "unreachable" }, "the server does not answer", { cause });
		}
		if (response.status === 204) {
			return undefined as T;
		}
		const text = await response.text();
		let json: unknown;
		try {
			json = text === "" ? undefined : JSON.parse(text);
		} catch {
			json = undefined;
		}
		if (!response.ok) {
			throw parseProblem(response.status, json);
		}
		return json as T;
	}
}
