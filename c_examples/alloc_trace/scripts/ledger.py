"""Reads the ledgers in a folder, one per process image, and checks whether they balance.

The layout is that of struct ledger in ledger.h. Licence: MIT OR Apache-2.0.
"""

import os
import stat
import struct
import sys

CALLS = {
    1: "malloc", 2: "calloc", 3: "realloc", 4: "free", 5: "posix_memalign", 6: "aligned_alloc",
    7: "memalign", 8: "valloc", 9: "pvalloc", 10: "reallocarray",
    11: "operator new", 12: "operator new[]", 13: "operator new(nothrow)", 14: "operator new[](nothrow)",
    15: "operator new(align)", 16: "operator new[](align)", 17: "operator new(align, nothrow)",
    18: "operator new[](align, nothrow)",
    19: "operator delete", 20: "operator delete[]", 21: "operator delete(size)", 22: "operator delete[](size)",
    23: "operator delete(nothrow)", 24: "operator delete[](nothrow)", 25: "operator delete(align)",
    26: "operator delete[](align)", 27: "operator delete(size, align)", 28: "operator delete[](size, align)",
    29: "operator delete(align, nothrow)", 30: "operator delete[](align, nothrow)",
}
CALL_COUNTERS = 32  # size of an array of counters that is indexed by call
RELEASES = (4, *range(19, 31))
RESIZES = (3, 10)
STATES = {1: "running", 2: "closed", 3: "exec"}
FIGURES = (
    "offered captured recovered dropped_full dropped_sampled dropped_rule refused_too_large refused_closed "
    "refused_invalid refused_busy refused_no_ring stored filtered dead_lettered discarded overwritten buffered "
    "in_flight in_doubt left batches retries backlog_bytes bytes_captured latency_p50_ns latency_p99_ns "
    "latency_max_ns uptime_ns"
).split()
NOT_CAPTURED = FIGURES[3:11]  # offered, but dropped or refused
OUTCOMES = FIGURES[11:20]     # one for each captured event

_HEAD = struct.Struct(f"<8sIIIIIIIiQ{CALL_COUNTERS}Q{CALL_COUNTERS}Q8QQ40Q32s256s512s")
_LARGEST = 1 << 16


def clean(text):
    """Text that a process chose, made safe for a terminal or a log: without escape sequences and line ends."""
    return "".join(one if one.isprintable() else "?" for one in text)


def read_own_file(path):
    """The bytes of a regular file. The folder may contain files of other users: no link is followed, and a FIFO does not block."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError(f"{path}: not a regular file")
        return file.read(_LARGEST)


class Ledger:
    """The counters and the files of one process image."""

    def __init__(self, path):
        self.path = path
        page = read_own_file(path)
        if len(page) < _HEAD.size or page[:8] != b"ATLEDG05":
            raise ValueError(f"{path}: not a ledger of this version")
        fields = list(_HEAD.unpack_from(page))
        if fields[1] != _HEAD.size:
            raise ValueError(f"{path}: a ledger of {fields[1]} bytes, not {_HEAD.size}")
        self.state = STATES.get(fields[2], f"state {fields[2]}")
        self.pid, self.parent = fields[3], fields[4]
        self.mode = "drop" if fields[5] else "block"
        self.frames, self.image, self.close_status, self.started_ns = fields[6:10]
        del fields[:10]
        self.own, self.nested = fields[:CALL_COUNTERS], fields[CALL_COUNTERS:2 * CALL_COUNTERS]
        del fields[:2 * CALL_COUNTERS]
        self.early_lost, self.early_kept, self.held, self.late, self.gave_up = fields[:5]
        self.records, self.stacks_lost, self.main_cpu_ns, self.figures_at_ns = fields[5:9]
        self.figures = dict(zip(FIGURES, fields[9:49]))
        text = [field.split(b"\0", 1)[0].decode(errors="replace") for field in fields[49:51]]
        self.comm = clean(text[0])
        # Only a file beside the ledger is accepted, whatever the page says.
        if text[1] in ("", ".", "..") or os.path.basename(text[1]) != text[1] or clean(text[1]) != text[1]:
            raise ValueError(f"{path}: names a file outside its folder")
        self.storage = os.path.join(os.path.dirname(path), text[1])
        self.maps = path[: -len(".ledger")] + ".maps"
        self.command = clean(fields[51].rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace"))

    def __getattr__(self, name):
        try:
            return self.__dict__["figures"][name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def calls(self):
        """Every call that reached the tracer."""
        return (self.offered - self.records + sum(self.own) + sum(self.nested) + self.early_lost + self.held
                + self.late)

    @property
    def lost(self):
        """Calls of the program, and events of the tracer itself, that are not stored, but for those that --last overwrites."""
        return self.offered - self.stored - self.overwritten + self.early_lost + self.held + self.late

    def imbalances(self):
        """A sentence for each equation that does not hold; empty if the ledger balances."""
        wrong = []
        kept = self.captured + sum(self.figures[name] for name in NOT_CAPTURED)
        if self.offered != kept:
            wrong.append(f"offered {self.offered:,} is not captured + dropped + refused = {kept:,}")
        settled = sum(self.figures[name] for name in OUTCOMES)
        if self.captured + self.recovered != settled:
            wrong.append(f"captured {self.captured:,} is not the sum of its outcomes = {settled:,}")
        return wrong


def read_all(folder, to=sys.stderr):
    """The ledgers in a folder, in the order in which their processes started. A ledger that cannot be read is skipped, and
    a line says why."""
    found = []
    for name in os.listdir(folder):
        if not name.endswith(".ledger"):
            continue
        try:
            found.append(Ledger(os.path.join(folder, name)))
        except (OSError, ValueError) as problem:
            if to is not None:
                to.write(f"alloc_trace: skipped: {clean(str(problem))}\n")
    return sorted(found, key=lambda ledger: (ledger.started_ns, ledger.path))


def read_counts(folder):
    """The counts of count_allocs: for each pid a list indexed by call, summed over the images of the process."""
    counts = {}
    for name in os.listdir(folder):
        if name.endswith(".count"):
            pid = int(name.split("-", 1)[0])
            page = read_own_file(os.path.join(folder, name))
            if len(page) < 8 * CALL_COUNTERS:
                continue  # count_allocs could not write the file
            words = struct.unpack_from(f"<{CALL_COUNTERS}Q", page)
            counts[pid] = [a + b for a, b in zip(counts.get(pid, [0] * CALL_COUNTERS), words)]
    return counts


def calls_by_pid(ledgers):
    """The calls that alloc_trace saw, for each pid, summed over the images of the process."""
    seen = {}
    for ledger in ledgers:
        seen[ledger.pid] = seen.get(ledger.pid, 0) + ledger.calls
    return seen
