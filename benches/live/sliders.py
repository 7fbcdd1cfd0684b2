"""Slider steps per second, on screen."""

from __future__ import annotations

import statistics
import time
from typing import Any

import keys
from figure import Figure, at_least, say
from setting import LARGE_PLANES, LARGE_SIDE, Bench
from stream import Address, Stream, domain_of, plane
from viewers import CannotMeasure, Viewer, Wellscope

#: The canvas of the incumbent's default window on a 1600x1000 screen (baseline.md), in pixels.
CANVAS = (1163, 835)
#: Two passes over the slider in each round.
SCRUB_SITES, SCRUB_STEPS, SCRUB_ROUNDS = 32, 62, 3


def stream_sites(viewer: Viewer, channels: int) -> None:
    """32 sites of 2048 x 2048 in one layer per channel."""
    layered = ("channel",) if channels > 1 else ()
    domain = domain_of(SCRUB_SITES, channels)
    with Stream(viewer.endpoint, domain=domain, layer_components=layered) as stream:
        for channel in range(1, channels + 1):
            for first in range(1, SCRUB_SITES + 1, LARGE_PLANES):
                sites = range(first, first + LARGE_PLANES)
                stream.send([(Address(site, channel), plane(LARGE_SIDE, site * channel)) for site in sites])
        viewer.settle()
    layers = viewer.state()["layers"]
    if len(layers) != channels or not all(layer["visible"] for layer in layers):
        raise CannotMeasure(
            f"{channels} visible layers are needed, {viewer.name} has"
            f" {[(layer['title'], layer['visible']) for layer in layers]}"
        )


def told(who: str, channels: int, rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Rounds of steps with their median, printed."""
    per_second = [one["per_second"] for one in rounds]
    say(f"{who}, {channels} layer(s): {', '.join(f'{one:.1f}' for one in per_second)} steps/s")
    return {"rounds": rounds, "per_second": statistics.median(per_second)}


def their_steps(bench: Bench, channels: int) -> dict[str, Any]:
    """Steps per second of the incumbent, stepped from inside its own process (vs_napari/inside)."""
    with bench.theirs(with_hook=True) as viewer:
        stream_sites(viewer, channels)
        viewer.hook.ask(do="resize", canvas=list(CANVAS))
        rounds = [
            viewer.hook.ask(do="scrub", axis="site", places=SCRUB_SITES, steps=SCRUB_STEPS) for _ in range(SCRUB_ROUNDS)
        ]
    for found in rounds:
        if tuple(found["canvas"]) != CANVAS or found["draws"] < found["steps"]:
            raise CannotMeasure(f"the incumbent's canvas must be {CANVAS} and each step be drawn: {found}")
        found["per_second"] = found["steps"] / found["seconds"]
    return told("napari", channels, rounds)


def window_size_for_canvas(bench: Bench) -> str:
    """The window size that gives our canvas the size that the figure asks for."""
    width, height = 1400, 960
    for _ in range(3):
        with bench.ours("--window-size", f"{width}x{height}") as viewer:
            stream_sites(viewer, 1)
            found = viewer.canvas_size()
        if found == CANVAS:
            return f"{width}x{height}"
        width, height = width + CANVAS[0] - found[0], height + CANVAS[1] - found[1]
    raise CannotMeasure(f"no window size gives a canvas of {CANVAS}; the last one was {found}")


def our_round_by_navigate(viewer: Wellscope) -> dict[str, float]:
    """Back-to-back `navigate` requests over one socket; a step counts when the canvas was drawn anew for it."""
    route_key = viewer.route_keys()[0]
    viewer.navigate(route_key, {"site": 0})
    viewer.settle()
    drawn = viewer.count("gpu", "canvas_renders")
    started = time.monotonic()
    for step in range(1, SCRUB_STEPS + 1):
        viewer.navigate(route_key, {"site": step % SCRUB_SITES})
    viewer.settle()
    seconds = time.monotonic() - started
    drawn = viewer.count("gpu", "canvas_renders") - drawn
    return {"steps": SCRUB_STEPS, "drawn": drawn, "seconds": seconds, "per_second": min(drawn, SCRUB_STEPS) / seconds}


def our_round_by_keys(viewer: Wellscope) -> dict[str, float]:
    """A user who holds an arrow key, faster than anything can draw; a step counts when the canvas was drawn for it.

    Presses that fall into one frame are one drawn step.
    """
    route_key = viewer.route_keys()[0]
    viewer.navigate(route_key, {"site": 0})
    viewer.settle()
    presses = keys.Presses(pid=viewer.pid)
    drawn = viewer.count("gpu", "canvas_renders")
    started = time.monotonic()
    presses.run(rounds=4, places=SCRUB_SITES)
    viewer.settle()
    seconds = time.monotonic() - started
    drawn = viewer.count("gpu", "canvas_renders") - drawn
    return {"presses": presses.count, "drawn": drawn, "seconds": seconds, "per_second": drawn / seconds}


def our_steps(bench: Bench, channels: int, window_size: str) -> dict[str, Any]:
    """Steps per second of ours, by requests and by keys."""
    with bench.ours("--window-size", window_size) as viewer:
        stream_sites(viewer, channels)
        if viewer.canvas_size() != CANVAS:
            raise CannotMeasure(f"our canvas is {viewer.canvas_size()}, not {CANVAS}")
        rounds = [our_round_by_navigate(viewer) for _ in range(SCRUB_ROUNDS)]
        keyed = [our_round_by_keys(viewer) for _ in range(SCRUB_ROUNDS)]
    return {
        "by_navigate": told("wellscope by navigate", channels, rounds),
        "by_keys": told("wellscope by keys", channels, keyed),
    }


def sliders(bench: Bench) -> list[Figure]:
    """Slider steps per second, each step drawn on screen before the next one, on canvases of 1163x835 in both viewers.

    The incumbent is stepped from inside its own process, without a message in between, which is as fast as it can go.
    Ours is stepped by requests to its control socket, the dearer way, one after the other; a step counts when the
    counter of canvas draws moved for it. The median of three rounds counts; each visits 32 planes twice, and ours has
    them on the GPU from the first round on, whose own rate is printed first. Arrow keys, pressed faster than ours
    draws, are measured as a check that the socket does not limit it.
    """
    window_size = window_size_for_canvas(bench)
    figures = []
    for channels in (1, 3):
        theirs = their_steps(bench, channels) if bench.with_incumbent else None
        ours = our_steps(bench, channels, window_size)
        layers = "1 layer" if channels == 1 else f"{channels} channels"
        name = f"slider steps per second, {layers}, canvas 1163x835, ours over the incumbent's"
        raw = {"theirs": theirs, "ours": ours}
        if theirs is None:
            figures.append(Figure(name, at_least(3.0), None, raw=raw, note="the incumbent was left out of this run"))
        else:
            figures.append(
                Figure(name, at_least(3.0), ours["by_navigate"]["per_second"] / theirs["per_second"], raw=raw)
            )
    return figures
