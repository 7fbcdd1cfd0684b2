"""The released producer (polystore 0.2.19's streaming backend), with a clock at its REQ socket.

polystore sleeps 0.1 s between connecting and sending. `Reply.seconds` runs from `send_json` to the end of `recv_json`
of the very socket that polystore uses, so that sleep is no part of it, nor is writing the arrays into shared memory.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zmq
from endpoint import ViewerEndpoint
from producer import DisplayConfig, Item, Producer, pipeline_step
from viewers import CannotMeasure

PLATE = "/bench-plate"

#: (sent, replied) of each request of this process, `time.monotonic()`.
_exchanges: list[tuple[float, float]] = []
_sent_at = 0.0


class TimedSocket(zmq.Socket):
    """A socket that notes when a request left and when its reply was there."""

    def send_json(self, *arguments: Any, **keywords: Any) -> Any:
        global _sent_at
        _sent_at = time.monotonic()
        return super().send_json(*arguments, **keywords)

    def recv_json(self, *arguments: Any, **keywords: Any) -> Any:
        reply = super().recv_json(*arguments, **keywords)
        _exchanges.append((_sent_at, time.monotonic()))
        return reply


class TimedContext(zmq.Context):
    """Makes timed sockets."""

    _socket_class = TimedSocket


@dataclass(frozen=True)
class Address:
    """Where on the plate an image lies; the other components stay at 1 and A01."""

    site: int
    channel: int = 1

    @property
    def metadata(self) -> Mapping[str, Any]:
        return {"site": self.site, "channel": self.channel, "z_index": 1, "timepoint": 1, "well": "A01"}


def domain_of(sites: int, channels: int = 1) -> Mapping[str, Sequence[Any]]:
    """What a step declares that it will send. Without it the incumbent refuses a second batch with new values."""
    return {
        "site": list(range(1, sites + 1)),
        "channel": list(range(1, channels + 1)),
        "z_index": [1],
        "timepoint": [1],
        "well": ["A01"],
    }


class Stream:
    """Streams batches of one pipeline step to one viewer."""

    def __init__(
        self, endpoint: ViewerEndpoint, *, domain: Mapping[str, Sequence[Any]], layer_components: Sequence[str] = ()
    ) -> None:
        self._producer = Producer(endpoint)
        # polystore makes its context at the first batch, when there is none yet.
        self._producer._backend._context = TimedContext()
        self._display = DisplayConfig(layer_components=layer_components)
        self._domain = domain

    def send(self, images: Iterable[tuple[Address, np.ndarray]]) -> float:
        """Send one batch; seconds from request to reply."""
        items = [
            Item(payload=pixels, path=f"{PLATE}/s{at.site}_w{at.channel}.tif", metadata=at.metadata)
            for at, pixels in images
        ]
        counted = len(_exchanges)
        sent = self._producer.send(
            items,
            identity=pipeline_step("Raw", 0),
            display=self._display,
            component_names={},
            component_value_domain=self._domain,
        )
        if sent.error is not None or sent.segments_left:
            raise CannotMeasure(f"a batch failed: {sent.error}; segments left: {sent.segments_left}")
        if len(_exchanges) != counted + 1:
            raise CannotMeasure("the clock at polystore's socket saw no exchange; does polystore send in another way?")
        started, replied = _exchanges[-1]
        return replied - started

    def close(self) -> None:
        """Release the sockets."""
        self._producer._backend.cleanup()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()


def plane(side: int, index: int) -> np.ndarray:
    """A square uint16 image that no other index has: a ramp along x, after the index in the first two columns."""
    pixels = np.broadcast_to((np.arange(side, dtype=np.uint16) * 7 + index), (side, side)).copy()
    pixels[:, 0] = index % 65536
    pixels[:, 1] = index // 65536
    return pixels
