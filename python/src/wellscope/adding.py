"""Adding layers to a viewer: images, labels, shapes, points, and blocks of dask arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast, overload

from . import shapes as shape_items
from .arrays import ArraySource
from .axes import Labels, Values
from .layers import Layer, Reporter
from .naming import variable_of
from .napari_words import one_number, refuse_unknown
from .sending import ImageOptions, send_channels, send_image, send_shapes
from .watching import watch

if TYPE_CHECKING:
    from .viewer import Viewer

_LABELS_COLORMAP = "glasbey"


class LayerAdder:
    """The part of :class:`wellscope.Viewer` that sends."""

    _used_names: set[str]

    @overload
    def add_image(
        self,
        data: Any,
        *,
        axes: str | Sequence[str] | None = None,
        name: str | None = None,
        labels: Labels | None = None,
        values: Values | None = None,
        at: Mapping[str, Any] | None = None,
        channel_axis: None = None,
        rgb: bool | None = None,
        colormap: str | None = None,
        contrast_limits: Sequence[float] | None = None,
        gamma: float = 1.0,
        scale: Sequence[float] | None = None,
        units: str = "micrometers",
        visible: bool = True,
        progress: Reporter | None = None,
    ) -> Layer: ...

    @overload
    def add_image(
        self,
        data: Any,
        *,
        axes: str | Sequence[str] | None = None,
        name: str | Sequence[str] | None = None,
        labels: Labels | None = None,
        values: Values | None = None,
        at: Mapping[str, Any] | None = None,
        channel_axis: int | str,
        rgb: bool | None = None,
        colormap: str | Sequence[str] | None = None,
        contrast_limits: Sequence[float] | Sequence[Sequence[float]] | None = None,
        gamma: float | Sequence[float] = 1.0,
        scale: Sequence[float] | None = None,
        units: str = "micrometers",
        visible: bool = True,
        progress: Reporter | None = None,
    ) -> list[Layer]: ...

    def add_image(
        self,
        data: Any,
        *,
        axes: str | Sequence[str] | None = None,
        name: str | Sequence[str] | None = None,
        labels: Labels | None = None,
        values: Values | None = None,
        at: Mapping[str, Any] | None = None,
        channel_axis: int | str | None = None,
        rgb: bool | None = None,
        colormap: str | Sequence[str] | None = None,
        contrast_limits: Sequence[float] | Sequence[Sequence[float]] | None = None,
        gamma: float | Sequence[float] = 1.0,
        scale: Sequence[float] | None = None,
        units: str = "micrometers",
        visible: bool = True,
        progress: Reporter | None = None,
        **unsupported: Any,
    ) -> Layer | list[Layer]:
        """Shows an array of any number of dimensions. Returns when the viewer has all of its pixels.

        Parameters
        ----------
        data
            ``(..., y, x)`` or ``(..., y, x, 3 or 4)``: a numpy array, whatever has ``__array__``, a dask or zarr array
            (streamed chunk by chunk), or a list of arrays along a first axis.
        axes
            Names of the axes, e.g. ``"well channel z y x"`` or ``"CZYX"``; each one before y and x becomes a slider.
            None: the array's own names (xarray), else the last of ``well site time channel z`` that fit.
        name
            Of the layer. The same name again puts the planes into the same layer: those at new places are added, those
            at the same place replaced. None: that of the variable that is passed, else "Image"; with " [1]", ...
            when this handle gave it away before, unless `at` places the array.
        labels
            Names of values, e.g. ``{"channel": ["DAPI", "GFP"], "well": ["A01", "B02"]}``. Wells *are* their names.
        values
            Values along axes, e.g. ``{"z": range(1, 21)}``, where they are not 0, 1, ... (OpenHCS counts from 1).
        at
            Where the array lies on axes that it does not have, e.g. ``{"well": "B02", "time": 7}``.
        channel_axis
            Name or index of an axis that is split into a layer per entry; `name`, `colormap`, `contrast_limits` and
            `gamma` may then be lists.
        rgb
            Whether the last axis is colour. None: when `axes` ends with "rgb".
        colormap
            As in napari or matplotlib, or ``"#RRGGBB"``. None: gray.
        contrast_limits
            Intensities drawn as black and as full colour, ``(low, high)``. None: by percentiles of each channel.
        gamma
            Of the intensity.
        scale
            Size of a pixel per axis as in napari; the last two (or three: z) are used. `units` names the unit.
        visible
            Whether the layer is shown at once.
        progress
            Called with the planes sent so far and their number, e.g. for a progress bar.

        Returns
        -------
        Layer or list of Layer
            A list with `channel_axis`.
        """
        refuse_unknown("add_image", unsupported)
        source = data if isinstance(data, ArraySource) else ArraySource(data)
        options = ImageOptions(axes, labels, values, at, rgb, scale, units, progress=progress)
        if channel_axis is not None:
            return send_channels(
                self._viewer(),
                source,
                channel_axis,
                options,
                name=name,
                colormap=colormap,
                contrast_limits=contrast_limits,
                gamma=gamma,
                visible=visible,
            )
        layer = send_image(
            self._viewer(),
            source,
            self._layer_name(name, data, "Image", at),
            options,
            colormap="gray" if colormap is None else str(colormap),
        )
        if contrast_limits is not None or gamma != 1.0:
            layer.set_intensity(contrast_limits, one_number("gamma", gamma))
        if not visible:
            layer.visible = False
        return layer

    def watch(
        self,
        array: Any,
        *,
        axes: str | Sequence[str] | None = None,
        name: str | None = None,
        labels: Labels | None = None,
        values: Values | None = None,
        at: Mapping[str, Any] | None = None,
        rgb: bool | None = None,
        colormap: str | None = None,
        scale: Sequence[float] | None = None,
        units: str = "micrometers",
        is_labels: bool = False,
    ) -> Any:
        """A dask array equal to `array`, each block of which is shown by the worker that computes it.

        Nothing is computed now. Workers of other processes and machines reach a viewer that was made with
        ``transport="tcp"``, by binary frames. When it cannot be reached, the work goes on and a warning says so.

        Parameters
        ----------
        array
            A dask array. Blocks that divide y and x are merged: a plane is what the viewer shows.
        is_labels
            The array is a label image.

        Other parameters are those of :meth:`add_image`.

        Examples
        --------
        >>> smoothed = viewer.watch(smoothed, axes="well z y x", name="smoothed")     # doctest: +SKIP
        >>> smoothed.max().compute()                                                  # doctest: +SKIP
        """
        options = ImageOptions(axes, labels, values, at, rgb, scale, units, is_labels=is_labels)
        default = _LABELS_COLORMAP if is_labels else "gray"
        return watch(
            self._viewer(), array, self._layer_name(name, array, "Image", at), options, colormap=colormap or default
        )

    def add_labels(
        self,
        data: Any,
        *,
        axes: str | Sequence[str] | None = None,
        name: str | None = None,
        labels: Labels | None = None,
        values: Values | None = None,
        at: Mapping[str, Any] | None = None,
        scale: Sequence[float] | None = None,
        units: str = "micrometers",
        visible: bool = True,
        progress: Reporter | None = None,
        **unsupported: Any,
    ) -> Layer:
        """Shows a label image: integers that name objects, 0 the background. No ids are mixed when it is drawn small.

        Parameters as :meth:`add_image`; `labels` are still the names of values on sliders.
        """
        refuse_unknown("add_labels", unsupported)
        source = ArraySource(data)
        wrong = [dtype for dtype in source.dtypes if dtype.kind not in "biu"]
        if wrong:
            raise TypeError(
                f"labels are integers, the array is {wrong[0]}; convert it, e.g. array.astype('int32'), "
                "or use add_image"
            )
        options = ImageOptions(axes, labels, values, at, None, scale, units, is_labels=True, progress=progress)
        layer = send_image(
            self._viewer(), source, self._layer_name(name, data, "Labels", at), options, colormap=_LABELS_COLORMAP
        )
        if not visible:
            layer.visible = False
        return layer

    def add_shapes(
        self,
        data: Any,
        *,
        shape_type: str | Sequence[str] = "rectangle",
        axes: str | Sequence[str] | None = None,
        name: str | None = None,
        at: Mapping[str, Any] | None = None,
        object_labels: Sequence[int] | None = None,
        features: Mapping[str, Sequence[Any]] | None = None,
        visible: bool = True,
        **unsupported: Any,
    ) -> Layer:
        """Shows outlines.

        Parameters
        ----------
        data
            One array of vertices ``(n, 2)``, rows ``y, x``, or a list of them. Further columns before y and x say on
            which plane a shape lies; name them with `axes`.
        shape_type
            "polygon", "path", "line", "rectangle" or "ellipse", for all or one per shape. Rectangles and ellipses have
            4 corners; of 2 rows, a rectangle's are opposite corners, an ellipse's are centre and radii, as in napari.
        axes
            Names of the columns, e.g. ``"z y x"``. None: as :meth:`add_image`.
        name, at, visible
            As in :meth:`add_image`. The same name and place again replaces the shapes.
        object_labels
            A positive number per shape; it decides the colour. None: 1, 2, ...
        features
            Columns of a table with a row per shape; scalars only.
        """
        refuse_unknown("add_shapes", unsupported)
        shapes = shape_items.shapes(data, shape_type=shape_type, object_labels=object_labels, features=features)
        title = self._layer_name(name, data, "Shapes", at)
        return send_shapes(self._viewer(), shapes, "shapes", title, axes=axes, at=at, visible=visible)

    def add_points(
        self,
        data: Any,
        *,
        axes: str | Sequence[str] | None = None,
        name: str | None = None,
        at: Mapping[str, Any] | None = None,
        object_labels: Sequence[int] | None = None,
        features: Mapping[str, Sequence[Any]] | None = None,
        visible: bool = True,
        **unsupported: Any,
    ) -> Layer:
        """Shows points ``(n, 2)``, rows ``y, x``, or with leading columns that `axes` names.

        Other parameters as :meth:`add_shapes`.
        """
        refuse_unknown("add_points", unsupported)
        points = shape_items.points(data, object_labels=object_labels, features=features)
        title = self._layer_name(name, data, "Points", at)
        return send_shapes(self._viewer(), points, "points", title, axes=axes, at=at, visible=visible)

    def _layer_name(self, name: Any, data: Any, default: str, at: Mapping[str, Any] | None) -> str:
        """The name as given, else that of the caller's variable or the default: "nuclei" or "Image".

        Each call makes a layer of its own, "Image [1]", ..., unless `at` places the data: a loop fills one layer.
        """
        if name is not None:
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f"the name of a layer is text that is not blank, not {name!r}")
            return name
        wanted = variable_of(data) or default
        if at:
            return wanted
        count = 0
        while (found := wanted if count == 0 else f"{wanted} [{count}]") in self._used_names:
            count += 1
        self._used_names.add(found)
        return found

    def _viewer(self) -> Viewer:
        return cast("Viewer", self)
