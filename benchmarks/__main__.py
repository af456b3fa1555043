"""Run all benchmarks, or the ones named; print ratios and write ``benchmarks/results.json``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import edit_durable, edit_history, first_slice, ingest_dicom, tile_sar, verify_log, warm_slice
from benchmarks.result import Result, machine

BENCHMARKS: Mapping[str, Callable[[], Iterable[Result]]] = {
    "first-slice": first_slice.run,
    "warm-slice": warm_slice.run,
    "tile-sar": tile_sar.run,
    "edit-durable": edit_durable.run,
    "edit-history": edit_history.run,
    "ingest-dicom": ingest_dicom.run,
    "verify-log": verify_log.run,
}


def main(names: list[str]) -> int:
    """Exit code 2 for an unknown name, 1 where a target was missed, else 0."""
    console = Console()
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        console.print(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
        return 2
    where = machine()
    results = [result for name in names or BENCHMARKS for result in BENCHMARKS[name]()]
    table = Table(
        "id", "metric", "ours", "peer", "ratio", "target", "met", title=f"{where['processor']}, {where['cores']} cores"
    )
    for r in results:
        peer = "" if r.peer is None else f"{r.peer:.4g} {r.unit} ({r.peer_name})"
        ratio = "" if r.ratio is None else f"{r.ratio:.2f}×"
        table.add_row(r.id, r.metric, f"{r.ours:.4g} {r.unit}", peer, ratio, r.target, "yes" if r.met else "no")
    console.print(table)
    if not names:
        rows = {"machine": where, "results": [result.to_json() for result in results]}
        Path(__file__).with_name("results.json").write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if all(result.met for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
