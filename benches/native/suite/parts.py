"""The parts of the benchmark. Each returns {setting: {contender: [figures of each repeat]}}."""
from statistics import median

from . import table
from .figures import mid, ratios, values
from .storage import large, storage

HANDLE, CALL, IN_PLACE = "capture_pipeline, handle", "capture_pipeline, call", "capture_pipeline, in place"
INLINED, SHORT = "capture_pipeline, inlined", "capture_pipeline, short slices"
PARKED, POLLING, PREFETCH, FENCE = "bare ring, membarrier", "bare ring, polling", "bare ring, prefetching", "bare ring, fence"
# The same once more: the difference between the two is the noise of this machine.
AGAIN = "bare ring, membarrier (again)"
COPY, COPY_TIME = "memcpy", "memcpy, rdtsc"
QUEUES = ["rtrb", "crossbeam ArrayQueue", "crossbeam-channel", "moodycamel, polling", "moodycamel, waiting", "oneTBB"]
LOGGERS = ["tracing-appender", "spdlog", "OpenTelemetry", "librdkafka, mock broker"]
LTTNG = "LTTng-UST"
FREE, APART, TOGETHER = 0, 1, 2
IN_TURNS, ALONE = "in turns", "alone"
BANDWIDTH = "4096 bytes, bandwidth"
SIZES = [16, 64, 256, 1024, 4096]
RATES = [10_000, 100_000, 1_000_000, 3_000_000, 10_000_000, 20_000_000]
THREADS = [1, 2, 4, 16]


def capture(contest, quick):
    """ns per captured event of 64 bytes: median burst of 1000, the queue empty before each"""
    repeats, bursts = (2, 100) if quick else (7, 250)
    floors = [PARKED, AGAIN, POLLING, PREFETCH, FENCE]
    ours = [HANDLE, INLINED, CALL, IN_PLACE, SHORT]
    fewer = {LTTNG: 60, "librdkafka, mock broker": 100}
    settings = {
        "1 thread": ([COPY, COPY_TIME, *floors, *ours, *QUEUES, *LOGGERS, LTTNG], dict(threads=1, pin=APART)),
        "2 threads": ([*floors, *ours, *QUEUES, *LOGGERS, LTTNG], dict(threads=2, pin=FREE)),
        "1 thread, anywhere": ([PARKED, AGAIN, POLLING, *ours], dict(threads=1, pin=FREE)),
        "1 thread, one processor": ([PARKED, AGAIN, POLLING, *ours], dict(threads=1, pin=TOGETHER)),
    }
    result = {}
    for setting, (names, keys) in settings.items():
        result[setting] = contest.in_turns(names, repeats, "capture", bursts=lambda name: min(bursts, fewer.get(name, bursts)), **keys)
        table.show(f"capture, {setting}", "ns", {n: mid(r, "ns", "50") for n, r in result[setting].items()})
    read = [HANDLE, f"{HANDLE} (figures read 1000 times a second)"]
    result["figures read"] = contest.in_turns(
        read, repeats, "capture", bursts=bursts, pin=APART, metrics=lambda name: 1000 if "(" in name else 0)
    table.show("capture, figures read", "ns", {n: mid(r, "ns", "50") for n, r in result["figures read"].items()})
    return result


def each(contest, quick):
    """percentiles of ns per captured event, each event timed on its own, including the reading of the clock"""
    names = [POLLING, PARKED, HANDLE, INLINED, CALL, "rtrb", "crossbeam ArrayQueue", "crossbeam-channel", "spdlog", "OpenTelemetry", "nothing"]
    result = {"1 thread": contest.in_turns(names, 2 if quick else 5, "each", bursts=50 if quick else 200, pin=APART)}
    for percentile in ["50", "99.9"]:
        table.show(f"one capture, percentile {percentile}", "ns", {n: mid(r, "ns", percentile) for n, r in result["1 thread"].items()})
    return result


def payload(contest, quick):
    """ns per captured event by the size of its payload"""
    names = [COPY, PARKED, AGAIN, HANDLE, INLINED, CALL, IN_PLACE]
    result = {}
    for size in SIZES:
        setting = f"{size} bytes"
        result[setting] = contest.in_turns(names, 2 if quick else 5, "capture", bursts=100 if quick else 250, payload=size, pin=APART)
        table.show(f"capture of {size} bytes", "ns", {n: mid(r, "ns", "50") for n, r in result[setting].items()})
    # The storage reads only the first bytes, for all contenders.
    result[BANDWIDTH] = contest.in_turns(names, 2 if quick else 5, "throughput", lossless=1, payload=4096, seconds=0.2, pin=APART)
    table.show("payloads of 4096 bytes to the storage", "GB/s",
               {n: mid(r, "events_per_s") * 4096 / 1e9 for n, r in result[BANDWIDTH].items()})
    return result


