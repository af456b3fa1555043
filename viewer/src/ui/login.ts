/** The page that asks who is there. */

import type { Client } from "../api/client";
import { explain, isProblem } from "../api/errors";
import { h } from "./dom";

/** Shows the form; resolves once somebody is logged in. */
export function showLogin(root: HTMLElement, client: Client): Promise<void> {
	return new Promise((resolve) => {
		const problem = h("p", { class: "form-problem", role: "alert", hidden: true });
		const name = h("input", {
			id: "login-name",
			name: "name",
			autocomplete: "username",
			required: true,
			maxlength: 256,
		});
		const password = h("input", {
			id: "login-password",
			name: "password",
			type: "password",
			autocomplete: "current-password",
			required: true,
		});
		const submit = h("button", { class: "primary", type: "submit" }, "Log in");
		const form = h(
			"form",
			{
				class: "login-card",
				"aria-label": "Log in",
				on: {
					submit: async (event) => {
						event.preventDefault();
						submit.disabled = true;
						problem.hidden = true;
						try {
							await client.login(name.value, password.value);
							resolve();
						} catch (error) {
							problem.textContent = isProblem(error, "not-authenticated")
								? "Name and password do not fit together."
								: explain(error);
							problem.hidden = false;
							submit.disabled = false;
							password.select();
						}
					},
				},
			},
			h("div", { class: "brand" }, h("span", { class: "brand-mark", "aria-hidden": "true" }), "specimg"),
			h("p", { class: "muted" }, "Annotate medical and radar images."),
			h("label", { for: "login-name" }, "Name"),
			name,
			h("label", { for: "login-password" }, "Password"),
			password,
			problem,
			submit,
		);
		root.replaceChildren(h("main", { class: "login-page" }, form));
		name.focus();
	});
}
