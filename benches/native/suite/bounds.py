"""What the library has promised itself, as ratios taken within a repeat, and whether it is met.

Two equal measurements (the floor, twice) tell how far apart the machine puts them. A ratio that lies within that of its limit
proves nothing, and where it is more than a tenth, that is said instead of a verdict; so it is where the repeats themselves lie that
far apart, on both sides of the limit.
"""
from statistics import median, quantiles

from . import parts
from .figures import apart, ratios, values

NOISY = 0.10


def check(results):
    """The rows of all bounds whose parts were measured."""
    rows = []
    for bound in BOUNDS:
        part, what, limit, least, unit, measure, noise = bound
        if part not in results:
            continue
        found = [v for v in measure(results[part]) if v is not None]
        row = {"what": what, "limit": limit, "least": least, "unit": unit, "value": None, "verdict": "not measured"}
        if found:
            row["value"] = median(found)
            if len(found) > 1:
                row["low"], row["high"] = min(found), max(found)
                row["quartiles"] = quantiles(found, n=4)[::2]
            row["noise"] = noise(results[part]) if noise else None
            row["verdict"] = verdict(row)
        rows.append(row)
    return rows


def verdict(row):
    met = row["value"] >= row["limit"] if row["least"] else row["value"] <= row["limit"]
    noise = row["noise"] or 0
    near = row["limit"] / (1 + noise) <= row["value"] <= row["limit"] * (1 + noise)
    low, high = row.get("quartiles", (row["value"], row["value"]))
    across = low <= row["limit"] <= high
    if near and noise > NOISY:
        return f"too noisy to tell (equal ones lie {noise:.0%} apart)"
    if across and high - low > 2 * NOISY * row["value"]:
        return f"too noisy to tell (half of the repeats between {low:.2f} and {high:.2f})"
    return ("met" if met else "not met") + (f", within the noise of {noise:.0%}" if near and noise else "")


def ratio(setting, name, to_setting, to_name, *keys):
    """Of two contenders or settings of a part."""
    def measure(result):
        above = values(result.get(setting, {}).get(name), *keys)
        return ratios(above, values(result.get(to_setting, {}).get(to_name), *keys))
    return measure


def equal(setting, *keys):
    """How far two measurements of the floor lie apart there."""
    def measure(result):
        return apart(values(result.get(setting, {}).get(parts.PARKED), *keys), values(result.get(setting, {}).get(parts.AGAIN), *keys))
    return measure


def capture(what, limit, name, to_name, setting="1 thread"):
    return "capture", what, limit, False, "x", ratio(setting, name, setting, to_name, "ns", "50"), equal(setting, "ns", "50")


def throughput(what, limit, threads, name, to_threads, to_name):
    return ("throughput", what, limit, True, "x", ratio(threads, name, to_threads, to_name, "events_per_s"), equal(threads, "events_per_s"))


def single(what, limit, name, to_name):
    """One capture by itself, the call for a sleeping consumer not among them: the median, less what reading the clock takes."""
    def measure(result):
        found = {n: values(result["1 thread"].get(n), "ns", "50") for n in (name, to_name, "nothing")}
        less = [[v - c if v and c else None for v, c in zip(found[n], found["nothing"])] for n in (name, to_name)]
        return ratios(*less)
    return "each", what, limit, False, "x", measure, None


def microseconds(name, percentile):
    return lambda result: [v / 1e3 for v in values(result["1 thread"].get(name), "ns", percentile) if v is not None]


def in_turns(name, percentile):
    return lambda result: parts.against(result[parts.IN_TURNS].get(name), percentile)


def equal_in_turns(percentile):
    """How far the floor and the floor lie apart, measured in turns."""
    return lambda result: median([max(r, 1 / r) - 1 for r in parts.against(result[parts.IN_TURNS].get(parts.AGAIN), percentile)] or [0])


def seconds(name):
    return lambda result: values(result[parts.ALONE].get(name), "cpu_s")


H, I, C, S, PARKED, POLLING = parts.HANDLE, parts.INLINED, parts.CALL, parts.SHORT, parts.PARKED, parts.POLLING
READ = f"{H} (figures read 1000 times a second)"
ONE, SIXTEEN = f"{H} (1 writer)", f"{H} (16 writers)"

