"""Exports of a journal by the command `capture-pipeline`: how fast, and with how much memory."""
import os
import re
import shutil
import sqlite3
import subprocess
import threading
import time
import zlib
from pathlib import Path

from .contest import progress

SQLITE, NDJSON, CSV, PARQUET, ZSTD = "export to SQLite", "export to NDJSON", "export to CSV", "export to Parquet", "export to Parquet, zstd"
# The storage that the export to SQLite is compared with.
STORAGE = "SQLite, until closed"
PERFETTO, CTF, OTLP, OTLP_PROTO = "export to Perfetto", "export to CTF", "export to OTLP, JSON", "export to OTLP, protobuf"
FORMATS = {SQLITE: ("sqlite", []), NDJSON: ("ndjson", []), CSV: ("csv", []), PARQUET: ("parquet", ["--compression=none"]),
           ZSTD: ("parquet", ["--compression=zstd"]), PERFETTO: ("perfetto", []), CTF: ("ctf", []), OTLP: ("otlp", []), OTLP_PROTO: ("otlp-proto", [])}
# An event of OTLP takes 160 to 500 bytes: a large journal is not exported to it.
VERY_LARGE = {OTLP, OTLP_PROTO}
# Reading without a file: every event is decoded and printed.
VERIFY, CAT = "verify", "cat, by time, to nowhere"
WITH_READING = [VERIFY, CAT, *(name for name in FORMATS if name not in VERY_LARGE)]
LONGEST_S = 1800
OUTPUT_PER_EVENT, MOST_TOUCHED = 300, 1 << 30


def command(contest):
    return contest.built.parent / "prefix" / "bin" / "capture-pipeline"


def measure(contest, journal, events, repeats, names=(*FORMATS, STORAGE)):
    """{name: [figures of each repeat]}"""
    if not command(contest).exists():
        contest.missing.append("the command capture-pipeline")
        return {}
    if CTF in names and not shutil.which("babeltrace2"):
        contest.missing.append("babeltrace2, which counts the events of CTF")
        names = [name for name in names if name != CTF]
    results = {name: [] for name in names}
    for repeat in range(repeats):
        for at in range(len(names)):
            name = names[(at + repeat * 2) % len(names)]
            progress(f"{repeat + 1}/{repeats}: {name}")
            if name == STORAGE:
                results[name].append(contest.measure(name, "storage", events=events))
            else:
                results[name].append(run(contest, journal, name, events))
    progress("")
    return {name: runs for name, runs in results.items() if any(runs)}


