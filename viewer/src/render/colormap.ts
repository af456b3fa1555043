/** Colour maps: 256 greys to colours. Same names and tables as `render/colormap.py`; `tests/golden/colormap.json` holds both. */

export type ColormapName = "grey" | "inverted" | "hot" | "viridis";

export const COLORMAPS: readonly ColormapName[] = ["grey", "inverted", "hot", "viridis"];

/** RGBA bytes of a map, black end first. */
export function colormap(name: ColormapName): Uint8Array<ArrayBuffer> {
	const bytes = new Uint8Array(256 * 4);
	for (let i = 0; i < 256; i++) {
		bytes.set([...COLORS[name](i), 255], i * 4);
	}
	return bytes;
}

type Rgb = readonly [number, number, number];

const COLORS: Readonly<Record<ColormapName, (i: number) => Rgb>> = {
	grey: (i) => [i, i, i],
	inverted: (i) => [255 - i, 255 - i, 255 - i],
	hot,
	viridis: (i) => [viridis().charCodeAt(3 * i), viridis().charCodeAt(3 * i + 1), viridis().charCodeAt(3 * i + 2)],
};

/** Black, red, yellow, white: Matplotlib's, three ramps one after the other. */
function hot(i: number): Rgb {
	const x = i / 255;
	const ramp = (from: number, to: number, low: number) =>
		low + (1 - low) * Math.min(1, Math.max(0, (x - from) / (to - from)));
	const byte = (value: number) => Math.round(value * 255);
	return [byte(ramp(0, 0.365079, 0.0416)), byte(ramp(0.365079, 0.746032, 0)), byte(ramp(0.746032, 1, 0))];
}

let decoded: string | null = null;

function viridis(): string {
	decoded ??= atob(VIRIDIS);
	return decoded;
}

/** Matplotlib's viridis (CC0), 256 x RGB in base64. */
const VIRIDIS =
	"RAFURAJWRQRXRQVZRgdaRghcRgpdRgteRw1gRw5hRxBjRxFkRxNlSBRnSBZoSBdpSBhqSBpsSBttSBxuSB1vSB9wSCBxSCFzSCN0SCR1SCV2SCZ3SCh4" +
	"SCl5Ryp6Ryx6Ry17Ry58Ry99RjB+RjJ+RjN/RjSARTWBRTeBRTiCRDmDRDqDRDuEQz2EQz6FQj+FQkCGQkGGQUKHQUSHQEWIQEaIP0eIP0iJPkmJPkqJ" +
	"PkyKPU2KPU6KPE+KPFCLO1GLO1KLOlOLOlSMOVWMOVaMOFiMOFmMN1qMN1uNNlyNNl2NNV6NNV+NNGCNNGGNM2KNM2ONMmSOMmWOMWaOMWeOMWiOMGmO" +
	"MGqOL2uOL2yOLm2OLm6OLm+OLXCOLXGOLHGOLHKOLHOOK3SOK3WOKnaOKneOKniOKXmOKXqOKXuOKHyOKH2OJ36OJ3+OJ4COJoGOJoKOJoKOJYOOJYSO" +
	"JYWOJIaOJIeOI4iOI4mOI4qNIouNIoyNIo2NIY6NIY+NIZCNIZGMIJKMIJKMIJOMH5SMH5WLH5aLH5eLH5iLH5mKH5qKHpuKHpyJHp2JH56JH5+IH6CI" +
	"H6GIH6GHH6KHIKOGIKSGIaWFIaaFIqeFIqiEI6mDJKqDJauCJayCJq2BJ62BKK6AKa9/KrB/LLF+LbJ9LrN8L7R8MbV7MrZ6NLZ5Nbd5N7h4OLl3Orp2" +
	"O7t1Pbx0P7xzQL1yQr5xRL9wRsBvSMFuSsFtTMJsTsNrUMRqUsVpVMVoVsZnWMdlWshkXMhjXsliYMpgY8tfZcteZ8xcac1bbM1abs5YcM9Xc9BWddBU" +
	"d9FTetFRfNJQf9NOgdNNhNRLhtVJidVIi9ZGjtZFkNdDk9dBldhAmNg+m9k8ndk7oNo5oto3pds2qNs0qtwyrdwwsN0vst0ttd4ruN4put4ovd8mwN8l" +
	"wt8jxeAhyOAgyuEfzeEd0OEc0uIb1eIa2OIZ2uMZ3eMY3+MY4uQY5eQZ5+QZ6uUa7OUb7+Uc8eUd9OYe9uYg+OYh++cj/ecl";
