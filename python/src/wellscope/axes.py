"""Axes of arrays and components of the viewer: which is which, and which values they have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Value = int | float | str
"""Where along a slider something lies."""

Labels = Mapping[str, Sequence[Any] | Mapping[Any, str]]
"""Names of values by axis: a sequence in order of the axis, or a mapping from value to name."""

Values = Mapping[str, Iterable[Value]]
"""Values by axis, in order of the axis."""

OPENHCS_COMPONENTS = ("site", "channel", "z_index", "timepoint", "well")
"""Components whose mode every message must tell (openhcs 0.8.6)."""

_COMPONENT_OF_AXIS = {
    "w": "well",
    "s": "site",
    "field": "site",
    "position": "site",
    "p": "site",
    "scene": "site",
    "c": "channel",
    "ch": "channel",
    "z": "z_index",
    "t": "timepoint",
    "time": "timepoint",
    "frame": "timepoint",
}

_COLOUR_AXES = ("rgb", "rgba")

_DEFAULT_LEADING = ("well", "site", "time", "channel", "z")


def component_of(axis: str) -> str:
    """The viewer's name of an axis: ``z`` is ``z_index``, ``time`` is ``timepoint``; unknown names stay."""
    name = axis.strip()
    return _COMPONENT_OF_AXIS.get(name.lower(), name.lower() if name.lower() in OPENHCS_COMPONENTS else name)


@dataclass(frozen=True)
class Axes:
    """What the axes of an array are.

    Attributes
    ----------
    leading
        Components of the axes before y and x, slowest first.
    names
        Names of these axes as given.
    has_colour
        Whether a last axis of 3 or 4 samples follows y and x.
    """

    leading: tuple[str, ...]
    names: tuple[str, ...]
    has_colour: bool

    @property
    def num_dims(self) -> int:
        """Number of axes of the array."""
        return len(self.leading) + 2 + self.has_colour


def parse_axes(axes: str | Sequence[str] | None, shape: Sequence[int], *, rgb: bool | None = None) -> Axes:
    """Reads ``"well channel z y x"``, ``"czyx"`` or a sequence of names.

    Parameters
    ----------
    axes
        None: the last two are y and x, the ones before are the last of well, site, time, channel, z.
    shape
        Of the array.
    rgb
        Whether the last axis is colour. None: when `axes` says so.

    Raises
    ------
    ValueError
        With what would fit.
    """
    if axes is None:
        return _default_axes(shape, rgb=bool(rgb))
    names = _split(axes)
    lowered = [name.lower() for name in names]
    has_colour = bool(lowered) and lowered[-1] in _COLOUR_AXES
    if rgb is not None and rgb != has_colour:
        wanted = "end with 'rgb'" if rgb else "not end with 'rgb'"
        raise ValueError(f"rgb={rgb}, so the axes must {wanted}; they are {' '.join(names)!r}")
    spatial = lowered[:-1] if has_colour else lowered
    if spatial[-2:] != ["y", "x"]:
        raise ValueError(
            f"the axes must end with 'y x' (or 'y x rgb'); they are {' '.join(names)!r}. "
            "Transpose the array, e.g. numpy.moveaxis(array, source, -2)"
        )
    if len(names) != len(shape):
        raise ValueError(
            f"{len(names)} axes ({' '.join(names)}) are named, the array has {len(shape)}: shape {tuple(shape)}"
        )
    leading_names = names[: len(spatial) - 2]
    leading = tuple(component_of(name) for name in leading_names)
    if len(set(leading)) != len(leading) or {"y", "x"} & set(leading):
        raise ValueError(f"each axis needs a name of its own; they are {' '.join(names)!r}")
    _check_colour(shape, has_colour)
    return Axes(leading, tuple(leading_names), has_colour)


def _split(axes: str | Sequence[str]) -> list[str]:
    if not isinstance(axes, str):
        return [str(name).strip() for name in axes]
    names = axes.replace(",", " ").split()
    # One word of one-letter axes, as in OME: "TCZYX".
    if len(names) == 1 and len(names[0]) > 1 and names[0].lower().endswith("yx"):
        return list(names[0])
    return names


