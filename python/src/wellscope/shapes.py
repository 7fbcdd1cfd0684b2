"""Outlines and points as the wire has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .axes import Value, plain_value

_TYPES = ("polygon", "path", "line", "rectangle", "ellipse")

Vertices = npt.NDArray[np.float64]


class Shapes:
    """Shapes, each with the values of its leading columns.

    Attributes
    ----------
    num_columns
        Columns of the coordinates, y and x included.
    """

    def __init__(self, num_columns: int, entries: list[tuple[tuple[Value, ...], dict[str, Any]]]) -> None:
        self.num_columns = num_columns
        self._entries = entries

    def by_place(self) -> dict[tuple[Value, ...], list[dict[str, Any]]]:
        """The wire's entries by the values of their leading columns."""
        groups: dict[tuple[Value, ...], list[dict[str, Any]]] = {}
        for place, entry in self._entries:
            groups.setdefault(place, []).append(entry)
        return groups


def shapes(
    data: Any,
    *,
    shape_type: str | Sequence[str],
    object_labels: Sequence[int] | None,
    features: Mapping[str, Sequence[Any]] | None,
) -> Shapes:
    """Reads outlines; see :meth:`wellscope.Viewer.add_shapes`."""
    outlines = _outlines(data)
    kinds = [shape_type] * len(outlines) if isinstance(shape_type, str) else [str(kind) for kind in shape_type]
    if len(kinds) != len(outlines):
        raise ValueError(
            f"{len(kinds)} shape types are given for {len(outlines)} shapes; give one for all, or one each"
        )
    columns = {outline.shape[1] for outline in outlines}
    if len(columns) != 1:
        raise ValueError(f"all shapes need the same number of columns; they have {sorted(columns)}")
    details = _details(len(outlines), object_labels, features)
    entries = []
    for outline, kind, metadata in zip(outlines, kinds, details):
        leading, vertices = outline[:, :-2], outline[:, -2:]
        if len(leading) and np.any(leading != leading[0]):
            raise ValueError(
                "all vertices of a shape must lie on one plane: the columns before y and x differ within a shape"
            )
        entries.append(
            (
                _place(leading[0]),
                {"type": kind, "coordinates": _vertices(vertices, kind).tolist(), "metadata": metadata},
            )
        )
    return Shapes(columns.pop(), entries)


def points(data: Any, *, object_labels: Sequence[int] | None, features: Mapping[str, Sequence[Any]] | None) -> Shapes:
    """Reads points; see :meth:`wellscope.Viewer.add_points`."""
    rows = np.asarray(data, np.float64)
    if rows.ndim == 1 and rows.size >= 2:
        rows = rows[np.newaxis]
    if rows.ndim != 2 or rows.shape[1] < 2 or not rows.size:
        raise ValueError(f"points are rows of y, x: an array (n, 2 or more); the shape is {rows.shape}")
    _check_finite(rows)
    details = _details(len(rows), object_labels, features)
    entries = [
        (_place(row[:-2]), {"type": "points", "coordinates": [row[-2:].tolist()], "metadata": metadata})
        for row, metadata in zip(rows, details)
    ]
    return Shapes(rows.shape[1], entries)


def _outlines(data: Any) -> list[Vertices]:
    is_one = (
        isinstance(data, np.ndarray)
        and data.ndim == 2
        or isinstance(data, (list, tuple))
        and bool(data)
        and np.ndim(data[0]) == 1
    )
    listed = [np.asarray(outline, np.float64) for outline in ([data] if is_one else data)]
    if not listed:
        raise ValueError("there are no shapes to show")
    for outline in listed:
        if outline.ndim != 2 or outline.shape[1] < 2 or not len(outline):
            raise ValueError(f"a shape is rows of y, x: an array (n, 2 or more); one has the shape {outline.shape}")
        _check_finite(outline)
    return listed


def _check_finite(rows: Vertices) -> None:
    if not np.isfinite(rows).all():
        raise ValueError("coordinates must be finite; there are NaN or infinities among them")


def _vertices(vertices: Vertices, kind: str) -> Vertices:
    if kind not in _TYPES:
        raise ValueError(f"shape_type {kind!r} is unknown; it is one of {', '.join(_TYPES)}")
    needed = {"polygon": 3, "path": 2, "line": 2}.get(kind, 0)
    if len(vertices) < needed:
        raise ValueError(f"a {kind} needs at least {needed} vertices; one has {len(vertices)}")
    if kind in ("polygon", "path", "line"):
        return vertices
    if len(vertices) == 2:
        # Two rows are opposite corners of a rectangle, but centre and radii of an ellipse, as in napari.
        low, high = (vertices[0] - vertices[1], vertices[0] + vertices[1]) if kind == "ellipse" else vertices
        (top, left), (bottom, right) = low, high
        return np.array([[top, left], [top, right], [bottom, right], [bottom, left]])
    if len(vertices) != 4:
        raise ValueError(f"{kind}s have 4 corners, or 2 rows; one has {len(vertices)}")
    return vertices


def _place(leading: Vertices) -> tuple[Value, ...]:
    return tuple(int(value) if float(value).is_integer() else float(value) for value in leading)


def _details(
    count: int, object_labels: Sequence[int] | None, features: Mapping[str, Sequence[Any]] | None
) -> list[dict[str, Any]]:
    """Metadata per shape: its label and its row of the table."""
    labels = range(1, count + 1) if object_labels is None else [int(label) for label in object_labels]
    if len(labels) != count:
        raise ValueError(f"{len(labels)} object_labels are given for {count} shapes")
    wrong = [label for label in labels if not 1 <= label < 1 << 32]
    if wrong:
        raise ValueError(f"object_labels are positive 32-bit numbers, not {wrong[0]}")
    columns = {str(name): [plain_value(value) for value in column] for name, column in (features or {}).items()}
    for name, column in columns.items():
        if len(column) != count:
            raise ValueError(f"the feature {name!r} has {len(column)} rows, there are {count} shapes")
    # The label last: a feature of that name must not change the colour.
    return [
        {**{name: column[row] for name, column in columns.items()}, "label": label} for row, label in enumerate(labels)
    ]
