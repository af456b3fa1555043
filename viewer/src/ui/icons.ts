/** Path data of the toolbar's drawings, 24 x 24, drawn as lines. */
export const ICONS = {
	navigate: "M12 3v18M3 12h18M12 7a5 5 0 1 0 0 10a5 5 0 0 0 0-10",
	window: "M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18M12 3v18M12 7h6M12 11h8.5M12 15h8M12 19h4",
	pan: "M12 3v18M3 12h18M12 3l-3 3M12 3l3 3M12 21l-3-3M12 21l3-3M3 12l3-3M3 12l3 3M21 12l-3-3M21 12l-3 3",
	brush: "M20 4c-4 1-8 5-10 8l2 2c3-2 7-6 8-10M9 13c-3 0-4 2-4 4c0 2-1 3-2 3c4 1 8 0 8-4c0-1-1-3-2-3",
	eraser: "M9 20h11M4 15l9-10c1-1 2-1 3 0l4 4c1 1 1 2 0 3l-8 8H9l-5-5M9 9l7 7",
	"polygon-fill": "M5 9l7-5l8 5l-3 10H8zM8 12h8M8 16h8",
	polygon: "M5 9l7-5l8 5l-3 10H8zM5 9h.01M12 4h.01M20 9h.01M17 19h.01M8 19h.01",
	box: "M5 6h14v12H5zM5 6h.01M19 6h.01M19 18h.01M5 18h.01",
	"ai-point": "M11 11l9 4l-4 2l-2 4zM8 3l1 3l3 1l-3 1l-1 3l-1-3l-3-1l3-1z",
	"ai-box": "M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4M12 8l1 3l3 1l-3 1l-1 3l-1-3l-3-1l3-1z",
	undo: "M8 5L4 9l4 4M4 9h10a6 6 0 0 1 0 12H9",
	redo: "M16 5l4 4l-4 4M20 9H10a6 6 0 0 0 0 12h5",
	fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
	layout: "M4 4h16v16H4zM14 4v16M14 12h6",
	eye: "M3 12c4-7 14-7 18 0c-4 7-14 7-18 0M12 9a3 3 0 1 0 0 6a3 3 0 0 0 0-6",
	"eye-off": "M3 12c4-7 14-7 18 0c-4 7-14 7-18 0M4 4l16 16",
	help: "M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18M9.5 9.5c0-3 5-3 5 0c0 2-2.500 2-2.500 4M12 17h.01",
	back: "M15 5l-7 7l7 7",
	warning: "M12 4L2.500 20h19zM12 10v5M12 17.500h.01",
	plus: "M12 5v14M5 12h14",
	trash: "M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13",
	download: "M12 4v11M7 11l5 5l5-5M5 20h14",
	target: "M12 8a4 4 0 1 0 0 8a4 4 0 0 0 0-8M12 3v3M12 18v3M3 12h3M18 12h3",
} as const;

export type IconName = keyof typeof ICONS;
