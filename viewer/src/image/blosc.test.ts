import { describe, expect, test } from "vitest";
import { bytesOf, fixture } from "../testing/golden";
import { BloscError, decodeBlosc } from "./blosc";

interface Case {
	readonly name: string;
	readonly dtype: "uint8" | "int16" | "float32" | "float64";
	readonly count: number;
	readonly rule: "ramp" | "noise";
	readonly frame: string;
}

const { cases, refused } = fixture<{ cases: Case[]; refused: { name: string; frame: string }[] }>("blosc.json");
const TYPES = { uint8: Uint8Array, int16: Int16Array, float32: Float32Array, float64: Float64Array };

/** The rule of `fixtures/make_blosc.py`, written again. */
function samples({ rule, count }: Case): number[] {
	let state = 12345;
	return Array.from({ length: count }, (_, i) => {
		if (rule === "ramp") {
			return Math.floor((i * i) / 7) % 251;
		}
		state = Number((1103515245n * BigInt(state) + 12345n) % 2n ** 31n);
		return (state >> 16) & 0xff;
	});
}

describe("frames written by c-blosc", () => {
	test.each(cases)("$name", (entry) => {
		const decoded = decodeBlosc(bytesOf(entry.frame));
		expect([...new TYPES[entry.dtype](decoded.buffer)]).toEqual(samples(entry));
	});
});

test.each(refused)("refuses $name by name instead of guessing", ({ frame }) => {
	expect(() => decodeBlosc(bytesOf(frame))).toThrow(/not LZ4/);
});

describe("damaged frames", () => {
	const whole = bytesOf(cases.find(({ name }) => name.startsWith("bit int16"))!.frame);

	test("cut short at any place: an error, never a crash or a hang", () => {
		for (let length = 0; length < whole.length; length += 7) {
			expect(() => decodeBlosc(whole.slice(0, length))).toThrow(BloscError);
		}
	});

	test("with any byte of the payload changed: an error or other samples, never an endless loop", () => {
		for (let at = 16; at < whole.length; at += 3) {
			const damaged = whole.slice();
			damaged[at]! ^= 0xff;
			try {
				expect(decodeBlosc(damaged)).toHaveLength(2048);
			} catch (error) {
				expect(error).toBeInstanceOf(BloscError);
			}
		}
	});
});
