"""Batches: copying them, replying to them, drawing them, and what the 4,096th costs."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import control
from figure import Bar, Figure, at_least, at_most, millis, ratio_figure, say
from machine import cpu_seconds_of
from setting import LARGE_PLANES, LARGE_SIDE, Bench, large_batch
from stream import Address, Stream, domain_of, plane
from viewers import CannotMeasure, Viewer, Wellscope


def receiver_copy(bench: Bench) -> list[Figure]:
    """What `benches/src` measures of a 64 MiB batch over a memcpy of the same bytes into warm memory: the receiver's copy,
    and how long `save_batch` of our client holds up the producer.
    """
    name = "copy of a 64 MiB batch in the receiver, over memcpy"
    if bench.receiver_bench is None:
        raise CannotMeasure("the receiver's bench was not built; see --receiver-bench")
    output = subprocess.run([bench.receiver_bench], capture_output=True, text=True, check=False)
    if output.returncode != 0:
        raise CannotMeasure(f"the receiver's bench failed:\n{output.stderr}")
    lines = [json.loads(line) for line in output.stdout.splitlines() if line.startswith("{")]
    for line in lines:
        say(json.dumps(line))
    found = [line for line in lines if "64 MiB" in line["figure"]]
    if not found:
        raise CannotMeasure(f"the receiver's bench printed no figure with '64 MiB' in its name: {lines}")
    saves = [line for line in lines if line["figure"].startswith("save_batch")]
    return [
        Figure(name, at_most(2.0), found[0]["ratio"], raw={"lines": lines}),
        *(Figure(f"{line['figure']}, over memcpy", at_most(1.5), line["ratio"]) for line in saves),
    ]


BATCHES_TO_128_PLANES = 16
ROUNDS_AT_128_PLANES = 7
BATCHES_IN_A_ROW = 8


def batch_times(start: Callable[[], Viewer]) -> dict[str, list[float]]:
    """Times of batches until 128 planes are shown, of more that replace the first 8, the plane on screen among them,
    and of new ones in a row.
    """
    domain = domain_of((BATCHES_TO_128_PLANES + BATCHES_IN_A_ROW) * LARGE_PLANES)
    with start() as viewer, Stream(viewer.endpoint, domain=domain) as stream:
        replies, settles = [], []
        for batch in range(BATCHES_TO_128_PLANES):
            replies.append(stream.send(large_batch(1 + batch * LARGE_PLANES)))
            viewer.settle()
        route_key = viewer.route_keys()[0]
        for number in range(ROUNDS_AT_128_PLANES):
            viewer.navigate(route_key, {"site": 0})
            viewer.settle()
            uploads = viewer.count("gpu", "uploads") if isinstance(viewer, Wellscope) else 0
            # Other pixels in each round, so that what is on screen has to change.
            stream.send([(at, pixels + 1 + number) for at, pixels in large_batch(1)])
            settles.append(viewer.settle())
            if isinstance(viewer, Wellscope) and viewer.count("gpu", "uploads") == uploads:
                raise CannotMeasure("ours said that it had settled without drawing the new plane")
        items = viewer.state()["component_item_count"]
        if items != BATCHES_TO_128_PLANES * LARGE_PLANES:
            raise CannotMeasure(f"{viewer.name} holds {items} planes, {BATCHES_TO_128_PLANES * LARGE_PLANES} were sent")
        prepared = [large_batch(1 + items + batch * LARGE_PLANES) for batch in range(BATCHES_IN_A_ROW)]
        in_a_row = [stream.send(batch) for batch in prepared]
        viewer.settle()
    say(f"{viewer.name}: request to reply, each batch after the last was drawn: {millis(replies)}")
    say(f"{viewer.name}: request to reply, one batch after the other: {millis(in_a_row)}")
    say(f"{viewer.name}: settle with 128 planes shown: {millis(settles)}")
    return {"reply_seconds": replies, "reply_in_a_row_seconds": in_a_row, "settle_seconds": settles}


def batches(bench: Bench) -> list[Figure]:
    """Request to reply, and reply to settled, of batches of 64 MiB with planes that are new to the viewer.

    Replies are measured twice: sent while the viewer is idle, the kindest case for one that reads and draws on one
    interpreter, and one right after the other, as a pipeline's worker sends them. Settling is the time from the reply
    until `settle` says complete; ours must also have uploaded a plane meanwhile.
    """
    times = [batch_times(start) for start in bench.both()]
    theirs, ours = (times[0], times[1]) if bench.with_incumbent else (None, times[0])

    def figure(name: str, bar: Bar, key: str) -> Figure:
        their_median = None if theirs is None else statistics.median(theirs[key])
        raw = {"ours": ours[key], "theirs": theirs and theirs[key]}
        return ratio_figure(f"{name}, incumbent over ours", bar, their_median, statistics.median(ours[key]), raw)

    reply = "64 MiB batch, request to reply"
    return [
        figure(f"{reply}, viewer idle", at_least(3.0), "reply_seconds"),
        figure(f"{reply}, batches in a row", at_least(3.0), "reply_in_a_row_seconds"),
        figure(f"{reply}, viewer idle (a bar beyond memcpy)", at_least(10.0), "reply_seconds"),
        figure("settle after a batch with 128 planes 2048x2048 shown", at_least(30.0), "settle_seconds"),
    ]


SMALL_SIDE, SMALL_PLANES = 64, 4
COSTED_BATCHES = 48
FILL_PLANES = 64
WARM_UP_ROUNDS = 10


def cost_of_batches(viewer: Wellscope, stream: Stream, first_site: int) -> tuple[float, float]:
    """CPU seconds of the viewer per batch, and the median of request to settled, over batches of new planes."""
    walls = []
    before = cpu_seconds_of(viewer.pid)
    for batch in range(COSTED_BATCHES):
        sites = range(first_site + batch * SMALL_PLANES, first_site + (batch + 1) * SMALL_PLANES)
        reply = stream.send([(Address(site), plane(SMALL_SIDE, site)) for site in sites])
        walls.append(reply + viewer.settle())
    return (cpu_seconds_of(viewer.pid) - before) / COSTED_BATCHES, statistics.median(walls)


def cost_per_batch(bench: Bench) -> list[Figure]:
    """What a batch of 4 small new planes costs our live viewer with 4,096 planes, over its cost with 64.

    The cost is CPU time of all threads of the viewer, which other programs on the machine disturb least; wall time from
    request to settled is printed beside it. Off screen and small, so that drawing, which costs the same always, hides
    as little as possible of what might grow.
    """
    domain = domain_of(4096 + COSTED_BATCHES * SMALL_PLANES)
    with (
        bench.ours("--headless", "--window-size", "400x300") as viewer,
        Stream(viewer.endpoint, domain=domain) as stream,
    ):
        site = 1

        def fill(until: int) -> None:
            nonlocal site
            while site <= until:
                count = min(FILL_PLANES, until + 1 - site)
                stream.send([(Address(one), plane(SMALL_SIDE, one)) for one in range(site, site + count)])
                site += count
            viewer.settle()

        def cost() -> tuple[float, float]:
            nonlocal site
            planes = viewer.state()["component_item_count"]
            if planes != site - 1:
                raise CannotMeasure(f"the viewer holds {planes} planes, {site - 1} were sent")
            found = cost_of_batches(viewer, stream, site)
            site += COSTED_BATCHES * SMALL_PLANES
            say(f"from {planes} planes: {found[0] * 1000:.2f} ms CPU per batch, {found[1] * 1000:.2f} ms wall (median)")
            return found

        # The first batches compile pipelines and fill pools; what they cost is no property of the number of planes.
        for _ in range(WARM_UP_ROUNDS):
            site = 1
            fill(64)
        early = cost()
        fill(4096)
        late = cost()
    raw = {"cpu_seconds": [early[0], late[0]], "wall_seconds": [early[1], late[1]], "wall_ratio": late[1] / early[1]}
    return [Figure("cost per batch at 4,096 planes over cost at 64", at_most(1.1), late[0] / early[0], raw=raw)]


LATENCY_ROUNDS = 30


def percentiles_of(facts: Any, key: str) -> list[float]:
    """Every `p50` below a key of that name, wherever it lies in our part of the state reply: one per layer."""
    if isinstance(facts, Mapping):
        here = [facts[key]["p50"]] if isinstance(facts.get(key), Mapping) and "p50" in facts[key] else []
        return here + [one for value in facts.values() for one in percentiles_of(value, key)]
    if isinstance(facts, (list, tuple)):
        return [one for value in facts for one in percentiles_of(value, key)]
    return []


def latency(bench: Bench) -> list[Figure]:
    """Reply sent to first drawn, for a plane that the view shows: median of the slowest layer, as the viewer counts."""
    name = "reply sent to first drawn, median"
    with bench.ours() as viewer, Stream(viewer.endpoint, domain=domain_of(1)) as stream:
        for index in range(LATENCY_ROUNDS):
            stream.send([(Address(1), plane(LARGE_SIDE, index))])
            viewer.settle()
        facts = viewer.facts()
    if "latency" not in facts:
        return [Figure(name, at_most(2.0), None, "frames", note="not available: state has no key wellscope.latency")]
    say(f"latency: {control.printable(facts['latency'])}")
    found = percentiles_of(facts["latency"], "frames")
    if not found:
        raise CannotMeasure(f"no frames with p50 in {facts['latency']}")
    return [
        Figure(name, at_most(2.0), float(max(found)), "frames", raw={"latency": control.printable(facts["latency"])})
    ]
