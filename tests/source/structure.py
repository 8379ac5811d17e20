"""Checks the structure of the sources: no file is longer than a limit, and no two files import each other, directly or in a circle.

    structure.py [--lines N] DIR...           no file of source below DIR has more than N lines (default: 400)
    structure.py --circles DIR...             no circle of imports within each DIR

Rust: a file imports another if it names an item of it by `use` or by a path (`crate::pool::State`); a name that a `mod.rs` re-exports
counts as the item of the file that defines it. `mod x;`, what is only compiled for tests, for loom or for the simulator, and a module's use of the modules that it is a
part of (`super::Pool` in an `impl Pool`) do not count.
C: NAME.c and NAME.h are one file. It imports another if it names a function, type, variable or macro that this one alone defines, and
that is declared in a header of the folder which it includes.

Each finding is a line FAILED with the files and the names that tie them. Licence: MIT OR Apache-2.0.
"""

import os
import re
import sys
from collections import defaultdict

SOURCES = (".rs", ".c", ".h", ".cpp", ".hpp", ".ex", ".exs", ".erl", ".hrl")


def files_below(folder, extensions):
    """Paths relative to the folder, sorted; without what a build leaves."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if f not in ("_build", "deps", "target", "priv") and not f.startswith("."))
        found += [os.path.relpath(os.path.join(place, f), folder) for f in files if f.endswith(extensions)]
    return sorted(found)


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


# --- length ------------------------------------------------------------------------------------------------------------
def too_long(folders, most):
    """(files read, findings)"""
    count, findings = 0, []
    for folder in folders:
        for name in files_below(folder, SOURCES):
            count += 1
            lines = read(os.path.join(folder, name)).count("\n")
            if lines > most:
                findings.append(f"{os.path.join(folder, name)}: {lines} lines; {most} are allowed")
    return count, findings


# --- Rust --------------------------------------------------------------------------------------------------------------
COMMENTS_AND_TEXTS = re.compile(
    r'//[^\n]*|/\*.*?\*/|b?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?\'(?:\\(?:x..|u\{[^}]*\}|.)|[^\\\'\n])\'', re.S)


def without_comments(text):
    return COMMENTS_AND_TEXTS.sub(" ", text)


def block_end(text, start):
    """Behind the block, or the semicolon, that comes first from `start` on."""
    depth = 0
    for at in range(start, len(text)):
        if text[at] == ";" and depth == 0:
            return at + 1
        depth += (text[at] == "{") - (text[at] == "}")
        if text[at] == "}" and depth == 0:
            return at + 1
    return len(text)


def without_tests(text):
    """Without the items behind #[cfg(test)]; and the names of the modules among them."""
    modules = set()
    while True:
        mark = re.search(r"#\[cfg\((?:test|simulator|loom|all\(test\b[^\]]*)\)\]\s*(?:#\[[^\]]*\]\s*)*", text)
        if not mark:
            return text, modules
        named = re.match(r"(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;", text[mark.end():])
        if named:
            modules.add(named[1])
        text = text[: mark.start()] + text[block_end(text, mark.end()):]


def use_paths(tree, prefix=()):
    """a::{b, c as d}: the paths (a, b) and (a, c), each with the name that it gets."""
    tree = tree.strip()
    brace = tree.find("{")
    if brace < 0:
        path, _, name = tree.partition(" as ")
        parts = prefix + tuple(p.strip() for p in path.split("::") if p.strip())
        if parts and parts[-1] == "self":
            parts = parts[:-1]
        yield parts, name.strip() or (parts[-1] if parts else "")
        return
    head = prefix + tuple(p.strip() for p in tree[:brace].split("::") if p.strip())
    depth, part = 0, ""
    for c in tree[brace + 1: tree.rfind("}")] + ",":
        if c == "," and depth == 0:
            if part.strip():
                yield from use_paths(part, head)
            part = ""
            continue
        depth += (c == "{") - (c == "}")
        part += c


