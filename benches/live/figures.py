"""The figures: what each is, how it is measured, and what it must be.

Every function starts viewers of its own, prints each raw number while it goes, and returns its figures. It raises
`CannotMeasure` when it could not measure; nothing is guessed. Where both viewers are measured, the same lines drive both,
the incumbent first.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import control
import keys
from machine import MIB, Memory, cpu_seconds_of, cpu_ticks_of
from stream import Address, Stream, domain_of, plane
from viewers import CannotMeasure, Viewer, Wellscope

if TYPE_CHECKING:
    from incumbent import Incumbent

#: The batch that the incumbent was measured with: 8 images of 2048 x 2048 uint16, 64 MiB.
LARGE_SIDE, LARGE_PLANES = 2048, 8
LARGE_BYTES = LARGE_SIDE * LARGE_SIDE * 2 * LARGE_PLANES
#: The canvas of the incumbent's default window on a 1600x1000 screen (baseline.md), in pixels.
CANVAS = (1163, 835)


@dataclass(frozen=True)
class Bar:
    """What a figure must be."""

    relation: str
    value: float

    def holds(self, measured: float) -> bool:
        return measured <= self.value if self.relation == "<=" else measured >= self.value

    def __str__(self) -> str:
        return f"{'at most' if self.relation == '<=' else 'at least'} {self.value:g}"


def at_most(value: float) -> Bar:
    return Bar("<=", value)


def at_least(value: float) -> Bar:
    return Bar(">=", value)


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    bar: Bar
    #: None: not available, and `note` says why.
    measured: float | None
    unit: str = "x"
    raw: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def holds(self) -> bool | None:
        return None if self.measured is None else self.bar.holds(self.measured)


class Bench:
    """Where figures get their viewers from."""

    def __init__(self, *, home: Path, binary: Path, receiver_bench: Path | None, with_incumbent: bool) -> None:
        self.home = home
        self.binary = binary
        self.receiver_bench = receiver_bench
        self.with_incumbent = with_incumbent
        self._ports = itertools.count(5655)
        self._help = subprocess.run([binary, "--help"], capture_output=True, text=True, check=True).stdout

    def has_option(self, option: str) -> bool:
        """Whether our viewer knows an option."""
        return f"{option} " in self._help or f"{option}\n" in self._help

    def ours(self, *arguments: str) -> Wellscope:
        """Our viewer, on screen."""
        return Wellscope(self.binary, home=self.home, port=next(self._ports), arguments=arguments)

    def theirs(self, *, with_hook: bool = False) -> Incumbent:
        """The incumbent, on screen."""
        # Imported late: it needs the environment of vs_napari, which a run without the incumbent has not.
        from incumbent import Incumbent

        return Incumbent(home=self.home, port=next(self._ports), with_hook=with_hook)

    def both(self) -> Iterator[Callable[[], Viewer]]:
        """What starts each viewer, the incumbent first."""
        if self.with_incumbent:
            yield self.theirs
        yield self.ours


def say(text: str) -> None:
    """A raw number, for whoever watches."""
    print(f"    {text}", flush=True)


def millis(seconds: Sequence[float]) -> str:
    """Times in milliseconds, one after the other."""
    return " ".join(f"{1000 * one:.1f}" for one in seconds) + " ms"


def ratio_figure(name: str, bar: Bar, theirs: float | None, ours: float, raw: Mapping[str, Any]) -> Figure:
    """The incumbent's over ours; not available in a run without the incumbent."""
    if theirs is None:
        return Figure(name, bar, None, raw=raw, note="the incumbent was left out of this run")
    return Figure(name, bar, theirs / ours, raw=raw)


def large_batch(first_site: int) -> list[tuple[Address, Any]]:
    """8 planes, sites counting up."""
    sites = range(first_site, first_site + LARGE_PLANES)
    return [(Address(site), plane(LARGE_SIDE, site)) for site in sites]


# --- the receiver alone -------------------------------------------------------------------------------------------------


def receiver_copy(bench: Bench) -> list[Figure]:
    """The receiver's copy of a 64 MiB batch over a plain memcpy of the same bytes into warm memory (benches/src/main.rs)."""
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
    return [Figure(name, at_most(2.0), found[0]["ratio"], raw={"lines": lines})]


# --- batches of 64 MiB --------------------------------------------------------------------------------------------------

BATCHES_TO_128_PLANES = 16
ROUNDS_AT_128_PLANES = 7
BATCHES_IN_A_ROW = 8


def batch_times(start: Callable[[], Viewer]) -> dict[str, list[float]]:
    """Times of batches until 128 planes are shown, of more that replace the first 8, the plane on screen among them, and of
    new ones in a row.
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
    interpreter, and one right after the other, as a pipeline's worker sends them. Settling is the time from the reply until
    `settle` says complete; ours must also have uploaded a plane meanwhile.
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


# --- cost per batch -----------------------------------------------------------------------------------------------------

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
    request to settled is printed beside it. Off screen and small, so that drawing, which costs the same always, hides as
    little as possible of what might grow.
    """
    domain = domain_of(4096 + COSTED_BATCHES * SMALL_PLANES)
    with bench.ours("--headless", "--window-size", "400x300") as viewer, Stream(viewer.endpoint, domain=domain) as stream:
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


