"""Breaks the source in one place at a time, and checks that the test which guards that place fails.

    run.py [--check] [NAME...]      --check: only that every mutation still fits the source (fast; part of `make test`)

mutations.toml lists the mutations; docs/guarantees.md names each beside the promise that it breaks. They are applied to a copy of the tree
under build/mutations, never to the tree itself.

Licence: MIT OR Apache-2.0.
"""

import argparse
import glob
import os
import shutil
import subprocess
import sys
import time
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
COPY = os.path.join(TOP, "build", "mutations")
CARGO = os.environ.get("CARGO", "cargo")
DEADLINE = 900


def commands(test):
    """The commands that run a test, with their environments: `simulator`, `loom` or `loom NAME`, `unit NAME`, `ledger NAME`, `facts NAME`, `spans NAME`,
    `journal NAME`, `journal_storage NAME`, `ring_file NAME`, `kill_matrix`, `cli NAME`, `side_by_side NAME`, `sqlite NAME` or `c NAME`."""
    kind, _, name = test.partition(" ")
    plain = dict(os.environ, CARGO_TARGET_DIR=os.path.join(COPY, "target"), CARGO_INCREMENTAL="1")
    if kind == "simulator":
        seeds = name or "3000"
        return [([os.path.join("tests", "simulate.sh")],
                 dict(os.environ, SEEDS=seeds, SIMULATOR_TARGET_DIR=os.path.join(COPY, "target-simulator")))]
    if kind == "loom":
        return [([CARGO, "test", "--release", "--locked", "--no-default-features", "--test", "loom"] + [name] * bool(name),
                 dict(os.environ, RUSTFLAGS="--cfg loom", CARGO_TARGET_DIR=os.path.join(COPY, "target-loom")))]
    if kind == "unit":
        return [([CARGO, "test", "--locked", "--no-default-features", "--lib", name], plain)]
    if kind in ("ledger", "facts", "spans", "spans_memory", "journal", "journal_storage"):
        return [([CARGO, "test", "--locked", "--no-default-features", "--test", kind, name], plain)]
    if kind == "cli":
        return [([CARGO, "test", "--locked", "--package", "capture_pipeline_cli", "--test", "command", name], plain)]
    if kind == "side_by_side":
        return [([CARGO, "test", "--locked", "--package", "capture_pipeline_cli", "--test", kind, name], plain)]
    if kind == "ring_file":
        return [([CARGO, "test", "--locked", "--test", kind, name], plain)]
    if kind == "kill_matrix":
        return [([os.path.join("tests", "kill_matrix.sh")],
                 dict(os.environ, KILL_ROUNDS=name or "100", KILL_TARGET_DIR=os.path.join(COPY, "target-kill")))]
    if kind == "sqlite":
        return [([CARGO, "test", "--locked", "--test", "sqlite", name], plain)]
    if kind == "c":
        fast = dict(plain, CARGO_PROFILE_RELEASE_LTO="off", CARGO_PROFILE_RELEASE_CODEGEN_UNITS="16")
        return [(["make", "--no-print-directory", "local", "STRIP="], fast),
                (["tests/programs.sh", "--only", f"*/{name}.c", "tests/c"], plain)]
    raise SystemExit(f"mutations.toml: {test!r} is no test; it begins with simulator, loom, unit, ledger, facts, spans, journal, ring_file, kill_matrix, cli, side_by_side, sqlite or c")


def guard_is_there(mutation):
    """Exits if the test of a mutation is a C program that is not there, or is there twice."""
    kind, _, name = mutation["test"].partition(" ")
    found = glob.glob(os.path.join(TOP, "tests", "c", "**", f"{name}.c"), recursive=True) if kind == "c" else [""]
    if len(found) != 1:
        raise SystemExit(f"{mutation['name']}: {len(found)} programs below tests/c are called {name}.c; one must be")


