"""Both viewers behind one face, so that every figure drives them by the same lines.

Each is a process of its own on a port of its own, started the way OpenHCS 0.8.6 starts a viewer. All requests are
zmqruntime's and OpenHCS's, sent to the control socket by tests/producers/control.py; reading a fact of our own in the
`state` reply is the one thing that only ours answers.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import control
import zmq
from endpoint import ViewerEndpoint
from machine import Memory, memory_of

#: How long a viewer may take for anything.
LIMIT_SECONDS = 180.0
#: OpenHCS asks every 50 ms whether a viewer has settled. Here it is less, the same for both, so that waiting between
#: questions is no part of what is measured.
SETTLE_POLL_SECONDS = 0.005
PING_POLL_SECONDS = 0.005


class CannotMeasure(RuntimeError):
    """A figure could not be measured; the sentence says why."""


class Viewer(ABC):
    """A running viewer."""

    name: str

    def __init__(self, *, home: Path, port: int, environment: Mapping[str, str]) -> None:
        self.endpoint = ViewerEndpoint(port=port)
        self.home = home
        self.log = home / f"{self.name}-{port}.log"
        started = time.monotonic()
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                self.command(),
                env={**os.environ, **self.environment(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # As OpenHCS does; also, its group can be killed as one.
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        #: From the start of the process to the first pong that says ready.
        self.start_seconds = time.monotonic() - started

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The command line."""

    def environment(self) -> Mapping[str, str]:
        """What its environment has beyond ours."""
        return {}

    @property
    def pid(self) -> int:
        """The process that has the window."""
        return self._process.pid

    def _wait_until_ready(self) -> None:
        """Ping as soon as there is a control socket; not by zmqruntime's call, which waits 50 ms between pings."""
        socket_file = self.home / ".openhcs" / "ipc" / f"openhcs-zmq-{self.endpoint.port + 1000}.sock"
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise CannotMeasure(
                    f"{self.name} ended with {self._process.returncode} before it was ready:\n{self.tail()}"
                )
            if socket_file.exists() and self._is_ready():
                return
            time.sleep(PING_POLL_SECONDS)
        raise CannotMeasure(f"{self.name} was not ready in {LIMIT_SECONDS:.0f} s:\n{self.tail()}")

    def _is_ready(self) -> bool:
        try:
            pong = control.exchange(self.endpoint, pickle.dumps({"type": "ping"}), timeout_seconds=0.2)
        except (control.NoReply, zmq.ZMQError):
            return False
        return pong.get("type") == "pong" and pong.get("ready") is True

    def tail(self) -> str:
        """The last lines that it has printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def ask(self, kind: str, payload: Any = None) -> Any:
        """One control request; a refusal is an error."""
        request = {"type": kind} if payload is None else {"type": kind, "payload": payload}
        reply = self._exchange(kind, pickle.dumps(request, protocol=4))
        if reply.get("status") != "success":
            raise CannotMeasure(f"{self.name} refused {kind!r}: {reply.get('message', reply)}")
        return reply

    def _exchange(self, kind: str, request: bytes) -> Any:
        """As control.exchange, but a viewer that has ended is noticed at once."""
        sender: zmq.Socket = zmq.Context.instance().socket(zmq.REQ)
        with sender:
            sender.setsockopt(zmq.LINGER, 0)
            sender.connect(control.target_of(self.endpoint).control_url(self.endpoint.config))
            sender.send(request)
            deadline = time.monotonic() + LIMIT_SECONDS
            while not sender.poll(500):
                if self._process.poll() is not None:
                    raise CannotMeasure(f"{self.name} ended with {self._process.returncode}:\n{self.tail()}")
                if time.monotonic() > deadline:
                    raise CannotMeasure(f"{self.name} did not answer {kind!r} in {LIMIT_SECONDS:.0f} s:\n{self.tail()}")
            return pickle.loads(sender.recv())

    def settle(self) -> float:
        """Ask until everything received is drawn; seconds that it took."""
        started = time.monotonic()
        while time.monotonic() < started + LIMIT_SECONDS:
            phase = self.ask("settle")["settle_phase"]
            if phase == "complete":
                return time.monotonic() - started
            if phase != "running":
                raise CannotMeasure(f"{self.name} could not draw everything: {phase}")
            time.sleep(SETTLE_POLL_SECONDS)
        raise CannotMeasure(f"{self.name} had not drawn everything after {LIMIT_SECONDS:.0f} s")

    def state(self) -> Any:
        """The state reply."""
        return self.ask("state", control.controls.ViewerStateControlOptions())

    def route_keys(self) -> list[str]:
        """The keys of all layers."""
        return [layer["route_key"] for layer in self.state()["layers"]]

    def navigate(self, route_key: str, axis_indices: Mapping[str, int]) -> None:
        """Move sliders by local index."""
        options = control.controls.ViewerNavigationControlOptions(
            route_key=route_key, axis_indices=dict(axis_indices), visible=None, selected=None
        )
        self.ask("navigate", options)

    def memory(self) -> Memory:
        """What it holds."""
        return memory_of(self.pid)

    def stop(self) -> None:
        """Ask it to end, as OpenHCS does; kill what is left."""
        if self._process.poll() is None:
            try:
                control.exchange(self.endpoint, pickle.dumps({"type": "shutdown"}), timeout_seconds=1.0)
                self._process.wait(timeout=5.0)
            except (control.NoReply, zmq.ZMQError, subprocess.TimeoutExpired):
                pass
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.stop()


class Wellscope(Viewer):
    """Ours, with the arguments that OpenHCS would be given for it."""

    name = "wellscope"

    def __init__(
        self,
        binary: Path,
        *,
        home: Path,
        port: int,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._binary = binary
        self._arguments = tuple(arguments)
        self._port = port
        super().__init__(home=home, port=port, environment=environment or {})

    def command(self) -> Sequence[str]:
        own = ("--port", str(self._port), "--application", "openhcs=0.8.6")
        return (str(self._binary), *own, *self._arguments)

    def facts(self) -> Any:
        """Our own part of the state reply."""
        return self.state()["wellscope"]

    def count(self, group: str, name: str) -> int:
        """One counter of it, e.g. ("gpu", "canvas_renders")."""
        value = self.facts()[group][name]
        if type(value) is not int:
            raise CannotMeasure(f"state's {group}.{name} is {value!r}, a whole number is needed")
        return value

    def canvas_size(self) -> tuple[int, int]:
        """Width and height of the canvas in pixels, from a picture of it."""
        spec = control.WindowSnapshotCaptureSpec(
            output_dir_path=str(self.home), capture_scope=control.WindowSnapshotCaptureScope.WIDGET
        )
        reply = self.ask("screenshot", spec)
        return reply["width"], reply["height"]


class Hook:
    """The thread that vs_napari/inside/sitecustomize.py starts inside the incumbent."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, **request: Any) -> Any:
        """One request; an error there is an error here."""
        import json

        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(LIMIT_SECONDS)
            connection.connect(str(self._path))
            with connection.makefile("rw") as stream:
                stream.write(json.dumps(request) + "\n")
                stream.flush()
                reply = json.loads(stream.readline())
        if "error" in reply:
            raise CannotMeasure(f"inside the incumbent: {reply['error']}")
        return reply
