"""The demo: a Python workload untraced, traced with blocking, traced with dropping; then what the databases say.

Exits 0 only if both ledgers balance, both equal the count of count_allocs, blocking has lost nothing, and the memory that
the tracer adds is below its bound. Licence: MIT OR Apache-2.0.
"""

import os
import shutil
import statistics
import sys

sys.dont_write_bytecode = True  # the source tree stays as it is
import events as reading
import ledger as ledgers
import tracing
import words

HERE = os.path.dirname(os.path.realpath(__file__))
DEMO = os.environ.get("DEMO") or os.path.join(tracing.TOP, "build", "demo")
WORKLOAD = [sys.executable, "-S", os.path.join(os.path.dirname(HERE), "workload.py")]
ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONMALLOC": "malloc", "PYTHONDONTWRITEBYTECODE": "1"}
MEMORY_BOUND = 64_000_000

problems = []


def check(truth, text):
    """A line with its verdict."""
    if not truth:
        problems.append(text)
    print(f"  {'ok   ' if truth else 'WRONG'}  {text}")


# How long an allocation may wait for room: longer than a disk stalls.
BLOCK_MS = 10_000


def untraced(show=False):
    run = tracing.run(WORKLOAD, environment=ENVIRONMENT, quiet=not show)
    if run.status != 0:
        sys.exit(f"the workload itself failed with status {run.status}")
    return run


def traced(mode):
    """One traced run, its ledger, and what count_allocs counted in the same run."""
    folder = os.path.join(DEMO, mode)
    shutil.rmtree(folder, ignore_errors=True)
    run = tracing.run(WORKLOAD, folder, mode, block_ms=BLOCK_MS, count=True, live=sys.stdout,
                      environment=ENVIRONMENT, quiet=True)
    found = ledgers.read_all(folder)
    if len(found) != 1:
        sys.exit(f"{folder}: {len(found)} processes were traced, not 1")
    counted = sum(sum(words_of) for words_of in ledgers.read_counts(folder).values())
    check(run.status == 0, f"{mode}: {run.seconds:.2f} s, the program's exit status is 0")
    return run, found[0], counted


def print_ledger(columns):
    """The ledger of each run, side by side, as an account."""
    print(f"\n  {'':<34}" + "".join(f"{name:>14}" for name, _, _ in columns))

    def line(text, value, always=True):
        values = [value(one) for _, one, _ in columns]
        if always or any(values):
            print(f"  {text:<34}" + "".join(f"{number:>14,}" for number in values))

    line("offered to the pipeline", lambda one: one.offered)
    line("  = captured", lambda one: one.captured)
    for name in ledgers.LOST_BEFORE:
        line(f"  + {name.replace('_', ': ', 1).replace('_', ' ')}", lambda one, name=name: one.figures[name],
             name in ("dropped_full", "refused_busy"))
    line("captured", lambda one: one.captured)
    for name in ledgers.SETTLED:
        sign = "=" if name == "stored" else "+"
        line(f"  {sign} {name.replace('_', ' ')}", lambda one, name=name: one.figures[name],
             name in ("stored", "in_flight", "left"))
    print()
    line("offered to the pipeline", lambda one: one.offered)
    line("  + made by libc for the tracer", lambda one: sum(one.own))
    line("  + after the close", lambda one: one.late, False)
    line("  + early buffer full", lambda one: one.early_lost, False)
    line("  = calls", lambda one: one.calls)
    print(f"  {'counted by count_allocs':<34}" + "".join(f"{counted:>14,}" for _, _, counted in columns) + "\n")


def check_ledger(name, one, counted, lossless):
    wrong = one.imbalances()
    check(not wrong, f"{name}: the ledger balances" + "".join(f"; {text}" for text in wrong))
    check(one.state == "closed" and one.close_status == 0, f"{name}: closed at the exit, with everything settled")
    check(one.calls == counted, f"{name}: {one.calls:,} calls, count_allocs counted {counted:,}")
    if lossless:
        check(one.lost == 0, f"{name}: {one.lost:,} events lost")