class Crate:
    """The modules of a crate, and which file names which."""

    def __init__(self, folder):
        self.module, self.text, tests = {}, {}, set()
        for name in files_below(folder, (".rs",)):
            parts = tuple(name[:-3].split("/"))
            parts = parts[:-1] if parts[-1] in ("mod", "lib", "main") else parts
            text, modules = without_tests(without_comments(read(os.path.join(folder, name))))
            self.module[parts], self.text[name] = name, text
            tests |= {parts + (m,) for m in modules}
        for parts in [p for p in self.module if any(p[: len(t)] == t for t in tests)]:
            del self.text[self.module.pop(parts)]
        self.exports = {parts: self.re_exports(parts) for parts in self.module}

    def absolute(self, here, path):
        """A path as seen from a module, from the crate's root; None if it leads to another crate."""
        if not path:
            return None
        if path[0] == "crate":
            return path[1:]
        at = here
        if path[0] in ("self", "super"):
            while path and path[0] in ("self", "super"):
                at, path = at[:-1] if path[0] == "super" else at, path[1:]
            return at + path
        return here + path if here + path[:1] in self.module else None

    def re_exports(self, here):
        found = {}
        for tree in re.findall(r"\bpub(?:\([^)]*\))?\s+use\s+([^;]+);", self.text[self.module[here]]):
            for path, name in use_paths(tree):
                target = self.absolute(here, path)
                if target is not None:
                    found[name] = target
        return found

    def file_of(self, path, depth=8):
        """The file of the item at a path, and its name."""
        for cut in range(len(path), -1, -1):
            module = path[:cut]
            if module in self.module:
                rest = path[cut:]
                if rest and depth and rest[0] in self.exports[module]:
                    return self.file_of(self.exports[module][rest[0]] + rest[1:], depth - 1)
                return self.module[module], rest[0] if rest else path[-1] if path else "crate"
        return None, None

    def imports(self):
        edges = defaultdict(set)
        for here, name in self.module.items():
            text = self.text[name]
            paths = []
            for public, tree in re.findall(r"\b(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);", text):
                if not public:
                    paths += [p for p, _ in use_paths(tree)]
            rest = re.sub(r"\buse\s+[^;]+;", " ", text)
            # A path in the code begins at a keyword, or at a module that is named by `use` or lies below this one.
            used = {n: p for p, n in ((p, p[-1]) for p in paths if p)}
            for word in re.findall(r"(?<![\w:])[a-z_]\w*(?:::\w+)+", rest):
                parts = tuple(word.split("::"))
                paths.append(used[parts[0]] + parts[1:] if parts[0] in used else parts)
            for path in paths:
                target = self.absolute(here, path)
                if target is None:
                    continue
                file, item = self.file_of(tuple(p for p in target if p != "*"))
                # A module knows the one that it is a part of.
                parent = file and file.endswith("mod.rs") and name.startswith(file[: -len("mod.rs")])
                if file and file != name and not parent and file != "lib.rs":
                    edges[name, file].add(item)
        return edges


# --- C -----------------------------------------------------------------------------------------------------------------
def c_definitions(text, header):
    """The names that a C file defines for others: a header its types, constants and macros, both their functions and variables."""
    found = set()
    if header:
        found.update(re.findall(r"^#\s*define\s+(\w+)", text, re.M))
        found.update(f"struct {tag}" for tag in re.findall(r"\b(?:struct|union|enum)\s+(\w+)\s*\{", text))
        found.update(re.findall(r"\}\s*(\w+)\s*;", text))
        for body in re.findall(r"\benum\s*\w*\s*\{(.*?)\}", text, re.S):
            found.update(re.findall(r"(?:^|,)\s*(\w+)", body))
        found.update(re.findall(r"\btypedef\s[^;{}]*?\b(\w+)\s*;", text))
        found.update(re.findall(r"\btypedef\s[^;{}]*?\(\s*\*\s*(\w+)\s*\)", text))
    # They begin at the left margin.
    text = re.sub(r"^#(?:[^\n\\]|\\.)*", "", text, flags=re.M | re.S)
    for line in re.finditer(r"^([A-Za-z_][\w \t*]*?[ \t*])(\w+)\s*(\([^;{}]*\)\s*\{|\[|=|;)", text, re.M):
        words = line[1].split()
        static = "static" in words
        if words[0] not in ("typedef", "extern", "return", "goto", "struct", "union", "enum") and static == header:
            found.add(line[2])
    return found


DECLARATION = re.compile(r"^([A-Za-z_][\w \t*()]*?[ \t*])(\w+)\s*(\([^;{}]*\)[^;{}]*;|(?:\[[^;{}]*\]\s*)?;)", re.M)


