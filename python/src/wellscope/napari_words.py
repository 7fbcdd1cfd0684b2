"""Arguments as napari's users know them: what they mean here, and a sentence for those that mean nothing here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_NOT_HERE = {
    "opacity": "set it in the viewer's panel",
    "blending": "set it in the viewer's panel",
    "interpolation": "pixels are drawn as they are",
    "interpolation2d": "pixels are drawn as they are",
    "interpolation3d": "the viewer draws planes, not volumes",
    "rendering": "the viewer draws planes, not volumes",
    "depiction": "the viewer draws planes, not volumes",
    "iso_threshold": "the viewer draws planes, not volumes",
    "attenuation": "the viewer draws planes, not volumes",
    "projection_mode": "project the array before, e.g. array.max(axis=0)",
    "translate": "the viewer places images by their axes; use at={...}",
    "rotate": "transform the array before",
    "shear": "transform the array before",
    "affine": "transform the array before",
    "multiscale": "leave it out: the viewer makes reduced levels itself; pass the full array",
    "cache": "leave it out: dask arrays are read once, chunk by chunk",
    "metadata": "leave it out: the viewer keeps no metadata of layers",
    "axis_labels": "use axes='...'",
    "properties": "use features={...}",
    "text": "the viewer writes no text beside shapes",
    "edge_color": "colours follow object_labels=[...]",
    "face_color": "colours follow object_labels=[...]",
    "border_color": "colours follow object_labels=[...]",
    "edge_width": "the viewer draws all outlines alike",
    "size": "the viewer draws all points alike",
    "symbol": "the viewer draws all points alike",
    "ndim": "it is known from the data; name the columns with axes='...'",
}

# napari's choice for one, two and three channels, and its cycle for more.
_CHANNEL_COLORMAPS = {1: ["gray"], 2: ["magenta", "green"], 3: ["cyan", "yellow", "magenta"]}
_MANY_CHANNELS = ["cyan", "magenta", "yellow", "blue", "green", "red"]


def refuse_unknown(function: str, unsupported: Mapping[str, Any]) -> None:
    """Raises a TypeError that says what to do instead."""
    for name in unsupported:
        if name in _NOT_HERE:
            raise TypeError(f"{function}() of wellscope has no {name!r}: {_NOT_HERE[name]}")
        raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


def channel_colormaps(count: int) -> list[str]:
    """Colormaps of `count` channels that are shown together."""
    few = _CHANNEL_COLORMAPS.get(count)
    return few if few is not None else [_MANY_CHANNELS[index % len(_MANY_CHANNELS)] for index in range(count)]


def listed(what: str, given: Any, count: int, *, is_one: bool) -> list[Any]:
    """One for all, or one per channel."""
    if is_one:
        return [given] * count
    if len(given) != count:
        raise ValueError(f"{len(given)} {what} are given for {count} channels; give one for all, or one each")
    return list(given)


def one_number(what: str, given: Any) -> float:
    """A number; lists are for `channel_axis`."""
    if isinstance(given, bool) or not hasattr(given, "__float__") or np.ndim(given):
        raise ValueError(f"{what} is one number, not {given!r}; one each is for channel_axis=...")
    return float(given)


def scale_of(scale: Sequence[float] | None) -> tuple[float, float, float] | None:
    """``(z, y, x)`` of napari's scale, whose last values are y and x; z is 1 when it is not given."""
    if scale is None:
        return None
    values = [float(value) for value in scale]
    if len(values) < 2 or not all(0 < value < float("inf") for value in values[-3:]):
        raise ValueError(
            f"scale needs positive numbers for y and x at least, e.g. (0.65, 0.65); {tuple(scale)} is given"
        )
    return (1.0, values[0], values[1]) if len(values) == 2 else (values[-3], values[-2], values[-1])