def print_cost(plain, runs):
    seconds = statistics.median(run.seconds for run in plain)
    cpu = statistics.median(run.cpu for run in plain)
    peak = statistics.median(run.peak for run in plain)
    print(f"  one run of each, beside the median of {len(plain)} untraced ones; the traced ones with count_allocs. Program: CPU\n"
          "  time of its own thread, which other work on the machine touches less; tracer: of the tracer's threads\n")
    print(f"  {'':<10}{'elapsed':>10}{'':>8}{'program':>10}{'':>8}{'tracer':>10}{'memory':>10}{'added':>10}   lost")
    print(f"  {'untraced':<10}{seconds:>8.2f} s{'':>8}{cpu:>8.2f} s{'':>8}{'':>10}{words.size(peak):>10}")
    for name, run, one in runs:
        own = one.main_cpu_ns / 1e9
        lost = f"{one.lost:,} of {one.offered:,} ({100 * one.lost / one.offered:.1f} %)" if one.lost else "nothing"
        print(f"  {name:<10}{run.seconds:>8.2f} s{run.seconds / seconds:>7.2f}x{own:>8.2f} s{own / cpu:>7.2f}x"
              f"{max(0, run.cpu - own):>8.2f} s{words.size(run.peak):>10}{words.size(run.peak - peak):>10}   {lost}")
    print()
    for name, run, _ in runs:
        check(run.peak - peak < MEMORY_BOUND, f"{name}: the tracer added less than {words.size(MEMORY_BOUND)}")


def print_sites(found):
    def table(heading, sites, figure, text):
        words.heading(heading)
        total = sum(figure(site) for _, site in sites) or 1
        for name, site in sorted(sites, key=lambda pair: (-figure(pair[1]), pair[0]))[:8]:
            share = figure(site) / total
            print(f"  {text(site):>12}  {100 * share:4.1f} %  {words.bar(share, 16):<16}  {name}")

    sites = found.by_function()
    table("Call sites that ask for most memory", sites, lambda site: site.bytes, lambda site: words.size(site.bytes))
    table("Call sites that ask most often", sites, lambda site: site.calls, lambda site: f"{site.calls:,}")
    table("Not freed at the exit", [pair for pair in sites if pair[1].live_blocks],
          lambda site: site.live_bytes, lambda site: words.size(site.live_bytes))
    print(f"  {words.size(found.live_bytes):>12}  in {found.live_blocks:,} blocks altogether")


def print_sizes(found):
    words.heading("Sizes asked for")
    most = max(found.sizes.values(), default=1)
    for power in range(min(found.sizes, default=0), max(found.sizes, default=0) + 1):
        number = found.sizes.get(power, 0)
        low = 1 << power >> 1
        label = f"{low:,} to {(1 << power) - 1:,}" if power > 1 else str(low)
        print(f"  {label:>24} B {number:>11,}  {words.bar(number / most)}")


def main():
    print("alloc_trace: every allocation of a Python program, in SQLite")
    print(f"\nThe workload ({os.path.relpath(WORKLOAD[2])}), untraced:")
    plain = [untraced(show=True)]
    print(f"\nTraced; where the ring is full an allocation waits (block, at most {BLOCK_MS // 1000} s):")
    block_run, block, block_counted = traced("block")
    plain.append(untraced())
    print("\nTraced; where the ring is full the event is dropped (drop):")
    drop_run, drop, drop_counted = traced("drop")
    plain.append(untraced())

    words.heading("The ledger")
    print_ledger([("block", block, block_counted), ("drop", drop, drop_counted)])
    check_ledger("block", block, block_counted, True)
    check_ledger("drop", drop, drop_counted, False)

    words.heading("What it cost")
    print_cost(plain, [("block", block_run, block), ("drop", drop_run, drop)])

    print(f"\n  reading {block.stored:,} events back ...", end="", flush=True)
    found = reading.Events(block)
    print(" done")
    check(found.rows == block.stored, f"block: {found.rows:,} rows in the database")
    check(reading.count_rows(drop) == drop.stored, f"drop: {drop.stored:,} rows in the database")
    print(f"  {found.allocations:,} allocations of {words.size(found.bytes)}, {found.frees:,} frees")

    print_sites(found)
    print_sizes(found)

    words.heading("Try it")
    print(f"  the database: {os.path.relpath(block.database)} ({words.size(os.path.getsize(block.database))})")
    for what, command in reading.queries(block.database):
        print(f"\n  # {what}\n  {command}")
    print()
    if problems:
        print(f"{len(problems)} things do not add up:")
        for text in problems:
            print(f"  {text}")
        return 1
    print("All of it adds up.")
    return 0


sys.exit(main())
