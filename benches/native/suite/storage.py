"""The part `storage`: events to files, and back."""
import contextlib
import os

from . import disk, export, plot, table
from .figures import apart, mid, ratios, values
from .table import number

# The same once more: the difference between the two is the noise of the machine.
WRITE, WRITE_AGAIN, PWRITEV = "write(2)", "write(2) (again)", "pwritev(2)"
JOURNAL, TWO_WRITERS = "journal", "journal (2 writers)"
LZ4, ZSTD = "journal, columns, lz4", "journal, columns, zstd"
PERFETTO = "Perfetto"
SQLITE, SQLITE_DEFAULTS, NOTHING, NOTHING_AGAIN = "SQLite", "SQLite, defaults", "no storage", "no storage (again)"
LTTNG = "LTTng-UST, blocking"
UNORDERED, UNORDERED_AGAIN, SINGLY, MERGED = "read, unordered", "read, unordered (again)", "read, unordered, one by one", "read, merged"
AGAIN = {WRITE_AGAIN, NOTHING_AGAIN, UNORDERED_AGAIN}
ONE, TWO, PACED, READ, EXPORT = "1 thread", "2 threads", "paced", "read", "export"
PACED_RATE = 5e6
# Contenders that are so slow that fewer events are enough.
SLOW = {PERFETTO: 2, SQLITE: 6, SQLITE_DEFAULTS: 6}
APART = 1
READ_THREADS = 4
EXPORTED_PART = 4


