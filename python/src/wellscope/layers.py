"""Layers of a viewer as handles: what they are called, where their sliders can stand, how they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from .axes import Value

if TYPE_CHECKING:
    from .viewer import Viewer

Reporter = Callable[[int, int], None]
"""Told of progress: planes done, planes in all."""


class Layer:
    """One layer of a running viewer. What it tells is asked of the viewer each time."""

    def __init__(self, viewer: Viewer, name: str, route_key: str) -> None:
        self._viewer = viewer
        self.name = name
        self.route_key = route_key

    @property
    def state(self) -> dict[str, Any]:
        """The viewer's description of the layer."""
        for layer in self._viewer.state()["layers"]:
            if layer["route_key"] == self.route_key:
                return dict(layer)
        raise ValueError(f"the viewer at {self._viewer.address} has no layer {self.name!r} any more")

    @property
    def values(self) -> dict[str, list[Value]]:
        """Values that the layer has, per slider."""
        return values_of(self.state)

    @property
    def visible(self) -> bool:
        """Whether it is shown."""
        return bool(self.state["visible"])

    @visible.setter
    def visible(self, visible: bool) -> None:
        self._navigate({"visible": bool(visible)})

    def select(self) -> None:
        """Makes it the layer whose settings the viewer shows."""
        self._navigate({"selected": True})

    @property
    def contrast_limits(self) -> tuple[float, float] | None:
        """Intensities drawn as black and as full colour; None for shapes and points."""
        intensity = self.state.get("native_intensity")
        return (
            None
            if intensity is None
            else (float(intensity["contrast_limits"][0]), float(intensity["contrast_limits"][1]))
        )

    @contrast_limits.setter
    def contrast_limits(self, limits: Sequence[float]) -> None:
        self.set_intensity(checked_limits(limits), None)

    @property
    def gamma(self) -> float | None:
        """Exponent of the intensity; None for shapes and points."""
        intensity = self.state.get("native_intensity")
        return None if intensity is None else float(intensity["gamma"])

    @gamma.setter
    def gamma(self, gamma: float) -> None:
        self.set_intensity(None, gamma)

    def set_intensity(self, contrast_limits: Any, gamma: float | None) -> None:
        """Sets contrast limits and gamma; None leaves one as it is."""
        limits = self.contrast_limits if contrast_limits is None else checked_limits(contrast_limits)
        exponent = self.gamma if gamma is None else float(gamma)
        if limits is None or exponent is None:
            raise ValueError(f"layer {self.name!r} holds no images, so it has no contrast")
        if not exponent > 0:
            raise ValueError(f"gamma must be above 0, not {exponent}")
        payload = {"route_key": self.route_key, "presentation": {"contrast_limits": limits, "gamma": exponent}}
        self._viewer._control.call("image_intensity", payload)

    def _navigate(self, changes: dict[str, Any]) -> None:
        self._viewer._control.call("navigate", {"route_key": self.route_key, **changes})

    def __repr__(self) -> str:
        return f"<Layer {self.name!r} of {self._viewer!r}>"


def checked_limits(limits: Any) -> tuple[float, float]:
    """Two numbers, the lower first."""
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        raise ValueError(f"contrast_limits are two numbers, (low, high), not {limits!r}") from None
    if not low < high:
        raise ValueError(f"contrast_limits need low < high; {low} and {high} are given")
    return low, high


def values_of(state: Mapping[str, Any]) -> dict[str, list[Value]]:
    """Values per slider, of the state of a layer."""
    return {str(axis): list(values) for axis, values in state["routed_component_values"].items()}


class ListedLayer(Layer):
    """A layer as one answer of the viewer described it."""

    def __init__(self, viewer: Viewer, described: Mapping[str, Any]) -> None:
        super().__init__(viewer, str(described["title"]), str(described["route_key"]))
        self.described = described

    def indices_of(self, places: Mapping[str, Value], names: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
        """Places as indices among this layer's own values. `names` are names of values, by component."""
        known = values_of(self.described)
        labels = self.described.get("labels", {})
        found = {}
        for component, wanted in places.items():
            if component not in known:
                raise ValueError(
                    f"layer {self.name!r} has no slider for {component!r}; it has {', '.join(known) or 'none'}"
                )
            values = known[component]
            index = _index_of(wanted, values, labels.get(component, ()), names.get(component, {}))
            if index is None:
                named = [
                    f"{value} ({names[component][str(value)]})"
                    if str(value) in names.get(component, {})
                    else str(value)
                    for value in values
                ]
                raise ValueError(f"{component} has no {wanted!r}; layer {self.name!r} has {_shortened(named)}")
            found[component] = index
        return found


def _index_of(wanted: Value, values: Sequence[Value], labels: Sequence[str], names: Mapping[str, str]) -> int | None:
    for index, value in enumerate(values):
        if value == wanted or str(value) == str(wanted):
            return index
    for index, value in enumerate(values):
        if names.get(str(value)) == wanted:
            return index
    for index, label in enumerate(labels):
        # "Ch1: DAPI", as the viewer shows a name that this process did not give.
        if label == wanted or label.partition(": ")[2] == wanted:
            return index
    return None


def _shortened(words: Sequence[str], *, most: int = 12) -> str:
    return ", ".join(words) if len(words) <= most else f"{', '.join(words[:most])}, ... ({len(words)} in all)"


class Layers(Sequence[ListedLayer]):
    """The layers of one answer of the viewer, in drawing order; ``layers["DAPI"]`` finds one by its title."""

    def __init__(self, viewer: Viewer, state: Mapping[str, Any]) -> None:
        self._layers = [ListedLayer(viewer, layer) for layer in state["layers"]]

    @overload
    def __getitem__(self, key: int | str) -> ListedLayer: ...

    @overload
    def __getitem__(self, key: slice) -> Sequence[ListedLayer]: ...

    def __getitem__(self, key: int | str | slice) -> ListedLayer | Sequence[ListedLayer]:
        if not isinstance(key, str):
            return self._layers[key]
        for layer in self._layers:
            if key == layer.name or _name_sent(layer.described) == key:
                return layer
        raise KeyError(f"no layer is called {key!r}; there are {self.names}")

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[ListedLayer]:
        return iter(self._layers)

    def __contains__(self, key: object) -> bool:
        return any(layer is key or layer.name == key or _name_sent(layer.described) == key for layer in self._layers)

    @property
    def names(self) -> list[str]:
        """Titles."""
        return [layer.name for layer in self._layers]

    def with_axes(self, places: Mapping[str, Value]) -> ListedLayer:
        """The first layer that has all these sliders."""
        if not self._layers:
            raise ValueError("the viewer shows nothing yet, so there is nowhere to go")
        for layer in self._layers:
            if set(places) <= set(values_of(layer.described)):
                return layer
        known = sorted({axis for layer in self._layers for axis in values_of(layer.described)})
        raise ValueError(f"no layer has sliders for {', '.join(places)}; there are {', '.join(known) or 'none'}")

    def __repr__(self) -> str:
        return f"<Layers {self.names}>"


def _name_sent(described: Mapping[str, Any]) -> str | None:
    """The name that :func:`wellscope.wire.identity` sent: titles may get a suffix, e.g. " RGB"."""
    for sent in described.get("producer_identities", ()):
        if sent.get("origin") == "direct":
            return str(sent.get("step_name"))
    return None
