"""Reads the texts of texts.c as others do, and checks what they do not: FOLDER has plain.txt, open.txt and values.txt.

    check.py FOLDER docs/metrics.md

promtool and the package prometheus_client are used where they are installed; without them the checks of this file remain. Licence: MIT OR Apache-2.0.
"""

import decimal
import os
import re
import shutil
import subprocess
import sys

LABELS = {"pipeline", "writer", "storage"}
CHECKS = 0
FAILED = []


def check(holds, what):
    global CHECKS
    CHECKS += 1
    if not holds:
        FAILED.append(what)
        print(f"FAILED {what}")


def labels_of(text):
    """The labels of a sample, which begins behind the brace; and what follows. Written from the format's description."""
    labels, at = {}, 0
    while text[at] != "}":
        name = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*").match(text, at)
        at = name.end()
        assert text[at:at + 2] == '="', text
        at += 2
        value = ""
        while text[at] != '"':
            if text[at] == "\\":
                value += {"n": "\n", "\\": "\\", '"': '"'}[text[at + 1]]
                at += 2
            else:
                value += text[at]
                at += 1
        check(name[0] not in labels, f"label {name[0]} comes twice: {text}")
        labels[name[0]] = value
        at += 1
        if text[at] == ",":
            at += 1
    return labels, text[at + 1:]


def read(text, is_open):
    """[(sample, labels, value)], {family: kind}; checks the order, the lines, and that no series comes twice."""
    lines = text.split("\n")
    check(lines.pop() == "", "the last line ends")
    if is_open:
        check(lines.pop() == "# EOF", "the end is told")
    samples, kinds, series, family, before = [], {}, set(), None, []
    for line in lines:
        check(line == line.strip(" \t") or line.startswith("capture_pipeline"), f"spaces at the end: {line!r}")
        if line.startswith("# "):
            keyword, name, rest = line[2:].split(" ", 2)
            if keyword == "HELP":
                check(name not in kinds, f"{name} begins twice")
                family, before = name, []
                check(not set(rest) & set("\"\\"), f"{name}: a description with an escape")
                kinds[name] = None
            check(name == family and keyword not in before, f"{line} in {family}")
            before.append(keyword)
            if keyword == "TYPE":
                kinds[name] = rest
            if keyword == "UNIT":
                check(name.endswith("_" + rest), line)
            continue
        name, rest = line.split("{", 1)
        labels, value = labels_of(rest)
        check(re.fullmatch(r" [0-9]+(\.[0-9]+)?", value), f"the value of {line}")
        total = "_total" if is_open and kinds[family] == "counter" else ""
        suffixes = ("_bucket", "_sum", "_count") if kinds[family] == "histogram" else (total,)
        check(name in [family + suffix for suffix in suffixes], f"{name} in {family}")
        check(set(labels) - {"le"} <= LABELS and {"pipeline", "storage"} <= set(labels), f"the labels of {line}")
        key = name, tuple(sorted(labels.items()))
        check(key not in series, f"{line} comes twice")
        series.add(key)
        samples.append((name, labels, decimal.Decimal(value.strip())))
    check(all(kinds.values()), "each family has a type")
    return samples, kinds


def check_histogram(samples, name):
    histograms = {}
    for sample, labels, value in samples:
        if sample.startswith(name + "_"):
            key = labels["pipeline"], labels["storage"]
            histograms.setdefault(key, []).append((sample[len(name):], labels.get("le"), value))
    for key, lines in histograms.items():
        buckets = [(le, value) for suffix, le, value in lines if suffix == "_bucket"]
        bounds = [decimal.Decimal(le) for le, _ in buckets[:-1]]
        counts = [value for _, value in buckets]
        check(buckets[-1][0] == "+Inf", f"{key}: the last bucket is +Inf")
        check(bounds == sorted(set(bounds)), f"{key}: the bounds rise")
        check(counts == sorted(counts), f"{key}: the buckets do not fall")
        rest = {suffix: value for suffix, le, value in lines if le is None}
        check(set(rest) == {"_sum", "_count"} and rest["_count"] == counts[-1], f"{key}: the count is that of +Inf")
        most = sum(n * b for n, b in zip([b - a for a, b in zip([0, *counts], counts)], [*bounds, 60]))
        check(0 <= rest["_sum"] <= most, f"{key}: the sum is within the buckets")
    return len(histograms)


