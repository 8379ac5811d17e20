"""Checks the oldest Rust version that is promised (Cargo.toml's rust-version), as far as one toolchain can tell.

    msrv.py [--manifest FILE]

- No package that the library or the command is built from asks for a newer Rust. Packages for tests alone may, because users do not build them.
- Every place that names the version names the same one: README.md, CONTRIBUTING.md, docs/, packaging/check_tools.sh.
- clippy's lint incompatible_msrv, which knows since when the standard library has a function, is an error in Cargo.toml.
What stays open is the language itself: only that older compiler could tell. Licence: MIT OR Apache-2.0.
"""

import glob
import json
import os
import re
import subprocess
import sys
import tomllib

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAMED = ["README.md", "CONTRIBUTING.md", "docs/*.md", "packaging/check_tools.sh"]
VERSION = re.compile(r"\b(?:Rust|rustc|MSRV)\b[^.\n]{0,20}?\b(1\.\d+)\b")


def numbers(version):
    return tuple(int(n) for n in version.split(".")[:2])


def newer_packages(metadata, root_id, promised):
    """The packages that the library needs at run time or to build, and that ask for a newer Rust than is promised."""
    packages = {p["id"]: p for p in metadata["packages"]}
    nodes = {n["id"]: n for n in metadata["resolve"]["nodes"]}
    reached, open_ = set(), [root_id]
    while open_:
        node = open_.pop()
        if node in reached:
            continue
        reached.add(node)
        for dep in nodes[node]["deps"]:
            if any(kind["kind"] != "dev" for kind in dep["dep_kinds"]) and not any(
                    "loom" in (kind["target"] or "") for kind in dep["dep_kinds"]):
                open_.append(dep["pkg"])
    found = [packages[i] for i in reached if packages[i]["rust_version"] and numbers(packages[i]["rust_version"]) > numbers(promised)]
    return len(reached), [f"{p['name']} {p['version']} needs Rust {p['rust_version']}; {promised} is promised" for p in found]


def main(arguments):
    manifest = arguments[1] if arguments[:1] == ["--manifest"] else os.path.join(TOP, "Cargo.toml")
    top = os.path.dirname(os.path.abspath(manifest))
    with open(manifest, "rb") as file:
        cargo = tomllib.load(file)
    promised = cargo["package"]["rust-version"]
    flags = os.environ.get("CARGO_FLAGS", "--locked").split()
    told = subprocess.run([os.environ.get("CARGO", "cargo"), "metadata", "--format-version", "1", "--manifest-path", manifest, *flags],
                          capture_output=True, text=True, check=False)
    if told.returncode != 0:
        print(f"FAILED  cargo metadata: {told.stderr.strip()}")
        return 1
    metadata = json.loads(told.stdout)
    count, findings = 0, []
    names = {p["id"]: (p["name"], p["rust_version"]) for p in metadata["packages"]}
    for member in metadata["workspace_members"]:
        reached, newer = newer_packages(metadata, member, promised)
        count += reached + 1
        findings += newer
        if names[member][1] != promised:
            findings.append(f"{names[member][0]}: rust-version is {names[member][1]}; {promised} is promised")
    for page in sorted(p for pattern in NAMED for p in glob.glob(os.path.join(top, pattern))):
        with open(page, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                for named in VERSION.findall(line):
                    count += 1
                    if numbers(named) != numbers(promised):
                        findings.append(f"{os.path.relpath(page, top)}:{number}: names Rust {named}; Cargo.toml promises {promised}")
    count += 1
    if cargo.get("lints", {}).get("clippy", {}).get("incompatible_msrv") not in ("deny", "forbid"):
        findings.append("Cargo.toml: [lints.clippy] incompatible_msrv is not \"deny\"")
    for finding in findings:
        print(f"FAILED  {finding}")
    print(f"msrv: {count - len(findings)} passed, {len(findings)} failed")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