def _default_axes(shape: Sequence[int], *, rgb: bool) -> Axes:
    num_leading = len(shape) - 2 - rgb
    if num_leading < 0:
        needed = "y, x and colour" if rgb else "y and x"
        raise ValueError(f"an image needs {needed}; the array has shape {tuple(shape)}")
    if num_leading > len(_DEFAULT_LEADING):
        raise ValueError(
            f"the array has {len(shape)} axes, more than have usual names; name them, e.g. "
            'axes="drug well site time channel z y x"'
        )
    _check_colour(shape, rgb)
    names = _DEFAULT_LEADING[len(_DEFAULT_LEADING) - num_leading :]
    return Axes(tuple(component_of(name) for name in names), names, rgb)


def _check_colour(shape: Sequence[int], has_colour: bool) -> None:
    if has_colour and shape[-1] not in (3, 4):
        raise ValueError(f"the last axis is colour, so its extent must be 3 or 4; the shape is {tuple(shape)}")


@dataclass
class Coordinates:
    """Values and names of components."""

    values: dict[str, list[Value]] = field(default_factory=dict)
    names: dict[str, dict[str, str]] = field(default_factory=dict)

    def value(self, component: str, index: int) -> Value:
        """The value at an index of an axis: the index itself, unless other values are given."""
        given = self.values.get(component)
        return index if given is None else given[index]

    def note(self, names: Mapping[str, Mapping[str, str]]) -> None:
        """Adds names."""
        for component, of_values in names.items():
            self.names.setdefault(component, {}).update(of_values)


def coordinates(axes: Axes, shape: Sequence[int], labels: Labels | None, values: Values | None) -> Coordinates:
    """Values and names along the leading axes of an array.

    Wells are their names: ``labels={"well": ["A01", "B02"]}`` gives the values "A01" and "B02". Of other axes, labels
    name the values, which are 0, 1, ... unless `values` says otherwise.
    """
    found = Coordinates()
    extents = dict(zip(axes.leading, shape))
    for axis, given in (values or {}).items():
        component = component_of(axis)
        listed = [plain_value(value) for value in given]
        _check_count(axis, component, len(listed), extents, "values")
        if len(set(listed)) != len(listed):
            raise ValueError(f"the values of {axis!r} must differ: {listed}")
        found.values[component] = listed
    for axis, names in (labels or {}).items():
        component = component_of(axis)
        if isinstance(names, Mapping):
            found.names[component] = {str(plain_value(value)): str(name) for value, name in names.items()}
            continue
        if isinstance(names, str):
            raise ValueError(f"labels of {axis!r} must be a sequence of names, e.g. [{names!r}]")
        listed_names = [str(name) for name in names]
        _check_count(axis, component, len(listed_names), extents, "labels")
        if component == "well" and component not in found.values:
            if len(set(listed_names)) != len(listed_names):
                raise ValueError(f"the wells must differ: {listed_names}")
            found.values[component] = list(listed_names)
        else:
            found.names[component] = {
                str(found.value(component, index)): name for index, name in enumerate(listed_names)
            }
    return found


def _check_count(axis: str, component: str, count: int, extents: Mapping[str, int], what: str) -> None:
    if component not in extents:
        known = ", ".join(extents) or "none before y and x"
        raise ValueError(f"{what} are given for {axis!r}, which is no axis of the array; its axes are {known}")
    if count != extents[component]:
        raise ValueError(f"{count} {what} are given for {axis!r}, whose extent is {extents[component]}")


def plain_value(value: Any) -> Value:
    """A value as JSON has it: numpy's scalars become Python's.

    Raises
    ------
    TypeError
        For what is neither number nor text.
    """
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError(f"a place on a slider is a number or text, not {value!r} ({type(value).__name__})")
    return value


def address(at: Mapping[str, Any] | None) -> dict[str, Value]:
    """``{"z": 3}`` as the viewer names it: ``{"z_index": 3}``."""
    return {component_of(axis): plain_value(value) for axis, value in (at or {}).items()}
