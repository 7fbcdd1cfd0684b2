"""Viewers of the tests: real programs without a window, in a home of their own, gone when the tests are."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Before wellscope is imported anywhere: sockets, locks and logs lie below HOME. Unix sockets need a short path.
_HOME = tempfile.mkdtemp(prefix="ws", dir="/tmp" if os.name != "nt" else None)
os.environ["HOME"] = _HOME
for _variable in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
    os.environ.pop(_variable, None)
for _display in ("DISPLAY", "WAYLAND_DISPLAY"):
    os.environ.pop(_display, None)
if "WELLSCOPE_TEST_VIEWER" in os.environ:
    os.environ["WELLSCOPE_VIEWER"] = os.environ["WELLSCOPE_TEST_VIEWER"]

import wellscope  # noqa: E402
from wellscope import segments  # noqa: E402

_ports = iter(range(5600, 6500))

StartViewer = Callable[..., wellscope.Viewer]


def pytest_sessionfinish() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


def free_tcp_port() -> int:
    """A port that is free together with the one 1000 above."""
    while True:
        with socket.socket() as data, socket.socket() as control:
            data.bind(("127.0.0.1", 0))
            port: int = data.getsockname()[1]
            if port >= 64_000:
                continue
            try:
                control.bind(("127.0.0.1", port + 1000))
            except OSError:
                continue
            return port


@pytest.fixture
def port() -> int:
    """A port that no other test uses."""
    return next(_ports)


@pytest.fixture
def start_viewer() -> Iterator[StartViewer]:
    """Starts viewers that end with the test."""
    started: list[wellscope.Viewer] = []

    def start(port: int | None = None, **options: Any) -> wellscope.Viewer:
        viewer = wellscope.Viewer(next(_ports) if port is None else port, **{"start_timeout": 60.0, **options})
        started.append(viewer)
        return viewer

    yield start
    for viewer in started:
        process = viewer._process
        with contextlib.suppress(wellscope.WellscopeError):
            viewer.close()
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def shared_viewer() -> Iterator[wellscope.Viewer]:
    """One viewer for the tests of a module; each adds layers under names of its own."""
    viewer = wellscope.Viewer(next(_ports), start_timeout=60.0)
    yield viewer
    process = viewer._process
    try:
        viewer.close()
    finally:
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture
def made_segments(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of all shared-memory segments that the test makes in this process; none of them may stay."""
    names: list[str] = []
    make = segments.Segment.__init__

    def noted(self: segments.Segment, array: Any) -> None:
        make(self, array)
        names.append(self.name)

    monkeypatch.setattr(segments.Segment, "__init__", noted)
    yield names
    left = [name for name in names if Path("/dev/shm", name).exists()]
    assert left == []


def values_at(viewer: wellscope.Viewer, layer: str) -> dict[tuple[tuple[str, Any], ...], Any]:
    """Pixels that the viewer has of a layer, by place: what it answers when it is asked for the arrays."""
    controls = {"route_key": viewer.layers[layer].route_key, "include_array_values": True, "max_array_elements": 4096}
    reply = viewer._control.call("payloads", {"controls": controls})
    return {tuple(sorted(record["components"].items())): record for record in reply["layers"][0]["payloads"]}


def require_frames(viewer: wellscope.Viewer) -> None:
    """Ends a test that needs binary frames, when the viewer's program does not say that it takes them."""
    if "frames" not in viewer._control.request("ping").get("wellscope", {}).get("accepts", ()):
        pytest.fail("this viewer's program takes no binary frames")
