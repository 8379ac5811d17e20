"""Formats figures for display. Licence: MIT OR Apache-2.0."""

import os


def size(count):
    """Bytes: 48 B, 3.2 KB, 71 MB."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:,.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def bar(share, width=40):
    """A bar of at most width characters."""
    return "#" * max(1 if share > 0 else 0, round(share * width))


def heading(text):
    print(f"\n{text}\n{'-' * len(text)}")


MOST_PROCESSES = 20  # rows of the summary


def has_problem(one):
    """Whether the summary must show a process: it was killed, or something is lost or wrong."""
    return one.state == "running" or one.lost != 0 or one.close_status != 0 or one.gave_up or bool(one.imbalances())


def calls_of_program(one):
    return one.calls - sum(one.own) - sum(one.nested)


def print_processes(ledgers, to):
    """Prints the summary: for each process image its figures and where its events are. Of many without a problem, those with most calls."""
    if not ledgers:
        to.write("alloc_trace: no process was traced\n")
        return
    fine = sorted((one for one in ledgers if not has_problem(one)), key=calls_of_program, reverse=True)
    hidden = set(map(id, fine[MOST_PROCESSES:]))
    to.write(f"\n  {'process':<22} {'calls':>11} {'stored':>11} {'lost':>9}  {'ended':<7} {'ledger':<8} storage\n")
    for one in ledgers:
        if id(one) in hidden:
            continue
        if one.state == "running":
            # The figures on the page may be old.
            ended = "runs" if os.path.exists(f"/proc/{one.pid}") else "killed"
            figures = f"{'?':>11} {'?':>11} {'?':>9}  {ended:<7} {'open':<8}"
        else:
            verdict = "balanced" if not one.imbalances() else "WRONG"
            ended = "exit" if one.state == "closed" else one.state
            figures = f"{calls_of_program(one):>11,} {one.stored:>11,} {one.lost:>9,}  {ended:<7} {verdict:<8}"
        to.write(f"  {f'{one.pid} {one.comm}':<22} {figures} {one.storage}\n")
        for problem in one.imbalances() if one.state != "running" else ():
            to.write(f"      {problem}\n")
        if one.overwritten != 0 and one.state != "running":
            to.write(f"      {one.overwritten:,} earlier calls were overwritten, as --last allows\n")
        if one.close_status != 0:
            to.write(f"      the storage did not store everything in time (status {one.close_status}); 'lost' has the number\n")
        if one.gave_up:
            to.write("      switched to drop mode: blocked allocations timed out (see --block)\n")
    if hidden:
        rest = fine[MOST_PROCESSES:]
        to.write(f"  and {len(rest):,} with {sum(map(calls_of_program, rest)):,} calls; nothing of them is lost\n")
