"""Formats figures for display. Licence: MIT OR Apache-2.0."""


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


def print_processes(ledgers, to):
    """Prints the summary: for each process image its figures and where its events are."""
    if not ledgers:
        to.write("alloc_trace: no process was traced\n")
        return
    to.write(f"\n  {'process':<22} {'calls':>11} {'stored':>11} {'lost':>9}  {'ended':<7} {'ledger':<8} storage\n")
    for one in ledgers:
        if one.state == "running":
            # Killed, or still running: the figures on the page may be old.
            figures = f"{'?':>11} {'?':>11} {'?':>9}  {'killed':<7} {'open':<8}"
        else:
            verdict = "balanced" if not one.imbalances() else "WRONG"
            ended = "exit" if one.state == "closed" else one.state
            figures = f"{one.calls - sum(one.own) - sum(one.nested):>11,} {one.stored:>11,} {one.lost:>9,}  {ended:<7} {verdict:<8}"
        to.write(f"  {f'{one.pid} {one.comm}':<22} {figures} {one.storage}\n")
        for problem in one.imbalances() if one.state != "running" else ():
            to.write(f"      {problem}\n")
        if one.close_status != 0:
            to.write(f"      the storage did not store everything in time (status {one.close_status}); 'lost' has the number\n")
        if one.gave_up:
            to.write("      switched to drop mode: blocked allocations timed out (see --block)\n")