def c_imports(folder):
    texts, includes = defaultdict(str), defaultdict(set)
    definitions, declared, own = defaultdict(set), defaultdict(set), defaultdict(set)
    names = files_below(folder, (".c", ".h"))

    def room_of(name):
        source = re.sub(r"\.[ch]$", ".c", name)
        return source if source in names else name

    for name in names:
        raw = read(os.path.join(folder, name))
        for other in re.findall(r'^#\s*include\s+"([^"]+)"', raw, re.M):
            includes[name].add(os.path.normpath(os.path.join(os.path.dirname(name), other)))
        text = without_comments(raw)
        for item in c_definitions(text, name.endswith(".h")):
            definitions[item].add(room_of(name))
        # A declaration is no use of what it declares, and a member that is a pointer to a function none of that function.
        own[room_of(name)] |= c_definitions(text, True)
        declared[name] = c_definitions(text, name.endswith(".h")) | {line[2] for line in DECLARATION.finditer(text)}
        text = re.sub(r"^#\s*include[^\n]*|\(\s*\*\s*\w+\s*\)", "", text, flags=re.M)
        texts[room_of(name)] += DECLARATION.sub(r"\1\3", text)

    def seen_from(room):
        """All headers that a file includes, directly or not."""
        found, open_ = set(), [room, re.sub(r"\.c$", ".h", room)]
        while open_:
            for other in includes[open_.pop()]:
                if other not in found:
                    found.add(other)
                    open_.append(other)
        return found

    alone = {item: next(iter(rooms)) for item, rooms in definitions.items() if len(rooms) == 1}
    edges = defaultdict(set)
    for room, text in texts.items():
        headers = seen_from(room)
        # A member (`x->lock`, `.lock`) is no use of another file's name.
        used = set(re.findall(r"(?<![\w.>])[A-Za-z_]\w*", text)) | {f"struct {t}" for t in re.findall(r"\b(?:struct|union|enum)\s+(\w+)", text)}
        for item in used:
            target = alone.get(item)
            if target is None or target == room or item in own[room]:
                continue
            if any(item in declared[h] for h in headers | {room}):
                edges[room, target].add(item)
    return edges


# --- circles -----------------------------------------------------------------------------------------------------------
def circles(edges):
    """The groups of files that reach each other, each as a sorted list (Tarjan's strongly connected components)."""
    out = defaultdict(list)
    for source, target in sorted(edges):
        out[source].append(target)
    index, low, stack, on_stack, found = {}, {}, [], set(), []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        on_stack.add(node)
        for target in out[node]:
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in on_stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = []
            while not group or group[-1] != node:
                group.append(stack.pop())
                on_stack.discard(group[-1])
            if len(group) > 1:
                found.append(sorted(group))

    for node in list(out):
        if node not in index:
            visit(node)
    return sorted(found)


def circle_findings(folder):
    """(files read, findings)"""
    rust = files_below(folder, (".rs",))
    edges = Crate(folder).imports() if rust else c_imports(folder)
    count = len(rust) or len(files_below(folder, (".c", ".h")))
    findings = []
    for group in circles(edges):
        ties = [f"\n        {a} -> {b}: {', '.join(sorted(edges[a, b])[:6])}" for a, b in sorted(edges) if a in group and b in group]
        findings.append(f"{folder}: {len(group)} files import each other: {', '.join(group)}{''.join(ties)}")
    return count, findings


def main(arguments):
    sys.setrecursionlimit(10000)
    if arguments[:1] == ["--circles"]:
        results = [circle_findings(os.path.normpath(folder)) for folder in arguments[1:]]
        title = "circles"
    else:
        most = 400
        if arguments[:1] == ["--lines"]:
            most, arguments = int(arguments[1]), arguments[2:]
        results = [too_long([os.path.normpath(a) for a in arguments], most)]
        title = "lengths"
    findings = [f for _, found in results for f in found]
    for finding in findings:
        print(f"FAILED  {finding}")
    # A folder without sources is a folder that was moved.
    empty = [a for a, (count, _) in zip(arguments[1:] if title == "circles" else arguments[:1], results) if count == 0]
    for folder in empty:
        print(f"FAILED  {folder}: no source is there")
    count = sum(count for count, _ in results)
    bad = len(findings) + len(empty)
    print(f"{title}: {max(count - bad, 0)} passed, {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
