"""What a plan of stream.py says, as arrays and ROIs; the same for every generation of the packages."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from polystore.roi import ROI, EllipseShape, PointShape, PolygonShape, PolylineShape


def read_plan() -> dict[str, Any]:
    """The plan that the command line names, else the one on standard input."""
    if len(sys.argv) > 1:
        with open(sys.argv[1], encoding="utf-8") as file:
            return json.load(file)
    return json.load(sys.stdin)


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


def emit(line: dict[str, Any]) -> None:
    """Print one line of the answer at once, so that a reader can follow along."""
    print(json.dumps(line, default=str), flush=True)
