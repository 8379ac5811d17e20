"""Figures of repeats: medians, ratios within a repeat, and the stored figures of earlier runs."""
import json
from pathlib import Path
from statistics import median


def values(runs, *keys):
    """One figure of each repeat, None if it is missing: values(runs, "ns", "50")."""
    found = []
    for run in runs or []:
        for key in keys:
            run = run.get(key) if run else None
        found.append(run)
    return found


def mid(runs, *keys):
    known = [v for v in values(runs, *keys) if v is not None]
    return median(known) if known else None


def ratios(above, below):
    """The ratio in each repeat that has both figures."""
    return [a / b for a, b in zip(above, below) if a is not None and b]


def apart(first, again):
    """How much two measurements of the same thing differ: the median over the repeats."""
    both = ratios(first, again)
    return median(max(r, 1 / r) - 1 for r in both) if both else None


class Kept:
    """The stored figures of each part, with a hash of the library that was measured."""

    def __init__(self, directory, library):
        self.directory, self.library = Path(directory), library
        self.directory.mkdir(parents=True, exist_ok=True)

    def put(self, part, result):
        text = json.dumps({"library": self.library, "result": result})
        (self.directory / f"{part}.json").write_text(text)

    def _read(self):
        for path in sorted(self.directory.glob("*.json")):
            kept = json.loads(path.read_text())
            if kept["library"] == self.library:
                yield path.stem, kept

    def all(self):
        return {part: kept["result"] for part, kept in self._read()}
