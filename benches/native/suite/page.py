"""docs/benchmarks/native.md and .json, the plots, and the figures in the README."""
import json
import re

from . import parts, plot, table
from .figures import apart, mid, values
from .machine import in_words
from .table import number

MARK = "<!-- figures: written by make bench -->", "<!-- end of figures -->"
OURS = [parts.HANDLE, parts.INLINED, parts.CALL]


def write(docs, readme, machine, contest, results, rows):
    docs.mkdir(parents=True, exist_ok=True)
    everything = {"machine": machine, "configurations": contest.configurations, "left_out": contest.missing, "bounds": rows,
                  "parts": {part: {setting: {who: by_figure(runs) for who, runs in of.items()} for setting, of in settings.items()}
                            for part, settings in results.items()}}
    # A line for each contender.
    text = json.dumps(everything, indent=1)
    (docs / "native.json").write_text(re.sub(r"\n {5,}|\n {4}(?=[\]}])", " ", text) + "\n")
    draw(docs, results)
    (docs / "native.md").write_text(page(machine, contest, results, rows))
    text = readme.read_text()
    if MARK[0] in text:
        at, end = text.index(MARK[0]) + len(MARK[0]), text.index(MARK[1])
        readme.write_text(text[:at] + "\n" + short(machine, results) + "\n" + text[end:])


KEPT = ["50", "90", "99", "99.9", "99.99"]


def by_figure(runs):
    """Of each figure its values in the repeats."""
    names = dict.fromkeys(key for run in runs if run for key in run)
    figures = {}
    for name in names:
        if name == "ns":
            figures[name] = {p: values(runs, "ns", p) for p in KEPT}
        else:
            figures[name] = values(runs, name)
    return figures


# --- tables ---

def everyone(results):
    """Every contender, the library first, then as they are measured."""
    seen = dict.fromkeys([parts.HANDLE, parts.INLINED, parts.CALL, parts.IN_PLACE])
    for setting in results["capture"].values():
        seen.update(dict.fromkeys(name for name in setting if "(" not in name))
    return list(seen)


def row(results, name):
    capture, rate, wake = results["capture"], results["throughput"], results["wake"]["1 thread"]
    idle = {**results["idle"]["1 thread"], **results["idle"][parts.ALONE]}
    millions = [mid(rate[f"{n} thread{'s' if n > 1 else ''}"].get(name), "events_per_s") for n in parts.THREADS]
    woken = [mid(wake.get(name), "ns", p) for p in ("50", "99")]
    return [name, number(mid(capture["1 thread"].get(name), "ns", "50")), number(mid(capture["2 threads"].get(name), "ns", "50")),
            *(number(m / 1e6 if m else None) for m in millions),
            " / ".join(number(w / 1e3) for w in woken) if all(woken) else "-", number(mid(idle.get(name), "cpu_s"))]


HEAD = ["", "capture, 1 thread", "2 threads", "throughput, 1 thread", "2", "4", "16", "wake p50 / p99", "idle"]


def bound(r):
    limit = f"{'≥' if r['least'] else '≤'} {r['limit']:g}{r['unit']}"
    got = "-" if r["value"] is None else table.shown(r["value"], r["unit"])
    spread = f"{r['low']:.2f} to {r['high']:.2f}" if r.get("low") is not None else ""
    return [r["what"], limit, got, spread, r["verdict"]]


def noise(results):
    capture, rate = results["capture"]["1 thread"], results["throughput"]["1 thread"]
    lie = [apart(values(s.get(parts.PARKED), *k), values(s.get(parts.AGAIN), *k)) for s, k in ((capture, ("ns", "50")), (rate, ("events_per_s",)))]
    return " and ".join(f"{n:.0%}" for n in lie if n is not None)


