/** GLSL of the plane painter. One program per kind of sample texture. */

export type SamplerKind = "int" | "uint" | "float";

const SAMPLER: Readonly<Record<SamplerKind, string>> = { int: "isampler2D", uint: "usampler2D", float: "sampler2D" };

/** One triangle that covers the pane. */
export const VERTEX = `#version 300 es
void main() {
  vec2 corner = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
  gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}`;

/**
 * `samples` holds stored values of a region of one plane. A pane pixel p (device pixels, y down) lies on the sample
 * `pixelToSample * (p, 1)`. Values are rescaled, windowed and coloured here, so a new window costs a draw and no request.
 */
export function fragment(kind: SamplerKind): string {
	return `#version 300 es
precision highp float;
precision highp int;
precision highp isampler2D;
precision highp usampler2D;
uniform ${SAMPLER[kind]} samples;
uniform usampler2D labels;
uniform usampler2D proposal;
uniform sampler2D colors;
uniform sampler2D ramp;
uniform mat3x2 pixelToSample;
uniform ivec2 size;
uniform vec4 bounds;        // first and last sample of the whole plane, in this region's coordinates, with half a sample
uniform vec2 rescale;       // slope, intercept
uniform vec3 window;        // middle, scale, base
uniform vec2 corner;         // top left corner of the pane, in pixels of the canvas, y up
uniform float outline;      // device pixels; 0: none
uniform float opacity;
uniform bool smoothly;
uniform bool hasLabels;
uniform bool hasProposal;
out vec4 color;

ivec2 inside(ivec2 p) { return clamp(p, ivec2(0), size - 1); }
float stored(int x, int y) { return float(texelFetch(samples, ivec2(x, y), 0).r); }
uint labelAt(vec2 at) { return texelFetch(labels, inside(ivec2(floor(at + 0.5))), 0).r; }
uint proposedAt(vec2 at) { return texelFetch(proposal, inside(ivec2(floor(at + 0.5))), 0).r; }
vec4 colorOf(uint label) { return texelFetch(colors, ivec2(int(label) & 255, int(label) >> 8), 0); }

void main() {
  vec2 pixel = vec2(gl_FragCoord.x - corner.x, corner.y - gl_FragCoord.y);
  vec2 at = pixelToSample * vec3(pixel, 1.0);
  if (any(lessThan(at, bounds.xy)) || any(greaterThanEqual(at, bounds.zw))) { color = vec4(0.0, 0.0, 0.0, 1.0); return; }
  float sampled;
  if (smoothly) {
    vec2 low = floor(at);
    vec2 part = at - low;
    ivec2 p = inside(ivec2(low));
    ivec2 q = inside(ivec2(low) + 1);
    sampled = mix(mix(stored(p.x, p.y), stored(q.x, p.y), part.x), mix(stored(p.x, q.y), stored(q.x, q.y), part.x), part.y);
  } else {
    ivec2 p = inside(ivec2(floor(at + 0.5)));
    sampled = stored(p.x, p.y);
  }
  float real = sampled * rescale.x + rescale.y;
  float grey = real == real ? clamp((real - window.x) * window.y + window.z, 0.0, 1.0) : 0.0;
  vec3 shade = texelFetch(ramp, ivec2(int(grey * 255.0 + 0.5), 0), 0).rgb;
  // Neighbours one outline away, across and down the screen, in samples.
  vec2 across = pixelToSample[0] * max(1.0, outline);
  vec2 down = pixelToSample[1] * max(1.0, outline);
  uint label = hasLabels ? labelAt(at) : 0u;
  if (label != 0u) {
    vec4 paint = colorOf(label);
    if (paint.a > 0.0) {
      bool edge = outline > 0.0 && (labelAt(at + across) != label || labelAt(at - across) != label
        || labelAt(at + down) != label || labelAt(at - down) != label);
      shade = mix(shade, paint.rgb, edge ? 0.95 : opacity);
    }
  }
  if (hasProposal && proposedAt(at) != 0u) {
    bool edge = proposedAt(at + across) == 0u || proposedAt(at - across) == 0u
      || proposedAt(at + down) == 0u || proposedAt(at - down) == 0u;
    bool hatch = mod(pixel.x + pixel.y, 6.0 * max(1.0, outline)) < 1.5 * max(1.0, outline);
    shade = edge ? vec3(1.0) : hatch ? mix(shade, vec3(0.35, 1.0, 0.85), 0.7) : shade;
  }
  color = vec4(shade, 1.0);
}`;
}
