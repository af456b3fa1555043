/** What the viewer shows, as one value. What belongs to the address is in `url.ts`. */

import type { Vec3 } from "../geometry/affine";
import type { Axis } from "../geometry/orientation";
import type { PlaneView } from "../geometry/view";
import type { Frame } from "../image/image";
import type { RasterLook } from "../raster/look";
import type { ColormapName } from "../render/colormap";
import type { WindowLevel } from "../render/window";

export type ToolName =
	| "navigate"
	| "window"
	| "pan"
	| "select"
	| "brush"
	| "eraser"
	| "polygon-fill"
	| "polygon"
	| "polyline"
	| "point"
	| "box"
	| "ai-point"
	| "ai-box";

export interface ViewerState {
	/** The crosshair, (z, y, x) of level 0. */
	readonly index: Vec3;
	readonly frame: Frame;
	readonly window: WindowLevel;
	readonly colormap: ColormapName;
	/** What is shown of a raster, and from how far; `null` until its stage chose, and for volumes. */
	readonly raster: RasterLook | null;
	readonly smooth: boolean;
	readonly crosshair: boolean;
	/** Where each plane is looked at from, by axis; `null`: the whole plane. */
	readonly views: Readonly<Record<Axis, PlaneView | null>>;
	/** The plane that has the largest pane, by axis. */
	readonly main: Axis;
	readonly layout: "main" | "single";
	readonly tool: ToolName;
	/** World units. */
	readonly brushRadius: number;
	readonly ball: boolean;
	/** Ask models for the whole object; otherwise for its part in the clicked plane. */
	readonly wholeObject: boolean;
	/** Paint only on background, erase only the active class. */
	readonly keepOthers: boolean;
	readonly label: number;
	readonly hidden: ReadonlySet<number>;
	readonly labelsVisible: boolean;
	readonly opacity: number;
	readonly outline: boolean;
	readonly segmentationId: string | null;
	/** `null`: the head. */
	readonly version: number | null;
}

export const INITIAL: ViewerState = {
	index: [0, 0, 0],
	frame: { t: 0, c: 0 },
	window: { center: 0.5, width: 1 },
	colormap: "grey",
	raster: null,
	smooth: true,
	crosshair: true,
	views: { 0: null, 1: null, 2: null },
	main: 0,
	layout: "main",
	tool: "navigate",
	brushRadius: 5,
	ball: false,
	wholeObject: true,
	keepOthers: false,
	label: 1,
	hidden: new Set(),
	labelsVisible: true,
	opacity: 0.35,
	outline: true,
	segmentationId: null,
	version: null,
};
