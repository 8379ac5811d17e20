"""Figures as text: bars for a terminal, the bounds, Markdown tables."""

BAR = 40


def number(value):
    if value is None:
        return "-"
    if value == 0:
        return "0"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.005 else f"{value:.4f}"


def shown(value, unit):
    """A measured value, for a table of bounds."""
    return f"{value:.4f}{unit}" if unit == " s" else f"{value:.2f}{unit}"


def show(title, unit, figures):
    """A table with bars, in the order given."""
    figures = {name: value for name, value in figures.items() if value is not None}
    if not figures:
        return
    most = max(figures.values()) or 1
    width = max(map(len, figures))
    print(f"\n    {title}, {unit}")
    for name, value in figures.items():
        length = value / most * BAR
        bar = "█" * int(length) + ("▌" if length % 1 >= 0.5 else "")
        print(f"    {name:<{width}} {number(value):>9} {bar or '▏'}", flush=True)


def of_bounds(rows):
    """The bounds as a text table."""
    lines = []
    width = max(len(row["what"]) for row in rows) if rows else 0
    for row in rows:
        limit = f"{'at least' if row['least'] else 'at most'} {row['limit']:g}{row['unit']}"
        got = "-" if row["value"] is None else shown(row["value"], row["unit"])
        spread = f"({row['low']:.2f} to {row['high']:.2f})" if row.get("low") is not None else ""
        lines.append(f"{row['what']:<{width}}  {limit:>16}  {got:>9} {spread:<18} {row['verdict']}")
    return "\n".join(lines)


def markdown(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" if i == 0 else "---:" for i in range(len(head))) + " |"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
