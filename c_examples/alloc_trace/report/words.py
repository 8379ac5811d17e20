"""Figures as a person reads them. Licence: MIT OR Apache-2.0."""


def size(count):
    """Bytes: 48 B, 3.2 KB, 71 MB."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:,.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def bar(share, width=40):
    """A bar of up to width characters."""
    return "#" * max(1 if share > 0 else 0, round(share * width))


def heading(text):
    print(f"\n{text}\n{'-' * len(text)}")


def print_processes(ledgers, to):
    """The summary: each process image, its figures and its database."""
    if not ledgers:
        to.write("alloc_trace: no process was traced\n")
        return
    to.write(f"\n  {'process':<22} {'calls':>11} {'stored':>11} {'lost':>9}  {'ended':<7} {'ledger':<8} database\n")
    for one in ledgers:
        if one.state == "running":
            # Killed, or still there: the page has what was known when it was last written.
            figures = f"{'?':>11} {'?':>11} {'?':>9}  {'killed':<7} {'open':<8}"
        else:
            verdict = "balanced" if not one.imbalances() else "WRONG"
            ended = "exit" if one.state == "closed" else one.state
            figures = f"{one.calls - sum(one.own):>11,} {one.stored:>11,} {one.lost:>9,}  {ended:<7} {verdict:<8}"
        to.write(f"  {f'{one.pid} {one.comm}':<22} {figures} {one.database}\n")
        for problem in one.imbalances() if one.state != "running" else ():
            to.write(f"      {problem}\n")
        if one.close_status != 0:
            to.write(f"      the storage did not finish in time (status {one.close_status}): see 'lost'\n")
        if one.gave_up:
            to.write("      blocking was given up: the storage stood still for longer than the deadline\n")
