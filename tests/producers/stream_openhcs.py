"""Stream a plan of stream.py through the backend inside openhcs 0.1.0 (generation G0) or 0.5.0 (G1).

Images only, as 0.1.0 knows nothing else. These packages publish and get no answer, and 0.1.0 unlinks its shared memory
when it is closed; so this script waits, before it closes the backend, until the viewer's `state` counts what was sent.

Output: `{"batch": 0, "status": "ok"|"error", ...}` per batch, then `{"done": true, "sent", "counted"}`.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import zmq

# The packages talk on standard output while they are imported.
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import openhcs  # noqa: E402
from openhcs.io.napari_stream import NapariStreamingBackend  # noqa: E402

PUBLISHES_OVER_TCP_ONLY = openhcs.__version__ == "0.1.0"


class Mode(Enum):
    """How a component is shown, in the words of these generations."""

    STACK = "stack"
    SLICE = "slice"


class SizeHandling(Enum):
    """What becomes of images whose sizes differ."""

    PAD_TO_MAX = "pad_to_max"


class DisplayConfig:
    """The attributes that the backend reads. Every component is stacked."""

    COMPONENT_ORDER = ("site", "channel", "z_index", "timepoint", "well")
    variable_size_handling = SizeHandling.PAD_TO_MAX

    def __getattr__(self, name: str) -> Mode:
        if name.endswith("_mode"):
            return Mode.STACK
        raise AttributeError(name)

    def get_colormap_name(self) -> str:
        """The colormap of every layer."""
        return "gray"


def array_of(spec: Mapping[str, Any]) -> np.ndarray:
    """A disc, as plan.py draws it; that module needs polystore, which these versions come without."""
    height, width = spec["shape"]
    y, x = np.mgrid[:height, :width]
    inside = (y - (height - 1) / 2) ** 2 + (x - (width - 1) / 2) ** 2 <= (min(height, width) / 3) ** 2
    return (inside * spec["value"]).astype(spec["dtype"])


def transport_of(plan: Mapping[str, Any]) -> dict[str, Any]:
    """How the backend is told where the viewer listens."""
    if PUBLISHES_OVER_TCP_ONLY:
        return {"napari_port": plan["port"]}
    from openhcs.core.config import TransportMode

    return {"host": "localhost", "port": plan["port"], "transport_mode": TransportMode(plan["transport"])}


def control_url(plan: Mapping[str, Any]) -> str:
    """The control socket, 1000 above the data port."""
    port = plan["port"] + 1000
    if plan["transport"] == "tcp":
        return f"tcp://localhost:{port}"
    return f"ipc://{Path.home()}/.openhcs/ipc/openhcs-zmq-{port}.sock"


def counted_items(plan: Mapping[str, Any], expected: int) -> int:
    """Ask the viewer until it counts what was sent; its last count."""
    count = -1
    deadline = time.monotonic() + 60
    with zmq.Context() as context:
        while count < expected and time.monotonic() < deadline:
            with context.socket(zmq.REQ) as socket:
                socket.setsockopt(zmq.LINGER, 0)
                socket.connect(control_url(plan))
                socket.send(pickle.dumps({"type": "state", "payload": {}}))
                if socket.poll(5_000):
                    count = pickle.loads(socket.recv())["component_item_count"]
            time.sleep(0.05)
    return count


def emit(line: Mapping[str, Any]) -> None:
    """Print one line of the answer."""
    print(json.dumps(line), file=answer, flush=True)


def main() -> None:
    """Stream the plan on standard input."""
    plan = json.load(sys.stdin)
    backend = NapariStreamingBackend()
    sent = 0
    for number, batch in enumerate(plan["batches"]):
        items = batch["items"]
        addresses = {os.path.basename(item["path"]): item["metadata"] for item in items}
        names = batch.get("component_names") or {}
        asked = {f"get_{component}_values": lambda plate, found=found: found for component, found in names.items()}
        handler = SimpleNamespace(
            parser=SimpleNamespace(parse_filename=lambda name, known=addresses: dict(known[name])),
            metadata_handler=SimpleNamespace(**asked),
        )
        error: str | None = None
        try:
            backend.save_batch(
                [array_of(item["array"]) for item in items],
                [Path(item["path"]) for item in items],
                **transport_of(plan),
                display_config=DisplayConfig(),
                microscope_handler=handler,
                source=batch.get("source", "images"),
                plate_path="/plate",
                step_index=0,
                step_name="Blur",
            )
        except Exception as raised:  # what the backend raises is what a pipeline step would fail with
            error = f"{type(raised).__name__}: {raised}"
        sent += len(items)
        emit({"batch": number, "status": "ok" if error is None else "error", "error": error})
    counted = counted_items(plan, sent)
    backend.cleanup()
    emit({"done": True, "sent": sent, "counted": counted})


if __name__ == "__main__":
    main()
