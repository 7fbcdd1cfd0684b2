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

from .adding import LayerAdder
from .axes import component_of, plain_value
from .channel import DataChannel
from .control import ControlClient
from .endpoint import DEFAULT_PORT, Endpoint, Transport, default_transport, is_loopback, name_of_this_machine
from .errors import ViewerNotFound, WellscopeError
from .launch import START_TIMEOUT, LaunchOptions, ensure_viewer, ready_pong, stop_viewer
from .layers import Layers
from .picture import Picture, decode_png
from .streaming import Pixels, Route


class Viewer(LayerAdder):
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
        self._advertised_host = (
            host if host is not None else "127.0.0.1" if is_loopback(bind) else name_of_this_machine()
        )
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
        self._known_route = (
            None
            if pong is None
            else Route.to_viewer(pong, is_on_this_machine=endpoint.is_on_this_machine, pixels=pixels)
        )
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
            self._known_route = Route.to_viewer(
                pong, is_on_this_machine=self._endpoint.is_on_this_machine, pixels=self._pixels
            )
        return self._known_route

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
        self._control.call(
            "navigate",
            {"route_key": target.route_key, "axis_indices": target.indices_of(wanted, self._names)},
            timeout=self._timeout,
        )

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
                raise WellscopeError(
                    f"the viewer is on another machine ({self._endpoint}) and wrote its screenshot there: {path}"
                ) from error

    def settle(self, *, timeout: float | None = None) -> None:
        """Waits until everything that was sent is drawn."""
        self._control.settle(timeout=self._timeout if timeout is None else timeout)

    def state(self) -> dict[str, Any]:
        """What the viewer shows, as it tells it: layers, sliders, and its own facts under ``"wellscope"``."""
        return self._control.call("state", {}, timeout=self._timeout)

    def clear(self) -> None:
        """Forgets what was received. What is drawn stays until its layer gets the next image, which starts it anew."""
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
        with contextlib.suppress(ViewerNotFound):
            stop_viewer(self._control, self._process)

    def disconnect(self) -> None:
        """Leaves the viewer as it is and gives up this connection."""
        self._is_open = False
        with self._lock:
            self._channel.close()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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


def _pong_of(endpoint: Endpoint) -> dict[str, Any]:
    pong = ControlClient(endpoint).ping(timeout=5.0)
    if pong is None:
        option = (
            ""
            if endpoint.transport == "ipc"
            else " --transport tcp" + ("" if is_loopback(endpoint.host) else " --bind 0.0.0.0")
        )
        raise ViewerNotFound(
            f"no viewer listens at {endpoint}; start one there with: wellscope --port {endpoint.port}{option}"
        )
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
