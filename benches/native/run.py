#!/usr/bin/env python3
"""The native benchmark: runs its parts, checks the bounds, draws the plots. What `make bench` calls once all is built.

PARTS=... (names of suite/parts.py) runs only these, and takes the figures of the others from the last run if that was of the
same library (PARTS=report takes all of them from there). QUICK=1 repeats less. Figures, tables and plots go to docs/benchmarks/ once every part is there; those of a quick run never do.
"""
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from suite import bounds, figures, machine, page, parts, table  # noqa: E402
from suite.contest import Contest  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "build" / "bench"
DOCS = ROOT / "docs" / "benchmarks"


def main():
    quick = os.environ.get("QUICK", "") not in ("", "0")
    wanted = os.environ.get("PARTS", "").split() or list(parts.ALL)
    if wanted == ["report"]:
        wanted = []
    unknown = [name for name in wanted if name not in parts.ALL]
    if unknown:
        sys.exit(f"bench: there is no part {', '.join(unknown)}; there are {' '.join(parts.ALL)}")
    contest = Contest(BUILT)
    print(machine.in_words(machine.describe(ROOT)))
    for missing in contest.missing:
        print(f"left out: {missing}")
    kept = figures.Kept(BUILT / ("figures-quick" if quick else "figures"), machine.library_hash(ROOT))
    began = time.monotonic()
    with contest.daemon():
        for name in wanted:
            print(f"\n=== {name}: {parts.ALL[name].__doc__.splitlines()[0]}", flush=True)
            start = time.monotonic()
            result = parts.ALL[name](contest, quick)
            kept.put(name, result)
            print(f"    {time.monotonic() - start:.0f} s")
    print(f"\nmeasured in {time.monotonic() - began:.0f} s\n")
    results = kept.all()
    rows = bounds.check(results)
    print(table.of_bounds(rows))
    if contest.failures:
        print("did not get through:", *sorted(set(contest.failures)), sep="\n    ")
    lacking = [name for name in parts.ALL if name not in results]
    if quick or lacking:
        why = f"not measured yet: {' '.join(lacking)}" if lacking else "QUICK=1: for a look only"
        print(f"\ndocs/benchmarks is as it was ({why})")
    else:
        page.write(DOCS, ROOT / "README.md", machine.describe(ROOT), contest, results, rows)
        print("\nwritten: docs/benchmarks/native.md, native.json and plots")


if __name__ == "__main__":
    main()
