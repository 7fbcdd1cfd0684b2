"""Calls to a viewer's control port: pickled dictionaries, one request and one reply (zmqruntime 0.2.24).

Replies are data: whatever class a reply names is replaced by an inert stand-in, nothing of it is imported or run.
"""

from __future__ import annotations

import io
import pickle
import time
from typing import Any

import zmq

from .endpoint import Endpoint
from .errors import ViewerNotFound, ViewerRefused, ViewerTimeout, WellscopeError

PING_TIMEOUT = 0.5
"""Seconds for a ping; viewers answer it from a thread of its own, however busy they are."""

CALL_TIMEOUT = 30.0
"""Seconds for any other call."""

_POLL_INTERVAL = 0.02


class _StandIn:
    """Takes the place of every class that a reply names."""

    def __new__(cls, *_values: object, **_named: object) -> _StandIn:
        return super().__new__(cls)

    def __init__(self, *values: object, **_named: object) -> None:
        self.values = values

    def __setstate__(self, state: object) -> None:
        self.state = state


class _StandInDict(dict[Any, Any]):
    """Takes the place of a class that is a dictionary with another name."""


_DICTIONARIES = frozenset({"StreamProducerIdentityPayload"})
"""polystore 0.2.19 sends identities so."""


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _StandInDict if name in _DICTIONARIES else _StandIn


def decode_reply(frame: bytes) -> dict[str, Any]:
    """Reads a reply without running anything of it.

    Raises
    ------
    WellscopeError
        When the frame is no pickled dictionary: whoever listens there is no viewer.
    """
    try:
        value = _DataUnpickler(io.BytesIO(frame)).load()
    except Exception as error:
        raise WellscopeError(f"the reply cannot be read ({error}); is it a viewer that listens there?") from error
    if not isinstance(value, dict):
        raise WellscopeError(
            f"the reply is a {type(value).__name__}, a dictionary is needed; is it a viewer that listens there?"
        )
    return value


class ControlClient:
    """One viewer's control port. Each call opens a socket of its own, so that any thread may call."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def call(
        self, kind: str, payload: dict[str, Any] | None = None, *, timeout: float = CALL_TIMEOUT
    ) -> dict[str, Any]:
        """Sends one request and returns the reply when its status is ``"success"``.

        Raises
        ------
        ViewerNotFound
            Nobody listens.
        ViewerTimeout
            Somebody listens and does not answer within `timeout` seconds.
        ViewerRefused
            The answer is an error.
        """
        reply = self.request(kind, payload, timeout=timeout)
        if reply.get("status", "success") != "success":
            raise ViewerRefused(
                f"the viewer at {self.endpoint} refused {kind!r}: {reply.get('message', 'it gave no reason')}"
            )
        return reply

    def request(
        self, kind: str, payload: dict[str, Any] | None = None, *, timeout: float = CALL_TIMEOUT
    ) -> dict[str, Any]:
        """As :meth:`call`, with error replies returned like any other."""
        message: dict[str, Any] = {"type": kind}
        if payload is not None:
            message["payload"] = payload
        nobody = ViewerNotFound(
            f"no viewer listens at {self.endpoint} ({self.endpoint.control_url}); start one with "
            f"`wellscope --port {self.endpoint.port}`, or check port and transport"
        )
        if not self.endpoint.may_be_served(self.endpoint.control_port):
            raise nobody
        socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REQ)
        try:
            socket.setsockopt(zmq.LINGER, 0)
            # Nothing is sent into the void: without a connection the send fails, and we know that nobody listens.
            socket.setsockopt(zmq.IMMEDIATE, 1)
            socket.connect(self.endpoint.control_url)
            started = time.monotonic()
            if not socket.poll(int(min(timeout, self.endpoint.connect_timeout) * 1000), zmq.POLLOUT):
                raise nobody
            try:
                # Never a send that waits: who was there a moment ago may be gone.
                socket.send(pickle.dumps(message, protocol=4), zmq.DONTWAIT)
            except zmq.Again:
                raise nobody from None
            left = max(timeout - (time.monotonic() - started), 0.01)
            if not socket.poll(int(left * 1000)):
                raise ViewerTimeout(f"the viewer at {self.endpoint} did not answer {kind!r} within {timeout:g} s")
            return decode_reply(socket.recv())
        finally:
            socket.close()

    def ping(self, *, timeout: float = PING_TIMEOUT) -> dict[str, Any] | None:
        """The viewer's pong, or None when nobody answers within `timeout` seconds."""
        try:
            reply = self.request("ping", timeout=timeout)
        except (ViewerNotFound, ViewerTimeout):
            return None
        return reply if reply.get("type") == "pong" else None

    def settle(self, *, timeout: float) -> None:
        """Waits until everything that was sent is drawn."""
        deadline = time.monotonic() + timeout
        while True:
            reply = self.call("settle", timeout=max(deadline - time.monotonic(), 0.1))
            if reply.get("settle_phase") == "complete":
                return
            if time.monotonic() > deadline:
                done, total = reply.get("completed_update_count"), reply.get("total_update_count")
                raise ViewerTimeout(
                    f"the viewer at {self.endpoint} has drawn {done} of {total} updates within {timeout:g} s"
                )
            time.sleep(_POLL_INTERVAL)
