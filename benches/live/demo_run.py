"""What showing a pipeline of ours costs it: the demo's, from the command line."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable

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

    A pipeline that keeps all cores busy shares them with a viewer that draws on the processor. The second figure is that
    of a machine with a core to spare: the pipeline has all cores but the last, in both runs, and the viewer the last.
    """
    if not bench.has_command("run"):
        raise CannotMeasure("this viewer has no command 'run'; build a newer one")
    folder = bench.home / "demo-run"
    wellscope(bench, "demo", "--only-plate", "--dir", str(folder), *PLATE)
    cores = sorted(os.sched_getaffinity(0))
    figures = [figure_of(bench, "", set(cores), set(cores))]
    if len(cores) > 1:
        figures.append(figure_of(bench, ", a core to spare", set(cores[:-1]), {cores[-1]}))
    return figures


def figure_of(bench: Bench, where: str, of_pipeline: set[int], of_viewer: set[int]) -> Figure:
    """With over without, on these cores."""
    port = bench.free_port()
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    # The first run fills the caches and does not count.
    timed_run(bench, of_pipeline, "--no-viewer")
    for _ in range(TURNS):
        seconds["without"].append(timed_run(bench, of_pipeline, "--no-viewer"))
        # The viewer's start counts, wherever it runs: the pipeline looks for it at once and waits until it is ready.
        started = time.monotonic()
        if of_viewer != of_pipeline:
            viewer = [bench.binary, "--port", str(port)]
            quiet = subprocess.DEVNULL
            subprocess.Popen(viewer, preexec_fn=on_cores(of_viewer), stdout=quiet, stderr=quiet)
        timed_run(bench, of_pipeline, "--port", str(port))
        seconds["with"].append(time.monotonic() - started)
        wellscope(bench, "ctl", "shutdown", "--port", str(port))
    for name, found in seconds.items():
        say(f"{name} a viewer{where}: " + " ".join(f"{one:.2f}" for one in found) + " s")
    ratio = statistics.median(seconds["with"]) / statistics.median(seconds["without"])
    name = f"wall time of the demo pipeline, with a viewer over without{where}"
    return Figure(name, at_most(1.05), ratio, raw={"seconds": seconds})


def timed_run(bench: Bench, cores: set[int], *options: str) -> float:
    """Seconds of one whole run; the output of the run before is taken away first."""
    folder = bench.home / "demo-run"
    shutil.rmtree(folder / "plate_outputs", ignore_errors=True)
    started = time.monotonic()
    words = ("run", str(folder / "pipeline.toml"), str(folder / "plate"), "--json", "--jobs", str(len(cores)))
    output = wellscope(bench, *words, *options, cores=cores)
    seconds = time.monotonic() - started
    summary = json.loads(output.splitlines()[-1])
    lost = sum(viewer["lost"] for viewer in summary["viewers"])
    if lost or any(well["outcome"] != "done" for well in summary["wells"]):
        raise CannotMeasure(f"the run was not whole: {summary}")
    return seconds


def wellscope(bench: Bench, *words: str, cores: set[int] | None = None) -> str:
    """A command of ours to its end; its standard output."""
    done = subprocess.run(
        [bench.binary, *words],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
        preexec_fn=None if cores is None else on_cores(cores),
    )
    if done.returncode:
        raise CannotMeasure(f"wellscope {words[0]} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def on_cores(cores: set[int]) -> Callable[[], None]:
    """For a process that is started: it and what it starts run on these cores."""
    return lambda: os.sched_setaffinity(0, cores)
