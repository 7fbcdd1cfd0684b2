"""Drive a viewer with OpenHCS 0.8.6's own control clients and print what each of them made of the reply.

    python openhcs_client.py --port 5555 reuse
    python openhcs_client.py --port 5555 drive --route ROUTE --roi-route ROUTE --axis well=1 --into DIR
    python openhcs_client.py --port 5555 stop

One JSON object per line: `{"message": ..., "by": ..., "result": ...}`. `by` names who judged the reply:

- `lifecycle`: NapariStreamVisualizer, as the pipeline orchestrator and the UI hold it;
- `request`: ViewerControlMessageRequest and ViewerSettleProgress, which it is built on;
- `agent`: ViewerWindowService over ZMQViewerWindowGateway, as OpenHCS's agent tools hold it. A result is a record with
  `errors`, empty when its parser took the reply;
- `discovery`: the agent's sweep over the socket folder (IPC only).

`reuse` asks whether OpenHCS would take this viewer instead of launching its own; `drive` sends every message type
that leaves the viewer running; `stop` clears and closes it. A reply that OpenHCS refuses is a result too, so the exit
status stays 0.

napari is not installed here: the visualizer's module only looks whether it can be imported, and the empty module in
without_napari/ satisfies it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Last on the path: a real napari, when there is one, wins.
sys.path.append(str(Path(__file__).resolve().parent / "without_napari"))

from endpoint import ViewerEndpoint, add_endpoint_arguments, endpoint_from
from openhcs.agent.dto.execution import ExecutionConnectionSpec
from openhcs.agent.dto.viewer import (
    ViewerWindowCloseRequest,
    ViewerWindowImageIntensityRequest,
    ViewerWindowImageSampleRequest,
    ViewerWindowIntensityWindowRequest,
    ViewerWindowLayerIsolationRequest,
    ViewerWindowNavigationRequest,
    ViewerWindowPayloadRequest,
    ViewerWindowRoiSummaryRequest,
    ViewerWindowSnapshotRequest,
    ViewerWindowStateRequest,
    ViewerWindowValidationRequest,
    ViewerWindowViewportRequest,
)
from openhcs.agent.services.viewer_endpoint_discovery import ViewerEndpointDiscoveryService
from openhcs.agent.services.viewer_window_service import ViewerWindowService
from openhcs.core.streaming_config_declarations import ViewerType
from openhcs.core.streaming_config_factory import StreamingViewerRuntimeConfig
from openhcs.runtime.napari_stream_visualizer import NapariStreamVisualizer
from openhcs.runtime.viewer_protocol import ViewerControlMessageRequest, ViewerSettleProgress
from openhcs.serialization.json import to_jsonable
from polystore.filemanager import FileManager
from zmqruntime.viewer_protocol import (
    ViewerNativeImageIntensityPresentation,
    ViewerNativeViewportPresentation,
    ViewerTransportEndpoint,
)


class Warnings(logging.Handler):
    """Keeps what OpenHCS logs as warnings, for that is where it says why it refused a viewer."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def visualizer_of(endpoint: ViewerEndpoint) -> NapariStreamVisualizer:
    """OpenHCS's own manager of a persistent viewer on this endpoint; nothing is started."""
    return NapariStreamVisualizer(
        filemanager=FileManager({}),
        runtime_config=StreamingViewerRuntimeConfig(
            transport_endpoint=ViewerTransportEndpoint(
                host=endpoint.host, port=endpoint.port, transport_mode=endpoint.transport_mode
            ),
            persistent=True,
            viewer_type=ViewerType.NAPARI,
        ),
    )


def printable(value: Any) -> Any:
    """What OpenHCS makes of a value for JSON, with what it does not know as its repr."""
    try:
        return to_jsonable(value)
    except TypeError:
        return repr(value)


def report(message: str, by: str, ask: Callable[[], Any]) -> None:
    """Print one result, or what was raised instead."""
    try:
        line = {"message": message, "by": by, "result": printable(ask())}
    except Exception as error:
        line = {"message": message, "by": by, "raised": f"{type(error).__name__}: {error}"}
    print(json.dumps(line, default=str), flush=True)


def reuse(endpoint: ViewerEndpoint) -> None:
    """Would OpenHCS take this viewer?"""
    visualizer, warnings = visualizer_of(endpoint), Warnings()
    logging.getLogger("openhcs").addHandler(warnings)
    report("in_use", "lifecycle", visualizer.runtime_endpoint.in_use)
    report("wait_for_ready", "lifecycle", lambda: visualizer.wait_for_ready(timeout=10.0))
    report("existing_viewer_is_ready", "lifecycle", visualizer.existing_viewer_is_ready)
    report("warnings", "lifecycle", lambda: warnings.texts)
    if endpoint.transport == "ipc":
        report("sweep", "discovery", ViewerEndpointDiscoveryService().sweep)


