"""Talk to a viewer's control socket as the released clients do, and print the reply as one JSON object.

    python control.py --port 5555 --transport ipc ping
    python control.py wait-ready --timeout-seconds 30
    python control.py settle
    python control.py navigate --route ROUTE --axis well=1 --axis channel=0
    python control.py screenshot --into DIR --scope window

`ping`, `wait-ready`, `shutdown` and `force-shutdown` are calls into the installed zmqruntime. The other requests are
OpenHCS 0.8.6's: a pickled dict whose payload is a dataclass of its own class path (stand_ins/ holds the declarations).
`--plain` sends a dict of the same fields instead. `--show-request` prints the pickle as hex and sends nothing.

Enums in a reply are printed as their value, tuples as lists, other objects as `{"class": ..., fields}`.
Exit status: 0 a reply came (also one that reports an error), 3 no reply in time.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pickle
import sys
import time
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

# Last on the path: a real OpenHCS, when there is one, wins.
sys.path.append(str(Path(__file__).resolve().parent / "stand_ins"))

import zmq
from endpoint import ViewerEndpoint, add_endpoint_arguments, endpoint_from
from openhcs.agent.dto.execution import ExecutionConnectionSpec
from openhcs.agent.dto.viewer import ViewerWindowSnapshotRequest
from openhcs.runtime import viewer_controls as controls
from pyqt_reactive.services.window_snapshot import (
    WindowSnapshotCaptureScope,
    WindowSnapshotCaptureSpec,
    WindowSnapshotFrameCondition,
)
from zmqruntime.client import EndpointShutdownMode, ZMQClient
from zmqruntime.transport import TransportEndpoint
from zmqruntime.viewer_protocol import (
    ViewerImageIntensityControlOptions,
    ViewerNativeImageIntensityPresentation,
    ViewerNativeViewportPresentation,
)


class NoReply(RuntimeError):
    """Nothing came back in time."""


def target_of(endpoint: ViewerEndpoint) -> TransportEndpoint:
    """The package's own address record."""
    return TransportEndpoint(host=endpoint.host, port=endpoint.port, transport_mode=endpoint.transport_mode)


