"""The workload of the demo: ordinary Python work on real input, with the same allocations in every run.

Parses and compiles sources of the standard library, collects the names in them, and passes the names through JSON, a sort and
an in-memory SQLite database. Run it with PYTHONHASHSEED=0; PYTHONMALLOC=malloc makes every object a malloc.

    workload.py [FILES]     how many source files (default 40)

Licence: MIT OR Apache-2.0.
"""

import ast
import glob
import json
import os
import sqlite3
import sys


def sources(count):
    library = os.path.dirname(os.__file__)
    return sorted(glob.glob(os.path.join(library, "*.py")))[:count]


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    lines = instructions = 0
    names = {}
    for path in sources(count):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        lines += text.count("\n")
        tree = ast.parse(text, path)
        for node in ast.walk(tree):
            name = getattr(node, "name", None) or getattr(node, "id", None) or getattr(node, "attr", None)
            if isinstance(name, str):
                names.setdefault(name, []).append((os.path.basename(path), getattr(node, "lineno", 0)))
        instructions += len(compile(tree, path, "exec").co_code)

    names = json.loads(json.dumps(names))
    order = sorted(names, key=lambda name: (-len(names[name]), name))
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE uses (name TEXT, file TEXT, line INTEGER)")
    database.executemany("INSERT INTO uses VALUES (?, ?, ?)",
                         ((name, file, line) for name in order for file, line in names[name]))
    (uses,) = database.execute("SELECT count(*) FROM uses").fetchone()
    top = ", ".join(order[:5])
    print(f"{count} files, {lines:,} lines: {len(names):,} names used {uses:,} times, most often {top}")


main()
