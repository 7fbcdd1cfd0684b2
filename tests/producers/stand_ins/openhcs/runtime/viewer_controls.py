"""Payload classes of control requests, with the class paths and field order of OpenHCS 0.8.6.

OpenHCS itself is large and is not installed for the tests, yet the bytes of its requests are what a viewer must read: a
frozen slots dataclass pickles as its class path and the *list* of its field values, in the order written here.
Only the declarations are ours to repeat; a real installation, when there is one, comes first on the path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class ViewerShapePayloadProjection(Enum):
    """How much of every shape a payload reply holds."""

    FULL = "full"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class ViewerStateControlOptions:
    """Payload of `state`."""

    route_key: str | None = None
    include_component_values: bool = True
    max_component_values_per_layer: int | None = None
    include_payload_summaries: bool = True
    max_payload_summaries_per_layer: int | None = None


@dataclass(frozen=True, slots=True)
class ViewerPayloadControlOptions:
    """Which payloads of which route, and how much of each."""

    route_key: str | None = None
    axis_indices: tuple[int, ...] | Mapping[str, int] | None = None
    include_array_values: bool = False
    max_array_elements: int = 4096
    array_slices: tuple[Any, ...] | None = None
    include_shape_payloads: bool = True
    max_shape_payloads: int = 256


@dataclass(frozen=True, slots=True)
class ViewerPayloadProjectionOptions:
    """Payload of `payloads`."""

    controls: ViewerPayloadControlOptions = field(default_factory=ViewerPayloadControlOptions)
    max_total_shape_payloads: int | None = None
    shape_payload_projection: ViewerShapePayloadProjection = ViewerShapePayloadProjection.FULL


@dataclass(frozen=True, slots=True)
class ViewerNavigationControlOptions:
    """Payload of `navigate`; an axis index counts from 0 inside the route's own values."""

    route_key: str
    axis_indices: Mapping[str, int] = field(default_factory=dict)
    visible: bool | None = None
    selected: bool | None = None
    data_index: int | None = None


@dataclass(frozen=True, slots=True)
class ViewerLayerIsolationControlOptions:
    """Payload of `isolate_layers`."""

    visible_route_keys: tuple[str, ...]
    selected_route_key: str | None = None
    axis_indices: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ViewerIntensityWindowControlOptions:
    """Payload of `apply_intensity_window`; percentiles are 0..100."""

    route_key: str
    axis_indices: Mapping[str, int] = field(default_factory=dict)
    low_percentile: float = 1.0
    high_percentile: float = 99.0
