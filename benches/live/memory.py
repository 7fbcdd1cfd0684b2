"""Memory: of the idle viewer, per streamed byte, and of a stack that is larger than its limit."""

from __future__ import annotations

import statistics
import time

import control
from figure import Figure, at_least, at_most, ratio_figure, say
from machine import MIB, Memory
from setting import IDLE_SETTLE_SECONDS, LARGE_BYTES, LARGE_PLANES, LARGE_SIDE, Bench, large_batch
from stream import Stream, domain_of, plane
from viewers import CannotMeasure, Viewer, Wellscope

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
    return [
        ratio_figure(
            "resident memory of the idle viewer, incumbent over ours", at_least(2.0), theirs, found[-1].resident, raw
        )
    ]


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
                    raise CannotMeasure(
                        f"site index {index}, row {row}: {found}, not {expected[row, :SAMPLED_COLUMNS]}"
                    )
            note_memory()
        if holes := viewer.facts()["holes"]:
            raise CannotMeasure(f"planes are missing: {holes}")
    say(
        f"{planes} planes visited, each exact; navigate to drawn {statistics.median(seconds) * 1000:.0f} ms (median), "
        f"{max(seconds) * 1000:.0f} ms (longest); at most {max(held) / MIB:.1f} MiB held"
    )
    raw = {
        "held_bytes": [held[0], max(held)],
        "limit": MEMORY_LIMIT,
        "idle": idle.resident,
        "navigate_seconds": seconds,
    }
    return [Figure(name, at_most(1.10), max(held) / MEMORY_LIMIT, raw=raw)]
