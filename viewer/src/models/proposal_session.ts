/**
 * Prompts and the proposal they led to. A new prompt cancels the request under way; an answer is shown beside the labels and
 * becomes one of them only when it is accepted.
 */

import type { Client } from "../api/client";
import { explain, isProblem } from "../api/errors";
import type { ModelCard, PromptRecord, ProposalRecord } from "../api/types";
import { type Box, Spans } from "../labels/spans";

export interface Proposal {
	readonly record: ProposalRecord;
	readonly spans: Spans;
	readonly box: Box | null;
}

export type ProposalState =
	| { readonly kind: "idle" }
	| { readonly kind: "asking" }
	| { readonly kind: "ready" }
	| { readonly kind: "failed"; readonly message: string };

export class ProposalSession {
	private prompts_: PromptRecord[] = [];
	private proposal_: Proposal | null = null;
	private state_: ProposalState = { kind: "idle" };
	private asking: AbortController | null = null;
	private readonly listeners = new Set<() => void>();
	model: string | null = null;

	constructor(
		private readonly client: Client,
		readonly models: readonly ModelCard[],
		private readonly segmentationId: () => string | null,
	) {
		this.model = models[0]?.id ?? null;
	}

	get prompts(): readonly PromptRecord[] {
		return this.prompts_;
	}

	get proposal(): Proposal | null {
		return this.proposal_;
	}

	get state(): ProposalState {
		return this.state_;
	}

	get isOpen(): boolean {
		return this.prompts_.length > 0 || this.proposal_ !== null;
	}

	listen(listener: () => void): () => void {
		this.listeners.add(listener);
		return () => this.listeners.delete(listener);
	}

	/** Adds a prompt and asks again with all of them. A new box starts over: it says what is meant. */
	async add(prompt: PromptRecord): Promise<void> {
		this.prompts_ = prompt.kind === "box" ? [prompt] : [...this.prompts_, prompt];
		await this.ask();
	}

	/** Takes the latest prompt away. */
	async removeLast(): Promise<void> {
		this.prompts_ = this.prompts_.slice(0, -1);
		if (this.prompts_.length === 0) {
			await this.reject();
		} else {
			await this.ask();
		}
	}

	/** Forgets everything and tells the server that its answer was not wanted. */
	async reject(): Promise<void> {
		const proposal = this.proposal_;
		this.clear();
		if (proposal) {
			await this.client.reject(proposal.record.id).catch(() => undefined);
		}
	}

	/** The answer was taken into the labels. */
	clear(): void {
		this.asking?.abort();
		this.asking = null;
		this.prompts_ = [];
		this.proposal_ = null;
		this.set({ kind: "idle" });
	}

	private async ask(): Promise<void> {
		const segmentation = this.segmentationId();
		if (!this.model || !segmentation) {
			return;
		}
		this.asking?.abort();
		const asking = new AbortController();
		this.asking = asking;
		this.set({ kind: "asking" });
		try {
			const record = await this.client.propose(segmentation, this.model, this.prompts_, asking.signal);
			if (this.asking === asking) {
				const spans = Spans.fromBase64(record.spans);
				this.proposal_ = { record, spans, box: spans.box };
				this.set({ kind: "ready" });
			}
		} catch (error) {
			// An older question that was overtaken says nothing.
			if (this.asking === asking && !isProblem(error, "cancelled")) {
				this.set({ kind: "failed", message: explain(error) });
			}
		}
	}

	private set(state: ProposalState): void {
		this.state_ = state;
		for (const listener of this.listeners) {
			listener();
		}
	}
}
