"""The table, the JSON lines and RESULTS.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from figure import Figure


def json_line(figure: Figure) -> str:
    """One figure with all its raw numbers, in SI units."""
    fields = {
        "figure": figure.name,
        "measured": figure.measured,
        "unit": figure.unit,
        "bar": str(figure.bar),
        "holds": figure.holds,
        "note": figure.note,
        "raw": figure.raw,
    }
    return json.dumps(fields, default=str)


def cells(figure: Figure) -> tuple[str, str, str, str]:
    """figure, measured, bar, holds?"""
    measured = "not available" if figure.measured is None else f"{figure.measured:.3g} {figure.unit}"
    if figure.holds is None:
        holds = figure.note
    elif figure.holds:
        holds = "yes"
    else:
        assert figure.measured is not None
        times = figure.measured / figure.bar.value
        holds = f"NO, {times:.2f} of the bar"
    return figure.name, measured, str(figure.bar), holds


def table(figures: Sequence[Figure], failures: Sequence[str]) -> str:
    """A Markdown table, aligned, so that it reads in a terminal too."""
    rows = [("figure", "measured", "bar", "holds?"), *(cells(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    lines += [f"\nCOULD NOT BE MEASURED: {failure}" for failure in failures]
    return "\n".join(lines)


def page(figures: Sequence[Figure], failures: Sequence[str], facts: Mapping[str, str]) -> str:
    """RESULTS.md: the machine, the table, and how to make it again."""
    machine = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    return f"""# Figures

Written by `./scripts/bench --write`. Ratios against the incumbent (OpenHCS 0.8.6 with napari 0.9.2) come from this one
run, both viewers in turn on the same virtual display; times of different runs or machines say nothing beside each
other. How each is measured is said by its function in `benches/live`.

{machine}

{table(figures, failures)}
"""
