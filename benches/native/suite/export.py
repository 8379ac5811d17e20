"""Exports of a journal by the command `capture-pipeline`: how fast, and with how much memory."""
import os
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

from .contest import progress

SQLITE, NDJSON, CSV, PARQUET, ZSTD = "export to SQLite", "export to NDJSON", "export to CSV", "export to Parquet", "export to Parquet, zstd"
# The storage that the export to SQLite is compared with.
STORAGE = "SQLite, until closed"
FORMATS = {SQLITE: ("sqlite", []), NDJSON: ("ndjson", []), CSV: ("csv", []), PARQUET: ("parquet", ["--compression=none"]),
           ZSTD: ("parquet", ["--compression=zstd"])}
# Reading without a file: every event is decoded and printed.
VERIFY, CAT = "verify", "cat, by time, to nowhere"
WITH_READING = [VERIFY, CAT, *FORMATS]
LONGEST_S = 1800
OUTPUT_PER_EVENT, MOST_TOUCHED = 300, 1 << 30


def command(contest):
    return contest.built.parent / "prefix" / "bin" / "capture-pipeline"


def measure(contest, journal, events, repeats, names=(*FORMATS, STORAGE)):
    """{name: [figures of each repeat]}"""
    if not command(contest).exists():
        contest.missing.append("the command capture-pipeline")
        return {}
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
    figures = {"events_per_s": events / took, "cpu_ns": (used.ru_utime + used.ru_stime) * 1e9 / events, "anonymous_mb": peak / 1e6}
    return {**figures, "bytes_per_event": file.stat().st_size / events} if form else figures


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


COUNTS = {"sqlite": rows, "ndjson": lines, "csv": lambda file: lines(file) - 1, "parquet": parquet_rows}
