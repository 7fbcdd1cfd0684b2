"""A pipeline of OpenHCS 0.8.6 as its users run it: without a viewer, with napari and with wellscope, in turn.

OpenHCS launches both viewers by itself; wellscope by the Python package of this checkout. Needs requirements.txt beside
this file.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import control
import zmq
from endpoint import ViewerEndpoint
from figure import Figure, at_most, say
from setting import Bench
from viewers import CannotMeasure

PRODUCERS = Path(__file__).resolve().parents[2] / "tests" / "producers"
ROUNDS = 3
#: Pixels along each side of an image; 24 images of it and 12 projections are written, two thirds of them are shown.
TILE = 512


def pipeline(bench: Bench) -> list[Figure]:
    """Wall time of OpenHCS's own orchestrator for two steps over three wells, two shown, each image materialised.

    What a viewer costs is the time of a run with it less that of the run without one in the same round, the median of
    three rounds. Each run is a process of its own with spawn workers, and launches its viewer: OpenHCS waits until it is
    ready. `persistent` leaves it open, so that the run ends with the last image sent; the other mode has the run wait
    until everything is drawn, ask for the state and end the viewer. A round before these fills the caches.
    """
    if importlib.util.find_spec("openhcs") is None:
        note = "needs OpenHCS, which is in the environment of the incumbent"
        return [Figure("pipeline, what the viewer costs", at_most(0.0), None, "s", note=note)]
    plate = bench.home / "plate"
    _openhcs("plate", "--into", str(plate), "--tile", str(TILE))
    figures = []
    for mode in ("persistent", "non-persistent"):
        kinds = ["none", *(["napari"] if bench.with_incumbent else []), "wellscope"]
        seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
        for measured in range(ROUNDS + 1):
            for kind in kinds:
                found = _run(bench, plate, kind=kind, mode=mode, port=5755 + kinds.index(kind))
                if measured:
                    seconds[kind].append(found)
        costs = {
            kind: statistics.median(with_it - without for with_it, without in zip(seconds[kind], seconds["none"], strict=True))
            for kind in kinds[1:]
        }
        for kind in kinds:
            over = f"; median over none {costs[kind]:+.2f} s" if kind in costs else ""
            say(f"{mode} {kind}: {' '.join(f'{one:.2f}' for one in seconds[kind])} s{over}")
        name = f"pipeline of OpenHCS, {mode} viewer, seconds over the run without one (bar: the incumbent's)"
        raw = {"seconds": seconds, "over_none_seconds": costs}
        if "napari" in costs:
            figures.append(Figure(name, at_most(round(costs["napari"], 2)), costs["wellscope"], "s", raw=raw))
        else:
            note = "the incumbent was left out of this run"
            figures.append(Figure(name, at_most(0.0), None, "s", raw=raw, note=note))
    return figures


def _run(bench: Bench, plate: Path, *, kind: str, mode: str, port: int) -> float:
    """Seconds that the orchestrator took to execute the compiled pipeline, viewer and workers included."""
    viewer = "none" if kind == "none" else mode
    ours = {"PYTHONPATH": str(PRODUCERS / "as_installed"), "WELLSCOPE_VIEWER": str(bench.binary)}
    # The vs_napari environment may have the wheel, too.
    environment = ours if kind == "wellscope" else {"WELLSCOPE_OPENHCS": "0"}
    arguments = ("--plate", str(plate), "--port", str(port), "--viewer", viewer)
    try:
        ran = _openhcs("run", *arguments, **environment)
    finally:
        if viewer == "persistent":
            _close(port)
    if not all(ran["wells"].values()):
        raise CannotMeasure(f"a well failed: {ran['wells']}")
    if kind != "none" and _is_ours(port) != (kind == "wellscope"):
        raise CannotMeasure(f"this run was to launch {kind}, and launched the other viewer")
    return float(ran["execute_seconds"])


def _is_ours(port: int) -> bool:
    """Whether wellscope wrote the log of the viewer that OpenHCS launched on this port."""
    log = Path.home() / ".local" / "share" / "openhcs" / "logs" / f"napari_detached_port_{port}.log"
    return "wellscope::start: listening" in log.read_text(errors="replace")


def _openhcs(*arguments: str, **environment: str) -> dict[str, Any]:
    """The answer of tests/producers/openhcs_pipeline.py."""
    command = [sys.executable, str(PRODUCERS / "openhcs_pipeline.py"), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=300.0)
    if ran.returncode != 0:
        raise CannotMeasure(f"OpenHCS failed at {arguments[0]!r}:\n{ran.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return answer


def _close(port: int) -> None:
    """End the viewer that a run left open, and wait until its sockets are gone."""
    endpoint = ViewerEndpoint(port=port)
    folder = Path.home() / ".openhcs" / "ipc"
    socket_file = folder / f"openhcs-zmq-{port + 1000}.sock"
    if not socket_file.exists():
        return
    try:
        pong = control.exchange(endpoint, pickle.dumps({"type": "ping"}), timeout_seconds=10.0)
        control.exchange(endpoint, pickle.dumps({"type": "shutdown"}), timeout_seconds=10.0)
    except (control.NoReply, zmq.ZMQError) as error:
        raise CannotMeasure(f"the viewer on port {port} could not be closed: {error}") from error
    process = Path("/proc") / str(pong["process_identity"]["pid"])
    deadline = time.monotonic() + 30.0
    while process.exists():
        if time.monotonic() > deadline:
            raise CannotMeasure(f"the viewer on port {port} said that it closes, and did not")
        time.sleep(0.05)
