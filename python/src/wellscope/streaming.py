"""Planes become batches: by shared memory on this machine, by binary frames to others, inline where neither works."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import wire
from .axes import Value
from .channel import DataChannel
from .errors import WellscopeError
from .segments import NoRoom, Segment

Pixels = Literal["auto", "shared_memory", "frames"]
"""How pixels travel. "auto": by shared memory to a viewer of this machine, else by frames."""

_BATCH_BYTES = 64 << 20
_BATCH_ITEMS = 512

_FRAME_BYTES = 64 << 20
"""Longest binary frame; receivers refuse longer messages than their --max-message."""

_SMALL_BYTES = 32 << 10
"""Planes up to this travel in the message even on this machine: making a segment would cost more than the copy."""

_INLINE_BYTES = 256 << 10
"""Planes up to this may become text for a viewer that takes no frames."""


@dataclass(frozen=True)
class Route:
    """How pixels reach one viewer.

    Attributes
    ----------
    shared_memory
        The viewer sees this machine's shared memory.
    frames
        The viewer takes binary frames.
    """

    shared_memory: bool
    frames: bool

    @staticmethod
    def to_viewer(pong: Mapping[str, Any], *, is_on_this_machine: bool, pixels: Pixels) -> Route:
        """Chooses by what the viewer's pong says it accepts.

        Raises
        ------
        WellscopeError
            When `pixels` asks for what cannot work.
        """
        own = pong.get("wellscope")
        accepts = own.get("accepts", ()) if isinstance(own, dict) else ()
        takes_frames = "frames" in accepts
        if pixels == "shared_memory":
            if not is_on_this_machine:
                raise WellscopeError("shared memory reaches viewers of this machine only; use pixels='frames'")
            return Route(True, False)
        if pixels == "frames":
            if not takes_frames:
                raise WellscopeError(
                    "the viewer does not take binary frames; update wellscope there, or use a viewer of this machine"
                )
            return Route(False, True)
        if pixels != "auto":
            raise ValueError(f"pixels is 'auto', 'shared_memory' or 'frames', not {pixels!r}")
        return Route(is_on_this_machine, takes_frames)


class BatchWriter:
    """Collects items and sends them in batches. Names, values and display settings hold for all of them."""

    def __init__(
        self,
        channel: DataChannel,
        route: Route,
        config: Mapping[str, Any],
        names: Mapping[str, Mapping[str, str]],
        domain: Mapping[str, Sequence[Value]],
    ) -> None:
        self._channel = channel
        self._route = route
        self._config, self._names, self._domain = config, names, domain
        self._reset()

    def _reset(self) -> None:
        self._items: list[wire.Item] = []
        self._frames: list[Any] = []
        self._segments: list[Segment] = []
        self._bytes = 0

    def add_plane(self, item: wire.Item, plane: npt.NDArray[Any]) -> None:
        """Adds an image ``(y, x)`` or ``(y, x, colour)``. Its pixels are read before the ``with`` block ends."""
        if self._items and self._bytes + plane.nbytes > _BATCH_BYTES:
            self.flush()
        item.update(self._place(plane))
        self._bytes += plane.nbytes
        self._push(item)

    def add(self, item: wire.Item) -> None:
        """Adds an item without pixels."""
        self._push(item)

    def _push(self, item: wire.Item) -> None:
        self._items.append(item)
        if len(self._items) >= _BATCH_ITEMS:
            self.flush()

    def flush(self) -> None:
        """Sends what was collected."""
        if not self._items:
            return
        message = wire.message(self._items, self._config, self._names, self._domain)
        frames, segments = self._frames, self._segments
        self._reset()
        self._channel.send(message, frames, segments)

    def __enter__(self) -> BatchWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Sends the rest and waits until the viewer has everything; after an error, only for what was sent."""
        if error is None:
            self.flush()
            self._channel.drain()
            return
        self._abandon()
        with contextlib.suppress(WellscopeError):
            self._channel.drain()

    def _abandon(self) -> None:
        """Leaves what was not sent; nothing stays in shared memory."""
        for segment in self._segments:
            segment.unlink()
        self._reset()

    def _place(self, plane: npt.NDArray[Any]) -> dict[str, Any]:
        if self._route.shared_memory and not (self._route.frames and plane.nbytes <= _SMALL_BYTES):
            try:
                segment = Segment(plane)
            except NoRoom:
                if not self._route.frames:
                    raise
            else:
                self._segments.append(segment)
                return {"shm_name": segment.name}
        if self._route.frames:
            return {"frames": self._add_frames(plane)}
        if plane.nbytes <= _INLINE_BYTES:
            return {"data": _json_numbers(plane)}
        raise WellscopeError(
            f"the viewer is on another machine and does not take binary frames, so a plane of {plane.nbytes} bytes "
            "cannot reach it; update wellscope there"
        )

    def _add_frames(self, plane: npt.NDArray[Any]) -> list[int]:
        data = memoryview(np.ascontiguousarray(plane).reshape(-1).view(np.uint8).data)
        first = len(self._frames)
        self._frames += [data[start : start + _FRAME_BYTES] for start in range(0, len(data), _FRAME_BYTES)]
        return list(range(first, len(self._frames)))


def _json_numbers(plane: npt.NDArray[Any]) -> list[Any]:
    flat: list[Any] = plane.reshape(-1).tolist()
    return flat
