"""Arrays of any library, read block by block as numpy arrays."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_SHOWN_KINDS = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}


class ArraySource:
    """An array that need not be in memory, or a list of arrays along a new first axis.

    Parameters
    ----------
    data
        A numpy array; whatever has ``__array__``; a chunked array (dask, zarr: ``shape``, ``dtype``, ``chunks`` and
        slices), of which only a few chunks are in memory at a time; or a list of such, whose y and x may differ.

    Attributes
    ----------
    given
        `data` as it was passed.
    shape
        Extents; of a list, those of its first array after the length of the list.
    axis_names
        Names that the array itself has for its axes (xarray), or None.
    """

    def __init__(self, data: Any) -> None:
        self.given = data
        self._parts: list[Any] | None = None
        self._data: Any = None
        if isinstance(data, (list, tuple)) and data and any(_is_array(part) for part in data):
            self._parts = [part if _is_chunked(part) else np.asarray(part) for part in data]
            ranks = sorted({len(part.shape) for part in self._parts})
            if len(ranks) > 1:
                raise ValueError(f"the arrays of a list need the same number of axes; these have {ranks}")
            leading = {tuple(part.shape[:-2]) for part in self._parts}
            if ranks[0] > 2 and len(leading) > 1:
                raise ValueError(
                    "the arrays of a list may differ in y and x only; "
                    f"their shapes are {[tuple(part.shape) for part in self._parts]}"
                )
            self.shape: tuple[int, ...] = (len(self._parts), *(int(extent) for extent in self._parts[0].shape))
            self.dtypes = [np.dtype(part.dtype) for part in self._parts]
        else:
            self._data = data if _is_chunked(data) else np.asarray(data)
            self.shape = tuple(int(extent) for extent in self._data.shape)
            self.dtypes = [np.dtype(self._data.dtype)]
        self.axis_names = _axis_names(data, len(self.shape))
        for dtype in self.dtypes:
            check_dtype(dtype)
        if 0 in self.shape:
            raise ValueError(f"the array is empty, there is nothing to show: shape {self.shape}")

    def entry(self, axis: int, index: int) -> ArraySource:
        """The array at an index of a leading axis; chunked arrays stay chunked."""
        if self._parts is None:
            return ArraySource(self._data[(slice(None),) * axis + (index,)])
        if axis == 0:
            return ArraySource(self._parts[index])
        return ArraySource([part[(slice(None),) * (axis - 1) + (index,)] for part in self._parts])

    def blocks(self, num_leading: int) -> Iterator[tuple[tuple[int, ...], Array]]:
        """Offset along the leading axes and the pixels of each block; y, x and colour are always whole.

        Chunks that divide y and x are put together, since a plane is what the viewer shows.
        """
        if self._parts is not None:
            for index, part in enumerate(self._parts):
                for offset, block in _blocks_of(part, num_leading - 1):
                    yield (index, *offset), block[np.newaxis]
        else:
            yield from _blocks_of(self._data, num_leading)


def _blocks_of(array: Any, num_leading: int) -> Iterator[tuple[tuple[int, ...], Array]]:
    if not _is_chunked(array):
        yield (0,) * num_leading, array
        return
    for spans in itertools.product(
        *(_spans(extent, chunk) for extent, chunk in zip(array.shape[:num_leading], array.chunks))
    ):
        # The scheduler that is set up computes it: threads, or a cluster of dask.distributed.
        block = np.asarray(array[tuple(slice(start, stop) for start, stop in spans)])
        yield tuple(start for start, _ in spans), block


def _spans(extent: int, chunk: int | Sequence[int]) -> list[tuple[int, int]]:
    """Chunks along an axis: one size for all (zarr, h5py), or a size each (dask)."""
    extent = int(extent)
    if isinstance(chunk, int):
        return [(start, min(start + chunk, extent)) for start in range(0, extent, chunk)]
    stops = list(itertools.accumulate(int(size) for size in chunk))
    return list(zip([0, *stops[:-1]], stops))


def _axis_names(data: Any, num_dims: int) -> tuple[str, ...] | None:
    names = getattr(data, "dims", None)
    if not isinstance(names, tuple) or len(names) != num_dims or not all(isinstance(name, str) for name in names):
        return None
    # Names that nobody chose (dim_0, ...) say nothing about y and x.
    spatial = [name.lower() for name in names if name.lower() not in ("rgb", "rgba")]
    return names if spatial[-2:] == ["y", "x"] else None


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") and getattr(value, "ndim", 2) > 0


def _is_chunked(value: Any) -> bool:
    return (
        not isinstance(value, np.ndarray)
        and all(hasattr(value, name) for name in ("shape", "dtype", "__getitem__"))
        and bool(getattr(value, "chunks", None))
    )


def check_dtype(dtype: np.dtype[Any]) -> None:
    """Raises a TypeError for element types that no viewer shows."""
    if dtype.itemsize in _SHOWN_KINDS.get(dtype.kind, ()):
        return
    advice = {
        "c": "show its numpy.abs or numpy.angle",
        "f": "convert it, e.g. array.astype('float64')",
        "O": "an array of objects often comes of rows of different lengths; pass a list of 2-D arrays",
    }.get(dtype.kind, "convert it to numbers")
    raise TypeError(f"arrays of {dtype} cannot be shown, bool, integers and floats of 16 to 64 bits can; {advice}")