def fits(mutation):
    """The mutated source; exits if the mutation does not fit exactly one place."""
    with open(os.path.join(TOP, mutation["file"]), encoding="utf-8") as file:
        source = file.read()
    count = source.count(mutation["old"])
    if count != 1:
        raise SystemExit(f"{mutation['name']}: its text is in {mutation['file']} {count} times; it must be there once:\n{mutation['old']}")
    return source.replace(mutation["old"], mutation["new"])


def copy_tree():
    os.makedirs(COPY, exist_ok=True)
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=TOP, check=True, capture_output=True, text=True)
    for name in listed.stdout.splitlines():
        source, target = os.path.join(TOP, name), os.path.join(COPY, name)
        if not os.path.isfile(source):
            continue
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(source, "rb") as file:
            content = file.read()
        if not os.path.exists(target) or open(target, "rb").read() != content:
            shutil.copy(source, target)


def fails(test):
    """Whether the test fails, and a line that says how."""
    for command, environment in commands(test):
        try:
            result = subprocess.run(command, cwd=COPY, env=environment, stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT, text=True, errors="replace", timeout=DEADLINE, check=False)
        except subprocess.TimeoutExpired:
            return True, f"still running after {DEADLINE} s"
        if result.returncode != 0:
            if "could not compile" in result.stdout or "error[E" in result.stdout:
                return False, "does not compile: " + next(x for x in result.stdout.splitlines() if x.startswith("error"))
            told = [line.strip() for line in result.stdout.splitlines()
                    if "FAILED" in line or "panicked" in line or "failed at step" in line]
            return True, told[0][:140] if told else f"exit status {result.returncode}"
    return False, "passed"


def main():
    with open(os.path.join(HERE, "mutations.toml"), "rb") as file:
        mutations = tomllib.load(file)["mutation"]
    names = [mutation["name"] for mutation in mutations]
    for name in names:
        if names.count(name) > 1:
            raise SystemExit(f"mutations.toml: the name {name} is used {names.count(name)} times; names are unique")
    parser = argparse.ArgumentParser(description="Breaks the source in one place at a time, and checks that the test which guards that place fails.")
    parser.add_argument("--check", action="store_true", help="only check that every mutation still fits the source")
    parser.add_argument("name", nargs="*", help="mutations to apply; all of them by default")
    arguments = parser.parse_args()
    check, wanted = arguments.check, arguments.name
    unknown = [name for name in wanted if name not in names]
    if unknown:
        parser.error(f"mutations.toml has no {', '.join(unknown)}")
    for mutation in mutations:
        fits(mutation)
        guard_is_there(mutation)
    with open(os.path.join(TOP, "docs", "guarantees.md"), encoding="utf-8") as file:
        told = file.read()
    for mutation in mutations:
        if f"`{mutation['name']}`" not in told:
            raise SystemExit(f"docs/guarantees.md does not name the mutation {mutation['name']}; add it beside its promise")
    if check:
        print(f"mutations: {len(mutations)} passed, 0 failed")
        return 0
    survived = []
    chosen = [m for m in mutations if not wanted or m["name"] in wanted]
    for number, mutation in enumerate(chosen, 1):
        copy_tree()
        began = time.monotonic()
        with open(os.path.join(COPY, mutation["file"]), "w", encoding="utf-8") as file:
            file.write(fits(mutation))
        killed, how = fails(mutation["test"])
        shutil.copy(os.path.join(TOP, mutation["file"]), os.path.join(COPY, mutation["file"]))
        if not killed:
            survived.append(mutation["name"])
        print(f"{number}/{len(chosen)} {mutation['name']}: {'killed' if killed else 'SURVIVED'} by {mutation['test']} in "
              f"{time.monotonic() - began:.0f} s: {how}", flush=True)
    print(f"mutations: {len(chosen) - len(survived)} passed, {len(survived)} failed")
    return 1 if survived else 0


sys.exit(main())
