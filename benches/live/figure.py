"""A figure, its bar, and how raw numbers are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Bar:
    """What a figure must be."""

    relation: str
    value: float

    def holds(self, measured: float) -> bool:
        return measured <= self.value if self.relation == "<=" else measured >= self.value

    def __str__(self) -> str:
        return f"{'at most' if self.relation == '<=' else 'at least'} {self.value:g}"


def at_most(value: float) -> Bar:
    return Bar("<=", value)


def at_least(value: float) -> Bar:
    return Bar(">=", value)


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    bar: Bar
    #: None: not available, and `note` says why.
    measured: float | None
    unit: str = "x"
    raw: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def holds(self) -> bool | None:
        return None if self.measured is None else self.bar.holds(self.measured)


def say(text: str) -> None:
    """A raw number, for whoever watches."""
    print(f"    {text}", flush=True)


def millis(seconds: Sequence[float]) -> str:
    """Times in milliseconds, one after the other."""
    return " ".join(f"{1000 * one:.1f}" for one in seconds) + " ms"


def ratio_figure(name: str, bar: Bar, theirs: float | None, ours: float, raw: Mapping[str, Any]) -> Figure:
    """The incumbent's over ours; not available in a run without the incumbent."""
    if theirs is None:
        return Figure(name, bar, None, raw=raw, note="the incumbent was left out of this run")
    return Figure(name, bar, theirs / ours, raw=raw)