def documented(path):
    """{member: name of the samples} and {name: kind}, from the tables of the documentation."""
    members, kinds = {}, {}
    for line in open(path, encoding="utf-8"):
        if line.startswith("<!-- metrics of a process"):
            break  # of the command alone
        if match := re.match(r"\| `(capture_pipeline_\w+)` \| (\w+) \| (?:`(\w+)`)?", line):
            kinds[match[1]] = match[2]
            if match[3]:
                members.setdefault(match[3], match[1])
    return members, kinds


def check_values(path, samples, members):
    found = {(name, labels["pipeline"], labels["storage"]): value for name, labels, value in samples}
    told_apart = {}
    for (_, pipeline, storage) in found:
        told_apart.setdefault((re.sub(r"#\d+$", "", pipeline), storage), pipeline)
    count = 0
    for line in open(path, encoding="utf-8", newline="\n"):
        pipeline, storage, member, value = line.rstrip("\n").split("\t")
        pipeline = pipeline.replace("\\n", "\n")
        name = members[member]
        want = decimal.Decimal(value).scaleb(-9) if member.endswith("_ns") else decimal.Decimal(value)
        got = found.get((name, told_apart[pipeline, storage], storage))
        check(got == want, f"{name} of {pipeline!r} is {got}, pipeline_metrics says {want}")
        count += 1
    return count


def check_promtool(folder):
    if not shutil.which("promtool"):
        print("metrics: skipped: promtool is not installed")
        return
    with open(os.path.join(folder, "plain.txt"), "rb") as text:
        done = subprocess.run(["promtool", "check", "metrics"], stdin=text, capture_output=True, text=True)
    check(done.returncode == 0, f"promtool: {done.returncode} {done.stdout}{done.stderr}")
    check(done.stderr == "" and done.stdout == "", f"promtool says {done.stdout}{done.stderr}")


def check_client(plain, is_open, samples, kinds):
    try:
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
        from prometheus_client.parser import text_string_to_metric_families as read_plain
    except ImportError:
        print("metrics: skipped: prometheus_client is not installed")
        return
    families = list((read_open if is_open else read_plain)(plain))
    got = [(s.name, dict(s.labels), s.value) for family in families for s in family.samples]
    # (It shows values as floats. It keeps their order.)
    want = [(name, labels, float(value)) for name, labels, value in samples]
    check(len(got) == len(want), f"prometheus_client: {len(got)} samples of {len(want)}")
    for g, w in zip(got, want):
        check(g == w, f"prometheus_client reads {g}, written is {w}")
    read_kinds = {f.name + ("_total" if f.type == "counter" and not is_open else ""): f.type for f in families}
    check(read_kinds == kinds, "prometheus_client: the families and types")
    check(all(f.documentation for f in families), "prometheus_client: the descriptions")


def main(folder, documentation):
    members, documented_kinds = documented(documentation)
    texts = {}
    for file, is_open in (("plain.txt", False), ("open.txt", True)):
        with open(os.path.join(folder, file), encoding="utf-8", newline="\n") as text:
            plain = text.read()
        samples, kinds = read(plain, is_open)
        texts[is_open] = [(name, labels) for name, labels, _ in samples]
        check(check_histogram(samples, "capture_pipeline_latency_seconds") == 6, "a histogram for each pipeline")
        check(check_values(os.path.join(folder, "values.txt"), samples, members) > 300, "values were compared")
        named = {(name + "_total" if is_open and kind == "counter" else name): kind for name, kind in kinds.items()}
        check(named == documented_kinds, f"documented are other metrics: {set(named.items()) ^ set(documented_kinds.items())}")
        check_client(plain, is_open, samples, kinds)
    check(texts[False] == texts[True], "both formats have the same series")
    names = {labels["pipeline"] for _, labels in texts[False]}
    check('a"b\\c\nd\u00e9 {x="1"} # \r\x7f' in names, f"the name with every escape: {names}")
    check_promtool(folder)
    print(f"metrics: {CHECKS - len(FAILED)} checks passed, {len(FAILED)} failed")
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
