"""Checks what the documents and headers refer to, without a network.

    links.py [--root DIR] [PAGE...]     default pages: the documents at the top, docs/, those of the bindings, the headers, src/

In a document (*.md):
- a relative link leads to a file or folder that exists; its anchor (#...) to a heading of that document, or to a line (#L10) of a source;
- a path in backticks exists. A word counts as a path if it begins with a folder of this repository (`tests/all.sh`), or with `./` or `../`.
  A word with a placeholder (`tests/c/NAME.c`, `src/...`) is passed over; a pattern (`c_src/config.*`) must match something.
In a source or header, the paths in backticks are checked, and nothing else.

Each finding is a line PAGE:LINE: what is wrong. Licence: MIT OR Apache-2.0.
"""

import glob
import os
import re
import subprocess
import sys

PAGES = ["*.md", "docs/**/*.md", "bindings/*/*.md", "bindings/*/test/*.md", "include/*", "src/**/*.rs"]
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
REFERENCE = re.compile(r"^\s*\[[^\]]+\]:\s*(\S+)")
HTML = re.compile(r"<(?:a|img|source)\b[^>]*?\b(?:href|src|srcset)=\"([^\"]+)\"")
CODE = re.compile(r"(`+)(.+?)\1")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*\s*$")
PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b|\.\.\.|…|[$<>]")


def anchor(heading):
    """The anchor that a heading gets: its text without punctuation, in lower case, with hyphens for spaces."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = "".join(c for c in text.lower() if c.isalnum() or c in " -_")
    return text.replace(" ", "-")


def lines_of(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read().splitlines()


def outside_code(lines):
    """The lines of a document with their numbers, without fenced blocks."""
    fence = None
    for number, line in enumerate(lines, 1):
        mark = re.match(r"\s*(```+|~~~+)", line)
        if fence is None and mark:
            fence = mark[1]
        elif fence is not None:
            if mark and line.strip() == mark[1] and mark[1].startswith(fence):
                fence = None
        else:
            yield number, line


class Repository:
    """The files of a repository, and the anchors of its documents."""

    def __init__(self, root):
        self.root = root
        self.known = {}
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=root, capture_output=True, text=True, check=False)
        files = [f for f in listed.stdout.splitlines() if os.path.exists(os.path.join(root, f))]
        self.folders = {f.split("/")[0] for f in files if "/" in f}

    def anchors(self, page):
        if page not in self.known:
            found = set()
            for _, line in outside_code(lines_of(page)):
                found.update(re.findall(r"\b(?:id|name)=\"([^\"]+)\"", line))
                heading = HEADING.match(line)
                if heading:
                    base = anchor(heading[1].replace("`", ""))
                    name, again = base, 0
                    while name in found:
                        again += 1
                        name = f"{base}-{again}"
                    found.add(name)
            self.known[page] = found
        return self.known[page]

    def link(self, page, target):
        """What is wrong with a link, or None."""
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            return None
        path, _, fragment = target.partition("#")
        found = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        if not os.path.exists(found):
            return f"the link {target} leads to no file"
        line = re.fullmatch(r"L(\d+)(?:-L\d+)?", fragment)
        if line and os.path.isfile(found) and not found.endswith(".md"):
            return None if int(line[1]) <= len(lines_of(found)) else f"the link {target}: the file has {len(lines_of(found))} lines"
        if fragment and found.endswith(".md") and fragment not in self.anchors(found):
            return f"the link {target}: {os.path.relpath(found, self.root)} has no heading with that anchor"
        return None

    def word(self, page, word):
        """What is wrong with a word in backticks, or None."""
        word = re.sub(r"(?::\d+(?:-\d+)?)?[.,;:]*$", "", word)
        first = word.split("/")[0]
        relative = word.startswith(("./", "../"))
        if "/" not in word or PLACEHOLDER.search(word) or not (relative or first in self.folders):
            return None
        base = os.path.dirname(page) if relative else self.root
        for one in alternatives(word):
            if not glob.glob(os.path.join(glob.escape(base), one)):
                return f"`{word}`: there is no {one}"
        return None


def alternatives(word):
    """src/{a,b}.rs: src/a.rs and src/b.rs."""
    braces = re.search(r"\{([^{}]*,[^{}]*)\}", word)
    if not braces:
        return [word]
    return [x for part in braces[1].split(",") for x in alternatives(word[: braces.start()] + part + word[braces.end():])]


def check(repository, page):
    """The findings of one page."""
    document = page.endswith(".md")
    lines = lines_of(page)
    for number, line in outside_code(lines) if document else enumerate(lines, 1):
        if not document and not re.match(r"\s*(//|/?\*)", line):
            continue
        for _, code in CODE.findall(line):
            for word in code.split():
                wrong = repository.word(page, word)
                if wrong:
                    yield number, wrong
        if document:
            text = CODE.sub("`code`", line)
            for target in LINK.findall(text) + REFERENCE.findall(text) + HTML.findall(text):
                wrong = repository.link(page, target)
                if wrong:
                    yield number, wrong


def main(arguments):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if arguments[:1] == ["--root"]:
        root, arguments = os.path.abspath(arguments[1]), arguments[2:]
    repository = Repository(root)
    pages = arguments or [p for pattern in PAGES for p in sorted(glob.glob(os.path.join(root, pattern), recursive=True))]
    good = bad = 0
    for page in pages:
        findings = list(check(repository, os.path.abspath(page)))
        for number, wrong in findings:
            print(f"FAILED  {os.path.relpath(page, root)}:{number}: {wrong}")
        good, bad = good + (not findings), bad + bool(findings)
    print(f"links: {good} passed, {bad} failed")
    return 1 if bad or not pages else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
