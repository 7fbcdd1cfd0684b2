"""From arrays, shapes and points to the items of batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from . import wire
from .arrays import ArraySource
from .axes import Axes, Coordinates, Labels, Value, Values, address, component_of, coordinates, parse_axes
from .layers import Layer, Reporter, checked_limits
from .napari_words import channel_colormaps, listed, scale_of
from .shapes import Shapes
from .streaming import BatchWriter

if TYPE_CHECKING:
    from .viewer import Viewer

_NOWHERE = {"image": 0}
"""Where something lies that has no axis and no place: viewers refuse items without an address."""


@dataclass(frozen=True)
class ImageOptions:
    """What is said of an array beside its pixels: the arguments of :meth:`wellscope.Viewer.add_image`."""

    axes: str | Sequence[str] | None
    labels: Labels | None
    values: Values | None
    at: Mapping[str, Any] | None
    rgb: bool | None
    scale: Sequence[float] | None
    units: str
    is_labels: bool = False
    progress: Reporter | None = None
    domain: Mapping[str, Sequence[Value]] | None = None
    """Values that sliders have beside those of this array: those of blocks that others send."""


def send_image(viewer: Viewer, source: ArraySource, name: str, options: ImageOptions, *, colormap: str) -> Layer:
    """Sends all planes of an array and waits until the viewer has them."""
    axes = parse_axes(_axes_of(source, options), source.shape, rgb=options.rgb)
    places = coordinates(axes, source.shape, options.labels, options.values)
    fixed = _fixed_places(axes.leading, options.at)
    components = [*axes.leading, *(component for component in fixed if component not in axes.leading)]
    extents = dict(zip(axes.leading, source.shape))
    domain: dict[str, list[Value]] = {component: [value] for component, value in fixed.items()}
    domain.update(
        {
            component: [places.value(component, index) for index in range(extent)]
            for component, extent in extents.items()
        }
    )
    domain.update({component: list(known) for component, known in (options.domain or {}).items()})
    writer = _writer(viewer, components, places.names, domain, colormap)
    with viewer._lock, writer:
        _send_planes(writer, source, axes, places, fixed, name, options)
    suffix = "_color_plane" if axes.has_colour else ""
    return Layer(viewer, name, wire.route_key(name, suffix=suffix))


def send_channels(
    viewer: Viewer,
    source: ArraySource,
    channel_axis: int | str,
    options: ImageOptions,
    *,
    name: Any,
    colormap: Any,
    contrast_limits: Any,
    gamma: Any,
    visible: bool,
) -> list[Layer]:
    """Sends each entry along an axis as a layer of its own."""
    axes = parse_axes(_axes_of(source, options), source.shape, rgb=options.rgb)
    axis = _index_of_axis(axes, channel_axis, len(source.shape))
    component, count = axes.leading[axis], source.shape[axis]
    places = coordinates(axes, source.shape, options.labels, options.values)
    names = _channel_names(viewer, name, source.given, count, component, places, options.at)
    colormaps = (
        channel_colormaps(count)
        if colormap is None
        else listed("colormaps", colormap, count, is_one=isinstance(colormap, str))
    )
    is_one_pair = contrast_limits is None or not np.iterable(contrast_limits[0])
    limits = listed("contrast limits", contrast_limits, count, is_one=is_one_pair)
    gammas = listed("gammas", gamma, count, is_one=not np.iterable(gamma))
    remaining = replace(
        options,
        axes=[
            *(given for index, given in enumerate(axes.names) if index != axis),
            "y",
            "x",
            *(["rgb"] if axes.has_colour else []),
        ],
        labels=_without(options.labels, axes.names[axis], component),
        values=_without(options.values, axes.names[axis], component),
        rgb=None,
    )
    layers = []
    for index in range(count):
        layer = send_image(viewer, source.entry(axis, index), names[index], remaining, colormap=colormaps[index])
        if limits[index] is not None or gammas[index] != 1.0:
            layer.set_intensity(None if limits[index] is None else checked_limits(limits[index]), gammas[index])
        if not visible:
            layer.visible = False
        layers.append(layer)
    return layers


def send_shapes(
    viewer: Viewer, shapes: Shapes, data_type: str, name: str, *, axes: Any, at: Any, visible: bool
) -> Layer:
    """Sends shapes or points, an item for each place that they lie at."""
    columns = parse_axes(axes, (1,) * shapes.num_columns)
    if columns.has_colour:
        raise ValueError("shapes and points have no colour axis; the columns end with 'y x'")
    fixed = _fixed_places(columns.leading, at)
    groups = shapes.by_place()
    domain: dict[str, list[Value]] = {component: [value] for component, value in fixed.items()}
    for index, component in enumerate(columns.leading):
        domain[component] = sorted({place[index] for place in groups})
    components = [*columns.leading, *(component for component in fixed if component not in columns.leading)]
    writer = _writer(viewer, components, {}, domain, "gray")
    with viewer._lock, writer:
        for place, entries in groups.items():
            at_place: dict[str, Value] = {**fixed, **dict(zip(columns.leading, place))}
            writer.add({**wire.item(name, data_type, at_place), "shapes": entries})
    layer = Layer(viewer, name, wire.route_key(name, suffix=f"_{data_type}"))
    if not visible:
        layer.visible = False
    return layer


def _index_of_axis(axes: Axes, axis: int | str, num_dims: int) -> int:
    if isinstance(axis, str):
        index = axes.leading.index(component_of(axis)) if component_of(axis) in axes.leading else -1
    else:
        index = axis + num_dims if axis < 0 else axis
    if not 0 <= index < len(axes.leading):
        known = ", ".join(axes.names) or "none"
        raise ValueError(f"channel_axis={axis!r} must be an axis before y and x; there are {known}")
    return index


def _axes_of(source: ArraySource, options: ImageOptions) -> str | Sequence[str] | None:
    return options.axes if options.axes is not None else source.axis_names


def _fixed_places(leading: Sequence[str], at: Mapping[str, Any] | None) -> dict[str, Value]:
    fixed = address(at)
    twice = set(fixed) & set(leading)
    if twice:
        raise ValueError(
            f"at= names {', '.join(sorted(twice))}, which is an axis of the array already; use values= for its values"
        )
    return fixed if fixed or leading else dict(_NOWHERE)


def _writer(
    viewer: Viewer,
    components: Sequence[str],
    names: Mapping[str, Mapping[str, str]],
    domain: Mapping[str, Sequence[Value]],
    colormap: str,
) -> BatchWriter:
    for component, of_values in names.items():
        viewer._names.setdefault(component, {}).update(of_values)
    config = wire.display_config(components, colormap=colormap)
    return BatchWriter(viewer._channel, viewer._route, config, names, domain)


def _send_planes(
    writer: BatchWriter,
    source: ArraySource,
    axes: Axes,
    places: Coordinates,
    fixed: Mapping[str, Value],
    name: str,
    options: ImageOptions,
) -> None:
    num_leading = len(axes.leading)
    total = int(np.prod(source.shape[:num_leading], dtype=np.int64))
    spacing, sent = scale_of(options.scale), 0
    for offset, block in source.blocks(num_leading):
        for index in np.ndindex(*block.shape[:num_leading]):
            plane = block[index]
            at_plane: dict[str, Value] = dict(fixed)
            for component, first, step in zip(axes.leading, offset, index):
                at_plane[component] = places.value(component, first + step)
            item = wire.item(name, "image", at_plane)
            item.update(
                wire.image_fields(
                    plane.shape,
                    str(plane.dtype),
                    has_colour=axes.has_colour,
                    spacing_zyx=spacing,
                    unit=options.units,
                    is_labels=options.is_labels,
                )
            )
            writer.add_plane(item, plane)
            sent += 1
            if options.progress is not None:
                options.progress(sent, total)
        # A block may take long to compute: what is there is shown meanwhile.
        writer.flush()


def _channel_names(
    viewer: Viewer, name: Any, data: Any, count: int, component: str, places: Coordinates, at: Mapping[str, Any] | None
) -> list[str]:
    if name is not None and not isinstance(name, str):
        return [str(given) for given in listed("names", name, count, is_one=False)]
    known = places.names.get(component, {})
    own = [known.get(str(places.value(component, index))) for index in range(count)]
    if name is None and all(own):
        return [str(given) for given in own]
    base = viewer._layer_name(name, data, "Image", at)
    return [f"{base} {given}" if given else f"{base} [{index}]" if index else base for index, given in enumerate(own)]


def _without(given: Any, axis: str, component: str) -> Any:
    return None if given is None else {name: values for name, values in given.items() if name not in (axis, component)}
