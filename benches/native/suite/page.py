"""Writes docs/benchmarks/native.md and native.json, the plots, and the figures in the README."""
import json
import re

from . import parts, plot, storage, table
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
    # One line per contender.
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
    """For each figure, its values in all repeats."""
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
    """Every contender: the library first, then in the order of the measurement."""
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
    difference = [apart(values(s.get(parts.PARKED), *k), values(s.get(parts.AGAIN), *k)) for s, k in ((capture, ("ns", "50")), (rate, ("events_per_s",)))]
    return " and ".join(f"{n:.0%}" for n in difference if n is not None)


def page(machine, contest, results, rows):
    names = everyone(results)
    files = [name for of in results["storage"].values() for name in of]
    configurations = "\n".join(f"- **{name}**: {contest.configurations[name]}" for name in dict.fromkeys([*names, *files]) if name in contest.configurations)
    left_out = "".join(f"\nNot measured, because it is not installed: {name}." for name in contest.missing)
    figures = in_words(machine).replace("\n", ".\n")
    return f"""# Benchmark: capture_pipeline and its peers

Written by `make bench` on {machine['date']}. [native.json](native.json) has all figures.

{figures}.{left_out}

## Method

An event has a payload of 64 bytes and a header of 32 bytes, which contains the time. All contenders get the same events and
deliver them to the same storage, which counts events and adds up the first 8 bytes of each payload. Every measurement fails
unless count and sum are exact. Each measurement runs in a new process. Contenders are measured in turns, and the order
changes from repeat to repeat. A figure in the table is the median over the repeats.

- **Capture**: ns per event on the capturing thread. The thread captures bursts of 1000 events; after each burst it pauses until
  everything is stored. The figure is that of the median burst. With one thread, the thread has one processor and the consumer
  has the other. The first 400 bursts are not counted: the library limits how often its writers are woken (1000 times per
  second, and 128 more after an idle time), and these bursts use up what was saved. A burst that does wake a writer takes
  about 10 us longer on this machine.
- **Throughput**: millions of events per second, from the first capture until the last event is stored. No event is lost.
- **Wake**: microseconds from a single capture, while the contender is idle, until the event is stored.
- **Idle**: seconds of processor time that an idle contender uses in 10 s. The library and the sleeping bare ring were measured one
  at a time, the others all at once. (In the run with all others, the library used
  {number(mid(results["idle"]["1 thread"].get(parts.HANDLE), "cpu_s"))} s.)

{table.markdown(HEAD, [row(results, name) for name in names])}

{storage.page(results["storage"], contest.disk.system)}
## Bounds

A *bound* is a limit for a ratio that the library has to keep. The ratio is taken within each repeat; the table has its median and
its range. The *sleeping* bare ring is `bare ring, membarrier`, the *polling* one is `bare ring, polling`. All parts were measured
with the same build of the library, but perhaps at different times, so no ratio compares figures of two parts.

The sleeping bare ring is measured twice in each repeat, to see the noise of the machine: the two results differ by {noise(results)}
(capture and throughput). For the ratios of a wake, both contenders run in the same process and get events alternately, so that
disturbances of the machine affect both.

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
    storage.draw(docs, results["storage"])
    percentiles = ["50", "75", "90", "99", "99.9", "99.99"]
    # Spaced by the number of nines: 1 - p on a logarithmic scale, from right to left.
    place = {p: 1 / (1 - float(p) / 100) for p in percentiles}
    names = {round(v): p for p, v in place.items()}
    each = results["each"]["1 thread"]
    clock = mid(each.get("nothing"), "ns", "50") or 0
    plot.lines(docs / "native_percentiles.svg", "Cost of one capture by percentile", "percentile of captures",
               f"ns, without the {clock:.0f} ns of reading the clock",
               {n: [(place[p], mid(r, "ns", p) - clock) for p in percentiles] for n, r in each.items() if n != "nothing"},
               x_marks=list(place.values()), x_name=lambda v: names[round(v)], strong=OURS)
    omitted = {parts.FENCE, parts.IN_PLACE, parts.AGAIN, "moodycamel, polling"}
    everyone_ = [n for n in results["throughput"]["1 thread"] if n not in omitted]
    plot.lines(docs / "native_threads.svg", "Throughput by capturing threads", "threads", "million stored events/s",
               {n: [(t, (mid(results["throughput"][f"{t} thread{'s' if t > 1 else ''}"].get(n), "events_per_s") or 0) / 1e6) for t in parts.THREADS]
                for n in everyone_}, x_marks=parts.THREADS, strong=OURS, note=f"{results['processors']} processors" if "processors" in results else "")
    load = {}
    for name in results["load"][f"{parts.RATES[0]} a second"]:
        for p in ("50", "99"):
            load[f"{name}, p{p}"] = [(r, (mid(results["load"][f"{r} a second"].get(name), "ns", p) or 0) / 1e3) for r in parts.RATES]
    shown = (parts.HANDLE, parts.PARKED, "crossbeam ArrayQueue", "spdlog")
    load = {n: points for n, points in load.items() if n.startswith(shown)}
    plot.lines(docs / "native_load.svg", "Latency against load", "offered events per second", "us from the time at which an event was due until it is stored", load,
               x_marks=parts.RATES, x_name=plot.shown, strong=[f"{parts.HANDLE}, p50", f"{parts.HANDLE}, p99"])
    sizes = {n: [(s, mid(results["payload"][f"{s} bytes"].get(n), "ns", "50")) for s in parts.SIZES]
             for n in results["payload"]["64 bytes"] if n != parts.AGAIN}
    plot.lines(docs / "native_payload.svg", "Cost of a capture by payload", "bytes of payload", "ns", sizes, x_marks=parts.SIZES, strong=OURS)
