/** What can go wrong between the viewer and its server, as a tagged union with the facts as fields. */

import type { BoxRecord } from "./types";

export type Problem =
	| {
			readonly code: "version-conflict";
			readonly base: number;
			readonly current: number;
			readonly boxes: readonly BoxRecord[];
			readonly shapes: readonly string[];
			readonly voxels: number;
	  }
	/** Nobody is logged in, or the session ended. */
	| { readonly code: "not-authenticated" }
	/** A newer request took the place of this one. */
	| { readonly code: "cancelled" }
	/** No answer: the network or the server is away. */
	| { readonly code: "unreachable" }
	/** Anything else the server refused, in its own words. */
	| { readonly code: "refused"; readonly status: number; readonly reason: string };

export class ApiError extends Error {
	constructor(
		readonly problem: Problem,
		message: string,
		options?: ErrorOptions,
	) {
		super(message, options);
		this.name = "ApiError";
	}
}

/** Whether `error` is an `ApiError` of this code; narrows the type. */
export function isProblem<C extends Problem["code"]>(
	error: unknown,
	code: C,
): error is ApiError & { readonly problem: Extract<Problem, { code: C }> } {
	return error instanceof ApiError && error.problem.code === code;
}

/** From an `application/problem+json` answer, or from any other body with a bad status. */
export function parseProblem(status: number, body: unknown): ApiError {
	const fields = typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
	const detail =
		typeof fields.detail === "string"
			? fields.detail
			: typeof fields.title === "string"
				? fields.title
				: `The server answered ${status}.`;
	if (fields.code === "version-conflict") {
		const number = (value: unknown) => (typeof value === "number" ? value : 0);
		return new ApiError(
			{
				code: "version-conflict",
				base: number(fields.base),
				current: number(fields.current),
				boxes: Array.isArray(fields.boxes) ? (fields.boxes as BoxRecord[]) : [],
				shapes: Array.isArray(fields.shapes) ? (fields.shapes as string[]) : [],
				voxels: number(fields.voxels),
			},
			detail,
		);
	}
	if (fields.code === "cancelled") {
		return new ApiError({ code: "cancelled" }, detail);
	}
	if (status === 401) {
		return new ApiError({ code: "not-authenticated" }, detail);
	}
	if (status === 502 || status === 503 || status === 504) {
		return new ApiError({ code: "unreachable" }, detail);
	}
	return new ApiError(
		{ code: "refused", status, reason: typeof fields.code === "string" ? fields.code : "unknown" },
		detail,
	);
}

/** A sentence for the person in front of the screen. */
export function explain(error: unknown): string {
	if (isProblem(error, "unreachable")) {
		return "The server does not answer. It may be restarting, or this computer is offline.";
	}
	return error instanceof Error ? error.message : String(error);
}
