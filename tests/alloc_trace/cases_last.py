"""--last: only the last calls are kept, and written at the end, at an exec, and when somebody asks.

Licence: MIT OR Apache-2.0.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time

from harness import CALLS as NAMES, DEADLINE, TRACE, WRAPPER, demand, program, read_all, report_of, rows

CALLS = 200_000  # allocations, and as many releases


def journal_of(folder):
    """The segments in a folder's journal."""
    journal = os.path.join(folder, "journal")
    return [name for name in (os.listdir(journal) if os.path.isdir(journal) else []) if name.endswith(".journal")]


def wait_for(what, condition):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        demand(time.monotonic() < deadline, f"waited in vain: {what}")
        time.sleep(0.01)


class Traced:
    """A run of `last` that keeps so much, without the harness's limits."""

    def __init__(self, last, environment=None, arguments=(), wait=None):
        self.folder = tempfile.mkdtemp(prefix="alloc_trace.")
        environment = dict(os.environ, ALLOC_TRACE_DIR=self.folder, ALLOC_TRACE_LAST=last, **(environment or {}))
        command = ["env", f"LD_PRELOAD={TRACE}", *program("last", str(CALLS), *arguments)]
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if wait is None:
            self.output, _ = self.process.communicate(timeout=DEADLINE)
            demand(self.process.returncode == 0, f"exit status {self.process.returncode}")
            self.ledgers = read_all(self.folder)

    def remove(self):
        shutil.rmtree(self.folder)


def test_the_last_calls_are_kept_and_the_others_counted():
    for last, environment in (("64K", {}), ("1M", {"ALLOC_TRACE_COLUMNS": "lz4"})):
        run = Traced(last, environment)
        (ledger,) = run.ledgers
        demand(not ledger.imbalances(), f"{ledger.imbalances()}")
        demand(ledger.state == "closed" and ledger.close_status == 0, f"{ledger.state}, {ledger.close_status}")
        demand(ledger.lost == 0, f"{ledger.lost} calls are lost")
        demand(ledger.overwritten > CALLS and ledger.stored > 500, f"{ledger.overwritten} overwritten, {ledger.stored} stored")
        by_call = rows(ledger)
        demand(sum(by_call.values()) == ledger.stored, f"{by_call} are not {ledger.stored} events")
        run.remove()


def test_who_touches_the_file_gets_the_last_calls_of_a_program_that_runs_on():
    run = Traced("256K", arguments=("wait",), wait=True)
    demand(run.process.stdout.readline() == b"ready\n", "the program does not run")
    demand(not journal_of(run.folder) or read_all(run.folder), "the folder is not the program's")
    before = len(journal_of(run.folder))
    for asked in (1, 2):
        with open(os.path.join(run.folder, "snapshot"), "w", encoding="ascii") as file:
            file.write(str(asked))
        wait_for("a snapshot", lambda: len(journal_of(run.folder)) == before + asked)
    # It is killed, and what it has written is there, once.
    run.process.kill()
    run.process.wait()
    (ledger,) = read_all(run.folder)
    by_call = rows_of_snapshots(ledger)
    demand(by_call.get(1, 0) > 1000 and by_call.get(4, 0) > 1000, f"{by_call}")
    run.remove()


def rows_of_snapshots(ledger):
    """As `rows`, but for the events that two snapshots have."""
    one = report_of(ledger)
    losses = [loss for loss in one["losses"] if not loss.startswith("interrupted writes: 1, ")]
    demand(not losses, f"{losses}")
    numbers = {name: call for call, name in NAMES.items()}
    return {numbers[name]: count for name, count in one["by_call"].items()}


def test_the_command_takes_a_size_and_says_what_goes_with_it():
    folder = tempfile.mkdtemp(prefix="alloc_trace.")
    wrapped = subprocess.run([sys.executable, WRAPPER, "-o", folder, "--last", "64K", "--no-report", "--", *program("last", str(CALLS))],
                             capture_output=True, text=True, timeout=DEADLINE, check=False)
    demand(wrapped.returncode == 0, f"exit status {wrapped.returncode}: {wrapped.stderr}")
    demand("earlier calls were overwritten, as --last allows" in wrapped.stderr and "WRONG" not in wrapped.stderr, wrapped.stderr)
    for wrong in (["--last", "1K"], ["--last", "64X"], ["--last", "64K", "--stacks", "4"], ["--last", "64K", "--to", "sqlite"],
                  ["--last", "64K", "--drop"]):
        refused = subprocess.run([sys.executable, WRAPPER, "-o", folder, *wrong, "--", "true"], capture_output=True, text=True,
                                 timeout=DEADLINE, check=False)
        demand(refused.returncode == 2 and "--last" in refused.stderr, f"{wrong}: {refused.returncode}, {refused.stderr}")
    shutil.rmtree(folder)
