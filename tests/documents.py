#!/usr/bin/env python3
"""Checks the names in documents against the sources; tests/readme.sh runs it.

docs/architecture.md and docs/architecture/*.md: a function that a page writes as `name()` behind a link to a source file (or a folder) is
defined there. docs/guarantees.md: each test that it names exists, and so does each mutation."""
import glob
import os
import re
import sys
import tomllib

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LINK = re.compile(r"\]\((\.\./[^)#]+)\)")
DEFINED = r"\b(?:fn|def|defp|defmacro)\s+{0}\b|^{0}\(|\b{0}\s*\([^;]*\)\s*\{{?$|^[\w *]+\b{0}\("


def text_of(path):
    """A file, or all files of a folder."""
    if os.path.isfile(path):
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    parts = []
    for folder, _, files in os.walk(path):
        for name in sorted(files):
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                parts.append(file.read())
    return "\n".join(parts)


def paragraphs(page):
    """The text without code blocks, a list item or paragraph at a time."""
    page = re.sub(r"^```.*?^```$", "", page, flags=re.M | re.S)
    return re.split(r"\n\s*\n|\n(?=\s*(?:[-*|]|\d+\.|#+) )", page)


def read(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as file:
        return file.read()


def architecture():
    pages = [os.path.join(TOP, "docs", "architecture.md")] + sorted(glob.glob(os.path.join(TOP, "docs", "architecture", "*.md")))
    for page in pages:
        for paragraph in paragraphs(read(page)):
            links = list(LINK.finditer(paragraph))
            for n, link in enumerate(links):
                end = links[n + 1].start() if n + 1 < len(links) else len(paragraph)
                path = os.path.normpath(os.path.join(os.path.dirname(page), link.group(1)))
                name = f"{os.path.relpath(page, TOP)}: {os.path.relpath(path, TOP)}"
                if not os.path.exists(path):
                    yield f"{name} is not there"
                    continue
                source = text_of(path)
                for function in re.findall(r"`(\w+)\(\)`", paragraph[link.end():end]):
                    if not re.search(DEFINED.format(function), source, re.M):
                        yield f"{name} has no function {function}"


def guarantees():
    page = read("docs", "guarantees.md")
    files = [f"/{os.path.relpath(os.path.join(folder, name), TOP)}" for top in ("tests", "bindings", "storages")
             for folder, _, names in os.walk(os.path.join(TOP, top)) if not {"_build", "priv"} & set(folder.split(os.sep)) for name in names]
    for name in set(re.findall(r"`([\w/]+\.(?:c|cpp|sh|py|rs|erl|exs))`", page)):
        if not any(file.endswith(f"/{name}") for file in files):
            yield f"no such test: {name}"
    cases = text_of(os.path.join(TOP, "tests", "alloc_trace"))
    traced = page[page.index("**alloc_trace.**"):page.index("**The BEAM.**")]
    for name in re.findall(r"`(\w+_\w+)`", traced):
        if f"def test_{name}(" not in cases and name not in ("quick_exit", "posix_spawn"):
            yield f"no such case of alloc_trace: {name}"
    mutations = {mutation["name"] for mutation in tomllib.loads(read("tests", "mutations", "mutations.toml"))["mutation"]}
    lists = page[page.index("## The promises"):page.index("## Hosts")]
    for name in set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", lists)) - mutations:
        yield f"no such mutation: {name}"


def main():
    wrong = list(architecture()) + [f"docs/guarantees.md: {line}" for line in sorted(guarantees())]
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
