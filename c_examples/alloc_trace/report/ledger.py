"""Reads what alloc_trace leaves behind: the ledger pages of a directory, one per process image, and whether they balance.

The layout is that of struct ledger in trace.h. Licence: MIT OR Apache-2.0.
"""

import os
import struct

CALLS = {
    1: "malloc", 2: "calloc", 3: "realloc", 4: "free", 5: "posix_memalign", 6: "aligned_alloc",
    7: "memalign", 8: "valloc", 9: "pvalloc", 10: "reallocarray",
}
STATES = {1: "running", 2: "closed", 3: "exec"}
FIGURES = (
    "offered captured recovered dropped_full dropped_sampled dropped_rule refused_too_large refused_closed "
    "refused_invalid refused_busy refused_no_ring stored filtered dead_lettered discarded overwritten buffered "
    "in_flight in_doubt left batches retries backlog_bytes bytes_captured latency_p50_ns latency_p99_ns "
    "latency_max_ns uptime_ns"
).split()
LOST_BEFORE = FIGURES[3:11]  # offered, not captured
SETTLED = FIGURES[11:20]     # where what was captured went

_HEAD = struct.Struct("<8sIIIIIiQ16Q6QQ40Q32s256s512s")


class Ledger:
    """One process image: its counters, and its files."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            page = file.read()
        if len(page) < _HEAD.size or page[:8] != b"ATLEDG03":
            raise ValueError(f"{path}: not a ledger of this version")
        fields = _HEAD.unpack_from(page)
        if fields[1] != _HEAD.size:
            raise ValueError(f"{path}: a ledger of {fields[1]} bytes, not {_HEAD.size}")
        self.state = STATES.get(fields[2], f"state {fields[2]}")
        self.pid, self.parent = fields[3], fields[4]
        self.mode = "drop" if fields[5] else "block"
        self.close_status = fields[6]
        self.started_ns = fields[7]
        self.own = list(fields[8:24])
        self.early_lost, self.early_kept, self.held, self.late, self.gave_up, self.main_cpu_ns = fields[24:30]
        self.figures_at_ns = fields[30]
        self.figures = dict(zip(FIGURES, fields[31:71]))
        text = [field.split(b"\0", 1)[0].decode(errors="replace") for field in fields[71:73]]
        self.comm = text[0]
        folder = os.path.dirname(path)
        self.database = os.path.join(folder, text[1])
        self.maps = path[: -len(".ledger")] + ".maps"
        self.command = fields[73].rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")

    def __getattr__(self, name):
        try:
            return self.__dict__["figures"][name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def calls(self):
        """Every call that reached the tool."""
        return self.offered + sum(self.own) + self.early_lost + self.held + self.late

    @property
    def lost(self):
        """Calls of the program that are not in the database."""
        return self.offered - self.stored + self.early_lost + self.held + self.late

    def imbalances(self):
        """The equations that do not hold, in words; none if the ledger balances."""
        wrong = []
        kept = self.captured + sum(self.figures[name] for name in LOST_BEFORE)
        if self.offered != kept:
            wrong.append(f"offered {self.offered:,} is not captured + dropped + refused = {kept:,}")
        settled = sum(self.figures[name] for name in SETTLED)
        if self.captured + self.recovered != settled:
            wrong.append(f"captured {self.captured:,} is not what became of it = {settled:,}")
        return wrong


def read_all(folder):
    """The ledgers of a directory, in the order in which their processes started."""
    names = (os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".ledger"))
    return sorted((Ledger(name) for name in names), key=lambda ledger: (ledger.started_ns, ledger.path))


def read_counts(folder):
    """What count_allocs counted: per pid, a list of counts by call, summed over the images of that process."""
    counts = {}
    for name in os.listdir(folder):
        if name.endswith(".count"):
            pid = int(name.split("-", 1)[0])
            with open(os.path.join(folder, name), "rb") as file:
                words = struct.unpack("<16Q", file.read(128))
            counts[pid] = [a + b for a, b in zip(counts.get(pid, [0] * 16), words)]
    return counts


def calls_by_pid(ledgers):
    """What alloc_trace saw: calls per pid, summed over the images of that process."""
    seen = {}
    for ledger in ledgers:
        seen[ledger.pid] = seen.get(ledger.pid, 0) + ledger.calls
    return seen
