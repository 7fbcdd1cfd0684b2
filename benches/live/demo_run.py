"""What showing a pipeline of ours costs it: the demo's, from the command line."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import time

from figure import Figure, at_most, say
from setting import Bench
from viewers import CannotMeasure

#: Enough work for a viewer's start to be a part of it, not the whole: 24 wells, 2 sites, 3 channels, 3 planes.
PLATE = ("--wells", "24", "--sites", "2", "--channels", "3", "--z", "3", "--size", "1024")
TURNS = 3
LIMIT_SECONDS = 600.0


def demo_run(bench: Bench) -> list[Figure]:
    """Wall time of `wellscope run` as a process, with a viewer over without, in turn; medians count.

    Each run with a viewer starts one, on screen: its start and all that it is sent count. It is closed afterwards,
    outside of the time. A run that lost anything on the way to its viewer, or left a well undone, measures nothing.
    """
    if not bench.has_command("run"):
        raise CannotMeasure("this viewer has no command 'run'; build a newer one")
    folder = bench.home / "demo-run"
    plate, pipeline = folder / "plate", folder / "pipeline.toml"
    wellscope(bench, "demo", "--only-plate", "--dir", str(folder), *PLATE)
    port = bench.free_port()
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    # The first run fills the caches and does not count.
    timed_run(bench, pipeline, plate, "--no-viewer")
    for _ in range(TURNS):
        seconds["without"].append(timed_run(bench, pipeline, plate, "--no-viewer"))
        seconds["with"].append(timed_run(bench, pipeline, plate, "--port", str(port)))
        wellscope(bench, "ctl", "shutdown", "--port", str(port))
    for name, found in seconds.items():
        say(f"{name} a viewer: " + " ".join(f"{one:.2f}" for one in found) + " s")
    ratio = statistics.median(seconds["with"]) / statistics.median(seconds["without"])
    name = "wall time of the demo pipeline, with a viewer over without"
    return [Figure(name, at_most(1.05), ratio, raw={"seconds": seconds})]


def timed_run(bench: Bench, pipeline: object, plate: object, *options: str) -> float:
    """Seconds of one whole run; the output of the run before is taken away first."""
    shutil.rmtree(bench.home / "demo-run" / "plate_outputs", ignore_errors=True)
    started = time.monotonic()
    output = wellscope(bench, "run", str(pipeline), str(plate), "--json", *options)
    seconds = time.monotonic() - started
    summary = json.loads(output.splitlines()[-1])
    lost = sum(viewer["lost"] for viewer in summary["viewers"])
    if lost or any(well["outcome"] != "done" for well in summary["wells"]):
        raise CannotMeasure(f"the run was not whole: {summary}")
    return seconds


def wellscope(bench: Bench, *words: str) -> str:
    """A command of ours to its end; its standard output."""
    done = subprocess.run([bench.binary, *words], capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    if done.returncode:
        raise CannotMeasure(f"wellscope {words[0]} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
