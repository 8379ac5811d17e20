#!/usr/bin/env python3
"""Simulates a fleet of producers and one server that is away for a minute: what is lost, by the size of the ring buffers, and how long the
fleet takes to catch up. Only the standard library is used. docs/scale.md explains the model and has the tables.

    docs/scale/fleet.py                     prints the tables
    docs/scale/fleet.py --check             fails if docs/scale.md does not have these tables (tests/readme.sh)
    docs/scale/fleet.py --producers N --rate R --burst B --away S --capacity C ...   another fleet (--help)
"""
import argparse
import heapq
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE = os.path.join(HERE, "..", "scale.md")

# A record in a ring buffer: its header and a payload of 64 bytes. See docs/format.md.
RECORD_BYTES = 48 + 64
STEP_S = 0.5
# A fleet that has not caught up after this long is said not to.
PATIENCE_S = 900
MIB = 1 << 20


class Fleet:
    """Producers that are quiet most of the time and have bursts. Both last a random time, exponentially distributed. So the rate of each goes up
    and down, while that of the fleet stays near its mean."""

    def __init__(self, options):
        self.random = random.Random(options.seed)
        self.quiet_s, self.burst_s = options.quiet_s, options.burst_s
        share = options.burst_s / (options.quiet_s + options.burst_s)
        quiet = options.rate / (1 + share * (options.burst - 1))
        self.rates = (quiet * STEP_S, quiet * options.burst * STEP_S)
        self.now = 0.0
        self.bursting = [self.random.random() < share for _ in range(options.producers)]
        self.changes = [(self.lasts(n), n) for n in range(options.producers)]
        heapq.heapify(self.changes)

    def lasts(self, n):
        return self.now + self.random.expovariate(1 / (self.burst_s if self.bursting[n] else self.quiet_s))

    def step(self):
        """The events that each producer captures in the next step."""
        self.now += STEP_S
        while self.changes[0][0] <= self.now:
            n = self.changes[0][1]
            self.bursting[n] = not self.bursting[n]
            heapq.heapreplace(self.changes, (self.lasts(n), n))
        low, high = self.rates
        return [high if burst else low for burst in self.bursting]


def level(waiting, capacity):
    """How much the server takes from each producer at most, if it takes `capacity` in all and serves each connection alike."""
    left = len(waiting)
    for has in sorted(waiting):
        if has * left >= capacity:
            break
        capacity -= has
        left -= 1
    return capacity / max(left, 1)


def run(options, ring_bytes, factor):
    """One fleet with one size of ring buffers and one server. Times in seconds, events as counts."""
    fleet = Fleet(options)
    room = ring_bytes / RECORD_BYTES
    capacity = options.producers * options.rate * factor * STEP_S
    waiting = [0.0] * options.producers
    offered = lost = most = 0.0
    losers = set()
    steps_away = round(options.away / STEP_S)
    for step in range(round((options.away + PATIENCE_S) / STEP_S)):
        events = fleet.step()
        offered += sum(events)
        full = [has + new for has, new in zip(waiting, events)]
        if step >= steps_away:
            if sum(full) <= capacity:
                return offered, lost, len(losers), most, (step - steps_away) * STEP_S
            most_each = level(full, capacity)
            full = [has - most_each if has > most_each else 0.0 for has in full]
        over = max(full) > room
        if over:
            for n, has in enumerate(full):
                if has > room:
                    lost += has - room
                    losers.add(n)
                    full[n] = room
        waiting = full
        most = max(most, sum(waiting))
    return offered, lost, len(losers), most, None


def size(ring_bytes):
    return f"{ring_bytes // MIB} MiB" if ring_bytes >= MIB else f"{ring_bytes // 1024} KiB"


def tables(options):
    lines = [f"{options.producers:,} producers of {options.rate:g} events a second each in the mean, bursts of {options.burst:g} times the quiet rate "
             f"(in the mean {options.burst_s:g} s long, {options.quiet_s:g} s apart), the server away for {options.away:g} s, and then taking "
             f"{options.factors[-1]:g} times the mean rate:", "",
             "| ring buffers of a producer | lost | producers that lose | most waiting, all producers |", "| --- | --- | --- | --- |"]
    for ring in options.rings:
        progress(options, f"{size(ring)}")
        offered, lost, losers, most, _ = run(options, ring, options.factors[-1])
        lines.append(f"| {size(ring)} | {100 * lost / offered:.2f} % | {100 * losers / options.producers:.1f} % | "
                     f"{most * RECORD_BYTES / 1e9:.2f} GB |")
    lines += ["", f"With ring buffers of {size(options.rings[-1])}:", "",
              "| what the server takes, in parts of the mean rate | catches up after | by the formula |", "| --- | --- | --- |"]
    for factor in sorted(options.factors):
        progress(options, f"{factor:g}")
        *_, took = run(options, options.rings[-1], factor)
        formula = options.away / (factor - 1)
        lines.append(f"| {factor:g} | {'never' if took is None else f'{took:.0f} s'} | {formula:.0f} s |")
    return "\n".join(lines) + "\n"


def progress(options, what):
    if sys.stderr.isatty():
        print(f"\r{what:20}", end="", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with docs/scale.md")
    parser.add_argument("--producers", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=100, help="events a second of each producer, in the mean")
    parser.add_argument("--burst", type=float, default=20, help="the rate in a burst, in parts of the quiet rate")
    parser.add_argument("--burst-s", type=float, default=2, help="how long a burst lasts in the mean")
    parser.add_argument("--quiet-s", type=float, default=60, help="how long the time between bursts lasts in the mean")
    parser.add_argument("--away", type=float, default=60, help="seconds without the server")
    parser.add_argument("--rings", type=int, nargs="+", default=[256 << 10, MIB, 2 * MIB, 4 * MIB], help="bytes, the largest last")
    parser.add_argument("--factors", type=float, nargs="+", default=[1.25, 1.5, 4, 2], help="what the server takes, in parts of the mean rate; the last one for the first table")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    text = tables(options)
    if not options.check:
        print(text, end="")
        return 0
    with open(PAGE, encoding="utf-8") as page:
        if text in page.read():
            return 0
    print(f"docs/scale.md does not have these tables; put them there:\n\n{text}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