# --- memory -------------------------------------------------------------------------------------------------------------

IDLE_SETTLE_SECONDS = 3.0
#: Textures of a software rasteriser are memory of the host, so the budget is small where host memory is measured.
VRAM_LIMIT = 64 * MIB


def idle_memory_of(viewer: Viewer) -> Memory:
    """Memory of a viewer that has drawn its empty window."""
    viewer.settle()
    time.sleep(IDLE_SETTLE_SECONDS)
    memory = viewer.memory()
    say(f"{viewer.name}, idle: {memory}")
    return memory


def idle_memory(bench: Bench) -> list[Figure]:
    """Resident memory of the idle viewer on screen, shared libraries in full in both."""
    found = []
    for start in bench.both():
        with start() as viewer:
            found.append(idle_memory_of(viewer))
    theirs = found[0].resident if bench.with_incumbent else None
    raw = {"resident": [one.resident for one in found], "proportional": [one.proportional for one in found]}
    return [ratio_figure("resident memory of the idle viewer, incumbent over ours", at_least(2.0), theirs, found[-1].resident, raw)]


def vram_arguments(bench: Bench) -> tuple[str, ...]:
    """The small texture budget, when our viewer has the option."""
    if bench.has_option("--vram-limit"):
        return ("--vram-limit", str(VRAM_LIMIT))
    say("--vram-limit is missing in this viewer: textures have the budget that it chose itself")
    return ()


def bytes_per_byte(bench: Bench) -> list[Figure]:
    """Host bytes per streamed byte: what 1 GiB of new planes adds to resident memory, less what textures hold."""
    name = "host bytes per streamed byte, beyond the idle viewer and textures"
    with bench.ours(*vram_arguments(bench)) as viewer, Stream(viewer.endpoint, domain=domain_of(128)) as stream:
        idle = idle_memory_of(viewer)
        for batch in range(16):
            stream.send(large_batch(1 + batch * LARGE_PLANES))
        viewer.settle()
        time.sleep(IDLE_SETTLE_SECONDS)
        after, textures = viewer.memory(), viewer.count("gpu", "resident_bytes")
        streamed = viewer.count("receiver", "bytes_copied")
        if streamed != 16 * LARGE_BYTES:
            raise CannotMeasure(f"the viewer counts {streamed} bytes, {16 * LARGE_BYTES} were sent")
    say(f"after {streamed / MIB:.0f} MiB: {after}; textures {textures / MIB:.1f} MiB")
    raw = {"idle": idle.resident, "after": after.resident, "textures": textures, "streamed": streamed}
    return [Figure(name, at_most(1.10), (after.resident - idle.resident - textures) / streamed, raw=raw)]


MEMORY_LIMIT = 256 * MIB
#: Values read back from each plane: 8 of its first row and of its last, so that a part of a plane is no plane.
SAMPLED_COLUMNS = 8


def read_back(viewer: Wellscope, route_key: str, site_index: int, row: int) -> list[int]:
    """The first pixels of one row of a plane, as the viewer holds them."""
    options = control.controls.ViewerPayloadProjectionOptions(
        controls=control.controls.ViewerPayloadControlOptions(
            route_key=route_key,
            axis_indices={"site": site_index},
            include_array_values=True,
            array_slices=((row, row + 1), (0, SAMPLED_COLUMNS)),
        )
    )
    records = [record for layer in viewer.ask("payloads", options)["layers"] for record in layer["payloads"]]
    if len(records) != 1:
        raise CannotMeasure(f"{len(records)} payloads for site index {site_index}, one is needed")
    values = records[0]["array_values"]
    if len(values) != 1:
        raise CannotMeasure(f"no values for site index {site_index}: {records[0]['array_value_summary']}")
    return list(values[0])