def page(machine, contest, results, rows):
    names = everyone(results)
    configurations = "\n".join(f"- **{name}**: {contest.configurations[name]}" for name in names if name in contest.configurations)
    left_out = "".join(f"\nLeft out, as it was not to be had: {name}." for name in contest.missing)
    figures = in_words(machine).replace("\n", ".\n")
    return f"""# What it costs, against others

Written by `make bench` on {machine['date']}; [native.json](native.json) has every figure.

{figures}.{left_out}

Events have a payload of 64 bytes, a header of 32 and the time. All contenders get the same events and have the same storage,
which adds up the first 8 bytes of each; every measurement checks the count and the sum. Each one runs in a process of its own,
in turns, in an order that changes from repeat to repeat; the figures are medians over the repeats. *Capture*: ns per event on the
capturing thread, the median over bursts of 1000 with rests between them in which all is drained, once that goes as it will for good
(the library's writers are woken at most some 1000 times a second, and 128 times at once after a while of idleness; a burst in which one is
takes longer by the price of that, here some 10 us); one thread has a processor of its own, and the consumer the other. *Throughput*: millions of events a second from the first capture until the
last event is with the storage, nothing lost. *Wake*: microseconds from one capture on an idle contender to the storage. *Idle*: seconds of
processor time in 10 s; the library and the bare ring that sleeps each by itself, the others all at once (where the library, among them,
used {number(mid(results["idle"]["1 thread"].get(parts.HANDLE), "cpu_s"))}).

{table.markdown(HEAD, [row(results, name) for name in names])}

## Bounds

A ratio is taken within a repeat; below are its median and its range. (The parts may have been measured one by one, all with the same
build of the library; no ratio goes across parts.) The bare ring that sleeps is measured twice in each: the two
lie {noise(results)} apart (capture and throughput), so much for equal things on this machine. For the ratios of a wake both
are in one process, an event to the one after an event to the other, so that whatever the machine does meanwhile meets both.

{table.markdown(["", "bound", "measured", "range", ""], [bound(r) for r in rows])}

## Plots

![cost by percentile](native_percentiles.svg)
![throughput by threads](native_threads.svg)
![latency against load](native_load.svg)
![cost by payload size](native_payload.svg)

## Configurations

{configurations}
"""


def short(machine, results):
    """What the README shows."""
    shown = [parts.HANDLE, parts.INLINED, parts.CALL, parts.PARKED, "crossbeam ArrayQueue", "moodycamel, waiting", parts.LTTNG, "spdlog", "OpenTelemetry"]
    rows = [row(results, name) for name in shown if name in results["capture"]["1 thread"]]
    few = [[r[0], r[1], r[2], r[3], r[4], r[7]] for r in rows]
    head = ["", "capture, 1 thread, ns", "2 threads", "million events/s, 1 thread", "2 threads", "wake p50 / p99, us"]
    return f"""
{table.markdown(head, few)}

{machine['processors']} processors, {machine['date']}; a bare ring is a ring buffer and nothing else.

![cost by percentile](docs/benchmarks/native_percentiles.svg)
![throughput by threads](docs/benchmarks/native_threads.svg)
"""


# --- plots ---

def draw(docs, results):
    percentiles = ["50", "75", "90", "99", "99.9", "99.99"]
    # Evenly by the number of nines: 1 - p on a logarithmic scale, from right to left.
    place = {p: 1 / (1 - float(p) / 100) for p in percentiles}
    names = {round(v): p for p, v in place.items()}
    each = results["each"]["1 thread"]
    clock = mid(each.get("nothing"), "ns", "50") or 0
    plot.lines(docs / "native_percentiles.svg", "Cost of one capture by percentile", "percentile of captures",
               f"ns; {clock:.0f} ns of reading the clock are taken off",
               {n: [(place[p], mid(r, "ns", p) - clock) for p in percentiles] for n, r in each.items() if n != "nothing"},
               x_marks=list(place.values()), x_name=lambda v: names[round(v)], strong=OURS)
    left = {parts.FENCE, parts.IN_PLACE, parts.AGAIN, "moodycamel, polling"}
    everyone_ = [n for n in results["throughput"]["1 thread"] if n not in left]
    plot.lines(docs / "native_threads.svg", "Throughput by capturing threads", "threads", "million events/s to the storage",
               {n: [(t, (mid(results["throughput"][f"{t} thread{'s' if t > 1 else ''}"].get(n), "events_per_s") or 0) / 1e6) for t in parts.THREADS]
                for n in everyone_}, x_marks=parts.THREADS, strong=OURS, note=f"{results['processors']} processors" if "processors" in results else "")
    load = {}
    for name in results["load"][f"{parts.RATES[0]} a second"]:
        for p in ("50", "99"):
            load[f"{name}, p{p}"] = [(r, (mid(results["load"][f"{r} a second"].get(name), "ns", p) or 0) / 1e3) for r in parts.RATES]
    shown = (parts.HANDLE, parts.PARKED, "crossbeam ArrayQueue", "spdlog")
    load = {n: points for n, points in load.items() if n.startswith(shown)}
    plot.lines(docs / "native_load.svg", "Latency against load", "events offered a second", "us from when an event was due to the storage", load,
               x_marks=parts.RATES, x_name=plot.shown, strong=[f"{parts.HANDLE}, p50", f"{parts.HANDLE}, p99"])
    sizes = {n: [(s, mid(results["payload"][f"{s} bytes"].get(n), "ns", "50")) for s in parts.SIZES]
             for n in results["payload"]["64 bytes"] if n != parts.AGAIN}
    plot.lines(docs / "native_payload.svg", "Cost of a capture by payload", "bytes of payload", "ns", sizes, x_marks=parts.SIZES, strong=OURS)
