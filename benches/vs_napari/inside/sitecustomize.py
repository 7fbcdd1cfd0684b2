"""Move the sliders of OpenHCS's napari from inside its own process, and count what its canvas draws.

Python imports a module of this name at start when its folder is on PYTHONPATH; vs_napari/incumbent.py puts it there for
the slider figure only. Nothing of the viewer is changed: one thread listens on the Unix socket that
WELLSCOPE_BENCH_SOCKET names and runs requests on the Qt thread, where a user's drag of the slider would run too. The
control socket would not do: the server looks at it every 50 ms (a QTimer of openhcs 0.8.6), which caps it at 20
steps/s.

Requests, one JSON line each:

    {"do": "canvas"}                                          -> {"canvas": [width, height]}, in pixels
    {"do": "resize", "canvas": [width, height]}               -> the same
    {"do": "scrub", "axis": "site", "places": 32, "steps": 64} -> {"seconds", "steps", "draws", "canvas"}
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from typing import Any

#: A step that is not drawn within this is an error, never a fast step.
STEP_LIMIT_SECONDS = 30.0
#: Qt needs a few turns of its event loop until a new size has reached the canvas.
RESIZE_ROUNDS = 8


def process_events(seconds: float) -> None:
    """Let Qt work for a while."""
    from qtpy.QtWidgets import QApplication

    until = time.monotonic() + seconds
    while time.monotonic() < until:
        QApplication.processEvents()
        time.sleep(0.005)


def canvas_size(viewer: Any) -> list[int]:
    """Width and height of what is drawn, in pixels."""
    return [int(extent) for extent in viewer.window._qt_viewer.canvas._scene_canvas.physical_size]


def resize(viewer: Any, canvas: list[int]) -> dict[str, Any]:
    """Make the window as large as its canvas needs; docks keep their own size, so it takes a few rounds."""
    window = viewer.window._qt_window
    for _ in range(RESIZE_ROUNDS):
        found = canvas_size(viewer)
        if found == canvas:
            break
        window.resize(window.width() + canvas[0] - found[0], window.height() + canvas[1] - found[1])
        process_events(0.3)
    return {"canvas": canvas_size(viewer)}


def scrub(viewer: Any, axis_name: str, places: int, steps: int) -> dict[str, Any]:
    """Step through the places of one slider, each step drawn before the next one."""
    from qtpy.QtWidgets import QApplication

    axis = list(viewer.dims.axis_labels).index(axis_name)
    scene = viewer.window._qt_viewer.canvas._scene_canvas
    draws = 0

    def count(_event: Any) -> None:
        nonlocal draws
        draws += 1

    scene.events.draw.connect(count, position="last")
    viewer.dims.set_current_step(axis, 0)
    process_events(1.0)
    draws = 0
    started = time.monotonic()
    for step in range(1, steps + 1):
        before, asked = draws, time.monotonic()
        viewer.dims.set_current_step(axis, step % places)
        # The draw ends, buffers swapped, before processEvents returns.
        while draws == before:
            QApplication.processEvents()
            if time.monotonic() - asked > STEP_LIMIT_SECONDS:
                raise RuntimeError(f"step {step} was not drawn in {STEP_LIMIT_SECONDS} s")
    seconds = time.monotonic() - started
    scene.events.draw.disconnect(count)
    return {"seconds": seconds, "steps": steps, "draws": draws, "canvas": canvas_size(viewer)}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run one request on the Qt thread."""
    import napari
    from superqt.utils import ensure_main_thread

    @ensure_main_thread(await_return=True, timeout=600_000)
    def run() -> dict[str, Any]:
        viewer = napari.current_viewer()
        if viewer is None:
            raise RuntimeError("no viewer yet")
        if request["do"] == "canvas":
            return {"canvas": canvas_size(viewer)}
        if request["do"] == "resize":
            return resize(viewer, request["canvas"])
        return scrub(viewer, request["axis"], request["places"], request["steps"])

    return run()


def serve(path: str) -> None:
    """Answer requests until the process ends."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rw") as stream:
            try:
                reply = answer(json.loads(stream.readline()))
            except Exception as error:  # told to the bench, which fails with it
                reply = {"error": f"{type(error).__name__}: {error}"}
            stream.write(json.dumps(reply) + "\n")
            stream.flush()


if "WELLSCOPE_BENCH_SOCKET" in os.environ:
    # Taken out, so that no process that the viewer starts listens too.
    path_of_socket = os.environ.pop("WELLSCOPE_BENCH_SOCKET")
    threading.Thread(target=serve, args=(path_of_socket,), daemon=True).start()
