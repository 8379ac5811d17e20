"""The bounds: limits for ratios that the library has to keep, and a verdict for each. A ratio is taken within a repeat.

The floor is measured twice in each repeat; the difference between the two is the noise of the machine. There is no verdict
("too noisy to tell") if the noise exceeds a tenth and the ratio is within the noise of its limit, or if the repeats themselves
scatter by more than that on both sides of the limit.
"""
from statistics import median, quantiles

from . import parts, storage
from .figures import apart, ratios, values

NOISY = 0.10


def check(results):
    """One row per bound whose part was measured."""
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
        return f"too noisy to tell (equal measurements differ by {noise:.0%})"
    if across and high - low > 2 * NOISY * row["value"]:
        return f"too noisy to tell (quartiles {low:.2f} and {high:.2f})"
    return ("met" if met else "not met") + (f", within the noise of {noise:.0%}" if near and noise else "")


def ratio(setting, name, to_setting, to_name, *keys):
    """The ratio of two contenders or settings of a part."""
    def measure(result):
        above = values(result.get(setting, {}).get(name), *keys)
        return ratios(above, values(result.get(to_setting, {}).get(to_name), *keys))
    return measure


def equal(setting, *keys):
    """The noise: how much two measurements of the floor differ."""
    def measure(result):
        return apart(values(result.get(setting, {}).get(parts.PARKED), *keys), values(result.get(setting, {}).get(parts.AGAIN), *keys))
    return measure


def capture(what, limit, name, to_name, setting="1 thread"):
    return "capture", what, limit, False, "x", ratio(setting, name, setting, to_name, "ns", "50"), equal(setting, "ns", "50")


def throughput(what, limit, threads, name, to_threads, to_name):
    return ("throughput", what, limit, True, "x", ratio(threads, name, to_threads, to_name, "events_per_s"), equal(threads, "events_per_s"))


def single(what, limit, name, to_name):
    """The median single capture, which wakes no consumer, without the cost of reading the clock."""
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
    """The noise of the measurement in turns: how much two measurements of the floor differ."""
    return lambda result: median([max(r, 1 / r) - 1 for r in parts.against(result[parts.IN_TURNS].get(parts.AGAIN), percentile)] or [0])


def seconds(name):
    return lambda result: values(result[parts.ALONE].get(name), "cpu_s")


H, I, C, S, PARKED, POLLING = parts.HANDLE, parts.INLINED, parts.CALL, parts.SHORT, parts.PARKED, parts.POLLING
READ = f"{H} (figures read 1000 times a second)"
ONE, SIXTEEN = f"{H} (1 writer)", f"{H} (16 writers)"

# part, what, limit, whether the limit is a minimum, unit, the function that measures, the function that measures its noise
BOUNDS = [
    capture("capture: handle / sleeping bare ring", 1.15, H, PARKED),
    capture("capture: handle / polling bare ring", 1.15, H, POLLING),
    capture("capture, all threads on one processor: handle / polling bare ring", 1.15, H, POLLING, "1 thread, one processor"),
    capture("capture: inlined / sleeping bare ring", 1.15, I, PARKED),
    capture("capture: inlined / polling bare ring", 1.15, I, POLLING),
    capture("capture, all threads on one processor: inlined / polling bare ring", 1.15, I, POLLING, "1 thread, one processor"),
    capture("capture: inlined / handle", 1, I, H),
    capture("capture: call / sleeping bare ring", 1.6, C, PARKED),
    capture("capture: call / polling bare ring", 1.6, C, POLLING),
    capture("capture, all threads on one processor: call / polling bare ring", 1.6, C, POLLING, "1 thread, one processor"),
    single("single capture: handle / sleeping bare ring", 1.15, H, PARKED),
    single("single capture: inlined / sleeping bare ring", 1.15, I, PARKED),
    single("single capture: call / sleeping bare ring", 1.6, C, PARKED),
    single("single capture: handle / ArrayQueue", 0.6, H, "crossbeam ArrayQueue"),
    single("single capture: handle / spdlog", 0.07, H, "spdlog"),
    single("single capture: handle / OpenTelemetry", 0.07, H, "OpenTelemetry"),
    single("single capture: inlined / spdlog", 0.07, I, "spdlog"),
    ("capture", "capture: handle, two threads / one thread", 1.15, False, "x",
     ratio("2 threads", H, "1 thread, anywhere", H, "ns", "50"), equal("1 thread, anywhere", "ns", "50")),
    capture("capture: handle / ArrayQueue", 0.6, H, "crossbeam ArrayQueue"),
    capture("capture: handle / LTTng-UST", 0.2, H, "LTTng-UST"),
    capture("capture: handle / spdlog", 0.07, H, "spdlog"),
    capture("capture: inlined / LTTng-UST", 0.2, I, "LTTng-UST"),
    capture("capture: inlined / spdlog", 0.07, I, "spdlog"),
    capture("capture: handle / OpenTelemetry", 0.07, H, "OpenTelemetry"),
    ("capture", "capture: handle, metrics read 1000 times per second / not read", 1.05, False, "x",
     ratio("figures read", READ, "figures read", H, "ns", "50"), equal("1 thread", "ns", "50")),
    throughput("throughput, one thread: handle / sleeping bare ring", 0.8, "1 thread", H, "1 thread", PARKED),
    throughput("throughput, one thread: inlined / sleeping bare ring", 0.8, "1 thread", I, "1 thread", PARKED),
    throughput("throughput, two threads: handle / sleeping bare ring", 0.8, "2 threads", H, "2 threads", PARKED),
    throughput("throughput: handle, 16 threads / 2 threads", 0.8, "16 threads", H, "2 threads", H),
    ("payload", "bandwidth with 4 KiB payloads: handle / memcpy", 0.7, True, "x",
     ratio(parts.BANDWIDTH, H, parts.BANDWIDTH, parts.COPY, "events_per_s"), equal(parts.BANDWIDTH, "events_per_s")),
    ("idle", "idle: processor time in 10 s", 0.005, False, " s", seconds(H), None),
    ("wake", "wake, p50: handle", 2.5, False, " us", microseconds(H, "50"), equal_in_turns("50")),
    ("wake", "wake, p50: short slices", 2.5, False, " us", microseconds(S, "50"), equal_in_turns("50")),
    ("wake", "wake, p50: handle / sleeping bare ring", 1.2, False, "x", in_turns(H, "50"), equal_in_turns("50")),
    ("wake", "wake, p99: handle / sleeping bare ring", 1.2, False, "x", in_turns(H, "99"), equal_in_turns("99")),
    ("wake", "wake, p99: short slices / sleeping bare ring", 1.2, False, "x", in_turns(S, "99"), equal_in_turns("99")),
    ("writers", "storage that takes 1 ms per batch: 16 writers / 1 writer", 14, True, "x", ratio("1 thread", SIXTEEN, "1 thread", ONE, "batches_per_s"), None),
    *storage.BOUNDS,
]
