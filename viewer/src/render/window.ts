/**
 * Window and level, the LINEAR function of DICOM PS3.3 C.11.2.1.2.1. Same rule as `render/window.py`; both are checked by
 * `tests/golden/window.json`.
 */

/** Centre and width in the channel's unit (HU, dB, …). */
export interface WindowLevel {
  readonly center: number;
  readonly width: number;
}

/** What the shader needs: `grey = real * scale + offset`, clamped to 0..1. */
export function windowUniforms({ center, width }: WindowLevel): { scale: number; offset: number } {
  // The standard shifts by half a level and narrows by one, so that a window of width 1 is a threshold.
  // A very steep ramp draws the same picture.
  const span = Math.max(width - 1, 1e-6);
  return { scale: 1 / span, offset: 0.5 - (center - 0.5) / span };
}

/** Grey 0..255 of a real value; what the shader draws, for tests and for the read-out. */
export function toGrey(value: number, window: WindowLevel): number {
  const { scale, offset } = windowUniforms(window);
  return Math.round(Math.min(1, Math.max(0, value * scale + offset)) * 255);
}

/** A window that shows the values between two quantiles of a sample of an image. */
export function windowOf(values: readonly number[], low = 0.01, high = 0.995): WindowLevel {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (sorted.length === 0) {
    return { center: 0.5, width: 1 };
  }
  const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
  const [from, to] = [at(low), at(high)];
  return { center: (from + to) / 2, width: Math.max(to - from, Math.abs(to) * 1e-3, 1e-6) };
}

/**
 * A drag over a window: right widens, left narrows; up brightens, down darkens. `pixels` is the size of the pane, so that
 * one sweep across it doubles the width whatever the unit is.
 */
export function dragWindow(start: WindowLevel, dx: number, dy: number, pixels: number): WindowLevel {
  const unit = Math.max(start.width, 1e-6) / Math.max(1, pixels);
  return {
    width: Math.max(start.width * 1e-3, start.width * 2 ** ((2 * dx) / Math.max(1, pixels))),
    center: start.center + dy * unit * 2,
  };
}
