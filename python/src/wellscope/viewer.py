"""The viewer as Python sees it: a handle on a running program."""

from __future__ import annotations

import atexit
import contextlib
import os
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from . import shapes as shape_items
from .arrays import ArraySource
from .axes import Labels, Values, component_of, plain_value
from .channel import DataChannel
from .control import ControlClient
from .endpoint import DEFAULT_PORT, Endpoint, Transport, default_transport, is_loopback, name_of_this_machine
from .errors import ViewerNotFound, WellscopeError
from .launch import START_TIMEOUT, LaunchOptions, ensure_viewer, ready_pong, stop_viewer
from .layers import Layer, Layers, Reporter
from .napari_words import one_number, refuse_unknown
from .picture import Picture, decode_png
from .sending import ImageOptions, send_channels, send_image, send_shapes
from .streaming import Pixels, Route
from .watching import watch

_LABELS_COLORMAP = "glasbey"


class Viewer:
    """A viewer window, or one without a window, reused when it runs and started when it does not.

    Parameters
    ----------
    port
        Data port. One viewer per port; 5555 is the one that OpenHCS streams to.
    host
        Machine of the viewer, reached by TCP. None: this machine.
    transport
        ``"ipc"`` or ``"tcp"``. None: Unix sockets on this machine where there are any, else TCP.
    bind
        Address that a TCP viewer listens on when it is started here; ``"0.0.0.0"`` lets other machines connect, without
        a password.
    start
        Start a viewer when none is there. Never done on another machine.
    persistent
        The viewer stays when this process ends. False: it closes with the ``with`` block or the process.
    headless
        Draw without a window. None: only where there is no display.
    title
        Of the window, when it is started.
    pixels
        ``"auto"``, ``"shared_memory"`` or ``"frames"``: how pixels travel.
    timeout
        Seconds that the viewer may take for an answer.
    start_timeout
        Seconds that it may take to start.
    arguments
        Further options of the viewer's program when it is started, e.g. ``["--memory-limit", "8GiB"]``.

    Raises
    ------
    ViewerNotFound
        No viewer is there, and none can be started.
    ViewerStartError
        It was started and ended, or did not serve in time; with what it said.

    Examples
    --------
    >>> with wellscope.Viewer() as viewer:                              # doctest: +SKIP
    ...     viewer.add_image(stack, axes="channel z y x", name="cells", labels={"channel": ["DAPI", "GFP"]})
    ...     viewer.navigate(channel="GFP", z=3)
    ...     viewer.screenshot()
    """

    def __init__(
        self,
        port: int = DEFAULT_PORT,
        *,
        host: str | None = None,
        transport: Transport | None = None,
        bind: str = "127.0.0.1",
        start: bool = True,
        persistent: bool = True,
        headless: bool | None = None,
        title: str = "wellscope",
        pixels: Pixels = "auto",
        timeout: float = 30.0,
        start_timeout: float = START_TIMEOUT,
        arguments: Sequence[str] = (),
    ) -> None:
        if transport is None:
            transport = default_transport() if host is None and is_loopback(bind) else "tcp"
        if transport == "ipc" and host is not None:
            raise ValueError(f"host={host!r} is reached by TCP; leave transport out, or use transport='tcp'")
        endpoint = Endpoint(port, transport, host if host is not None else "127.0.0.1")
        self._advertised_host = host if host is not None else "127.0.0.1" if is_loopback(bind) else name_of_this_machine()
        self._persistent = persistent
        process = None
        if start and endpoint.is_on_this_machine:
            options = LaunchOptions(persistent, headless, title, bind, tuple(arguments), start_timeout)
            running = ensure_viewer(endpoint, options)
            pong, process = running.pong, running.process
        else:
            pong = _pong_of(endpoint)
        self._open(endpoint, pong, pixels, timeout)
        self._process = process
        if process is not None and not persistent:
            close_at_exit(self)

    def _open(self, endpoint: Endpoint, pong: Mapping[str, Any] | None, pixels: Pixels, timeout: float) -> None:
        self._endpoint, self._pixels, self._timeout = endpoint, pixels, timeout
        self._known_route = None if pong is None else Route.to_viewer(pong, is_on_this_machine=endpoint.is_on_this_machine, pixels=pixels)
        self._control = ControlClient(endpoint)
        self._channel = DataChannel(endpoint, timeout=timeout)
        self._lock = threading.RLock()
        self._used_names: set[str] = set()
        self._names: dict[str, dict[str, str]] = {}
        self._is_open = True

    @property
    def _route(self) -> Route:
        """How pixels travel; asked of the viewer with the first use of a pickled handle."""
        if self._known_route is None:
            pong = _pong_of(self._endpoint)
            self._known_route = Route.to_viewer(pong, is_on_this_machine=self._endpoint.is_on_this_machine, pixels=self._pixels)
        return self._known_route

    # Sending

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
    ) -> Any:
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
            at the same place replaced. None: "Image", "Image [1]", ...
        labels
            Names of values, e.g. ``{"channel": ["DAPI", "GFP"], "well": ["A01", "B02"]}``. Wells *are* their names.
        values
            Values along axes, e.g. ``{"z": range(1, 21)}``, where they are not 0, 1, ... (OpenHCS counts from 1).
        at
            Where the array lies on axes that it does not have, e.g. ``{"well": "B02", "time": 7}``.
        channel_axis
            Name or index of an axis that is split into a layer per entry; `name`, `colormap`, `contrast_limits` and `gamma` may
            then be lists.
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
                self, source, channel_axis, options, name=name, colormap=colormap, contrast_limits=contrast_limits, gamma=gamma, visible=visible
            )
        layer = send_image(self, source, self._layer_name(name, "Image"), options, colormap="gray" if colormap is None else str(colormap))
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
        """A dask array equal to `array`, each block of which is shown when it is computed, by the worker that computes it.

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
        return watch(self, array, self._layer_name(name, "Image"), options, colormap=colormap or default)

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
            raise TypeError(f"labels are integers, the array is {wrong[0]}; convert it, e.g. array.astype('int32'), or use add_image")
        options = ImageOptions(axes, labels, values, at, None, scale, units, is_labels=True, progress=progress)
        layer = send_image(self, source, self._layer_name(name, "Labels"), options, colormap=_LABELS_COLORMAP)
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
        return send_shapes(self, shapes, "shapes", self._layer_name(name, "Shapes"), axes=axes, at=at, visible=visible)

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
        return send_shapes(self, points, "points", self._layer_name(name, "Points"), axes=axes, at=at, visible=visible)

    # Looking

    @property
    def layers(self) -> Layers:
        """The viewer's layers as they are now, by title or by index."""
        return Layers(self, self.state())

    def navigate(self, *, layer: str | None = None, **places: Any) -> None:
        """Moves sliders: ``viewer.navigate(well="B02", channel="GFP", z=3)``. Values, or names that labels gave them.

        Parameters
        ----------
        layer
            Title of the layer whose axes are meant. None: the first that has them all.

        Raises
        ------
        ValueError
            When no layer has such an axis or value; with those that there are.
        """
        if not places:
            raise ValueError("navigate needs a place, e.g. viewer.navigate(z=3)")
        wanted = {component_of(axis): plain_value(value) for axis, value in places.items()}
        layers = self.layers
        target = layers[layer] if layer is not None else layers.with_axes(wanted)
        self._control.call("navigate", {"route_key": target.route_key, "axis_indices": target.indices_of(wanted, self._names)}, timeout=self._timeout)

    def show_only(self, *layers: str) -> None:
        """Shows these layers, by title, and hides all others; the first is selected."""
        found = self.layers
        keys = tuple(found[layer].route_key for layer in layers)
        if not keys:
            raise ValueError(f"show_only needs the titles of layers; there are {found.names}")
        self._control.call("isolate_layers", {"visible_route_keys": keys}, timeout=self._timeout)

    def screenshot(self, *, canvas_only: bool = True) -> Picture:
        """A picture of what is drawn when all that was sent is shown; notebooks show it.

        Parameters
        ----------
        canvas_only
            False: with the panels around the image.

        Returns
        -------
        Picture
            ``(height, width, 3 or 4)`` of uint8.
        """
        with tempfile.TemporaryDirectory(prefix="wellscope-") as folder:
            payload = {
                "output_dir_path": folder,
                "capture_scope": "widget" if canvas_only else "window",
                "frame_condition": "immediate",
                "observation_timeout_s": self._timeout,
            }
            reply = self._control.call("screenshot", payload, timeout=self._timeout)
            path = Path(str(reply.get("resource", {}).get("path", "")))
            try:
                return decode_png(path.read_bytes())
            except FileNotFoundError as error:
                raise WellscopeError(f"the viewer is on another machine ({self._endpoint}) and wrote its screenshot there: {path}") from error

    def settle(self, *, timeout: float | None = None) -> None:
        """Waits until everything that was sent is drawn."""
        self._control.settle(timeout=self._timeout if timeout is None else timeout)

    def state(self) -> dict[str, Any]:
        """What the viewer shows, as it tells it: layers, sliders, and its own facts under ``"wellscope"``."""
        return self._control.call("state", {}, timeout=self._timeout)

    def clear(self) -> None:
        """Drops what was received. Layers disappear or start anew with the next image of each."""
        self._control.call("clear_state", timeout=self._timeout)

    @property
    def camera(self) -> tuple[tuple[float, float], float] | None:
        """Centre ``(y, x)`` in pixels of the image, and screen pixels per image pixel; None while nothing is shown."""
        viewport = self.state().get("native_viewport")
        if not viewport:
            return None
        _, y, x = viewport["center"]
        return (float(y), float(x)), float(viewport["zoom"])

    @camera.setter
    def camera(self, place: tuple[Sequence[float], float]) -> None:
        center, zoom = place
        y, x = (float(value) for value in center)
        self._control.call("viewport", {"center": (0.0, y, x), "zoom": float(zoom)}, timeout=self._timeout)

    # Lifetime

    @property
    def address(self) -> str:
        """Where it listens, e.g. ``port 5555`` or ``node7:5555``."""
        return str(self._endpoint)

    @property
    def is_alive(self) -> bool:
        """Whether the viewer answers."""
        return ready_pong(self._control) is not None

    def close(self) -> None:
        """Closes the viewer, also for others that stream to it. Closed already is fine."""
        if not self._is_open:
            return
        self.disconnect()
        try:
            stop_viewer(self._control, self._process)
        except ViewerNotFound:
            pass

    def disconnect(self) -> None:
        """Leaves the viewer as it is and gives up this connection."""
        self._is_open = False
        with self._lock:
            self._channel.close()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._persistent:
            self.disconnect()
        else:
            self.close()

    def __repr__(self) -> str:
        return f"<wellscope.Viewer at {self._endpoint}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickled viewer is the same viewer seen from the process where it is unpickled, maybe on another machine."""
        endpoint = self._endpoint
        if endpoint.transport == "ipc":
            return connect_again, (endpoint.port, None, "ipc", self._pixels, self._timeout)
        pixels: Pixels = "frames" if self._pixels == "auto" else self._pixels
        return connect_again, (endpoint.port, self._advertised_host, "tcp", pixels, self._timeout)

    def _layer_name(self, name: Any, default: str) -> str:
        """The name as given, or one that this handle did not use yet: "Image", "Image [1]", ..."""
        if name is not None:
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f"the name of a layer is text that is not blank, not {name!r}")
            return name
        count = 0
        while (found := default if count == 0 else f"{default} [{count}]") in self._used_names:
            count += 1
        self._used_names.add(found)
        return found


