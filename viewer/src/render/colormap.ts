/** Colour maps of 256 RGB entries for intensities. */

export type ColormapName = "gray" | "inverse" | "hot-iron";

export const COLORMAPS: readonly ColormapName[] = ["gray", "inverse", "hot-iron"];

/** RGBA bytes of a map. Hot Iron is the palette of DICOM PS3.6 annex B.1. */
export function colormap(name: ColormapName): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(256 * 4);
  for (let i = 0; i < 256; i++) {
    bytes.set([...COLORS[name](i), 255], i * 4);
  }
  return bytes;
}

const ramp = (value: number) => Math.min(255, Math.max(0, value));

const COLORS: Readonly<Record<ColormapName, (i: number) => readonly [number, number, number]>> = {
  gray: (i) => [i, i, i],
  inverse: (i) => [255 - i, 255 - i, 255 - i],
  "hot-iron": (i) => [ramp(2 * i), ramp(2 * (i - 128)), ramp(4 * (i - 192))],
};
