/** Which stage shows which kind of image. Each is loaded only when it is needed. */

import type { OpenStage } from "./bench";

export async function stageOf(kind: "volume" | "raster"): Promise<OpenStage> {
	const { openStage } = kind === "raster" ? await import("./raster/stage") : await import("./volume/stage");
	return openStage;
}