def throughput(contest, quick):
    """million events of 64 bytes per second from capture to storage, without loss"""
    names = [PARKED, AGAIN, POLLING, PREFETCH, FENCE, HANDLE, INLINED, CALL, IN_PLACE, *QUEUES, *LOGGERS]
    result = {}
    for threads in [1, 2] if quick else THREADS:
        setting = f"{threads} thread{'s' if threads > 1 else ''}"
        result[setting] = contest.in_turns(names, 2 if quick else 5, "throughput", threads=threads, lossless=1, seconds=0.2)
        table.show(f"throughput, {setting}", "M/s", {n: mid(r, "events_per_s") / 1e6 for n, r in result[setting].items()})
    return result


def wake(contest, quick):
    """microseconds from a single capture until it is stored, on an idle contender"""
    names = [PARKED, FENCE, POLLING, HANDLE, SHORT, CALL, *QUEUES, "tracing-appender", "spdlog"]
    result = {"1 thread": contest.in_turns(names, 2 if quick else 5, "wake", bursts=100 if quick else 750)}
    # High percentiles depend on the state of the machine, which changes from second to second. So these contenders are also measured in
    # one process with the bare ring, with alternating events.
    result[IN_TURNS] = contest.in_turns(
        [HANDLE, SHORT, AGAIN], 2 if quick else 9, "wake", bursts=100 if quick else 750, beside=contest.beside(PARKED))
    for percentile in ["50", "99"]:
        table.show(f"wake, percentile {percentile}", "us", {n: mid(r, "ns", percentile) / 1e3 for n, r in result["1 thread"].items()})
        table.show("the same, alternating with the sleeping bare ring: ratio to it", "x",
                   {n: median(against(r, percentile)) for n, r in result[IN_TURNS].items()})
    return result


def against(runs, percentile):
    """The ratio to the contender measured beside it, in each repeat."""
    return ratios(values(runs, "ns", percentile), values(runs, "beside_ns", percentile))


def load(contest, quick):
    """microseconds from the time at which an event was due until it is stored, by offered events per second"""
    names = [PARKED, POLLING, HANDLE, "crossbeam ArrayQueue", "crossbeam-channel", "spdlog"]
    result = {}
    for rate in RATES[1:4] if quick else RATES:
        setting = f"{rate} a second"
        result[setting] = contest.in_turns(names, 2 if quick else 3, "load", rate=rate, lossless=1, seconds=0.5 if rate <= 1e6 else 0.2)
        for percentile in ["50", "99"]:
            table.show(f"{rate:,} a second, percentile {percentile}", "us",
                       {n: mid(r, "ns", percentile) / 1e3 for n, r in result[setting].items()})
    return result


def idle(contest, quick):
    """seconds of processor time that an idle contender uses in 10 s"""
    names = [PARKED, HANDLE, *QUEUES[1:3], *QUEUES[4:], *LOGGERS]
    seconds = 2 if quick else 10
    # Measured among a dozen others, a check once per second may cost several times as much, because of cold caches.
    result = {ALONE: contest.in_turns([HANDLE, PARKED], 1 if quick else 5, "idle", seconds=seconds),
              "1 thread": contest.at_once(names, "idle", seconds=seconds)}
    for setting, runs in result.items():
        table.show(f"processor time in {seconds} s, {'one at a time' if setting == ALONE else 'all at once'}", "s",
                   {n: mid(r, "cpu_s") for n, r in runs.items()})
    return result


def writers(contest, quick):
    """batches per second into a storage that takes 1 ms per batch, by number of writers"""
    result = {}
    names = [f"{HANDLE} ({n} writer{'s' if n > 1 else ''})" for n in ([1, 16] if quick else [1, 2, 4, 8, 16])]
    result["1 thread"] = contest.in_turns(
        names, 2 if quick else 5, "throughput", lossless=1, sleep_us=1000, batch=64, seconds=0.4,
        writers=lambda name: int(name.split("(")[1].split()[0]))
    table.show("storage that takes 1 ms per batch", "batches/s", {n: mid(r, "batches_per_s") for n, r in result["1 thread"].items()})
    return result


ALL = {part.__name__: part for part in [capture, each, payload, throughput, wake, load, idle, writers, storage]}
# Not among the published figures, and only run if asked for.
EXTRA = {part.__name__: part for part in [large]}
