"""Tests of the checks beside it: each finds what it is there for, and nothing in sources that are in order."""

import contextlib
import io
import os
import subprocess
import sys
import tempfile

import links
import msrv
import structure

results = []


def check(name, expected, actual):
    results.append(expected == actual)
    print(f"{'ok     ' if expected == actual else 'FAILED '} {name}")
    if expected != actual:
        print(f"        expected {expected!r}\n        got      {actual!r}")


def tree(files):
    """A folder with these files."""
    place = tempfile.mkdtemp(dir=WORK.name)
    for name, text in files.items():
        os.makedirs(os.path.dirname(os.path.join(place, name)), exist_ok=True)
        with open(os.path.join(place, name), "w", encoding="utf-8") as file:
            file.write(text)
    return place


def findings(page, files):
    place = tree({**files, "README.md": page} if isinstance(page, str) else files)
    subprocess.run(["git", "init", "-q", place], check=True)
    return [wrong for _, wrong in links.check(links.Repository(place), os.path.join(place, "README.md"))]


def link_checks():
    files = {"docs/guide.md": "# The guide\n## Ending: `close` & destroy\n## Twice\n## Twice\n", "src/a.rs": "1\n2\n", "tests/c/x/one.c": ""}
    good = """
[guide](docs/guide.md) [ending](docs/guide.md#ending-close--destroy) [again](docs/guide.md#twice-1) [here](#top) [web](https://example.org/x#y)
[line](src/a.rs#L2) `src/a.rs` `tests/c/*/one.c` `src/{a,missing}.rs`: no
# Top
`tests/c/NAME.c` `tests/...` `not/a/folder/of/ours` `[x](nowhere.md)`
```
[x](nowhere.md) `src/nowhere.rs`
```
""".replace("`src/{a,missing}.rs`: no", "`src/{a,a}.rs`")
    check("links: a page in order", [], findings(good, files))
    check("links: a file that is missing", ["the link docs/none.md leads to no file"], findings("[x](docs/none.md)", files))
    check("links: a heading that is missing", ["the link docs/guide.md#no: docs/guide.md has no heading with that anchor"],
          findings("[x](docs/guide.md#no)", files))
    check("links: a heading of the page itself", ["the link #no: README.md has no heading with that anchor"], findings("[x](#no)", files))
    check("links: a line behind the end", ["the link src/a.rs#L3: the file has 2 lines"], findings("[x](src/a.rs#L3)", files))
    check("links: an image of HTML", ["the link docs/p.svg leads to no file"], findings('<img src="docs/p.svg">', files))
    check("links: a path in backticks", ["`tests/c/one.c`: there is no tests/c/one.c"], findings("see `tests/c/one.c`.", files))
    check("links: one of several in braces", ["`src/{a,b}.rs`: there is no src/b.rs"], findings("`src/{a,b}.rs`", files))
    check("links: a pattern that matches nothing", ["`src/*.c`: there is no src/*.c"], findings("`src/*.c`", files))
    place = tree({"src/lib.rs": "//! See `src/none.rs`.\nlet x = \"`src/none.rs`\";\n"})
    subprocess.run(["git", "init", "-q", place], check=True)
    check("links: a comment of a source", [(1, "`src/none.rs`: there is no src/none.rs")],
          list(links.check(links.Repository(place), os.path.join(place, "src/lib.rs"))))


def rust_circles(files):
    return structure.circles(structure.Crate(tree({"lib.rs": "", **files})).imports())


