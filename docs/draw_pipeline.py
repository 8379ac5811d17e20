#!/usr/bin/env python3
"""Draws docs/pipeline.svg, the picture of the pipeline in the README. Only the standard library is used.

    docs/draw_pipeline.py            writes docs/pipeline.svg
    docs/draw_pipeline.py --check    fails if the committed file is not what this script draws (tests/readme.sh)
"""
import os
import sys
from html import escape

SVG = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pipeline.svg")
WIDTH, HEIGHT = 1000, 724
INK, SOFT, LINE = "#1c2733", "#51606e", "#8b98a5"
# The background is part of the picture, so it reads the same on a light and on a dark page.
PAPER = "#ffffff"
BLUE, GREEN, ORANGE, RED, GREY = "#dbe9f8", "#dcf1e0", "#fde8cc", "#f9dcdc", "#eef1f4"
CLAIMED, WAITING = "#f0a04b", "#6ea8e0"

out = []


def text(x, y, words, size=15, weight="normal", fill=INK, anchor="middle", mono=False):
    family = ' font-family="ui-monospace, Menlo, Consolas, monospace"' if mono else ""
    out.append(f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{fill}" text-anchor="{anchor}"{family}>{escape(words)}</text>')


def box(x, y, width, height, fill, title=None, lines=(), dashed=False):
    dash = ' stroke-dasharray="6 4"' if dashed else ""
    out.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{fill}" stroke="{LINE}" stroke-width="1.2"{dash}/>')
    if title:
        text(x + width / 2, y + 24, title, 16, "bold")
    for n, line in enumerate(lines):
        text(x + width / 2, y + 45 + 18 * n, line, 13.5, fill=SOFT)


def step(x, y, title, note, size=15):
    """What an arrow of the main way does."""
    text(x, y, title, size, "bold")
    text(x, y + 19, note, 13.5, fill=SOFT)


def arrow(points, colour=INK, dashed=False):
    dash = ' stroke-dasharray="6 4"' if dashed else ""
    way = " ".join(f"{x},{y}" for x, y in points)
    out.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"{dash} marker-end="url(#head-{colour[1:]})"/>')


def ring(x, y, width, released, claimed, head):
    """A ring buffer, unrolled: free, claimed, waiting, free."""
    height = 34
    out.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" fill="{PAPER}" stroke="{LINE}" stroke-width="1.2"/>')
    for begin, end, fill in ((released, claimed, CLAIMED), (claimed, head, WAITING)):
        out.append(f'<rect x="{x + begin}" y="{y}" width="{end - begin}" height="{height}" fill="{fill}" stroke="{PAPER}" stroke-width="1.5"/>')
    out.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" fill="none" stroke="{LINE}" stroke-width="1.2"/>')


def key(x, y, fill, words):
    out.append(f'<rect x="{x}" y="{y - 11}" width="14" height="14" rx="2" fill="{fill}" stroke="{LINE}"/>')
    text(x + 20, y + 1, words, 13.5, fill=SOFT, anchor="start")


def draw():
    out.clear()
    out.append(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
               'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, DejaVu Sans, sans-serif" role="img">')
    out.append("<title>The way of an event: application threads capture into ring buffers, writers claim batches and "
               "hand them to the storage, and acknowledged events release their space</title>")
    out.append("<defs>")
    for colour in (INK, SOFT):
        out.append(f'<marker id="head-{colour[1:]}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
                   f'<path d="M0,0 L10,5 L0,10 z" fill="{colour}"/></marker>')
    out.append("</defs>")
    out.append(f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="{PAPER}"/>')

    # The main way, left to right, and the way back below it.
    box(20, 20, 150, 250, BLUE, "Application")
    text(95, 62, "threads", 16, "bold")
    for n in range(3):
        y = 84 + 54 * n
        out.append(f'<rect x="40" y="{y}" width="110" height="34" rx="4" fill="{PAPER}" stroke="{LINE}"/>')
        text(95, y + 22, ("thread 1", "thread 2", "thread n")[n], 14)
    text(95, 257, "any language", 13.5, fill=SOFT)

    box(286, 20, 216, 250, GREY, "Ring buffers")
    text(394, 62, "one for each thread", 13.5, fill=SOFT)
    for n, (released, claimed, head) in enumerate(((20, 78, 130), (52, 52, 96), (8, 92, 164))):
        ring(304, 84 + 54 * n, 180, released, claimed, head)
    key(304, 250, CLAIMED, "claimed")
    key(398, 250, WAITING, "unclaimed")

    box(622, 20, 126, 250, GREEN, "Writers")
    text(685, 62, "library threads", 13.5, fill=SOFT)
    for n in range(3):
        y = 84 + 54 * n
        out.append(f'<rect x="633" y="{y}" width="104" height="34" rx="4" fill="{PAPER}" stroke="{LINE}"/>')
        text(685, y + 22, ("batch 17", "batch 18", "asleep")[n], 14, fill=INK if n < 2 else SOFT)
    text(685, 257, "up to 256", 13.5, fill=SOFT)

    box(876, 20, 104, 250, ORANGE, "Storage")
    for n, line in enumerate(("SQLite", "C callback", "C++ lambda", "Elixir module")):
        text(928, 104 + 32 * n, line, 14)

    for n in range(3):
        arrow([(152, 101 + 54 * n), (300, 101 + 54 * n)])
    step(229, 70, "1 capture", "a copy, no lock")
    arrow([(504, 110), (618, 110)])
    step(561, 79, "2 claim", "a batch, in place")
    arrow([(750, 110), (872, 110)])
    step(812, 79, "3 attempt", "store(batch)")
    arrow([(874, 192), (752, 192)])
    step(812, 214, "4 acknowledge", "now or later", 14)
    arrow([(620, 192), (506, 192)])
    step(563, 214, "5 settle", "release space")

    # What happens when the ring buffer is full.
    arrow([(394, 272), (394, 322)], SOFT)
    box(286, 326, 216, 98, GREY, "Ring buffer full", ("drop the newest, overwrite", "the oldest, or wait;", "each is counted"))

    # What happens when the storage does not acknowledge.
    arrow([(928, 272), (928, 322)], SOFT)
    box(846, 326, 134, 98, RED, "Dead letter", ("rejected, or no", "attempt is left;", "else discarded"))
    arrow([(720, 322), (720, 274)], SOFT)
    arrow([(664, 272), (664, 322)], SOFT)
    text(656, 303, "answer: retry", 13.5, fill=SOFT, anchor="end")
    text(730, 303, "same batch again", 13.5, fill=SOFT, anchor="start")
    box(520, 326, 308, 98, GREEN, "Retry queue and circuit breaker",
        ("back-off doubles per attempt;", "a failing storage gets one probe", "at a time until it recovers"))
    box(20, 326, 248, 98, GREEN, "Supervisor and autoscaler",
        ("replace a writer that died or hangs,", "add and remove writers by load,", "name every late call in health"))

    # The ledger.
    box(20, 448, 960, 256, GREY, "Ledger: every event is in exactly one term; the equations hold whenever nothing is in motion")
    rows = (
        ("offered", "=", "captured", "copied into a ring buffer"),
        ("", "+", "dropped_full, dropped_sampled, dropped_rule", "no room, or left out on purpose"),
        ("", "+", "refused_too_large, _closed, _invalid, _busy, _no_ring", "not taken, with a status that says why"),
        ("captured + recovered", "=", "stored + filtered + dead_lettered + discarded", "settled"),
        ("", "+", "overwritten", "gave way to newer events"),
        ("", "+", "buffered", "in a ring buffer, unclaimed"),
        ("", "+", "in_flight + in_doubt", "claimed; in doubt past the deadline"),
        ("", "+", "left", "still there when the pipeline closed"),
    )
    y = 504
    for n, (left, sign, terms, meaning) in enumerate(rows):
        if n == 3:
            y += 12
        text(206, y, left, 14, "bold", anchor="end", mono=True)
        text(221, y, sign, 14, "bold", mono=True)
        text(238, y, terms, 14, anchor="start", mono=True)
        text(700, y, meaning, 13.5, fill=SOFT, anchor="start")
        y += 24
    out.append("</svg>")
    return "\n".join(out) + "\n"


def main():
    drawn = draw()
    if sys.argv[1:] == ["--check"]:
        with open(SVG, encoding="utf-8") as file:
            if file.read() != drawn:
                raise SystemExit("docs/pipeline.svg is not what docs/draw_pipeline.py draws: run docs/draw_pipeline.py")
    elif sys.argv[1:]:
        raise SystemExit(__doc__)
    else:
        with open(SVG, "w", encoding="utf-8") as file:
            file.write(drawn)


if __name__ == "__main__":
    main()
