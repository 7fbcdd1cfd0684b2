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

import json
import sys
from typing import Any

import numpy as np
from endpoint import ViewerEndpoint
from polystore.roi import ROI, EllipseShape, PointShape, PolygonShape, PolylineShape
from polystore.streaming.identity import StreamProducerIdentity
from producer import COMPONENT_ORDER, DisplayConfig, Item, Producer


def array_of(spec: dict[str, Any]) -> np.ndarray:
    """The array that a plan's `array` describes."""
    if "file" in spec:
        return np.load(spec["file"], allow_pickle=False)
    shape, dtype = tuple(spec["shape"]), np.dtype(spec["dtype"])
    pattern = spec.get("pattern", "ramp")
    if pattern == "constant":
        return np.full(shape, spec["value"]).astype(dtype)
    if pattern == "ramp":
        # Through uint64, so that a byte wraps at 256 instead of failing.
        counts = np.arange(int(np.prod(shape)), dtype=np.uint64).reshape(shape)
        return counts % 2 == 1 if dtype.kind == "b" else counts.astype(dtype)
    if pattern == "noise":
        random = np.random.default_rng(spec.get("seed", 0))
        if dtype.kind == "b":
            return random.integers(0, 2, shape).astype(bool)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            native = random.integers(limits.min, limits.max, shape, dtype=dtype.newbyteorder("="), endpoint=True)
            return native.astype(dtype)
        return random.random(shape).astype(dtype)
    if pattern == "disc":
        height, width = shape[-2:]
        y, x = np.mgrid[:height, :width]
        inside = (y - (height - 1) / 2) ** 2 + (x - (width - 1) / 2) ** 2 <= (min(height, width) / 3) ** 2
        return np.broadcast_to(inside * spec.get("value", 1), shape).astype(dtype)
    raise SystemExit(f"plan: pattern must be ramp, constant, noise or disc, found {pattern!r}")


def shape_of(spec: dict[str, Any]) -> Any:
    """The polystore shape that a plan's ROI shape describes."""
    kind = spec["type"]
    if kind == "polygon":
        return PolygonShape(coordinates=np.asarray(spec["coordinates"], dtype=float))
    if kind == "polyline":
        return PolylineShape(coordinates=np.asarray(spec["coordinates"], dtype=float))
    if kind == "ellipse":
        (center_y, center_x), (radius_y, radius_x) = spec["center"], spec["radii"]
        return EllipseShape(center_y=center_y, center_x=center_x, radius_y=radius_y, radius_x=radius_x)
    if kind == "point":
        y, x = spec["coordinates"]
        return PointShape(y=y, x=x)
    raise SystemExit(f"plan: an ROI shape must be polygon, polyline, ellipse or point, found {kind!r}")


def payload_of(item: dict[str, Any]) -> Any:
    """The array or the ROI list of one item of the plan."""
    if "array" in item:
        return array_of(item["array"])
    return [
        ROI(shapes=[shape_of(shape) for shape in roi["shapes"]], metadata=roi.get("metadata", {}))
        for roi in item["rois"]
    ]


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


def emit(line: dict[str, Any]) -> None:
    """Print one line of the answer at once, so that a reader can follow along."""
    print(json.dumps(line, default=str), flush=True)


def main() -> None:
    """Stream the plan named on the command line."""
    if len(sys.argv) > 1:
        with open(sys.argv[1], encoding="utf-8") as file:
            plan = json.load(file)
    else:
        plan = json.load(sys.stdin)
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
