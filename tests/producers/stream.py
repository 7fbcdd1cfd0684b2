"""Stream what a plan says through the real polystore backend, and print what came of it.

    python stream.py plan.json          (or the plan on standard input)

The plan is one JSON object; every field but `batches` has a default:

    {"port": 5555, "transport": "ipc", "host": "localhost", "socket_names": "openhcs", "ack_port": null,
     "wait_for_acks_seconds": 5.0,
     "batches": [{
        "identity": {"step_name": "Gaussian Blur", "pipeline_position": 0, ...},    (default: a main pipeline output)
        "component_order": [...], "component_modes": {...}, "layer_components": ["channel"],
        "colormap": "gray", "variable_size_handling": "pad_to_max",
        "component_names": {"channel": {"1": "DAPI"}}, "component_value_domain": {...},
        "item_fields": {"source_channel_axis": 2}, "message_extra": {...},
        "items": [
          {"path": "/plate/A01.tif", "metadata": {"well": "A01", "site": 1, ...}, "identity": {...},
           "array": {"pattern": "ramp", "shape": [16, 24], "dtype": "uint16", "seed": 0, "value": 7}},
          {"path": ..., "metadata": ..., "array": {"file": "plane.npy"}},
          {"path": "/plate/A01.roi.zip", "metadata": ...,
           "rois": [{"shapes": [{"type": "polygon", "coordinates": [[y, x], ...]}], "metadata": {"label": 1}}]}
        ]}]}

Patterns: `ramp` counts pixels up in C order and wraps at the type's range; `constant` holds `value`; `noise` is
random from `seed`, in the type's range (0..1 for floats); `disc` is a bright disc on 0. Shapes of ROIs: `polygon` and
`polyline` (coordinates), `ellipse` (center, radii), `point` (coordinates).

Output, one JSON object per line: `{"batch": 0, "status": "ok"|"error", ...}` per batch, then one `{"ack": {...}}` per
acknowledgement, then `{"done": true, ...}`. The exit status is 0 also when the viewer refused a batch, for that is an
answer.
"""

from __future__ import annotations

from typing import Any

from endpoint import ViewerEndpoint
from plan import emit, payload_of, read_plan
from polystore.streaming.identity import StreamProducerIdentity
from producer import COMPONENT_ORDER, DisplayConfig, Item, Producer


def identity_of(changed: dict[str, Any] | None) -> StreamProducerIdentity:
    """A pipeline's main output, with the plan's fields put over it."""
    main = {"origin": "pipeline", "output_kind": "main", "output_key": "main", "projection_key": "main"}
    return StreamProducerIdentity(**(main | (changed or {})))


def send_batch(producer: Producer, batch: dict[str, Any]) -> dict[str, Any]:
    """Send one batch of the plan; returns the line to print."""
    items = batch["items"]
    if any("identity" in item for item in items):
        identity: Any = [identity_of(item.get("identity", batch.get("identity"))) for item in items]
    else:
        identity = identity_of(batch.get("identity"))
    sent = producer.send(
        [Item(payload=payload_of(item), path=item["path"], metadata=item["metadata"]) for item in items],
        identity=identity,
        display=DisplayConfig(
            component_order=batch.get("component_order", COMPONENT_ORDER),
            layer_components=batch.get("layer_components", ()),
            component_modes=batch.get("component_modes"),
            colormap=batch.get("colormap", "gray"),
            variable_size_handling=batch.get("variable_size_handling", "pad_to_max"),
        ),
        component_names=batch.get("component_names"),
        component_value_domain=batch.get("component_value_domain"),
        item_fields=batch.get("item_fields"),
        message_extra=batch.get("message_extra"),
    )
    return {
        "status": "ok" if sent.error is None else "error",
        "error": sent.error,
        "image_ids": sent.image_ids,
        "segments_left": sent.segments_left,
        "seconds": round(sent.seconds, 4),
    }


def main() -> None:
    """Stream the plan named on the command line."""
    plan = read_plan()
    endpoint = ViewerEndpoint(
        **{key: plan[key] for key in ("port", "transport", "host", "socket_names", "ack_port") if key in plan}
    )
    producer = Producer(endpoint)
    try:
        sent = 0
        for number, batch in enumerate(plan["batches"]):
            line = send_batch(producer, batch)
            sent += len(line["image_ids"])
            emit({"batch": number} | line)
        all_acknowledged = producer.wait_for_acks(timeout_seconds=plan.get("wait_for_acks_seconds", 5.0))
        for ack in producer.acks:
            emit({"ack": ack})
        emit({"done": True, "sent": sent, "all_acknowledged": all_acknowledged, "tracker": producer.tracker()})
    finally:
        producer.close()


if __name__ == "__main__":
    main()
