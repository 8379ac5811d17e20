"""Who takes part, and how they are measured in turns: a process for each measurement, the order rotated from repeat to repeat."""
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

# What is built from what; the part of it that a machine may lack.
OBJECTS = {
    "bare_ring": None, "copy": None, "pipeline": None,
    "peers": "the Rust peers (crates.io)", "moodycamel": "moodycamel (libconcurrentqueue-dev)", "spdlog": "spdlog (libspdlog-dev)",
    "tbb": "oneTBB (libtbb-dev)", "lttng": "LTTng-UST (liblttng-ust-dev)", "rdkafka": "librdkafka (librdkafka-dev)",
}


LONGEST_S = 25


class Contest:
    def __init__(self, built):
        self.built = Path(built)
        self.objects = {}          # contender -> shared object
        self.configurations = {}   # contender -> a sentence
        self.missing = []
        self.failures = []
        self.scratch = tempfile.mkdtemp(prefix="capture-bench-")
        for name, package in OBJECTS.items():
            path = self.built / f"{name}.so"
            listed = subprocess.run([self.built / "harness", path], capture_output=True, text=True) if path.exists() else None
            if listed is None or listed.returncode:
                if package is None:
                    sys.exit(f"bench: {path.name} is not there, or does not load: {listed.stderr if listed else 'make bench builds it'}")
                self.missing.append(package)
                continue
            for line in listed.stdout.splitlines():
                who, configuration = line.split("\t")
                self.objects[who] = path
                self.configurations[who] = configuration

    @contextlib.contextmanager
    def daemon(self):
        """LTTng's session daemon, if it is wanted and nobody runs one."""
        mine = None
        if "LTTng-UST" in self.objects:
            try:
                running = subprocess.run(["lttng", "--no-sessiond", "list"], capture_output=True).returncode == 0
                if not running:
                    mine = subprocess.Popen(["lttng-sessiond", "--no-kernel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                    time.sleep(1)
            except FileNotFoundError:
                self.leave_out("LTTng-UST", "LTTng-UST (lttng-tools)")
            if subprocess.run(["which", "babeltrace2"], capture_output=True).returncode:
                self.leave_out("LTTng-UST", "LTTng-UST (babeltrace2, to read its traces)")
        try:
            yield
        finally:
            if mine:
                mine.terminate()
                mine.wait()
            subprocess.run(["rm", "-rf", self.scratch])

    def leave_out(self, who, package):
        if self.objects.pop(who, None):
            self.missing.append(package)
            print(f"left out: {package}")

    def measure(self, who, kind, **keys):
        """The figures of one measurement, or None if it failed; why is kept."""
        command = [self.built / "harness", self.objects[who], who, kind, *(f"{k}={v}" for k, v in keys.items())]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, env={**os.environ, "TMPDIR": self.scratch})
        except subprocess.TimeoutExpired:
            self.failures.append(f"{who}, {kind}: longer than {LONGEST_S} s")
            return None
        if done.returncode:
            self.failures.append(f"{who}, {kind} {' '.join(map(str, keys.values()))}: {done.stderr.strip()[-200:]}")
            return None
        return json.loads(done.stdout)

    def beside(self, who):
        """What a harness is told to measure `who` in turns with another, in the same process: a copy of its object, as it may be the same."""
        path = Path(self.scratch) / f"beside-{self.objects[who].name}"
        if not path.exists():
            shutil.copy(self.objects[who], path)
        return f"{path}:{who}"

    def present(self, names):
        """Those of them that take part. A name may have a note in brackets, for one that is measured more than once."""
        return [name for name in names if bare(name) in self.objects]

    def in_turns(self, names, repeats, kind, **keys):
        """{name: [figures of each repeat]}: each once in every repeat. Keys may be functions of the name."""
        names = self.present(names)
        results = {name: [] for name in names}
        for repeat in range(repeats):
            for at in range(len(names)):
                name = names[(at + repeat * 3) % len(names)]
                progress(f"{kind} {repeat + 1}/{repeats}: {name}")
                given = {k: v(name) if callable(v) else v for k, v in keys.items()}
                # What failed once would keep the others waiting again.
                failed = None in results[name]
                results[name].append(None if failed else self.measure(bare(name), kind, **given))
        progress("")
        # One that failed in a repeat has no place there, but the repeats stay those of the others.
        return {name: runs for name, runs in results.items() if any(runs)}


    def at_once(self, names, kind, **keys):
        """As in_turns, once, and all at the same time: for those that do nothing."""
        with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
            names = self.present(names)
            runs = {name: pool.submit(self.measure, bare(name), kind, **keys) for name in names}
            return {name: [run.result()] for name, run in runs.items() if run.result()}


def bare(name):
    return name.split(" (")[0]


def progress(text):
    """A line that is written over, for a terminal."""
    if sys.stdout.isatty():
        print(f"\r\033[K    {text}"[:110], end="", flush=True)