def beyond_memory(bench: Bench) -> list[Figure]:
    """A stack of 4 times the memory limit: every plane is drawn and read back, and resident memory keeps to the limit.

    Resident memory is what is there at the end and after each navigation, less the idle viewer and less textures.
    """
    name = "a stack of 4 times the memory limit: resident memory over the limit, every plane reachable"
    if not bench.has_option("--memory-limit"):
        return [Figure(name, at_most(1.10), None, note="option missing: this viewer has no --memory-limit")]
    planes = 4 * MEMORY_LIMIT // (LARGE_BYTES // LARGE_PLANES)
    arguments = ("--memory-limit", str(MEMORY_LIMIT), *vram_arguments(bench))
    with bench.ours(*arguments) as viewer, Stream(viewer.endpoint, domain=domain_of(planes)) as stream:
        idle = idle_memory_of(viewer)
        held = []

        def note_memory() -> None:
            held.append(viewer.memory().resident - idle.resident - viewer.count("gpu", "resident_bytes"))

        for batch in range(planes // LARGE_PLANES):
            stream.send(large_batch(1 + batch * LARGE_PLANES))
        viewer.settle()
        note_memory()
        say(f"{planes} planes streamed: {held[0] / MIB:.1f} MiB held, limit {MEMORY_LIMIT / MIB:.0f} MiB")
        route_key = viewer.route_keys()[0]
        seconds = []
        for index in range(planes):
            started = time.monotonic()
            viewer.navigate(route_key, {"site": index})
            viewer.settle()
            seconds.append(time.monotonic() - started)
            expected = plane(LARGE_SIDE, index + 1)
            for row in (0, LARGE_SIDE - 1):
                found = read_back(viewer, route_key, index, row)
                if found != expected[row, :SAMPLED_COLUMNS].tolist():
                    raise CannotMeasure(f"site index {index}, row {row}: {found}, not {expected[row, :SAMPLED_COLUMNS]}")
            note_memory()
        if holes := viewer.facts()["holes"]:
            raise CannotMeasure(f"planes are missing: {holes}")
    say(f"{planes} planes visited, each exact; navigate to drawn {statistics.median(seconds) * 1000:.0f} ms (median), "
        f"{max(seconds) * 1000:.0f} ms (longest); at most {max(held) / MIB:.1f} MiB held")
    raw = {"held_bytes": [held[0], max(held)], "limit": MEMORY_LIMIT, "idle": idle.resident, "navigate_seconds": seconds}
    return [Figure(name, at_most(1.10), max(held) / MEMORY_LIMIT, raw=raw)]


# --- time ---------------------------------------------------------------------------------------------------------------

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
    """Reply sent to first drawn, for a plane that the view shows: the median of the slowest layer, as the viewer counts it."""
    name = "reply sent to first drawn, median"
    with bench.ours() as viewer, Stream(viewer.endpoint, domain=domain_of(1)) as stream:
        for index in range(LATENCY_ROUNDS):
            stream.send([(Address(1), plane(LARGE_SIDE, index))])
            viewer.settle()
        facts = viewer.facts()
    if "latency" not in facts:
        return [Figure(name, at_most(2.0), None, "frames", note="not available: state has no key wellscope.latency")]
    say(f"latency: {control.printable(facts['latency'])}")
    found = percentiles_of(facts["latency"], "frames_to_drawn")
    if not found:
        raise CannotMeasure(f"no frames_to_drawn with p50 in {facts['latency']}")
    return [Figure(name, at_most(2.0), float(max(found)), "frames", raw={"latency": control.printable(facts["latency"])})]


STARTS = 5


def start_time(bench: Bench) -> list[Figure]:
    """Process start to ready pong, in turn, after one start of each that fills the caches and does not count.

    Ready means that both sockets serve. Ours says so before its window is there, so the time until it answers `settle`, which
    it does from a window that was drawn, is printed beside it for both.
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


# --- sliders ------------------------------------------------------------------------------------------------------------

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
        raise CannotMeasure(f"{viewer.name} shows {[(layer['title'], layer['visible']) for layer in layers]}, {channels} layers are needed")


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

    The incumbent is stepped from inside its own process, without a message in between, which is as fast as it can go. Ours is
    stepped by requests to its control socket, the dearer way, one after the other; a step counts when the counter of
    canvas draws moved for it. The median of three rounds counts; each visits 32 planes twice, and ours has them on the GPU
    from the first round on, whose own rate is printed first. Arrow keys, pressed faster than ours draws, are measured as a
    check that the socket does not limit it.
    """
    window_size = window_size_for_canvas(bench)
    figures = []
    for channels in (1, 3):
        theirs = their_steps(bench, channels) if bench.with_incumbent else None
        ours = our_steps(bench, channels, window_size)
        name = f"slider steps per second, {channels} layer{'s' if channels > 1 else ''}, canvas 1163x835, ours over the incumbent's"
        raw = {"theirs": theirs, "ours": ours}
        if theirs is None:
            figures.append(Figure(name, at_least(3.0), None, raw=raw, note="the incumbent was left out of this run"))
        else:
            figures.append(Figure(name, at_least(3.0), ours["by_navigate"]["per_second"] / theirs["per_second"], raw=raw))
    return figures


#: Every figure by its name on the command line, in the order of the issue.
FIGURES: Mapping[str, Callable[[Bench], list[Figure]]] = {
    "receiver-copy": receiver_copy,
    "batches": batches,
    "cost-per-batch": cost_per_batch,
    "bytes-per-byte": bytes_per_byte,
    "idle-memory": idle_memory,
    "latency": latency,
    "start": start_time,
    "sliders": sliders,
    "idle-cpu": idle_cpu,
    "beyond-memory": beyond_memory,
}
