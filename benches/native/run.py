#!/usr/bin/env python3
"""The native benchmark: runs its parts, checks the bounds, draws the plots. `make bench` builds everything and then calls it.

PARTS=... (names in suite/parts.py) runs only these parts. The figures of the others are those of earlier runs with the same
build of the library; PARTS=report takes all figures from there. PARTS=large exports a journal of LARGE_GB gigabytes (default 10), to see how much
memory that takes; it is not among the published figures. QUICK=1 repeats less. Tables and plots are written to
docs/benchmarks/ if there are figures of every part, and never after a quick run.
"""
import os
import signal
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
    known = {**parts.ALL, **parts.EXTRA}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        sys.exit(f"bench: unknown part {', '.join(unknown)} in PARTS; allowed are {' '.join(known)} report")
    # An end by a signal deletes the files, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: terminated"))
    contest = Contest(BUILT)
    print(machine.in_words(machine.describe(ROOT)))
    for missing in contest.missing:
        print(f"not installed, not measured: {missing}")
    kept = figures.Kept(BUILT / ("figures-quick" if quick else "figures"), machine.library_hash(ROOT))
    began = time.monotonic()
    with contest.daemon():
        for name in wanted:
            print(f"\n=== {name}: {known[name].__doc__.splitlines()[0]}", flush=True)
            start = time.monotonic()
            result = known[name](contest, quick)
            kept.put(name, result)
            print(f"    {time.monotonic() - start:.0f} s")
    print(f"\nmeasured in {time.monotonic() - began:.0f} s\n")
    results = kept.all()
    print(table.of_bounds(bounds.check(results)))
    if contest.failures:
        print("failed:", *sorted(set(contest.failures)), sep="\n    ")
    missing_parts = [name for name in parts.ALL if name not in results]
    if quick or missing_parts:
        why = f"not measured yet: {' '.join(missing_parts)}" if missing_parts else "QUICK=1"
        print(f"\ndocs/benchmarks is unchanged ({why})")
    else:
        published = {name: result for name, result in results.items() if name in parts.ALL}
        page.write(DOCS, ROOT / "README.md", machine.describe(ROOT), contest, published, bounds.check(published))
        print("\nwritten: docs/benchmarks/native.md, native.json and plots")


if __name__ == "__main__":
    main()