def structure_checks():
    place = tree({"a.rs": "x\n" * 3, "b.txt": "x\n" * 9, "_build/c.c": "x\n" * 9})
    check("lengths: at the limit", (1, []), structure.too_long([place], 3))
    check("lengths: above it", 1, len(structure.too_long([place], 2)[1]))
    check("Rust: one way", [], rust_circles({"a.rs": "use crate::b::B; fn f() { B::new(); }", "b.rs": "pub struct B;"}))
    both = {"a.rs": "use crate::b::{B, self as other}; pub struct A;", "b.rs": "fn f(a: &crate::a::A) {} pub struct B;"}
    check("Rust: two files", [["a.rs", "b.rs"]], rust_circles(both))
    check("Rust: in comments and texts it is no import", [],
          rust_circles({**both, "b.rs": "// crate::a::A\n/* use crate::a::A; */ const T: &str = \"crate::a::A\"; pub struct B;"}))
    check("Rust: for tests alone it is no import", [],
          rust_circles({**both, "b.rs": "#[cfg(test)]\nmod tests { use crate::a::A; }\npub struct B;"}))
    check("Rust: nor in a file for tests", [],
          rust_circles({**both, "b.rs": "#[cfg(test)]\nmod tests;\npub struct B;", "b/tests.rs": "use crate::a::A;"}))
    check("Rust: a module's use of the one that it is a part of", [],
          rust_circles({"p/mod.rs": "mod a; use a::A; pub struct Pool;", "p/a.rs": "use super::Pool; pub struct A;"}))
    check("Rust: through a re-export", [["p/a.rs", "q.rs"]],
          rust_circles({"p/mod.rs": "mod a; pub use a::A;", "p/a.rs": "use crate::q::Q; pub struct A;", "q.rs": "use crate::p::A; pub struct Q;"}))
    check("Rust: a path that begins at an imported module", [["a.rs", "b.rs"]],
          rust_circles({"a.rs": "use crate::b; fn f() { b::g(); } pub fn h() {}", "b.rs": "use crate::a; fn g() { a::h(); }"}))
    check("Rust: a circle of three", [["a.rs", "b.rs", "c.rs"]],
          rust_circles({"a.rs": "use crate::b::X;", "b.rs": "use crate::c::Y; pub struct X;", "c.rs": "use crate::a::Z; pub struct Y;"}))

    c_files = {"a.h": "struct thing { int x; };\nint a_do(struct thing *t);\n", "a.c": '#include "a.h"\nint a_do(struct thing *t)\n{\n return t->x;\n}\n',
               "b.h": "void b_do(void);\n", "b.c": '#include "a.h"\n#include "b.h"\nvoid b_do(void)\n{\n a_do(0);\n}\n'}
    check("C: one way", [], structure.circles(structure.c_imports(tree(c_files))))
    c_files["a.c"] = '#include "a.h"\n#include "b.h"\nint a_do(struct thing *t)\n{\n b_do();\n return t->x;\n}\n'
    check("C: two files", [["a.c", "b.c"]], structure.circles(structure.c_imports(tree(c_files))))
    c_files["a.c"] = '#include "a.h"\nstatic void b_do(void)\n{\n}\nint a_do(struct thing *t)\n{\n b_do();\n return t->x;\n}\n'
    check("C: a function of one's own with the same name", [], structure.circles(structure.c_imports(tree(c_files))))
    shared = {"all.h": "int f(void);\nint g(void);\nextern int state;\n", "f.c": '#include "all.h"\nint state = 1;\nint f(void)\n{\n return 0;\n}\n',
              "g.c": '#include "all.h"\nint g(void)\n{\n return f() + state;\n}\n'}
    check("C: declarations are no use", [], structure.circles(structure.c_imports(tree(shared))))
    with contextlib.redirect_stdout(io.StringIO()):
        status = structure.main(["--circles", tree({})])
    check("a folder without sources fails", 1, status)


def msrv_checks():
    def package(name, version):
        return {"id": name, "name": name, "version": "1.0.0", "rust_version": version}

    def dep(name, kind=None, target=None):
        return {"pkg": name, "dep_kinds": [{"kind": kind, "target": target}]}

    metadata = {"packages": [package("us", "1.89"), package("old", "1.60"), package("new", "1.90.0"), package("test", "1.99"), package("none", None)],
                "resolve": {"nodes": [{"id": "us", "deps": [dep("old"), dep("test", "dev"), dep("none", "build")]},
                                      {"id": "old", "deps": [dep("new")]},
                                      *({"id": n, "deps": []} for n in ("new", "test", "none"))]}}
    check("msrv: a package behind another", (4, ["new 1.0.0 needs Rust 1.90.0; 1.89 is promised"]), msrv.newer_packages(metadata, "us", "1.89"))
    check("msrv: as new as is promised", (4, []), msrv.newer_packages(metadata, "us", "1.90"))
    check("msrv: a version in a text", ["1.89", "1.80"], msrv.VERSION.findall("Needs Rust (1.89 or newer), gcc 12.1. MSRV: 1.80.2."))


with tempfile.TemporaryDirectory() as folder:
    class WORK:  # where the trees lie
        name = folder

    link_checks()
    structure_checks()
    msrv_checks()
print(f"checks of the source: {sum(results)} passed, {results.count(False)} failed")
sys.exit(0 if all(results) else 1)
