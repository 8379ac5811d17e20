"""Runs programs under alloc_trace and compares its records with the counts of count_allocs in the same run.

Each test runs its program twice, untraced and traced, and demands that output and exit status are the same; that every ledger
balances; that the journal, or each database, has as many events of a process as its ledger says are stored, each with a unique identity;
and that each process has as many calls as count_allocs counted. If nothing may be lost, every call of each function must be stored.
Journals are read by the report, databases by SQL.

The tests are in cases_*.py; check.py runs them.

Licence: MIT OR Apache-2.0.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True  # writes nothing into the source tree
sys.path.insert(0, os.path.join(HERE, "..", "..", "c_examples", "alloc_trace", "scripts"))
from ledger import CALL_COUNTERS, CALLS, read_all, read_counts  # noqa: E402

OUT, BIN = sys.argv[1], sys.argv[2]
WRAPPER = os.path.join(HERE, "..", "..", "c_examples", "alloc_trace", "alloc_trace")
TRACE = os.path.join(OUT, "alloc_trace.so")
COUNT = os.path.join(OUT, "count_allocs.so")
REPORT = os.path.join(OUT, "alloc_trace_report")
DEADLINE = 120


class Failure(Exception):
    pass


def demand(truth, text):
    if not truth:
        raise Failure(text)


def program(name, *arguments):
    return [os.path.join(BIN, name), *arguments]


class Run:
    """One traced run: its result and its files."""

    def __init__(self, command, mode="block", environment=None, directory=None, behind=(), exit_ms=600_000, stacks=0,
                 to="journal", **options):
        self.folder = tempfile.mkdtemp(prefix="alloc_trace.")
        environment = dict(os.environ, **(environment or {}))
        for name in [name for name in environment if name.startswith("ALLOC_TRACE_")]:
            del environment[name]
        # Long limits, so that a disk that stalls for a second does not fail a test in which nothing may be lost.
        environment.update(ALLOC_TRACE_MODE=mode, ALLOC_TRACE_DIR=directory or self.folder,
                           ALLOC_TRACE_BLOCK_MS="60000", ALLOC_TRACE_EXIT_MS=str(exit_ms),
                           ALLOC_TRACE_STACKS=str(stacks), ALLOC_TRACE_TO=to, COUNT_ALLOCS_DIR=self.folder)
        # Set by env(1), so that this process and a shell in between are not traced.
        preload = "LD_PRELOAD=" + " ".join((COUNT, TRACE, *behind))
        self.result = subprocess.run(["env", preload, *command], env=environment, capture_output=True,
                                     timeout=DEADLINE, check=False, **options)
        self.ledgers = read_all(self.folder)
        self.counts = read_counts(self.folder)

    def remove(self):
        shutil.rmtree(self.folder)


def report_of(ledger):
    """What the report says of a process image."""
    result = subprocess.run([REPORT, "--json", os.path.dirname(ledger.path)], capture_output=True, text=True, timeout=DEADLINE,
                            check=False)
    demand(result.returncode == 0, f"the report: {result.stderr}")
    report = json.loads(result.stdout)
    stem = os.path.basename(ledger.path)[: -len(".ledger")]
    (found,) = [one for one in report["processes"] if one["id"] == stem]
    return dict(found, losses=report["losses"], duplicates=report["duplicates"])


def rows(ledger, killed=False):
    """The number of stored events by their kind; 0: those of the tracer itself. Fails if two events have the same identity.

    A signal that kills may cut a write to a file short, at any byte. So the last write of a killed process may be there in part.
    """
    if os.path.basename(ledger.storage) == "journal":
        one = report_of(ledger)
        losses = [loss for loss in one["losses"] if not (killed and loss.startswith("interrupted writes: 1, "))]
        demand(not losses, f"{ledger.storage}: {losses}")
        demand(one["duplicates"] == 0, f"{ledger.storage}: {one['duplicates']} events were stored twice")
        demand(one["unknown_events"] == 0, f"{ledger.storage}: {one['unknown_events']} events cannot be read")
        numbers = {name: call for call, name in CALLS.items()}
        by_call = {numbers[name]: count for name, count in one["by_call"].items()}
        by_call[0] = one["records"]
        demand(sum(by_call.values()) == one["events"], f"{ledger.storage}: {by_call} are not {one['events']} events")
        return by_call
    database = sqlite3.connect(ledger.storage)
    try:
        if killed and not database.execute("SELECT name FROM sqlite_master WHERE name = 'events'").fetchall():
            return {}  # killed before it had created its tables
        by_call = dict(database.execute("SELECT kind, count(*) FROM events GROUP BY kind"))
        every = sum(by_call.values())
        (distinct,) = database.execute(
            "SELECT count(*) FROM (SELECT DISTINCT run, ring_id, sequence FROM events)").fetchone()
        demand(distinct == every, f"{ledger.storage}: {every} events have only {distinct} distinct identities")
        (check,) = database.execute("PRAGMA integrity_check").fetchone()
        demand(check == "ok", f"{ledger.storage}: {check}")
    finally:
        database.close()
    return by_call


def calls_in(by_call):
    """The number of events of calls: without those of the tracer itself."""
    return sum(number for kind, number in by_call.items() if kind in CALLS)


def check_ledgers(run, lossless=True, ended=True):
    """Checks the ledger, what is stored, and the counts of every process."""
    demand(run.ledgers, "no process was traced")
    stored = {}
    for ledger in run.ledgers:
        who = f"{ledger.pid} {ledger.command}"
        demand(not ledger.imbalances(), f"{who}: {ledger.imbalances()}")
        by_call = rows(ledger, killed=not ended and ledger.state == "running")
        if ended:
            demand(ledger.state in ("closed", "exec"), f"{who}: the ledger is {ledger.state}")
            demand(ledger.close_status == 0, f"{who}: pipeline_close returned {ledger.close_status}")
            demand(sum(by_call.values()) == ledger.stored,
                   f"{who}: {sum(by_call.values())} events are stored, {ledger.stored} by the ledger")
            demand(ledger.buffered + ledger.in_flight + ledger.in_doubt + ledger.left == 0, f"{who}: events were not stored before the end")
        if lossless:
            demand(ledger.lost == 0, f"{who}: {ledger.lost} events lost: {vars(ledger)}")
        totals = stored.setdefault(ledger.pid, [0] * CALL_COUNTERS)
        for call in CALLS:
            totals[call] += by_call.get(call, 0) + ledger.own[call] + ledger.nested[call]
    if not ended:
        return
    calls = {}
    for ledger in run.ledgers:
        calls[ledger.pid] = calls.get(ledger.pid, 0) + ledger.calls
    for pid, counted in run.counts.items():
        demand(calls.get(pid, 0) == sum(counted), f"{pid}: {calls.get(pid, 0)} calls in the ledgers, {sum(counted)} counted")
        if lossless:
            kept = stored.get(pid, [0] * CALL_COUNTERS)
            for call, name in CALLS.items():
                demand(kept[call] == counted[call],
                       f"{pid}: {name} {kept[call]} times stored, {counted[call]} counted")


def skipped(reason):
    print(f"    {reason}: NOT TESTED", flush=True)


def temporary_folder():
    return tempfile.TemporaryDirectory(prefix="alloc_trace.")


def is_root():
    return os.geteuid() == 0


def same(command, processes=None, least=1, lossless=True, ended=True, loud=False, more=None, **options):
    """The usual test: the traced run gives the same result as the untraced one, and check_ledgers passes."""
    environment = dict(os.environ, **(options.get("environment") or {}))
    if options.get("behind"):
        environment["LD_PRELOAD"] = " ".join(options["behind"])
    plain = subprocess.run(command, capture_output=True, timeout=DEADLINE, check=False, env=environment,
                           **{k: v for k, v in options.items() if k in ("input", "cwd", "preexec_fn")})
    run = Run(command, **options)
    demand(run.result.returncode == plain.returncode,
           f"exit status {run.result.returncode}, untraced {plain.returncode}: {run.result.stderr[-300:]}")
    demand(run.result.stdout == plain.stdout, f"output {run.result.stdout[-300:]}, untraced {plain.stdout[-300:]}")
    if not loud:
        demand(run.result.stderr == plain.stderr, f"stderr {run.result.stderr[-300:]}, untraced {plain.stderr[-300:]}")
    check_ledgers(run, lossless, ended)
    seen = len({ledger.pid for ledger in run.ledgers})
    if processes is not None:
        demand(seen == processes, f"{seen} processes traced, not {processes}")
    demand(seen >= least, f"{seen} processes traced, fewer than {least}")
    if more:
        more(run)
    run.remove()


def untraced(run, command, **options):
    plain = subprocess.run(command, capture_output=True, timeout=DEADLINE, check=False, **options)
    demand(run.result.returncode == plain.returncode, f"exit status {run.result.returncode}: {run.result.stderr}")
    demand(run.result.stdout == plain.stdout, "the output differs")
    demand(not run.ledgers, "there is a ledger, although nothing could be traced")
    run.remove()
