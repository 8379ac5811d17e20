"""The demo: a Python workload, untraced, under alloc_trace in several modes, and under other tools that record allocations.

First each mode runs once beside count_allocs, and its ledger and what it has stored are checked. Then all run in turns, REPEATS times, and
the medians are compared. At the end is what the user of the tool wants to know: the report of a run with stacks.

Exits with 0 only if every check has passed. A bound on speed or space that is missed is shown, and fails nothing: other load on the machine
may be the reason.

    REPEATS   how many turns (default 5)

Licence: MIT OR Apache-2.0.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # writes nothing into the source tree
import ledger as ledgers
import tracing
import words

HERE = os.path.dirname(os.path.realpath(__file__))
DEMO = os.environ.get("DEMO") or os.path.join(tracing.TOP, "build", "demo")
REPEATS = max(1, int(os.environ.get("REPEATS") or 5))
WORKLOAD = os.path.join(os.path.dirname(HERE), "workload.py")
ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONMALLOC": "malloc", "PYTHONDONTWRITEBYTECODE": "1"}
UNTRACED = [sys.executable, "-S", WORKLOAD]
# How long an allocation may block: longer than a disk stalls.
BLOCK_MS = 10_000
MEMORY_BOUND = 64_000_000
MODES = {
    "raw": {},
    "columns": {"columns": "zstd"},
    "stacks 16": {"stacks": 16},
    "drop": {"mode": "drop"},
}
KEPT = "stacks 16"  # the mode whose last trace is shown at the end
LEAST_REPEATS = 5   # the bounds are for medians of so many turns
problems = []


class Unusable(Exception):
    """Another tool does not do its work here."""


def say(text="", end="\n"):
    print(text, end=end, flush=True)


def check(truth, text):
    """Prints a line with its verdict."""
    if not truth:
        problems.append(text)
    say(f"  {'ok   ' if truth else 'WRONG'}  {text}")


def size_of(folder):
    return sum(os.path.getsize(os.path.join(where, name)) for where, _, names in os.walk(folder) for name in names
               if name.endswith(".journal"))


# --- The contestants ----------------------------------------------------------------------------------------------------


def fresh(name):
    folder = os.path.join(DEMO, name.replace(" ", "-"))
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def traced(name, count=False):
    folder = fresh(name)
    options = dict({"mode": "block", "block_ms": BLOCK_MS}, **MODES[name])
    run = tracing.run(UNTRACED, folder, count=count, environment=ENVIRONMENT, quiet=True, **options)
    found = ledgers.read_all(folder)
    if run.status != 0 or len(found) != 1:
        sys.exit(f"{name}: exit status {run.status}, and {len(found)} processes were traced, not 1")
    run.folder, run.ledger, run.bytes = folder, found[0], size_of(folder)
    return run


def untraced():
    run = tracing.run(UNTRACED, environment=ENVIRONMENT, quiet=True)
    if run.status != 0:
        sys.exit(f"the untraced workload has failed with status {run.status}")
    return run


def counted():
    """count_allocs alone: what it costs to call through a preload library and to count."""
    environment = dict(ENVIRONMENT, LD_PRELOAD=tracing.library("count_allocs.so"))
    return tracing.run(UNTRACED, environment=environment, quiet=True)


def command_of(name, found, command, output):
    """A run of another tool, whose output is one file or several that begin alike."""
    def run():
        folder = fresh(name)
        os.makedirs(folder)
        result = tracing.run([found, *command(os.path.join(folder, output))], environment=ENVIRONMENT, quiet=True)
        files = [os.path.join(folder, one) for one in os.listdir(folder)]
        if result.status != 0 or not files:
            raise Unusable(f"{name} has failed with exit status {result.status}, and has written {len(files)} files: it is left out")
        result.bytes = sum(map(os.path.getsize, files))
        return result

    return run


def heaptrack():
    """heaptrack from the distribution; as root it is installed."""
    if shutil.which("heaptrack") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        say("  installing heaptrack")
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", "heaptrack"]):
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    found = shutil.which("heaptrack")
    if found is None:
        say("  heaptrack is not installed (package heaptrack): it is left out")
        return None
    return command_of("heaptrack", found, lambda output: ["-o", output, *UNTRACED], "heaptrack")


def memray():
    """memray from the Python Package Index, in an environment of its own."""
    home = os.path.join(tracing.TOP, "build", "memray")
    python = os.path.join(home, "bin", "python")
    if not os.path.exists(os.path.join(home, "bin", "memray")):
        say("  installing memray")
        try:
            for command in ([sys.executable, "-m", "venv", home], [python, "-m", "pip", "install", "--quiet", "memray"]):
                subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=300)
        except (OSError, subprocess.SubprocessError):
            shutil.rmtree(home, ignore_errors=True)
            say("  memray cannot be installed: it is left out")
            return None
    return command_of("memray", python, lambda output: ["-m", "memray", "run", "--quiet", "--force", "-o", output, WORKLOAD],
                      "memray.bin")


# --- Checks -------------------------------------------------------------------------------------------------------------


def report(folder, *arguments):
    result = subprocess.run([tracing.library("alloc_trace_report"), folder, *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"alloc_trace_report: {result.stderr}")
    return result.stdout


def check_run(name, untraced_peak):
    """One run beside count_allocs: everything is accounted for."""
    run = traced(name, count=True)
    one, lossless = run.ledger, MODES[name].get("mode") != "drop"
    calls = sum(sum(words_of) for words_of in ledgers.read_counts(run.folder).values())
    wrong = one.imbalances()
    check(not wrong and one.state == "closed" and one.close_status == 0,
          f"{name}: the ledger balances, and was closed at the exit" + "".join(f"; {text}" for text in wrong))
    check(one.calls == calls, f"{name}: {one.calls:,} calls, count_allocs has counted {calls:,}")
    if lossless:
        check(one.lost == 0 and one.stacks_lost == 0, f"{name}: {one.lost:,} events lost, {one.stacks_lost:,} stacks lost")
    whole = json.loads(report(run.folder, "--json", "--no-flame"))
    (found,) = whole["processes"]
    check(found["events"] == one.stored and not whole["losses"] and found["without_stack"] == 0,
          f"{name}: {found['events']:,} events in the journal, {one.stored:,} stored by the ledger")
    check(run.peak - untraced_peak < MEMORY_BOUND, f"{name}: the tracer has added less than {words.size(MEMORY_BOUND)} of memory")
    return run


def print_ledger(runs):
    say(f"\n  {'':<34}" + "".join(f"{name:>14}" for name in runs))

    def line(text, value, always=True):
        values = [value(run.ledger) for run in runs.values()]
        if always or any(values):
            say(f"  {text:<34}" + "".join(f"{number:>14,}" for number in values))

    line("offered to the pipeline", lambda one: one.offered)
    line("  = captured", lambda one: one.captured)
    for name in ledgers.NOT_CAPTURED:
        line(f"  + {name.replace('_', ': ', 1).replace('_', ' ')}", lambda one, name=name: one.figures[name],
             name == "dropped_full")
    line("captured", lambda one: one.captured)
    for name in ledgers.OUTCOMES:
        sign = "=" if name == "stored" else "+"
        line(f"  {sign} {name.replace('_', ' ')}", lambda one, name=name: one.figures[name], name in ("stored", "left"))
    say()
    line("offered to the pipeline", lambda one: one.offered)
    line("  - the tracer's own: stacks, image", lambda one: one.records)
    line("  + made by libc for the tracer", lambda one: sum(one.own))
    line("  + after the close", lambda one: one.late, False)
    line("  + early buffer full", lambda one: one.early_lost, False)
    line("  = calls", lambda one: one.calls)


# --- The comparison -----------------------------------------------------------------------------------------------------


class Result:
    """The runs of a contestant."""

    def __init__(self, runs):
        self.runs = runs
        self.seconds = statistics.median(run.seconds for run in runs)
        self.last = runs[-1]

    @property
    def events(self):
        return self.last.ledger.stored


def compare(contestants):
    """Runs all in turns. What a run has written is removed at once, so that the next does not wait while it goes to the disk."""
    runs = {name: [] for name in contestants}
    began = time.monotonic()
    for turn in range(1, REPEATS + 1):
        if turn > 1:
            left = (time.monotonic() - began) / (turn - 1) * (REPEATS - turn + 1)
            say(f"    about {left:.0f} s left")
        for name in [name for name in contestants if name in runs]:
            say(f"    turn {turn} of {REPEATS}  {name:<12} ", end="")
            try:
                runs[name].append(contestants[name]())
            except Unusable as problem:
                say(f"\n  {problem}")
                del runs[name]
                continue
            say(f"{runs[name][-1].seconds:6.2f} s")
            if turn < REPEATS or name != KEPT:
                fresh(name)
    return {name: Result(found) for name, found in runs.items()}


def print_results(results):
    plain = results["untraced"].seconds
    say(f"\n  {'':<14}{'elapsed':>9}{'':>8}{'overhead':>10}{'files':>10}{'an event':>10}{'memory':>10}   lost")
    for name, result in results.items():
        run = result.last
        line = f"  {name:<14}{result.seconds:>7.2f} s{result.seconds / plain:>7.2f}x"
        line += f"{'':>10}" if name == "untraced" else f"{result.seconds - plain:>8.2f} s"
        line += f"{words.size(run.bytes):>10}" if hasattr(run, "bytes") else f"{'':>10}"
        if hasattr(run, "ledger"):
            line += f"{run.bytes / max(1, result.events):>8.1f} B"
            lost = [one.ledger.lost for one in result.runs]
            line += f"{words.size(run.peak):>10}   {'nothing' if not any(lost) else f'{statistics.median(lost):,.0f}'}"
        elif name in ("untraced", "count_allocs"):
            line += f"{'':>10}{words.size(run.peak):>10}"
        say(line)


def bounds(results):
    """For each bound: what is measured, the figure (None: not measured, because a tool is missing), the bound, the unit."""
    plain, columns = results["untraced"].seconds, results["columns"]

    def over(name):
        return results[name].seconds - plain

    def against(name, peer):
        return over(name) / over(peer) if peer in results and over(peer) > 0 else None

    return [("raw: elapsed / untraced", results["raw"].seconds / plain, 1.35, "x"),
            ("raw: overhead / memray's", against("raw", "memray"), 0.25, "x"),
            ("raw: overhead / heaptrack's", against("raw", "heaptrack"), 0.12, "x"),
            ("stacks 16: overhead / heaptrack's", against(KEPT, "heaptrack"), 0.5, "x"),
            ("columns: bytes an event on disk (goal 8)", columns.last.bytes / max(1, columns.events), 12, "B"),
            ("columns: elapsed / untraced", columns.seconds / plain, 1.8, "x")]


def print_bounds(results):
    say(f"  Medians of {REPEATS} turns; overhead: elapsed less untraced.\n")
    say(f"  {'':<42}{'figure':>10}{'bound':>12}")
    for text, value, bound, unit in bounds(results):
        figure = "-" if value is None else f"{value:.2f} {unit}"
        verdict = "not measured" if value is None else "met" if value <= bound else "NOT MET"
        say(f"  {text:<42}{figure:>10}{f'<= {bound:.2f} {unit}':>12}   {verdict}")
    if REPEATS < LEAST_REPEATS:
        say(f"\n  REPEATS={REPEATS}: the bounds are for {LEAST_REPEATS} turns at least.")
    load = os.getloadavg()[0]
    if load > (os.cpu_count() or 1) + 1.5:
        say(f"\n  Other programs load this machine (load {load:.1f}, {os.cpu_count()} processors): the times say little.")


def main():
    say("alloc_trace: every allocation of a Python program\n")
    say(f"The workload ({os.path.relpath(WORKLOAD)}), untraced:")
    plain = tracing.run(UNTRACED, environment=ENVIRONMENT)
    if plain.status != 0:
        sys.exit(f"the untraced workload has failed with status {plain.status}")

    words.heading("Is everything accounted for?")
    say("  One run of each mode beside count_allocs, a second preload library that only counts.\n")
    checked = {}
    for name in MODES:
        checked[name] = check_run(name, plain.peak)
        fresh(name)
    print_ledger(checked)

    words.heading("What it costs")
    contestants = {"untraced": untraced, "count_allocs": counted}
    contestants.update((name, lambda name=name: traced(name)) for name in MODES)
    for name, tool in (("heaptrack", heaptrack), ("memray", memray)):
        run = tool()
        if run is not None:
            contestants[name] = run
    say("  raw: the journal as the events lie in the ring buffers. columns: compressed (zstd). stacks 16: each allocation with 16 return\n"
        "  addresses. drop: an event that finds the ring buffer full is dropped.\n")
    results = compare(contestants)
    print_results(results)
    words.heading("Bounds")
    print_bounds(results)

    words.heading("Where the memory went: the report of the run with stacks")
    folder = results[KEPT].last.folder
    began = time.monotonic()
    text = report(folder, "--top", "5")
    say(f"  {results['stacks 16'].events:,} events read, followed and drawn in {time.monotonic() - began:.1f} s\n")
    say(text.rstrip())

    words.heading("Try it")
    program, shown = os.path.relpath(tracing.library("alloc_trace_report")), os.path.relpath(folder)
    say(f"  {program} {shown} --lines             # with lines of source\n"
        f"  {program} {shown} --export FILE.db    # every call in SQLite\n"
        f"  {os.path.relpath(os.path.join(os.path.dirname(HERE), 'alloc_trace'))} --stacks 16 -o FOLDER -- COMMAND\n")
    if problems:
        say(f"{len(problems)} checks have failed:")
        for problem in problems:
            say(f"  {problem}")
        return 1
    say("All checks have passed.")
    return 0


sys.exit(main())
