"""Plots as SVG: lines on logarithmic scales, with the name of each line at its end; bars."""
from html import escape
from math import ceil, floor, log10

# The same contender has the same colour in every plot.
FIXED = {"capture_pipeline, handle": "#1f5fa8", "capture_pipeline, call": "#2fa3d8", "capture_pipeline, in place": "#7d9ed0",
         "bare ring, membarrier": "#444444", "bare ring, polling": "#888888", "bare ring, prefetching": "#b0b0b0", "memcpy": "#c0a080",
         "crossbeam ArrayQueue": "#d9822b", "crossbeam-channel": "#b8860b", "rtrb": "#4f9e5f", "moodycamel, waiting": "#2a9d8f",
         "oneTBB": "#556b2f", "spdlog": "#a8456b", "tracing-appender": "#7a62a8", "OpenTelemetry": "#c0392b",
         "librdkafka, mock broker": "#8d6e63"}
COLOURS = ["#1f5fa8", "#d9822b", "#4f9e5f", "#a8456b", "#7a62a8", "#6b6b6b", "#2a9d9d", "#b8860b", "#c0392b", "#556b2f"]
LEFT, TOP, WIDTH, HEIGHT, RIGHT, BOTTOM = 80, 62, 560, 380, 270, 64
LINE = 16


class Scale:
    """Maps figures to coordinates, logarithmically, with marks at whole decades or as given."""

    def __init__(self, least, most, start, length, marks=None):
        self.low, self.high = log10(least), log10(most)
        if not marks:
            # A margin around the figures; the marks are the whole decades within.
            self.low, self.high = self.low - 0.08, self.high + 0.08
        self.marks = marks or [10.0**e for e in range(ceil(self.low), floor(self.high) + 1)]
        if self.high == self.low:
            self.high += 1
        self.start, self.length = start, length

    def __call__(self, value):
        return self.start + self.length * (log10(value) - self.low) / (self.high - self.low)


def lines(path, title, x_label, y_label, series, x_marks=None, x_name=str, note="", strong=()):
    """Draws `series`, {name: [(x, y)]}; lines in `strong` are thick, floors are dashed, names that end in ", p99" are dotted."""
    series = {name: [(x, y) for x, y in points if y and y > 0] for name, points in series.items()}
    series = {name: points for name, points in series.items() if points}
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    across = Scale(min(xs), max(xs), LEFT, WIDTH, x_marks)
    up = Scale(min(ys), max(ys), TOP + HEIGHT, -HEIGHT)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}" height="{TOP + HEIGHT + BOTTOM}" '
           'font-family="sans-serif" font-size="13">', '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="12" y="24" font-size="16" font-weight="bold">{escape(title)}</text>',
           f'<text x="12" y="44" fill="#555">{escape(y_label)}{"; " + escape(note) if note else ""}</text>']
    for minor in (10.0**e * part for e in range(floor(up.low), ceil(up.high)) for part in (2, 5)):
        if up.low < log10(minor) < up.high:
            y = up(minor)
            out.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#f0f0f0"/>')
            out.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#999" font-size="11">{shown(round(minor, 6))}</text>')
    for mark in up.marks:
        y = up(mark)
        out.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{shown(mark)}</text>')
    for mark in across.marks:
        x = across(mark)
        out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{TOP + HEIGHT}" stroke="#ddd"/>')
        out.append(f'<text x="{x:.1f}" y="{TOP + HEIGHT + 20}" text-anchor="middle">{escape(x_name(mark))}</text>')
    out.append(f'<text x="{LEFT + WIDTH / 2}" y="{TOP + HEIGHT + 46}" text-anchor="middle" fill="#555">{escape(x_label)}</text>')
    colours = {name: FIXED.get(stem(name), COLOURS[i % len(COLOURS)]) for i, name in enumerate(series)}
    for name, points in series.items():
        path_ = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
        dashed = ' stroke-dasharray="2 3"' if name.endswith(", p99") else ' stroke-dasharray="6 4"' if name.startswith(("bare ring", "memcpy")) else ""
        out.append(f'<polyline points="{path_}" fill="none" stroke="{colours[name]}" stroke-width="{3 if name in strong else 1.6}"{dashed}/>')
        out += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="{3.5 if name in strong else 2.5}" fill="{colours[name]}"/>' for x, y in points]
    # Names at the ends of their lines, moved apart if they would overlap.
    ends = sorted((up(points[-1][1]), name) for name, points in series.items())
    places = spread([y for y, _ in ends], TOP, TOP + HEIGHT)
    for (y, name), place in zip(ends, places):
        x = across(series[name][-1][0])
        out.append(f'<line x1="{x + 5:.1f}" y1="{y:.1f}" x2="{LEFT + WIDTH + 24}" y2="{place:.1f}" stroke="{colours[name]}" stroke-width="0.7"/>')
        weight = ' font-weight="bold"' if name in strong else ""
        out.append(f'<text x="{LEFT + WIDTH + 28}" y="{place + 4:.1f}" fill="{colours[name]}"{weight}>{escape(name)}</text>')
    path.write_text("\n".join(out) + "\n</svg>\n")


def bars(path, title, label, figures, strong=()):
    """Draws `figures`, {name: value}, one bar each, in the order given."""
    figures = {name: value for name, value in figures.items() if value}
    most, left, step = max(figures.values()), 240, 30
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + WIDTH + 80}" height="{TOP + step * len(figures) + 16}" '
           'font-family="sans-serif" font-size="13">', '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="12" y="24" font-size="16" font-weight="bold">{escape(title)}</text>', f'<text x="12" y="44" fill="#555">{escape(label)}</text>']
    for i, (name, value) in enumerate(figures.items()):
        y, length, weight = TOP + i * step, value / most * WIDTH, ' font-weight="bold"' if name in strong else ""
        colour = COLOURS[0] if name in strong else "#8fa3b8"
        out.append(f'<text x="{left - 10}" y="{y + 16}" text-anchor="end"{weight}>{escape(name)}</text>')
        out.append(f'<rect x="{left}" y="{y}" width="{max(length, 1):.1f}" height="22" fill="{colour}"/>')
        out.append(f'<text x="{left + length + 6:.1f}" y="{y + 16}">{value:.3g}</text>')
    path.write_text("\n".join(out) + "\n</svg>\n")


def stem(name):
    """The contender, without the percentile."""
    return name.removesuffix(", p50").removesuffix(", p99")


def spread(places, top, bottom):
    """The coordinates, moved as little as possible so that they are at least one text line apart."""
    moved = list(places)
    for _ in range(200):
        for i in range(len(moved) - 1):
            short = LINE - (moved[i + 1] - moved[i])
            if short > 0.01:
                moved[i] -= short / 2
                moved[i + 1] += short / 2
        if moved and moved[0] < top:
            moved[0] = top
        if moved and moved[-1] > bottom:
            moved[-1] = bottom
    return moved


def shown(value):
    """A number on an axis."""
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value / 1e3:g} k" if value >= 1e4 else f"{value:g}"