# part, what, limit, whether that is the least, unit, how it is measured, how noisy that is
BOUNDS = [
    capture("capture, handle, to the bare ring that sleeps", 1.15, H, PARKED),
    capture("capture, handle, to the bare ring that polls", 1.15, H, POLLING),
    capture("capture, handle, to that, all on one processor", 1.15, H, POLLING, "1 thread, one processor"),
    capture("capture, inlined, to the bare ring that sleeps", 1.15, I, PARKED),
    capture("capture, inlined, to the bare ring that polls", 1.15, I, POLLING),
    capture("capture, inlined, to that, all on one processor", 1.15, I, POLLING, "1 thread, one processor"),
    capture("capture, inlined, to the handle", 1, I, H),
    capture("capture, call, to the bare ring that sleeps", 1.6, C, PARKED),
    capture("capture, call, to the bare ring that polls", 1.6, C, POLLING),
    capture("capture, call, to that, all on one processor", 1.6, C, POLLING, "1 thread, one processor"),
    single("a single capture, handle, to the bare ring that sleeps", 1.15, H, PARKED),
    single("a single capture, inlined, to the bare ring that sleeps", 1.15, I, PARKED),
    single("a single capture, call, to the bare ring that sleeps", 1.6, C, PARKED),
    single("a single capture, handle, to ArrayQueue", 0.6, H, "crossbeam ArrayQueue"),
    single("a single capture, handle, to spdlog", 0.07, H, "spdlog"),
    single("a single capture, handle, to OpenTelemetry", 0.07, H, "OpenTelemetry"),
    single("a single capture, inlined, to spdlog", 0.07, I, "spdlog"),
    ("capture", "capture, handle, two threads to one", 1.15, False, "x",
     ratio("2 threads", H, "1 thread, anywhere", H, "ns", "50"), equal("1 thread, anywhere", "ns", "50")),
    capture("capture, handle, to ArrayQueue", 0.6, H, "crossbeam ArrayQueue"),
    capture("capture, handle, to LTTng-UST", 0.2, H, "LTTng-UST"),
    capture("capture, handle, to spdlog", 0.07, H, "spdlog"),
    capture("capture, inlined, to LTTng-UST", 0.2, I, "LTTng-UST"),
    capture("capture, inlined, to spdlog", 0.07, I, "spdlog"),
    capture("capture, handle, to OpenTelemetry", 0.07, H, "OpenTelemetry"),
    ("capture", "capture, figures read 1000 times a second, to none read", 1.05, False, "x",
     ratio("figures read", READ, "figures read", H, "ns", "50"), equal("1 thread", "ns", "50")),
    throughput("throughput, one thread, to the bare ring", 0.8, "1 thread", H, "1 thread", PARKED),
    throughput("throughput, one thread, inlined, to the bare ring", 0.8, "1 thread", I, "1 thread", PARKED),
    throughput("throughput, two threads, to the bare ring", 0.8, "2 threads", H, "2 threads", PARKED),
    throughput("throughput, 16 threads to two", 0.8, "16 threads", H, "2 threads", H),
    ("payload", "4 KiB, bandwidth, to memcpy", 0.7, True, "x",
     ratio(parts.BANDWIDTH, H, parts.BANDWIDTH, parts.COPY, "events_per_s"), equal(parts.BANDWIDTH, "events_per_s")),
    ("idle", "idle, processor time in 10 s", 0.005, False, " s", seconds(H), None),
    ("wake", "wake, p50", 2.5, False, " us", microseconds(H, "50"), equal_in_turns("50")),
    ("wake", "wake, short slices, p50", 2.5, False, " us", microseconds(S, "50"), equal_in_turns("50")),
    ("wake", "wake, p50, to the bare ring that sleeps", 1.2, False, "x", in_turns(H, "50"), equal_in_turns("50")),
    ("wake", "wake, p99, to the bare ring that sleeps", 1.2, False, "x", in_turns(H, "99"), equal_in_turns("99")),
    ("wake", "wake, short slices, p99, to the bare ring that sleeps", 1.2, False, "x", in_turns(S, "99"), equal_in_turns("99")),
    ("writers", "storage of 1 ms a batch, 16 writers to one", 14, True, "x", ratio("1 thread", SIXTEEN, "1 thread", ONE, "batches_per_s"), None),
]
