"""The contenders, and how they are measured: one process per measurement, in turns, in an order that rotates from repeat to repeat."""
import concurrent.futures
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .disk import Disk

# The shared objects, and the package that each needs, which a machine may lack.
OBJECTS = {
    "bare_ring": None, "copy": None, "disk": None, "pipeline": None, "storage": None,
    "peers": "the Rust peers (crates.io)", "moodycamel": "moodycamel (libconcurrentqueue-dev)", "spdlog": "spdlog (libspdlog-dev)",
    "tbb": "oneTBB (libtbb-dev)", "lttng": "LTTng-UST (liblttng-ust-dev, liblttng-ctl-dev)", "rdkafka": "librdkafka (librdkafka-dev)",
}

LONGEST_S = 25
# Measurements of contenders that write files. They are longer, because the files are read back.
TO_FILES, LONGEST_TO_FILES_S = {"storage", "read", "paced"}, 300
# The contenders that need LTTng's session daemon.
LTTNG = {"LTTng-UST", "LTTng-UST, blocking"}


class Contest:
    def __init__(self, built):
        self.built = Path(built)
        self.objects = {}          # contender -> shared object
        self.configurations = {}   # contender -> a sentence
        self.missing = []
        self.failures = []
        self.scratch = tempfile.mkdtemp(prefix="capture-bench-")
        self.disk = Disk(self.built)
        for name, package in OBJECTS.items():
            path = self.built / f"{name}.so"
            listed = subprocess.run([self.built / "harness", path], capture_output=True, text=True) if path.exists() else None
            if listed is None or listed.returncode:
                if package is None:
                    sys.exit(f"bench: {path} cannot be loaded: {listed.stderr if listed else 'it does not exist; make bench builds it'}")
                self.missing.append(package)
                continue
            for line in listed.stdout.splitlines():
                who, configuration = line.split("\t")
                self.objects[who] = path
                self.configurations[who] = configuration

    @contextlib.contextmanager
    def daemon(self):
        """Runs LTTng's session daemon, if it is needed and does not run already."""
        mine = None
        if LTTNG & self.objects.keys():
            try:
                running = subprocess.run(["lttng", "--no-sessiond", "list"], capture_output=True).returncode == 0
                if not running:
                    mine = subprocess.Popen(["lttng-sessiond", "--no-kernel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                    time.sleep(1)
            except FileNotFoundError:
                self.leave_out(LTTNG, "LTTng-UST (lttng-tools)")
            if subprocess.run(["which", "babeltrace2"], capture_output=True).returncode:
                self.leave_out(LTTNG, "LTTng-UST (babeltrace2, to read its traces)")
        try:
            yield
        finally:
            if mine:
                mine.terminate()
                mine.wait()
            shutil.rmtree(self.scratch, ignore_errors=True)
            self.disk.remove()

    def leave_out(self, names, package):
        if [name for name in names if self.objects.pop(name, None)]:
            self.missing.append(package)
            print(f"not installed, not measured: {package}")

    def measure(self, who, kind, **keys):
        """The figures of one measurement, or None if it failed; the reason goes to self.failures."""
        command = [self.built / "harness", self.objects[who], who, kind, *(f"{k}={v}" for k, v in keys.items())]
        longest, scratch = (LONGEST_TO_FILES_S, self.disk.path) if kind in TO_FILES else (LONGEST_S, self.scratch)
        # Without the second variable LTTng drops events where it was told to block.
        environment = {**os.environ, "TMPDIR": str(scratch), "LTTNG_UST_ALLOW_BLOCKING": "1"}
        if kind in TO_FILES:
            self.disk.settle()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=longest, env=environment)
        except subprocess.TimeoutExpired:
            self.failures.append(f"{who}, {kind}: took longer than {longest} s")
            return None
        if done.returncode:
            self.failures.append(f"{who}, {kind} {' '.join(map(str, keys.values()))}: {done.stderr.strip()[-200:]}")
            return None
        return json.loads(done.stdout)

    def beside(self, who):
        """The value of `beside` that makes the harness measure `who` in the same process. It names a copy of the shared object, because the
        first contender may be from the same object."""
        path = Path(self.scratch) / f"beside-{self.objects[who].name}"
        if not path.exists():
            shutil.copy(self.objects[who], path)
        return f"{path}:{who}"

    def present(self, names):
        """The names whose contender is available. A contender that is measured more than once has a note in brackets in its name."""
        return [name for name in names if bare(name) in self.objects]

    def in_turns(self, names, repeats, kind, **keys):
        """{name: [figures of each repeat]}: each contender once per repeat. The value of a key may be a function of the name."""
        names = self.present(names)
        results = {name: [] for name in names}
        for repeat in range(repeats):
            for at in range(len(names)):
                name = names[(at + repeat * 3) % len(names)]
                progress(f"{kind} {repeat + 1}/{repeats}: {name}")
                given = {k: v(name) if callable(v) else v for k, v in keys.items()}
                # A contender that has failed is not tried again: it would delay the others.
                failed = None in results[name]
                results[name].append(None if failed else self.measure(bare(name), kind, **given))
        progress("")
        # A failed repeat stays in the list as None, so that repeats of different contenders correspond.
        return {name: runs for name, runs in results.items() if any(runs)}

    def at_once(self, names, kind, **keys):
        """As in_turns, but once and all at the same time: for idle contenders."""
        with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
            names = self.present(names)
            runs = {name: pool.submit(self.measure, bare(name), kind, **keys) for name in names}
            return {name: [run.result()] for name, run in runs.items() if run.result()}


def bare(name):
    return name.split(" (")[0]


def progress(text):
    """A status line, which the next one overwrites. Only on a terminal."""
    if sys.stdout.isatty():
        print(f"\r\033[K    {text}"[:110], end="", flush=True)
