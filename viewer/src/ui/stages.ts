/** Which stage shows which kind of image. Each is loaded only when it is needed. */

import type { OpenStage } from "./bench";

const RASTER = import.meta.glob<{ openStage: OpenStage }>("../raster/stage.ts");

export async function stageOf(kind: "volume" | "raster"): Promise<OpenStage> {
	if (kind === "volume") {
		return (await import("./volume/stage")).openStage;
	}
	const load = RASTER["../raster/stage.ts"];
	if (!load) {
		throw new Error("This build of the viewer cannot show rasters.");
	}
	return (await load()).openStage;
}
