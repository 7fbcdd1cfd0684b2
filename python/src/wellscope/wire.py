"""Batch messages as producers send them to a viewer (polystore 0.2.19, and wellscope's extensions to it)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from .axes import OPENHCS_COMPONENTS, Value

Item = dict[str, Any]


def identity(name: str, *, kind: str = "direct") -> dict[str, Any]:
    """Who made an item. Viewers make layers of it: one per name and kind, with the name as its title."""
    return {
        "origin": "direct",
        "output_kind": kind,
        "output_key": name,
        "projection_key": name,
        "step_name": name,
        "pipeline_position": None,
        "step_scope_id": None,
        "invocation_key": None,
        "artifact_kind": None,
    }


def route_key(name: str, *, suffix: str = "") -> str:
    """The viewer's key of the layer that :func:`identity` makes (openhcs 0.8.6)."""
    token = name.replace("/", "_").replace("\\", "_").replace(" ", "_")
    return f"origin_direct_kind_direct_projection_{token}_name_{token}{suffix}"


def display_config(components: Sequence[str], *, colormap: str) -> dict[str, Any]:
    """How a batch is shown: every component a slider, in this order."""
    known = dict.fromkeys([*OPENHCS_COMPONENTS, *components], "stack")
    return {
        "component_modes": known,
        "component_order": list(components),
        "colormap": colormap,
        "variable_size_handling": "pad_to_max",
    }


def item(name: str, data_type: str, address: Mapping[str, Value]) -> Item:
    """The fields that images, shapes and points share."""
    places = "/".join(f"{component}={value}" for component, value in address.items())
    return {
        "path": f"{name}/{places}",
        "data_type": data_type,
        "metadata": dict(address),
        "producer_identity": identity(name),
        "image_id": None,
    }


def image_fields(
    shape: Sequence[int],
    dtype: str,
    *,
    has_colour: bool,
    spacing_zyx: Sequence[float] | None,
    unit: str,
    is_labels: bool,
) -> Item:
    """What an image item says of its array ``(y, x)`` or ``(y, x, colour)``; where the pixels are comes later."""
    fields: Item = {
        "shape": list(shape),
        "dtype": dtype,
        "image_metadata": {
            "plane_axis": None,
            "source_channel_axis": 2 if has_colour else None,
            "source_spatial_domain": {
                "origin_yx": None,
                "source_shape_yx": None,
                "fill_value": 0,
                "value_name": "Dense array",
            },
            "source_voxel_spacing": {"values_zyx": list(spacing_zyx or ()), "unit": unit},
        },
    }
    if is_labels:
        fields["labels"] = True
    return fields


def message(
    items: Sequence[Item],
    config: Mapping[str, Any],
    names: Mapping[str, Mapping[str, str]],
    domain: Mapping[str, Sequence[Value]],
) -> bytes:
    """The first frame of a batch."""
    batch = {
        "type": "batch",
        "images": items,
        "display_config": config,
        "timestamp": time.time(),
        "component_names_metadata": names,
        "component_value_domain": domain,
    }
    return json.dumps(batch).encode()
