"""Blocks of a dask array, shown by whoever computes them. dask itself is not imported: the array brings its methods."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .arrays import ArraySource, check_dtype
from .axes import Axes, Value, coordinates, parse_axes
from .errors import WellscopeError

if TYPE_CHECKING:
    from .sending import ImageOptions
    from .viewer import Viewer

_PAUSE_AFTER_LOSS = 30.0
"""Seconds without trying a viewer again that could not be reached: each trial would hold a worker up."""


@dataclass(frozen=True)
class _Shown:
    """What a worker needs to show a block."""

    viewer: Viewer
    name: str
    options: ImageOptions
    colormap: str
    leading: tuple[str, ...]
    values: Mapping[str, Sequence[Value]]


def watch(viewer: Viewer, array: Any, name: str, options: ImageOptions, *, colormap: str) -> Any:
    """See :meth:`wellscope.Viewer.watch`."""
    if not all(hasattr(array, attribute) for attribute in ("map_blocks", "rechunk", "numblocks")):
        raise TypeError(f"watch needs a dask array, not {type(array).__name__}; use add_image for what is in memory")
    check_dtype(np.dtype(array.dtype))
    axes = parse_axes(options.axes, array.shape, rgb=options.rgb)
    places = coordinates(axes, array.shape, options.labels, options.values)
    values = {
        component: [places.value(component, index) for index in range(extent)]
        for component, extent in zip(axes.leading, array.shape)
    }
    whole = [axis - array.ndim for axis in range(len(axes.leading), array.ndim)]
    if any(array.numblocks[axis] > 1 for axis in whole):
        array = array.rechunk({axis: -1 for axis in whole})
    in_worker = replace(options, axes=_names(axes), labels=dict(places.names), values=None, rgb=None, domain=values)
    shown = _Shown(viewer, name, in_worker, colormap, axes.leading, values)
    return array.map_blocks(_show_block, shown=shown, dtype=array.dtype, meta=array._meta)


def _names(axes: Axes) -> list[str]:
    return [*axes.leading, "y", "x", *(["rgb"] if axes.has_colour else [])]


def _show_block(block: npt.NDArray[Any], shown: _Shown, block_info: Any = None) -> npt.NDArray[Any]:
    if block_info and block.size and not _is_lost(shown.viewer):
        spans = block_info[0]["array-location"]
        values = {
            component: list(shown.values[component][start:stop])
            for component, (start, stop) in zip(shown.leading, spans)
        }
        try:
            _send(shown, block, values)
        except WellscopeError as error:
            _note_loss(shown.viewer, error)
    return block


def _send(shown: _Shown, block: npt.NDArray[Any], values: Mapping[str, Sequence[Value]]) -> None:
    from .sending import send_image

    send_image(
        shown.viewer, ArraySource(block), shown.name, replace(shown.options, values=values), colormap=shown.colormap
    )


_lost_until: dict[str, float] = {}
_lock = threading.Lock()


def _is_lost(viewer: Viewer) -> bool:
    return _lost_until.get(viewer.address, 0.0) > time.monotonic()


def _note_loss(viewer: Viewer, error: WellscopeError) -> None:
    with _lock:
        is_news = not _is_lost(viewer)
        _lost_until[viewer.address] = time.monotonic() + _PAUSE_AFTER_LOSS
    if is_news:
        warnings.warn(f"blocks are computed and not shown: {error}", RuntimeWarning, stacklevel=2)