def _pong_of(endpoint: Endpoint) -> dict[str, Any]:
    pong = ControlClient(endpoint).ping(timeout=5.0)
    if pong is None:
        option = "" if endpoint.transport == "ipc" else " --transport tcp" + ("" if is_loopback(endpoint.host) else " --bind 0.0.0.0")
        raise ViewerNotFound(f"no viewer listens at {endpoint}; start one there with: wellscope --port {endpoint.port}{option}")
    return pong


_connections: dict[tuple[Any, ...], Viewer] = {}
_connections_lock = threading.Lock()


def connect_again(port: int, host: str | None, transport: Transport, pixels: Pixels, timeout: float) -> Viewer:
    """The viewer that a pickled one names; one connection per process and thread, whatever number of tasks have it."""
    key = (os.getpid(), threading.get_ident(), port, host, transport, pixels, timeout)
    with _connections_lock:
        viewer = _connections.get(key)
    if viewer is None or not viewer._is_open:
        # Not asked whether it is there: what unpickles is a task, which must not fail for a window that was closed.
        viewer = Viewer.__new__(Viewer)
        viewer._advertised_host, viewer._persistent, viewer._process = host or "127.0.0.1", True, None
        viewer._open(Endpoint(port, transport, host or "127.0.0.1"), None, pixels, timeout)
        with _connections_lock:
            _connections[key] = viewer
    return viewer


_closed_at_exit: weakref.WeakSet[Viewer] = weakref.WeakSet()


def close_at_exit(viewer: Viewer) -> None:
    """Closes a viewer that is not persistent when this process ends normally."""
    if not _closed_at_exit:
        atexit.register(_close_all)
    _closed_at_exit.add(viewer)


def _close_all() -> None:
    for viewer in list(_closed_at_exit):
        with contextlib.suppress(WellscopeError):
            viewer.close()