def run(contest, journal, name, events):
    """The figures of one run of the command, or None if it failed; the reason goes to the failures of the contest."""
    form, options = FORMATS.get(name, (None, []))
    file = contest.disk.path / f"exported.{form}"
    what = {VERIFY: ["verify", journal], CAT: ["cat", journal]}.get(name) or ["export", journal, file, f"--to={form}", *options]
    # (A directory is not replaced.)
    shutil.rmtree(file, ignore_errors=True)
    contest.disk.settle()
    contest.disk.touch(min(events * OUTPUT_PER_EVENT, MOST_TOUCHED))
    began = time.monotonic()
    child = subprocess.Popen([command(contest), *what], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    memory = Peak(child.pid)
    timer = threading.Timer(LONGEST_S, child.kill)
    timer.start()
    said = child.stderr.read().decode()
    _, status, used = os.wait4(child.pid, 0)
    took = time.monotonic() - began
    timer.cancel()
    child.returncode = os.waitstatus_to_exitcode(status)
    peak = memory.stop()
    wrong = (said.strip()[-200:] or f"status {child.returncode}") if child.returncode else None
    if form and not wrong and (found := COUNTS[form](file)) != events:
        wrong = f"{found} events in the file, {events} in the journal"
    if wrong:
        contest.failures.append(f"{name}: {wrong}")
        return None
    cpu = used.ru_utime + used.ru_stime
    figures = {"events_per_s": events / took, "events_per_cpu_s": events / cpu, "cpu_ns": cpu * 1e9 / events, "anonymous_mb": peak / 1e6}
    if form:
        figures["bytes_per_event"] = sum(part.stat().st_size for part in [file, *file.rglob("*")] if part.is_file()) / events
    shutil.rmtree(file, ignore_errors=True)
    return figures


class Peak:
    """The most anonymous memory that a process has, looked at every few milliseconds."""

    def __init__(self, pid):
        self.path, self.most, self.ended = Path(f"/proc/{pid}/status"), 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.ended.wait(0.005):
            try:
                lines = self.path.read_text()
            except (FileNotFoundError, ProcessLookupError):
                return
            for line in lines.splitlines():
                if line.startswith("RssAnon:"):
                    self.most = max(self.most, int(line.split()[1]) * 1024)

    def stop(self):
        self.ended.set()
        self.thread.join()
        return self.most


# --- the number of events in a file ---

def rows(file):
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
        return db.execute("SELECT count(*) FROM events").fetchone()[0]


def lines(file):
    with open(file, "rb", buffering=0) as content:
        return sum(part.count(b"\n") for part in iter(lambda: content.read(1 << 20), b""))


def parquet_rows(file):
    """`num_rows`, the third field of the footer, in Thrift's compact encoding."""
    with open(file, "rb") as content:
        content.seek(-8, os.SEEK_END)
        length, magic = int.from_bytes(content.read(4), "little"), content.read(4)
        if magic != b"PAR1":
            return 0
        content.seek(-8 - length, os.SEEK_END)
        return Thrift(content.read(length)).integer_field(3)


class Thrift:
    """Reads just as much of Thrift's compact encoding as is needed to find an integer behind other fields."""

    def __init__(self, content):
        self.content, self.at = content, 0

    def byte(self):
        self.at += 1
        return self.content[self.at - 1]

    def varint(self):
        result = shift = 0
        while True:
            byte = self.byte()
            result |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return result

    def zigzag(self):
        number = self.varint()
        return number >> 1 ^ -(number & 1)

    def skip(self, kind):
        if kind in (3,):
            self.at += 1
        elif kind in (4, 5, 6):
            self.varint()
        elif kind == 7:
            self.at += 8
        elif kind == 8:
            length = self.varint()
            self.at += length
        elif kind in (9, 10):
            head = self.byte()
            count = self.varint() if head >> 4 == 15 else head >> 4
            for _ in range(count):
                # Booleans in a list take a byte, unlike those in a struct.
                self.skip(3 if head & 15 in (1, 2) else head & 15)
        elif kind == 12:
            for _, inner in self.fields():
                self.skip(inner)

    def fields(self):
        """Number and type of each field of a struct. The caller reads or skips the value of each."""
        number = 0
        while head := self.byte():
            number = number + (head >> 4) if head >> 4 else self.zigzag()
            yield number, head & 15

    def integer_field(self, wanted):
        for number, kind in self.fields():
            if number == wanted:
                return self.zigzag()
            self.skip(kind)
        return 0


def fields(data):
    """Number and value of each field of a message in protocol buffers: an integer, or bytes."""
    at, end = 0, len(data)

    def varint():
        nonlocal at
        result = shift = 0
        while True:
            byte = data[at]
            at += 1
            result |= (byte & 127) << shift
            if byte < 128:
                return result
            shift += 7

    while at < end:
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
        else:
            length = varint() if kind == 2 else 8 if kind == 1 else 4
            yield key >> 3, data[at:at + length]
            at += length


def perfetto_events(file):
    """The packets (field 1 of a trace) with a track event (11), also of those that lie compressed in another (50)."""
    def count(trace):
        total = 0
        for _, packet in fields(trace):
            for number, value in fields(packet):
                total += 1 if number == 11 else count(memoryview(zlib.decompress(value))) if number == 50 else 0
        return total
    return count(memoryview(file.read_bytes()))


def ctf_events(directory):
    done = subprocess.run(["babeltrace2", directory, "--component=sink.utils.counter"], capture_output=True, text=True, check=False)
    # (It prints a count now and then; the last one is of all.)
    found = re.findall(r"(\d+) Event messages", done.stdout)
    return int(found[-1]) if found and done.returncode == 0 else done.stderr[-200:]


def otlp_records(directory):
    """The log records in lines of JSON: each has one such time. (The events of the journal have no definitions, so that they are no spans.)"""
    return sum(line.count(b'"timeUnixNano"') for part in directory.glob("logs*.jsonl") for line in open(part, "rb"))


def otlp_proto_records(directory):
    """The same in protocol buffers: resource_logs (1), scope_logs (2), log_records (2). Each message has its length before it."""
    total = 0
    for part in directory.glob("logs*.pb"):
        data, at = memoryview(part.read_bytes()), 0
        while at < len(data):
            length = int.from_bytes(data[at:at + 4], "big")
            for resource in (value for _, value in fields(data[at + 4:at + 4 + length])):
                for scope in (value for number, value in fields(resource) if number == 2):
                    total += sum(number == 2 for number, _ in fields(scope))
            at += 4 + length
    return total


COUNTS = {"sqlite": rows, "ndjson": lines, "csv": lambda file: lines(file) - 1, "parquet": parquet_rows, "perfetto": perfetto_events, "ctf": ctf_events,
          "otlp": otlp_records, "otlp-proto": otlp_proto_records}