def drive(endpoint: ViewerEndpoint, arguments: argparse.Namespace) -> None:
    """Every message type that leaves the viewer running."""
    visualizer = visualizer_of(endpoint)
    visualizer.lifecycle_state.mark_connected_external()
    report("is_running", "lifecycle", lambda: visualizer.is_running)
    report("settle", "lifecycle", lambda: visualizer.settle_viewer_state(timeout=60.0))
    report(
        "settle",
        "request",
        lambda: ViewerSettleProgress.from_response(send(visualizer, "settle")).to_wire_mapping(),
    )
    report("state", "lifecycle", lambda: visualizer.read_viewer_state().succeeded())
    report("unknown", "request", lambda: send(visualizer, "unknown").payload)

    os.environ["OPENHCS_AGENT_WRITE_ROOTS"] = arguments.into
    agent = ViewerWindowService()
    at: dict[str, Any] = {
        "connection": ExecutionConnectionSpec(
            host=endpoint.host, port=endpoint.port, transport_mode=endpoint.transport_mode
        ),
        "timeout_ms": 60_000,
    }
    route: dict[str, Any] = {"route_key": arguments.route}
    axes = {name: int(index) for name, _, index in (text.partition("=") for text in arguments.axis)}

    def by_agent(message: str, ask: Callable[[], Any]) -> None:
        report(message, "agent", ask)

    by_agent("state", lambda: agent.window_state(ViewerWindowStateRequest.from_cli_fields(**at)))
    by_agent("probe", lambda: agent.probe_window(ViewerWindowStateRequest.from_fields(**at)))
    by_agent("validate", lambda: agent.validation_summary(ViewerWindowValidationRequest(**at)))
    by_agent(
        "navigate",
        lambda: agent.navigate_window(ViewerWindowNavigationRequest.from_fields(**at, **route, axis_indices=axes)),
    )
    by_agent(
        "navigate_nowhere",
        lambda: agent.navigate_window(ViewerWindowNavigationRequest.from_fields(**at, route_key="no such route")),
    )
    if arguments.roi_route is not None:
        by_agent(
            "navigate_to_result",
            lambda: agent.navigate_window(
                ViewerWindowNavigationRequest.from_fields(**at, route_key=arguments.roi_route, data_index=0)
            ),
        )
    by_agent(
        "isolate_layers",
        lambda: agent.isolate_layers(
            ViewerWindowLayerIsolationRequest.from_fields(**at, visible_route_keys=[arguments.route], axis_indices=axes)
        ),
    )
    by_agent(
        "isolate_missing",
        lambda: agent.isolate_layers(
            ViewerWindowLayerIsolationRequest.from_fields(**at, visible_route_keys=["no such route"])
        ),
    )
    intensity = ViewerNativeImageIntensityPresentation(contrast_limits=(10.0, 4000.0), gamma=1.5)
    by_agent(
        "image_intensity",
        lambda: agent.image_intensity(
            ViewerWindowImageIntensityRequest.from_fields(**at, **route, presentation=intensity)
        ),
    )
    camera = ViewerNativeViewportPresentation(center=(0.0, 8.0, 12.0), zoom=2.0)
    by_agent("viewport", lambda: agent.viewport(ViewerWindowViewportRequest.from_fields(**at, presentation=camera)))
    for scope in ("widget", "window"):
        by_agent(
            f"screenshot_{scope}",
            lambda scope=scope: agent.snapshot_window(
                ViewerWindowSnapshotRequest.from_fields(**at, output_dir_path=arguments.into, capture_scope=scope)
            ),
        )
    by_agent(
        "apply_intensity_window",
        lambda: agent.apply_intensity_window(
            ViewerWindowIntensityWindowRequest.from_fields(**at, **route, axis_indices=axes)
        ),
    )
    by_agent(
        "payloads",
        lambda: agent.window_payloads(
            ViewerWindowPayloadRequest.from_fields(**at, include_array_values=True, max_array_elements=12)
        ),
    )
    by_agent(
        "sample_image",
        lambda: agent.sample_image(
            ViewerWindowImageSampleRequest(**at, **route, y=1, x=2, height=2, width=3, include_array_values=True)
        ),
    )
    if arguments.roi_route is not None:
        by_agent(
            "summarize_rois",
            lambda: agent.summarize_rois(ViewerWindowRoiSummaryRequest(**at, route_key=arguments.roi_route)),
        )


def stop(endpoint: ViewerEndpoint) -> None:
    """Clear the viewer, then close it and prove that it is gone."""
    visualizer = visualizer_of(endpoint)
    visualizer.lifecycle_state.mark_connected_external()
    report("clear_state", "lifecycle", visualizer.clear_viewer_state)
    connection = ExecutionConnectionSpec(host=endpoint.host, port=endpoint.port, transport_mode=endpoint.transport_mode)
    request = ViewerWindowCloseRequest.from_fields(connection=connection, confirmed=True)
    report("force_shutdown", "agent", lambda: ViewerWindowService().close_window(request))
    report("in_use", "lifecycle", visualizer.runtime_endpoint.in_use)


def send(visualizer: NapariStreamVisualizer, message: str) -> Any:
    """One request of OpenHCS's own making."""
    return ViewerControlMessageRequest(endpoint=visualizer.runtime_endpoint, message_type=message, timeout=60.0).send()


def main() -> None:
    """Run one command."""
    common = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_endpoint_arguments(common)
    commands = common.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("reuse", help="would OpenHCS take this viewer?")
    driven = commands.add_parser("drive", help="every message type that leaves the viewer running")
    driven.add_argument("--route", required=True, help="an image route")
    driven.add_argument("--roi-route", help="a shapes or points route")
    driven.add_argument("--axis", action="append", default=[], metavar="COMPONENT=INDEX")
    driven.add_argument("--into", required=True, help="folder for screenshots")
    commands.add_parser("stop", help="clear and close the viewer")
    arguments = common.parse_args()
    endpoint = endpoint_from(arguments)
    if arguments.command == "reuse":
        reuse(endpoint)
    elif arguments.command == "drive":
        drive(endpoint, arguments)
    else:
        stop(endpoint)


if __name__ == "__main__":
    main()
