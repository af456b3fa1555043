/** A small builder for elements. Text is always text: nothing here parses HTML. */

type Listener<E extends keyof HTMLElementEventMap> = (event: HTMLElementEventMap[E]) => void;
type Child = Node | string | null | false | undefined;

export interface Props {
	readonly class?: string;
	readonly data?: Readonly<Record<string, string>>;
	readonly on?: { readonly [E in keyof HTMLElementEventMap]?: Listener<E> };
	/** Attributes; `true` sets an empty one, `false`, `null` and `undefined` leave it out. */
	readonly [attribute: string]: unknown;
}

export function h<K extends keyof HTMLElementTagNameMap>(
	tag: K,
	props: Props = {},
	...children: Child[]
): HTMLElementTagNameMap[K] {
	const element = document.createElement(tag);
	for (const [name, value] of Object.entries(props)) {
		if (name === "class") {
			element.className = String(value);
		} else if (name === "data") {
			Object.assign(element.dataset, value);
		} else if (name === "on") {
			for (const [event, listener] of Object.entries(value as Record<string, EventListener>)) {
				element.addEventListener(event, listener);
			}
		} else if (value !== false && value !== null && value !== undefined) {
			element.setAttribute(name, value === true ? "" : String(value));
		}
	}
	element.append(...children.filter((child): child is Node | string => Boolean(child)));
	return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** A 20 px line drawing from SVG path data. */
export function icon(path: string): SVGSVGElement {
	const svg = document.createElementNS(SVG, "svg");
	svg.setAttribute("viewBox", "0 0 24 24");
	svg.setAttribute("class", "icon");
	svg.setAttribute("aria-hidden", "true");
	const line = document.createElementNS(SVG, "path");
	line.setAttribute("d", path);
	svg.append(line);
	return svg;
}

/** Puts `children` in place of what `parent` holds. */
export function replace(parent: Element, ...children: Child[]): void {
	parent.replaceChildren(...children.filter((child): child is Node | string => Boolean(child)));
}

/** Shows a modal dialog and resolves with what `settle` is called with; Escape settles with `null`. */
export function openDialog<T>(label: string, build: (settle: (value: T | null) => void) => Child[]): Promise<T | null> {
	return new Promise((resolve) => {
		const dialog = h("dialog", { class: "dialog", "aria-label": label });
		let answer: T | null = null;
		const settle = (value: T | null) => {
			answer = value;
			dialog.close();
		};
		dialog.append(h("h2", {}, label), ...build(settle).filter((child): child is Node | string => Boolean(child)));
		dialog.addEventListener("close", () => {
			dialog.remove();
			resolve(answer);
		});
		// Keys typed in a dialog are not commands of the viewer.
		dialog.addEventListener("keydown", (event) => event.stopPropagation());
		document.body.append(dialog);
		dialog.showModal();
	});
}

/** A sentence that goes away by itself; screen readers hear it too. */
export function toast(text: string, kind: "note" | "error" = "note"): void {
	const shelf =
		document.querySelector(".toasts") ??
		document.body.appendChild(h("div", { class: "toasts", role: "status", "aria-live": "polite" }));
	const note = h(
		"div",
		{ class: `toast toast-${kind}` },
		h("span", {}, text),
		h("button", { class: "quiet", "aria-label": "Dismiss", on: { click: () => note.remove() } }, "×"),
	);
	shelf.append(note);
	setTimeout(() => note.remove(), kind === "error" ? 12000 : 5000);
}
