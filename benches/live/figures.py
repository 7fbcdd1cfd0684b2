"""The figures by name.

Each function starts viewers of its own, prints each raw number while it goes, and returns its figures; its doc comment
says what counts. It raises `CannotMeasure` when it could not measure; nothing is guessed. Where both viewers are
measured, the same lines drive both, the incumbent first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from batches import batches, cost_per_batch, latency, receiver_copy
from demo_run import demo_run
from figure import Figure
from memory import beyond_memory, bytes_per_byte, idle_memory
from pipeline import pipeline
from setting import Bench
from sliders import sliders
from start import idle_cpu, start_time

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
    "pipeline": pipeline,
    "demo-run": demo_run,
}