def printable(value: Any) -> Any:
    """A reply as JSON can hold it."""
    if isinstance(value, Enum):
        return printable(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: printable(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"class": type(value).__qualname__} | fields
    if isinstance(value, Mapping):
        return {str(printable(key)): printable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [printable(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return repr(value)


def plain(value: Any) -> Any:
    """A class payload as builtins: a dict of its fields, enums as their value."""
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return value


def exchange(endpoint: ViewerEndpoint, request: bytes, *, timeout_seconds: float) -> Any:
    """Send one frame to the control socket and unpickle the reply.

    Raises
    ------
    NoReply
        when `timeout_seconds` pass without one.
    """
    socket: zmq.Socket = zmq.Context.instance().socket(zmq.REQ)
    try:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(target_of(endpoint).control_url(endpoint.config))
        socket.send(request)
        if not socket.poll(int(timeout_seconds * 1000)):
            raise NoReply(f"no reply from the control socket in {timeout_seconds} s")
        return pickle.loads(socket.recv())
    finally:
        socket.close()


class Silence:
    """A startup observer of zmqruntime that reports nothing and never aborts."""

    def poll_activity(self) -> bool:
        return False

    def should_abort(self) -> bool:
        return False


def wait_until_ready(endpoint: ViewerEndpoint, *, timeout_seconds: float) -> Any:
    """The first pong that says ready, by zmqruntime's own waiting."""
    pong = target_of(endpoint).wait_for_ready_response(
        endpoint.config,
        timeout=timeout_seconds,
        require_ready=True,
        poll_interval=0.05,
        startup_observer=Silence(),
    )
    if pong is None:
        raise NoReply(f"no ready pong in {timeout_seconds} s")
    return pong


def ping(endpoint: ViewerEndpoint, *, timeout_seconds: float) -> Any:
    """One pong, parsed by zmqruntime; a pong that it cannot parse counts as none, as it does for every real client."""
    pong = target_of(endpoint).ping(endpoint.config, timeout_ms=int(timeout_seconds * 1000))
    if pong is None:
        raise NoReply(f"no pong that zmqruntime accepts in {timeout_seconds} s")
    return pong


def settle(endpoint: ViewerEndpoint, *, timeout_seconds: float) -> Any:
    """Poll `settle` until it is complete or failed, with the checks that OpenHCS 0.8.6 makes of every reply.

    The time runs anew whenever the reply shows progress, and the request is repeated every 50 ms.
    """
    seen: tuple[int, int] | None = None
    deadline = time.monotonic() + timeout_seconds
    while True:
        reply = exchange(endpoint, pickle.dumps({"type": "settle"}), timeout_seconds=timeout_seconds)
        if reply.get("status") != "success":
            return reply
        completed, total = reply["completed_update_count"], reply["total_update_count"]
        units, active = reply["active_route_work_unit_count"], reply["active_route_work_unit_active"]
        phase, route = reply["settle_phase"], reply["active_route"]
        types_hold = all(type(count) is int for count in (completed, total, units)) and type(active) is bool
        if not types_hold or not 0 <= completed <= total:
            raise SystemExit(f"settle: counts must be whole numbers with 0 <= completed <= total, found {reply!r}")
        if route is None and (units != 0 or active):
            raise SystemExit(f"settle: work units without an active route, found {reply!r}")
        if phase == "complete" and (completed != total or route is not None):
            raise SystemExit(f"settle: complete, but something is left over, found {reply!r}")
        if phase != "running":
            return reply
        progress = (completed, units)
        if active or progress != seen:
            seen, deadline = progress, time.monotonic() + timeout_seconds
        if time.monotonic() > deadline:
            raise NoReply(f"settle still running after {timeout_seconds} s without progress: {reply!r}")
        time.sleep(0.05)


def shut_down(endpoint: ViewerEndpoint, mode: EndpointShutdownMode, *, timeout_seconds: float) -> Any:
    """Stop the viewer with zmqruntime's own client call, which checks that both sockets are gone afterwards."""
    return ZMQClient.shutdown_endpoint_on_port(
        port=endpoint.port,
        mode=mode,
        timeout=timeout_seconds,
        transport_mode=endpoint.transport_mode,
        host=endpoint.host,
        config=endpoint.config,
    )


def axis_indices_of(arguments: argparse.Namespace) -> dict[str, int]:
    """`--axis well=1` flags as a dict."""
    pairs = (text.partition("=") for text in arguments.axis)
    return {name: int(index) for name, _, index in pairs}


def payload_of(arguments: argparse.Namespace) -> Any:
    """The payload of a request that has one; None for the others."""
    command = arguments.command
    if command == "state":
        return controls.ViewerStateControlOptions(route_key=arguments.route)
    if command == "payloads":
        return controls.ViewerPayloadProjectionOptions(
            controls=controls.ViewerPayloadControlOptions(
                route_key=arguments.route, include_array_values=arguments.array_values
            )
        )
    if command == "navigate":
        return controls.ViewerNavigationControlOptions(
            route_key=arguments.route,
            axis_indices=axis_indices_of(arguments),
            visible=arguments.visible,
            selected=arguments.selected,
        )
    if command == "isolate-layers":
        return controls.ViewerLayerIsolationControlOptions(visible_route_keys=tuple(arguments.route))
    if command == "apply-intensity-window":
        low, high = arguments.percentiles
        return controls.ViewerIntensityWindowControlOptions(
            route_key=arguments.route,
            axis_indices=axis_indices_of(arguments),
            low_percentile=low,
            high_percentile=high,
        )
    if command == "image-intensity":
        return ViewerImageIntensityControlOptions(
            route_key=arguments.route,
            presentation=ViewerNativeImageIntensityPresentation(
                contrast_limits=tuple(arguments.limits), gamma=arguments.gamma
            ),
        )
    if command == "viewport":
        return ViewerNativeViewportPresentation(center=tuple(arguments.center), zoom=arguments.zoom)
    if command == "screenshot":
        directory = str(Path(arguments.into).absolute()) if not arguments.show_request else arguments.into
        spec = WindowSnapshotCaptureSpec(
            output_dir_path=directory,
            capture_scope=WindowSnapshotCaptureScope(arguments.scope),
            frame_condition=WindowSnapshotFrameCondition.IMMEDIATE,
            observation_timeout_s=arguments.observation_timeout_seconds,
        )
        if not arguments.as_agent:
            return spec
        endpoint = endpoint_from(arguments)
        return ViewerWindowSnapshotRequest(
            connection=ExecutionConnectionSpec(
                host=endpoint.host, port=endpoint.port, transport_mode=endpoint.transport_mode
            ),
            timeout_ms=int(arguments.timeout_seconds * 1000),
            include_response=True,
            output_dir_path=spec.output_dir_path,
            capture_scope=spec.capture_scope,
            frame_condition=spec.frame_condition,
            observation_timeout_s=spec.observation_timeout_s,
        )
    return None


def request_of(arguments: argparse.Namespace) -> bytes:
    """The pickled request, byte for byte as the released client pickles it."""
    if arguments.command == "raw":
        return bytes.fromhex(arguments.hex)
    request: dict[str, Any] = {"type": arguments.command.replace("-", "_")}
    payload = payload_of(arguments)
    if payload is not None:
        request["payload"] = plain(payload) if arguments.plain else payload
    return pickle.dumps(request, protocol=4)


def parsed_arguments() -> argparse.Namespace:
    """The command line."""
    common = argparse.ArgumentParser(add_help=False)
    add_endpoint_arguments(common)
    common.add_argument("--timeout-seconds", type=float, default=5.0)
    common.add_argument("--plain", action="store_true", help="payload as a dict of builtins")
    common.add_argument("--show-request", action="store_true", help="print the request as hex, send nothing")

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[common])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text)

    command("ping", "one pong, parsed by zmqruntime")
    command("wait-ready", "wait for a pong that says ready (--timeout-seconds)")
    command("settle", "poll until everything received is drawn")
    command("clear-state", "forget what was received")
    state = command("state", "the viewer's state")
    state.add_argument("--route")
    payloads = command("payloads", "what the viewer holds")
    payloads.add_argument("--route")
    payloads.add_argument("--array-values", action="store_true")
    navigate = command("navigate", "move the sliders of a route")
    navigate.add_argument("--route", required=True)
    navigate.add_argument("--visible", action=argparse.BooleanOptionalAction)
    navigate.add_argument("--selected", action=argparse.BooleanOptionalAction)
    isolate = command("isolate-layers", "show these routes and no others")
    isolate.add_argument("--route", action="append", required=True)
    window = command("apply-intensity-window", "contrast limits from percentiles")
    window.add_argument("--route", required=True)
    window.add_argument("--percentiles", type=float, nargs=2, default=(1.0, 99.0))
    for takes_axes in (navigate, window):
        takes_axes.add_argument("--axis", action="append", default=[], metavar="COMPONENT=INDEX")
    intensity = command("image-intensity", "contrast limits and gamma")
    intensity.add_argument("--route", required=True)
    intensity.add_argument("--limits", type=float, nargs=2, required=True)
    intensity.add_argument("--gamma", type=float, default=1.0)
    viewport = command("viewport", "centre (z y x, in pixels) and zoom")
    viewport.add_argument("--center", type=float, nargs=3, required=True)
    viewport.add_argument("--zoom", type=float, required=True)
    screenshot = command("screenshot", "a PNG of the canvas (widget) or the whole window")
    screenshot.add_argument("--into", required=True, help="folder for the PNG")
    screenshot.add_argument("--scope", choices=("widget", "window"), default="widget")
    screenshot.add_argument("--observation-timeout-seconds", type=float, default=5.0)
    screenshot.add_argument("--as-agent", action="store_true", help="the agent's request class instead of the UI's")
    command("shutdown", "ask the viewer to close, by zmqruntime's own call")
    command("force-shutdown", "as shutdown, in its forced mode")
    raw = command("raw", "send these bytes")
    raw.add_argument("--hex", required=True)
    command("unknown", "a type that no viewer knows")
    return parser.parse_args()


def main() -> int:
    """Run one command."""
    arguments = parsed_arguments()
    endpoint, seconds = endpoint_from(arguments), arguments.timeout_seconds
    if arguments.show_request:
        print(json.dumps({"request_hex": request_of(arguments).hex()}))
        return 0
    # Calls into zmqruntime rather than requests of our own making.
    calls: dict[str, Callable[[], Any]] = {
        "ping": lambda: ping(endpoint, timeout_seconds=seconds),
        "wait-ready": lambda: wait_until_ready(endpoint, timeout_seconds=seconds),
        "settle": lambda: settle(endpoint, timeout_seconds=seconds),
        "shutdown": lambda: shut_down(endpoint, EndpointShutdownMode.GRACEFUL, timeout_seconds=seconds),
        "force-shutdown": lambda: shut_down(endpoint, EndpointShutdownMode.FORCE, timeout_seconds=seconds),
    }
    try:
        if arguments.command in calls:
            reply = calls[arguments.command]()
        else:
            reply = exchange(endpoint, request_of(arguments), timeout_seconds=seconds)
    except NoReply as error:
        print(json.dumps({"no_reply": str(error)}))
        return 3
    print(json.dumps(printable(reply)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
