"""An idle program: how soon it is ready, and what it costs while nothing happens."""

from __future__ import annotations

import statistics
import time

from figure import Figure, at_least, at_most, millis, ratio_figure, say
from machine import cpu_ticks_of
from setting import IDLE_SETTLE_SECONDS, Bench, large_batch
from stream import Stream, domain_of
from viewers import Wellscope

STARTS = 5


def start_time(bench: Bench) -> list[Figure]:
    """Process start to ready pong, in turn, after one start of each that fills the caches and does not count.

    Ready means that both sockets serve. Ours says so before its window is there, so the time until it answers `settle`,
    which it does from a window that was drawn, is printed beside it for both.
    """
    ready: dict[str, list[float]] = {}
    drawn: dict[str, list[float]] = {}
    for start in bench.both():
        start().stop()
    for _ in range(STARTS):
        for start in bench.both():
            with start() as viewer:
                ready.setdefault(viewer.name, []).append(viewer.start_seconds)
                drawn.setdefault(viewer.name, []).append(viewer.start_seconds + viewer.settle())
    for name in ready:
        say(f"{name}: start to ready {millis(ready[name])}; to settled {millis(drawn[name])}")
    medians = {name: statistics.median(found) for name, found in ready.items()}
    name = "process start to ready pong, incumbent's warm start over ours"
    raw = {"ready_seconds": ready, "settled_seconds": drawn}
    return [ratio_figure(name, at_least(8.0), medians.get("napari"), medians["wellscope"], raw)]


IDLE_CPU_SECONDS = 25.0


def idle_cpu(bench: Bench) -> list[Figure]:
    """CPU time of our idle viewer, its window on screen, first empty, then with images shown; the larger counts."""

    def percent(viewer: Wellscope) -> float:
        time.sleep(IDLE_SETTLE_SECONDS)
        before, started = cpu_ticks_of(viewer.pid), time.monotonic()
        time.sleep(IDLE_CPU_SECONDS)
        return 100 * (cpu_ticks_of(viewer.pid) - before) / (time.monotonic() - started)

    with bench.ours() as viewer, Stream(viewer.endpoint, domain=domain_of(8)) as stream:
        viewer.settle()
        empty = percent(viewer)
        stream.send(large_batch(1))
        viewer.settle()
        shown = percent(viewer)
    say(f"empty {empty:.2f} %, with 8 planes {shown:.2f} % of one core, over {IDLE_CPU_SECONDS:.0f} s each")
    raw = {"empty_percent": empty, "with_images_percent": shown}
    return [Figure("idle CPU, percent of one core", at_most(0.5), max(empty, shown), "%", raw=raw)]
