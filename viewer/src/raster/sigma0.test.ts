import { describe, expect, test } from "vitest";
import { golden } from "../testing/golden";
import { type CalibrationTable, decibel, gainAt, gains } from "./sigma0";

interface Golden {
	readonly name: string;
	readonly table: CalibrationTable;
	readonly cases: readonly { line: number; pixel: number; dn: number; gain: number; db: number | null }[];
}

/** The table that `geometry/radar.py` answers too; its maker (`tests/golden/make_sigma0.py`) uses neither. */
const tables = golden<readonly Golden[]>("sigma0.json");

describe.each(tables)("$name", ({ table, cases }) => {
	test.each(cases)("line $line, pixel $pixel, DN $dn", ({ line, pixel, dn, gain, db }) => {
		expect(gainAt(table, line, pixel)).toBeCloseTo(gain, 9);
		const found = decibel(dn, gainAt(table, line, pixel));
		if (db === null) expect(found).toBeNaN();
		else expect(found).toBeCloseTo(db, 9);
	});

	test("a row of gains is its samples one by one", () => {
		const row = gains(table, 333.5, -20, 7.5, 30);
		expect([...row]).toEqual(Array.from({ length: 30 }, (_, i) => gainAt(table, 333.5, -20 + 7.5 * i)));
	});
});
