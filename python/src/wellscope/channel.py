"""The way of batches to a viewer: several in flight, each answered once, in order."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import zmq

from .control import ControlClient
from .endpoint import Endpoint
from .errors import ViewerNotFound, ViewerRefused, ViewerTimeout, WellscopeError
from .segments import Segment

MOST_IN_FLIGHT = 4
"""Batches that are sent and not yet answered. While the viewer copies one, the next is made ready."""

_IMPATIENCE = 1.0
"""Seconds without an answer after which the viewer is asked whether it lives."""


class DataChannel:
    """One connection to a data socket. Not for several threads at once."""

    def __init__(self, endpoint: Endpoint, *, timeout: float) -> None:
        self.endpoint = endpoint
        self.timeout = timeout
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._pid = os.getpid()
        self._in_flight: deque[list[Segment]] = deque()
        self._refusal: ViewerRefused | None = None

    def send(self, message: bytes, frames: Sequence[Any], segments: list[Segment]) -> None:
        """Sends a batch; waits while too many are in flight. Its segments are unlinked whatever happens."""
        try:
            socket = self._connected()
            while len(self._in_flight) >= MOST_IN_FLIGHT:
                self._receive(socket)
            self._hand_over(socket, [b"", message, *frames])
        except BaseException:
            _unlink(segments)
            self.close()
            raise
        self._in_flight.append(segments)

    def drain(self) -> None:
        """Waits until all batches are answered.

        Raises
        ------
        ViewerRefused
            With the sentence of the first that was refused.
        """
        try:
            while self._in_flight:
                self._receive(self._connected())
        except BaseException:
            self.close()
            raise
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            raise refusal

    def close(self) -> None:
        """Gives up what is in flight and leaves no segment behind."""
        in_flight, socket, monitor = list(self._in_flight), self._socket, self._monitor
        self._forget()
        # A fork of the process has copies of both, and must touch neither.
        if self._pid != os.getpid():
            return
        for segments in in_flight:
            _unlink(segments)
        if socket is not None:
            if monitor is not None:
                socket.disable_monitor()
            socket.close(linger=0)

    def _forget(self) -> None:
        self._in_flight.clear()
        self._refusal = None
        self._socket = self._monitor = None

    def _connected(self) -> zmq.Socket[bytes]:
        if self._socket is not None and self._pid == os.getpid():
            return self._socket
        self._forget()
        self._pid = os.getpid()
        nobody = ViewerNotFound(
            f"no viewer takes images at {self.endpoint} ({self.endpoint.data_url}); it was closed, or it hangs"
        )
        if not self.endpoint.may_be_served(self.endpoint.port):
            raise nobody
        socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.connect(self.endpoint.data_url)
        self._socket = socket
        if not socket.poll(int(min(self.timeout, self.endpoint.connect_timeout) * 1000), zmq.POLLOUT):
            raise nobody
        self._monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        return socket

    def _hand_over(self, socket: zmq.Socket[bytes], parts: list[Any]) -> None:
        # The empty frame before the message is what a REQ socket would send.
        while True:
            if not self._in_flight:
                # A connection that ended with nothing on its way cost nothing.
                self._has_disconnected()
            try:
                # Never a send that waits: after a viewer is gone it would wait for the next one, without end.
                socket.send_multipart(parts, zmq.DONTWAIT, copy=False)
                return
            except zmq.Again:
                # No connection. What is in flight is lost, or its reply is: libzmq drops what was not read.
                while self._in_flight:
                    self._receive(socket)
                self._wait(socket, zmq.POLLOUT)

    def _receive(self, socket: zmq.Socket[bytes]) -> None:
        self._wait(socket, zmq.POLLIN)
        reply = socket.recv_multipart()
        segments = self._in_flight.popleft()
        _unlink(segments)
        try:
            answer = json.loads(reply[-1])
            status = answer["status"]
        except (ValueError, KeyError, TypeError) as error:
            raise WellscopeError(
                f"the reply to a batch cannot be read ({error}); is it a viewer that listens at {self.endpoint}?"
            ) from error
        if status != "success" and self._refusal is None:
            self._refusal = ViewerRefused(
                f"the viewer at {self.endpoint} refused images: {answer.get('message', 'it gave no reason')}"
            )

    def _wait(self, socket: zmq.Socket[bytes], event: int) -> None:
        deadline = time.monotonic() + self.timeout
        silent_pings = 0
        poller = zmq.Poller()
        poller.register(socket, event)
        if self._monitor is not None:
            poller.register(self._monitor, zmq.POLLIN)
        while socket not in dict(poller.poll(int(_IMPATIENCE * 1000))):
            if self._has_disconnected() and self._in_flight:
                # Another one that is started in its place knows nothing of them.
                raise ViewerNotFound(
                    f"the viewer at {self.endpoint} was closed before it had confirmed all images; send them again"
                )
            # Its control thread answers at once, so a viewer that does not is gone or hangs.
            silent_pings = silent_pings + 1 if ControlClient(self.endpoint).ping(timeout=1.0) is None else 0
            if silent_pings >= 3:
                raise ViewerNotFound(
                    f"the viewer at {self.endpoint} does not answer any more; it was closed, or it hangs"
                )
            if time.monotonic() > deadline:
                raise ViewerTimeout(f"the viewer at {self.endpoint} did not confirm images within {self.timeout:g} s")

    def _has_disconnected(self) -> bool:
        """Whether a connection has ended since this was last asked."""
        has_disconnected = False
        while self._monitor is not None and self._monitor.poll(0):
            self._monitor.recv_multipart()
            has_disconnected = True
        return has_disconnected

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


def _unlink(segments: Sequence[Segment]) -> None:
    for segment in segments:
        segment.unlink()