def storage(contest, quick):
    """events of 64 bytes to files: events per second, the cost of a capture meanwhile, and reading them back"""
    events = disk.events_per_run() // (4 if quick else 1)
    repeats = 2 if quick else 7

    def events_of(name):
        return events // SLOW.get(name, 1)

    def threads_of(name):
        return 1 if name in (WRITE, WRITE_AGAIN) else 2

    def writers_of(name):
        return 2 if name == TWO_WRITERS else 1

    result = {
        ONE: contest.in_turns([WRITE, WRITE_AGAIN, PWRITEV, JOURNAL, LZ4, ZSTD, PERFETTO, SQLITE, SQLITE_DEFAULTS, LTTNG], repeats, "storage",
                              events=events_of, pin=APART),
        TWO: contest.in_turns([WRITE, JOURNAL, TWO_WRITERS, SQLITE, LTTNG], repeats, "storage",
                              events=events_of, pin=APART, threads=threads_of, writers=writers_of),
        PACED: contest.in_turns([NOTHING, NOTHING_AGAIN, JOURNAL], repeats, "paced", rate=PACED_RATE, seconds=events / PACED_RATE / 2, pin=APART),
        READ: contest.in_turns([UNORDERED, UNORDERED_AGAIN, SINGLY, MERGED], repeats, "read", events=events, threads=READ_THREADS),
        EXPORT: exports(contest, events // EXPORTED_PART, repeats - 2 if repeats > 3 else repeats),
    }
    for setting in (ONE, TWO):
        table.show(f"events to files, {setting}", "M/s", {n: mid(r, "events_per_s") / 1e6 for n, r in result[setting].items()})
        table.show("processor time of the process", "ns/event", {n: mid(r, "cpu_ns") for n, r in result[setting].items()})
    table.show(f"a capture at {PACED_RATE / 1e6:g} M events/s", "ns", {n: mid(r, "ns", "50") for n, r in result[PACED].items()})
    table.show("the same, mean", "ns", {n: mid(r, "mean_ns") for n, r in result[PACED].items()})
    table.show("reading back, per core", "M/s", {n: mid(r, "events_per_cpu_s") / 1e6 for n, r in result[READ].items()})
    table.show("exports", "M/s", {n: mid(r, "events_per_s") / 1e6 for n, r in result[EXPORT].items()})
    table.show("the most anonymous memory of an export", "MB", {n: mid(r, "anonymous_mb") for n, r in result[EXPORT].items()})
    return result


def exports(contest, events, repeats):
    """A journal is written and kept; the exports read it from the page cache."""
    with journal_of(contest, events) as journal:
        return export.measure(contest, journal, events, repeats) if journal else {}


@contextlib.contextmanager
def journal_of(contest, events):
    """The folder of a journal with so many events, which are of several threads. None if that failed."""
    written = contest.present([JOURNAL]) and contest.measure(JOURNAL, "read", events=events, threads=READ_THREADS, keep=1)
    contest.disk.kept = set(contest.disk.path.iterdir()) if written else set()
    try:
        yield next(iter(contest.disk.kept), None)
    finally:
        contest.disk.kept = set()


def large(contest, quick):
    """a journal of LARGE_GB gigabytes (10) is read to its end and exported: events per second, and the most anonymous memory"""
    events = int(float(os.environ.get("LARGE_GB") or (1 if quick else 10)) * 1e9 / disk.RECORD) // READ_THREADS * READ_THREADS
    with journal_of(contest, events) as journal:
        runs = export.measure(contest, journal, events, 1, export.WITH_READING) if journal else {}
    table.show("million events per second", "M/s", {n: mid(r, "events_per_s") / 1e6 for n, r in runs.items()})
    table.show("the most anonymous memory", "MB", {n: mid(r, "anonymous_mb") for n, r in runs.items()})
    return {EXPORT: runs}


# --- bounds: as in bounds.py ---

def _ratio(setting, name, to_names, *keys):
    """The ratio to another contender; with several, to that with the highest figure."""
    def measure(result):
        runs = [values(result[setting].get(to), *keys) for to in to_names]
        best = [max((v for v in of if v), default=None) for of in zip(*filter(None, runs))]
        return ratios(values(result[setting].get(name), *keys), best)
    return measure


def _noise(setting, name, again, *keys):
    return lambda result: apart(values(result[setting].get(name), *keys), values(result[setting].get(again), *keys))


def _speed(what, limit, name, *to_names, setting=ONE, key="events_per_s"):
    return "storage", what, limit, True, "x", _ratio(setting, name, to_names, key), _noise(ONE, WRITE, WRITE_AGAIN, key)


def _paced(what, *keys):
    return "storage", what, 1.3, False, "x", _ratio(PACED, JOURNAL, [NOTHING], *keys), _noise(PACED, NOTHING, NOTHING_AGAIN, *keys)


def _millions(what, limit, setting, name, key="events_per_s", noise=None):
    return "storage", what, limit, True, " M/s", lambda result: [v / 1e6 for v in values(result[setting].get(name), key) if v], noise


def _reading(what, limit, name):
    key = "events_per_cpu_s"
    return _millions(what, limit, READ, name, key, _noise(READ, UNORDERED, UNORDERED_AGAIN, key))


def _most_memory(result):
    """The most of all exports of a repeat."""
    runs = [values(result[EXPORT].get(name), "anonymous_mb") for name in export.WITH_READING if name in result[EXPORT]]
    return [max(v for v in of if v is not None) for of in zip(*runs) if any(of)]


BOUNDS = [
    _speed("journal, one thread: bandwidth / write(2)", 0.55, JOURNAL, WRITE, key="bytes_per_s"),
    _speed("journal, one thread: bandwidth / pwritev(2)", 0.75, JOURNAL, PWRITEV, key="bytes_per_s"),
    _speed("journal, two threads: bandwidth / write(2)", 0.4, JOURNAL, WRITE, setting=TWO, key="bytes_per_s"),
    _speed("journal, one thread: events / LTTng-UST", 2, JOURNAL, LTTNG),
    _speed("journal, two threads: events / LTTng-UST", 1.3, JOURNAL, LTTNG, setting=TWO),
    _speed("journal, one thread: events / SQLite", 15, JOURNAL, SQLITE, SQLITE_DEFAULTS),
    ("storage", "traces for Perfetto, per second of processor time", 3, True, " M/s",
     lambda result: [1e3 / v for v in values(result[ONE].get(PERFETTO), "cpu_ns") if v], _noise(ONE, WRITE, WRITE_AGAIN, "cpu_ns")),
    _paced("capture at 5 M events/s, median: journal / no storage", "ns", "50"),
    _paced("capture at 5 M events/s, mean: journal / no storage", "mean_ns"),
    _reading("reader, unordered, per core", 20, UNORDERED),
    _reading("reader, merged, per core", 8, MERGED),
    ("storage", "export to SQLite / the SQLite storage until it is closed", 0.9, True, "x",
     _ratio(EXPORT, export.SQLITE, [export.STORAGE], "events_per_s"), None),
    _millions("export to NDJSON", 2, EXPORT, export.NDJSON),
    _millions("export to Parquet", 3, EXPORT, export.PARQUET),
    _millions("export to Parquet, zstd", 1.5, EXPORT, export.ZSTD),
    _millions("export to Perfetto, per second of processor time", 3, EXPORT, export.PERFETTO, "events_per_cpu_s"),
    ("storage", "anonymous memory of an export", 256, False, " MB", _most_memory, None),
    ("large", "anonymous memory of reading and exporting a large journal", 256, False, " MB", _most_memory, None),
]


# --- the page ---

def page(result, system):
    """The section of native.md."""
    names = list(dict.fromkeys([*result[ONE], *result[TWO]]))

    def row(name):
        one, two = result[ONE].get(name), result[TWO].get(name)
        speeds = [mid(r, "events_per_s") for r in (one, two)]
        rate = mid(one, "bytes_per_s")
        return [name, *(number(v / 1e6 if v else None) for v in speeds), number(rate / 1e9 if rate else None),
                number(mid(one or two, "bytes_per_event")), number(mid(one, "cpu_ns"))]

    speeds = table.markdown(["", "million events/s, 1 thread", "2 threads", "GB/s, 1 thread", "bytes an event", "processor time, ns an event"],
                            [row(name) for name in names if name not in AGAIN])
    captures = table.markdown(["", "p50", "p99", "mean"], [[n, *(number(mid(r, "ns", p)) for p in ("50", "99")), number(mid(r, "mean_ns"))]
                                                           for n, r in result[PACED].items() if n not in AGAIN])
    reading = table.markdown(["", "million events/s"], [[n, number(mid(r, "events_per_cpu_s") / 1e6)] for n, r in result[READ].items() if n not in AGAIN])
    exported = table.markdown(["", "million events/s", "of processor time", "bytes an event", "anonymous memory, MB"],
                              [[n, number(mid(r, "events_per_s") / 1e6), number((mid(r, "events_per_cpu_s") or 0) / 1e6 or None), number(mid(r, "bytes_per_event")),
                                number(mid(r, "anonymous_mb"))] for n, r in result[EXPORT].items()])
    return f"""## Storages

Events with payloads of 64 bytes are captured as fast as possible and written to files on {system}. A full ring buffer blocks, so that no event is lost. The time ends when
the storage has acknowledged all events; for LTTng-UST, when the session has stopped and the consumer daemon has written everything. Nobody
waits for the disk: so few bytes are written that the system does not begin to write them back, and before each measurement the file system has
written everything. After each measurement all events are read back, and their number and the sum of their first 8 bytes must be exact.

`write(2)` and `pwritev(2)` are the floor: loops that write prepared bytes. Before each measurement as much page cache is used and freed as the measurement needs,
because a virtual machine may have given free memory back to its host. With two threads, `write(2)` is still one loop. The processor time is that of the process, without
LTTng's daemons. There are 64 payloads, which repeat with other first 8 bytes: columns take less space than with most programs' events. Traces for Perfetto show four fields, of 24 bytes.

{speeds}

![events to files](native_storage.svg)

A capture while the storage writes, at {PACED_RATE / 1e6:g} million events per second, in ns (groups of 16 captures are timed):

{captures}

Reading a journal back from the page cache, events of {READ_THREADS} threads, per second of processor time:

{reading}

Exports of such a journal by `capture-pipeline export`, elapsed time of the whole command, and by its processor time; beside them the SQLite storage, which gets as many events from one
thread:

{exported}

![reading and exporting a journal](native_journal_reading.svg)
"""


def draw(docs, result):
    speeds = {name: (mid(runs, "events_per_s") or 0) / 1e6 for name, runs in result[ONE].items() if name not in AGAIN}
    plot.bars(docs / "native_storage.svg", "Events to files", "million events of 64 bytes per second, one capturing thread", speeds, strong=[JOURNAL])
    reading = {name: (mid(runs, "events_per_cpu_s") or 0) / 1e6 for name, runs in result[READ].items() if name not in AGAIN}
    exported = {name: (mid(runs, "events_per_s") or 0) / 1e6 for name, runs in result[EXPORT].items() if name in export.FORMATS}
    if reading or exported:
        plot.bars(docs / "native_journal_reading.svg", "Reading and exporting a journal", "million events of 64 bytes per second", {**reading, **exported})
