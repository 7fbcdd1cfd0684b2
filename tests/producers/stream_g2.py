"""Stream a plan as stream.py does, through polystore 0.1.9 (generation G2) or 0.1.7 (G1).

The plan and the output are those of stream.py, with what these packages differ in:

- The address of an item comes from parsing its filename: here the plan's `metadata` stands for a microscope's filename
  parser. Beside it they send `source` (a batch's `"source"`, default "images").
- There is no producer identity and no value domain; component names are sent for channel, well and site only. What a
  plan says of them beyond that is left out.
- A component of `layer_components` has the mode that these packages call "slice".
- `reply` is what 0.1.9 logged of the viewer's reply, which it ignores otherwise; null with 0.1.7, which gets none.
- `segments_left` of a batch are no fault: unlinking them is the viewer's part. The line `{"done": ...}` names those
  that were left until `wait_for_unlink_seconds` (default 0) had passed.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from endpoint import ViewerEndpoint
from plan import emit, payload_of, read_plan
from polystore.napari_stream import NapariStreamingBackend
from zmqruntime.ack_listener import GlobalAckListener
from zmqruntime.queue_tracker import GlobalQueueTrackerRegistry

COMPONENT_ORDER = ("site", "channel", "z_index", "timepoint", "well")


class Mode(Enum):
    """How a component is shown, in the words of these generations."""

    STACK = "stack"
    SLICE = "slice"


class SizeHandling(Enum):
    """What becomes of images whose sizes differ."""

    PAD_TO_MAX = "pad_to_max"
    SEPARATE_LAYERS = "separate_layers"


class DisplayConfig:
    """What the backend reads: COMPONENT_ORDER, a `<component>_mode` each, colormap and size handling."""

    def __init__(self, batch: Mapping[str, Any]) -> None:
        self.COMPONENT_ORDER = list(batch.get("component_order", COMPONENT_ORDER))
        layers = batch.get("layer_components", ())
        for component in self.COMPONENT_ORDER:
            setattr(self, f"{component}_mode", Mode.SLICE if component in layers else Mode.STACK)
        self.variable_size_handling = SizeHandling(batch.get("variable_size_handling", "pad_to_max"))
        self._colormap: str = batch.get("colormap", "gray")

    def get_colormap_name(self) -> str:
        """The colormap of every layer."""
        return self._colormap


def microscope_of(batch: Mapping[str, Any]) -> SimpleNamespace:
    """The microscope handler that the backend asks for addresses and names."""
    addresses = {os.path.basename(item["path"]): item["metadata"] for item in batch["items"]}
    names = batch.get("component_names") or {}
    asked = {f"get_{component}_values": lambda plate, found=found: found for component, found in names.items()}
    return SimpleNamespace(
        parser=SimpleNamespace(parse_filename=lambda filename: dict(addresses[filename])),
        metadata_handler=SimpleNamespace(**asked),
    )


class RepliesInLog(logging.Handler):
    """Keeps what the backend logs of the viewer's replies."""

    MARK = "Received ack from Napari: "

    def __init__(self) -> None:
        super().__init__()
        self.replies: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        _, found, status = record.getMessage().partition(self.MARK)
        if found:
            self.replies.append(status)


class Producer:
    """Streams batches to one viewer and keeps the acks that come back."""

    def __init__(self, endpoint: ViewerEndpoint) -> None:
        self.endpoint = endpoint
        self.acks: list[dict[str, Any]] = []
        self.image_ids: list[str] = []
        self.segments: list[str] = []
        self._log = RepliesInLog()
        log = logging.getLogger("polystore.napari_stream")
        log.setLevel(logging.INFO)
        log.addHandler(self._log)
        self._backend = NapariStreamingBackend(transport_config=endpoint.config)
        GlobalAckListener().register_callback(lambda ack: self.acks.append(ack.to_dict()))

    def send(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Send one batch of the plan; returns the line to print."""
        built: list[tuple[list[dict[str, Any]], list[str]]] = []
        build = NapariStreamingBackend._build_batch_message

        def remember(*arguments: Any, **named: Any) -> Any:
            message, images, image_ids = build(self._backend, *arguments, **named)
            built.append((images, image_ids))
            return message, images, image_ids

        # As an attribute, so that no subclass enters polystore's backend registry.
        self._backend._build_batch_message = remember
        replies = len(self._log.replies)
        error: str | None = None
        try:
            self._backend.save_batch(
                [payload_of(item) for item in batch["items"]],
                [Path(item["path"]) for item in batch["items"]],
                host=self.endpoint.host,
                port=self.endpoint.port,
                transport_mode=self.endpoint.transport_mode,
                display_config=DisplayConfig(batch),
                microscope_handler=microscope_of(batch),
                source=batch.get("source", "images"),
                plate_path="/plate",
            )
        except Exception as raised:  # what the backend raises is what a pipeline step would fail with
            error = f"{type(raised).__name__}: {raised}"
        images, image_ids = built[0] if built else ([], [])
        segments = [image["shm_name"] for image in images if image.get("shm_name")]
        self.image_ids += image_ids
        self.segments += segments
        return {
            "status": "ok" if error is None else "error",
            "error": error,
            "reply": self._log.replies[-1] if len(self._log.replies) > replies else None,
            "image_ids": image_ids,
            "segments_left": existing(segments),
        }

    def all_acknowledged(self, *, timeout_seconds: float) -> bool:
        """Wait until every image sent so far was acknowledged; False when the time ran out."""
        return wait_until(
            lambda: set(self.image_ids) <= {ack["image_id"] for ack in self.acks}, timeout_seconds=timeout_seconds
        )

    def tracker(self) -> dict[str, int]:
        """What the package's own queue tracker counts."""
        tracker = GlobalQueueTrackerRegistry().get_or_create_tracker(self.endpoint.port, "napari")
        processed, sent = tracker.get_progress()
        return {"sent": sent, "processed": processed, "pending": tracker.get_pending_count()}

    def close(self) -> None:
        """Release the backend's sockets and any segment it still holds."""
        GlobalAckListener().stop()
        self._backend.cleanup()


def existing(segments: Sequence[str]) -> list[str]:
    """Those that are still there (Linux; always none elsewhere)."""
    return [name for name in segments if os.path.exists(f"/dev/shm/{name}")]


def wait_until(fact: Callable[[], bool], *, timeout_seconds: float) -> bool:
    """Ask again and again; False when the time ran out."""
    deadline = time.monotonic() + timeout_seconds
    while not fact():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def main() -> None:
    """Stream the plan named on the command line."""
    plan = read_plan()
    producer = Producer(
        ViewerEndpoint(
            **{key: plan[key] for key in ("port", "transport", "host", "socket_names", "ack_port") if key in plan}
        )
    )
    try:
        for number, batch in enumerate(plan["batches"]):
            emit({"batch": number} | producer.send(batch))
        acknowledged = producer.all_acknowledged(timeout_seconds=plan.get("wait_for_acks_seconds", 5.0))
        for ack in producer.acks:
            emit({"ack": ack})
        wait_until(lambda: not existing(producer.segments), timeout_seconds=plan.get("wait_for_unlink_seconds", 0.0))
        emit(
            {
                "done": True,
                "sent": len(producer.image_ids),
                "all_acknowledged": acknowledged,
                "tracker": producer.tracker(),
                "segments_left": existing(producer.segments),
            }
        )
    finally:
        producer.close()


if __name__ == "__main__":
    main()
