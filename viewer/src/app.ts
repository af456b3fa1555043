/** The one file that wires everything: who is there, which page, and what pages share. */

import { Client } from "./api/client";
import { explain, isProblem } from "./api/errors";
import type { Me } from "./api/types";
import { ChunkCache } from "./image/chunk_cache";
import { ChunkQueue } from "./image/chunk_queue";
import { WorkerDecoder } from "./image/decoder";
import { openOutbox } from "./labels/outbox";
import { type Address, formatAddress, parseAddress, WORKLIST } from "./state/url";
import { h } from "./ui/dom";
import { showLogin } from "./ui/login";
import { showView } from "./ui/view";
import { showWorklist } from "./ui/worklist";

/** Decoded chunks kept; a CT of 512 x 512 x 400 takes 200 MiB. */
const CHUNK_BUDGET = 512 * 2 ** 20;

export class App {
	private readonly client = new Client();
	private readonly queue = new ChunkQueue(new WorkerDecoder(), new ChunkCache(CHUNK_BUDGET));
	private readonly outbox = openOutbox();
	private close: () => void = () => undefined;
	private relogging: Promise<void> | null = null;
	/** Counts navigations: a page that finished loading too late is not shown. */
	private turn = 0;

	constructor(private readonly root: HTMLElement) {
		window.addEventListener("popstate", () => void this.show(parseAddress(location.search)));
	}

	start(): Promise<void> {
		return this.show(parseAddress(location.search));
	}

	private go(address: Address): void {
		history.pushState(null, "", formatAddress(address));
		void this.show(address);
	}

	private async show(address: Address): Promise<void> {
		const turn = ++this.turn;
		this.close();
		this.close = () => undefined;
		this.loading(address.image ? "Opening the image…" : "Loading…");
		try {
			const me = await this.whoIsThere();
			if (!address.image) {
				if (turn === this.turn) {
					document.title = "specimg";
					showWorklist(this.root, this.client, me, {
						open: (image) => this.go({ ...WORKLIST, image: image.id, project: image.project_id }),
						logout: () => void this.logout(),
					});
				}
				return;
			}
			const page = h("div", { class: "page" });
			this.root.replaceChildren(page);
			this.loading("Opening the image…", page);
			const close = await showView(
				page,
				{
					client: this.client,
					me,
					queue: this.queue,
					outbox: await this.outbox,
					leave: () => this.go(WORKLIST),
					relogin: () => this.relogin(),
				},
				address,
			);
			if (turn === this.turn) {
				this.close = close;
			} else {
				close();
			}
		} catch (error) {
			if (turn === this.turn) {
				this.fail(error, address);
			}
		}
	}

	private async whoIsThere(): Promise<Me> {
		try {
			return await this.client.me();
		} catch (error) {
			if (!isProblem(error, "not-authenticated")) {
				throw error;
			}
			await showLogin(this.root, this.client);
			return this.client.me();
		}
	}

	/** Asks for the password over the page, so that nothing on it is lost. */
	private relogin(): Promise<void> {
		this.relogging ??= new Promise<void>((resolve) => {
			const layer = h("dialog", { class: "dialog login-over", "aria-label": "Log in again" });
			layer.addEventListener("cancel", (event) => event.preventDefault());
			layer.addEventListener("keydown", (event) => event.stopPropagation());
			document.body.append(layer);
			layer.showModal();
			void showLogin(layer, this.client).then(() => {
				layer.remove();
				this.relogging = null;
				resolve();
			});
		});
		return this.relogging;
	}

	private async logout(): Promise<void> {
		await this.client.logout().catch(() => undefined);
		// Nothing of one person's images stays in this page for the next.
		location.assign("/");
	}

	private loading(text: string, into: HTMLElement = this.root): void {
		into.replaceChildren(h("main", { class: "empty full", role: "status" }, h("span", { class: "spinner" }), text));
	}

	private fail(error: unknown, address: Address): void {
		this.root.replaceChildren(
			h(
				"main",
				{ class: "empty full", role: "alert" },
				h("strong", {}, "This did not work."),
				h("p", { class: "muted" }, explain(error)),
				h(
					"div",
					{ class: "dialog-actions" },
					h("button", { on: { click: () => void this.show(address) } }, "Try again"),
					address.image
						? h("button", { class: "primary", on: { click: () => this.go(WORKLIST) } }, "To the worklist")
						: null,
				),
			),
		);
	}
}
