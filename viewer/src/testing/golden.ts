/** Tables that Python made and both sides obey. */

import { readFileSync } from "node:fs";

export const golden = <T>(name: string): T =>
	JSON.parse(readFileSync(new URL(`../../../tests/golden/${name}`, import.meta.url), "utf-8")) as T;

export const fixture = <T>(name: string): T =>
	JSON.parse(readFileSync(new URL(`../../fixtures/${name}`, import.meta.url), "utf-8")) as T;

export const bytesOf = (base64: string): Uint8Array => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
