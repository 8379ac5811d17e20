"""The command c_examples/alloc_trace/alloc_trace.

Licence: MIT OR Apache-2.0.
"""

import glob
import os
import shutil
import subprocess
import sys
import tempfile

from harness import DEADLINE, OUT, WRAPPER, demand, read_all, temporary_folder


def wrapped(folder, *command, environment=None, wrapper=WRAPPER, options=()):
    return subprocess.run([sys.executable, wrapper, "-o", folder, *options, "--", *command], capture_output=True, text=True,
                          timeout=DEADLINE, check=False, env=dict(os.environ, **(environment or {})))


def test_wrapper_gives_the_commands_status_and_a_summary():
    folder = tempfile.mkdtemp(prefix="alloc_trace.")
    result = wrapped(folder, "sh", "-c", "printf abc | wc -c; exit 6", options=["--drop"])
    demand(result.returncode == 6, f"exit status {result.returncode}: {result.stderr}")
    demand(result.stdout.strip() == "3", f"output {result.stdout}")
    for ledger in read_all(folder):
        demand(ledger.mode == "drop", f"mode {ledger.mode}")
        demand(ledger.storage in result.stderr, f"{ledger.storage} is not in the summary")
    demand(result.stderr.count(" balanced ") == len(read_all(folder)) >= 3, f"summary: {result.stderr}")
    killed = wrapped(folder, "sh", "-c", "kill -KILL $$")
    demand(killed.returncode == 137 and " killed " in killed.stderr, f"{killed.returncode}: {killed.stderr}")
    shutil.rmtree(folder)


def forged(folder, name, database, comm):
    """A forged ledger: a real one with other names."""
    (real,) = [path for path in os.listdir(folder) if path.endswith(".ledger") and not path.startswith("forged")]
    with open(os.path.join(folder, real), "rb") as file:
        page = bytearray(file.read())
    at = page.index(b"true\0")  # comm, followed by the name of the database
    page[at:at + 32] = comm.ljust(32, b"\0")
    page[at + 32:at + 32 + 256] = database.ljust(256, b"\0")
    with open(os.path.join(folder, name), "wb") as file:
        file.write(page)


# A traced process may put files into the folder.
PLANTS = 'for name in damaged fifo; do cp "$0/plants/$name.ledger" "$0" 2>/dev/null || mkfifo "$0/$name.ledger"; done; ' \
         'cp "$0"/plants/forged* "$0"; exit 6'


def test_wrapper_among_damaged_and_hostile_ledgers():
    with temporary_folder() as folder:
        demand(wrapped(folder, "true").returncode == 0, "true has failed")
        plants = os.path.join(folder, "plants")
        os.mkdir(plants)
        with open(os.path.join(plants, "damaged.ledger"), "wb") as file:
            file.write(b"ATLEDG04 damaged")
        forged(folder, "plants/forged-outside.ledger", b"../../etc/passwd", b"true")
        forged(folder, "plants/forged-escape.ledger", b"1-0-true.db", b"\x1b[2Jred\nand a line")
        result = wrapped(folder, "sh", "-c", PLANTS, folder)
        demand(result.returncode == 6, f"exit status {result.returncode}: {result.stderr}")
        demand("Traceback" not in result.stderr, result.stderr)
        for name in ("damaged", "fifo", "forged-outside"):
            demand(f"{name}.ledger" in result.stderr, f"{name} is not named: {result.stderr}")
        demand("\x1b" not in result.stderr and "?[2Jred?and a line" in result.stderr, f"not cleaned: {result.stderr!r}")
        demand("passwd" not in result.stderr, result.stderr)


def test_wrapper_from_a_folder_with_spaces():
    with temporary_folder() as home:
        tool, out = os.path.join(home, "a checkout", "c_examples", "alloc_trace"), os.path.join(home, "built here")
        shutil.copytree(os.path.dirname(WRAPPER), tool)
        os.mkdir(out)
        for name in ("alloc_trace.so", "count_allocs.so"):
            shutil.copy(os.path.join(OUT, name), out)
        with open(os.path.join(home, "a file"), "w", encoding="utf-8") as file:
            file.write("words\n")
        wrapper, environment = os.path.join(tool, "alloc_trace"), {"OUT": out}
        folder = os.path.join(home, "traces")
        result = wrapped(folder, "cat", file.name, environment=environment, wrapper=wrapper)
        demand((result.returncode, result.stdout) == (0, "words\n"), f"{result}")
        (ledger,) = read_all(folder)
        demand(ledger.comm == "cat" and ledger.stored > 0, "nothing was captured")
        again = wrapped(folder, "cat", file.name, environment=environment, wrapper=wrapper)
        demand(again.returncode == 0 and len(read_all(folder)) == 2, f"{again}")
        # Both paths contain a space: refused, before anything is created.
        spaced = os.path.join(home, "more traces")
        result = wrapped(spaced, "cat", file.name, environment=environment, wrapper=wrapper)
        demand(result.returncode == 127 and not result.stdout, f"{result}")
        demand(out in result.stderr and "space" in result.stderr, f"not refused by name: {result.stderr}")
        demand(not os.path.exists(spaced), "the folder was made")
        # Only the folder contains a space: accepted.
        result = wrapped(spaced, "cat", file.name)
        demand(result.returncode == 0 and len(read_all(spaced)) == 1, f"{result}")


def test_build_in_folders_with_spaces():
    prefix = os.environ["PREFIX"]
    with temporary_folder() as home:
        tool, stage = os.path.join(home, "a checkout", "c_examples", "alloc_trace"), os.path.join(home, "my stage")
        shutil.copytree(os.path.dirname(WRAPPER), tool)
        os.makedirs(os.path.join(stage, "lib", "pkgconfig"))
        for name in ("include", "lib/libcapture_pipeline.a"):
            os.symlink(os.path.join(prefix, name), os.path.join(stage, name))
        (config,) = glob.glob(os.path.join(prefix, "lib*", "**", "capture_pipeline.pc"), recursive=True)
        with open(config, encoding="utf-8") as file:
            lines = file.read().splitlines()
        lines = [f"prefix={stage}" if line.startswith("prefix=") else line for line in lines]
        lines = ["libdir=${prefix}/lib" if line.startswith("libdir=") else line for line in lines]
        lines = ["includedir=${prefix}/include" if line.startswith("includedir=") else line for line in lines]
        with open(os.path.join(stage, "lib", "pkgconfig", "capture_pipeline.pc"), "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        environment = dict(os.environ, PREFIX=stage, OUT=os.path.join(home, "built here"))
        result = subprocess.run([os.path.join(tool, "build.sh")], env=environment, capture_output=True, text=True,
                                timeout=DEADLINE, check=False)
        demand(result.returncode == 0, result.stderr)
        demand(sorted(os.listdir(environment["OUT"])) == ["alloc_trace.so", "count_allocs.so"], "not built")
        demand(sorted(os.listdir(home)) == ["a checkout", "built here", "my stage"], f"also made: {os.listdir(home)}")
