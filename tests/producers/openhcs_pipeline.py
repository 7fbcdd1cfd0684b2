"""Run pipelines of OpenHCS 0.8.6 with its own compiler and orchestrator, and print what came of it.

    python openhcs_pipeline.py plate --into DIR [--skip A01_s002_w1.tif]
    python openhcs_pipeline.py run --plate DIR --viewer persistent --port 5555
    python openhcs_pipeline.py viewers --port 5555
    python openhcs_pipeline.py compare --port 5555
    python openhcs_pipeline.py launch --port 5555

One JSON object on the last line of standard output; what OpenHCS logs goes to standard error.

- `plate`: a synthetic ImageXpress plate from OpenHCS's own generator.
- `run`: two steps over all wells, each materialised and, unless `--viewer none`, shown for the first `--wells` wells.
  OpenHCS launches or reuses the viewer, or fails; nothing here knows which program that is.
- `viewers`: what the viewer list of OpenHCS's GUI finds.
- `compare`: each image that a viewer shows beside the file that OpenHCS materialised, value by value.
- `launch`: which process OpenHCS would start for a viewer. `--as-version` says that OpenHCS is of that version, the
  first time that it is imported.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WELLS = ("A01", "B02", "C03")
GRID = (2, 1)
CHANNELS = 2
SLICES = 2


class Discarded:
    """A progress queue whose events nobody reads."""

    def put(self, event: Any) -> None:
        """Forget it."""


class Warnings(logging.Handler):
    """Keeps what is logged as a warning."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def make_plate(into: Path, *, skip: list[str], tile: int) -> dict[str, Any]:
    """Three wells of two sites, two channels and two slices each."""
    from openhcs.demo.synthetic_data import SyntheticMicroscopyGenerator

    generator = SyntheticMicroscopyGenerator(
        output_dir=str(into),
        grid_size=GRID,
        tile_size=(tile, tile),
        wavelengths=CHANNELS,
        z_stack_levels=SLICES,
        num_cells=20,
        wells=list(WELLS),
        format="ImageXpress",
        random_seed=7,
        skip_files=skip,
    )
    generator.generate_dataset()
    return {"files": sorted(str(file.relative_to(into)) for file in into.rglob("*.tif"))}


def pipeline(arguments: argparse.Namespace) -> list[Any]:
    """Two steps: each channel normalised over its slices, then the slices projected into one."""
    from openhcs.constants.constants import VariableComponents
    from openhcs.core.config import LazyNapariStreamingConfig, LazyProcessingConfig, LazyStepMaterializationConfig
    from openhcs.core.steps.function_step import FunctionStep
    from openhcs.processing.backends.processors.numpy_processor import create_projection, stack_percentile_normalize
    from zmqruntime.config import TransportMode

    def outputs() -> dict[str, Any]:
        each: dict[str, Any] = {"step_materialization_config": LazyStepMaterializationConfig(enabled=True)}
        if arguments.viewer != "none":
            each["napari_streaming_config"] = LazyNapariStreamingConfig(
                enabled=True,
                well_filter=arguments.wells,
                port=arguments.port,
                transport_mode=TransportMode[arguments.transport.upper()],
                persistent=arguments.viewer == "persistent",
            )
        return each

    along_z = LazyProcessingConfig(variable_components=[VariableComponents.Z_INDEX])
    return [
        FunctionStep(func=stack_percentile_normalize, name="Normalize", **outputs()),
        FunctionStep(func=create_projection, name="Project", processing_config=along_z, **outputs()),
    ]


@contextmanager
def progress_of(bundle: Any) -> Iterator[Any]:
    """A queue that workers may fill, emptied until the run ends."""
    queue = bundle.runtime_environment.worker_start.multiprocessing_context().Queue()

    def drain() -> None:
        while queue.get() is not None:
            pass

    thread = threading.Thread(target=drain, daemon=True)
    thread.start()
    try:
        yield queue
    finally:
        queue.put(None)
        thread.join()


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compile and execute as the execution server does it (openhcs 0.8.6, runtime/zmq_worker_execution.py)."""
    from objectstate.lazy_factory import ensure_global_config_context
    from openhcs.core.config import GlobalPipelineConfig, PipelineConfig
    from openhcs.core.orchestrator.orchestrator import PipelineOrchestrator
    from openhcs.core.progress import set_progress_queue

    warnings = Warnings()
    logging.getLogger().addHandler(warnings)
    ensure_global_config_context(GlobalPipelineConfig, GlobalPipelineConfig(num_workers=2))
    orchestrator = PipelineOrchestrator(plate_path=arguments.plate, pipeline_config=PipelineConfig())
    orchestrator.initialize()
    set_progress_queue(Discarded())
    started = time.monotonic()
    bundle = orchestrator.compile_pipelines(pipeline_definition=pipeline(arguments))
    set_progress_queue(None)
    compiled = time.monotonic()
    with progress_of(bundle) as queue:
        results = orchestrator.execute_compiled_plate(
            execution_bundle=bundle,
            progress_queue=queue,
            progress_context={"execution_id": "run", "plate_id": str(arguments.plate)},
        )
    executed = time.monotonic()
    states = results.extras.viewer_states_by_port
    viewers = orchestrator._visualizers.values()
    return {
        "start_method": bundle.runtime_environment.worker_start.resolved.value,
        "wells": {well: result.is_success() for well, result in results.items()},
        "compile_seconds": compiled - started,
        "execute_seconds": executed - compiled,
        "viewers": [
            {
                "port": viewer.port,
                "mode": viewer.lifecycle_state.mode.value,
                "pid": None if viewer.process is None else viewer.process.pid,
            }
            for viewer in viewers
        ],
        # Only asked of viewers that end with the run.
        "states": {port: dict(state.payload) for port, state in states.items()},
        "napari_imported": "napari" in sys.modules,
        "warnings": warnings.texts,
    }


def viewers(arguments: argparse.Namespace) -> dict[str, Any]:
    """The scan behind the GUI's viewer list and its list of logs (openhcs 0.8.6, pyqt_gui/services/reactor_providers.py)."""
    from openhcs.runtime.zmq_config import OPENHCS_ZMQ_CONFIG
    from pyqt_reactive.services.zmq_server_info import BaseServerInfo
    from pyqt_reactive.services.zmq_server_scan_service import ZMQServerScanService
    from zmqruntime.config import TransportMode

    service = ZMQServerScanService(
        config=OPENHCS_ZMQ_CONFIG,
        host=OPENHCS_ZMQ_CONFIG.client_host,
        transport_mode=TransportMode[arguments.transport.upper()],
        timeout_ms=2000,
    )
    found = []
    for pong in service.scan_ports((arguments.port,)).responses:
        entry = BaseServerInfo.from_response(pong)
        log = Path(entry.log_file_path) if entry.log_file_path else None
        found.append(
            {
                "kind": type(entry).__name__,
                "port": entry.port,
                "ready": entry.ready,
                "name": entry.viewer_name,
                "memory_is_told": (entry.memory_mb or 0) > 0,
                "pid": pong.process_identity.pid,
                # The list of logs shows `napari_detached_port_PORT.log` as the viewer's, when it exists.
                "log": None if log is None else log.name,
                "log_exists": log is not None and log.exists(),
            }
        )
    return {"viewers": found}


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Ask the viewer for the values of all its images and read the same from the materialised files."""
    import pickle

    import numpy as np
    import tifffile
    from control import exchange
    from endpoint import ViewerEndpoint
    from openhcs.runtime.viewer_controls import ViewerPayloadControlOptions, ViewerPayloadProjectionOptions

    options = ViewerPayloadControlOptions(include_array_values=True, max_array_elements=1 << 20)
    request = {"type": "payloads", "payload": ViewerPayloadProjectionOptions(controls=options)}
    endpoint = ViewerEndpoint(port=arguments.port, transport=arguments.transport)
    reply = exchange(endpoint, pickle.dumps(request), timeout_seconds=60.0)
    layers = {}
    for layer in reply["layers"]:
        equal = [
            bool(np.array_equal(np.asarray(payload["array_values"]), tifffile.imread(payload["path"])))
            for payload in layer["payloads"]
        ]
        layers[layer["title"]] = {"compared": len(equal), "equal": sum(equal)}
    return {"layers": layers}


def launch(arguments: argparse.Namespace) -> dict[str, Any]:
    """The request that OpenHCS's visualizer makes of the operating system; nothing is started."""
    warnings = Warnings()
    logging.getLogger().addHandler(warnings)
    if arguments.as_version is not None:
        import openhcs

        openhcs.__version__ = arguments.as_version
    try:
        from openhcs.runtime import napari_stream_visualizer
    except ImportError as error:
        return {"refused": str(error), "warnings": warnings.texts}
    from endpoint import ViewerEndpoint
    from openhcs.core.streaming_config_declarations import ViewerType
    from openhcs.core.streaming_config_factory import StreamingViewerRuntimeConfig
    from polystore.filemanager import FileManager
    from zmqruntime.viewer_protocol import ViewerTransportEndpoint

    endpoint = ViewerEndpoint(port=arguments.port, transport=arguments.transport)
    visualizer = napari_stream_visualizer.NapariStreamVisualizer(
        filemanager=FileManager({}),
        runtime_config=StreamingViewerRuntimeConfig(
            transport_endpoint=ViewerTransportEndpoint(
                host=arguments.host, port=endpoint.port, transport_mode=endpoint.transport_mode
            ),
            persistent=True,
            viewer_type=ViewerType.NAPARI,
            scope_accent_color=arguments.accent,
        ),
        replace_layers=arguments.replace_layers,
    )
    request = visualizer.detached_launch_request()
    return {
        "command": request.command(),
        "log": str(request.log_file),
        "warnings": warnings.texts,
        "napari_imported": "napari" in sys.modules,
    }


def main() -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    plate = commands.add_parser("plate", help="make a synthetic plate")
    plate.add_argument("--into", type=Path, required=True)
    plate.add_argument("--skip", action="append", default=[], metavar="FILE", help="leave this file out")
    plate.add_argument("--tile", type=int, default=64, help="pixels along each side of an image")
    plate.set_defaults(command=lambda given: make_plate(given.into, skip=given.skip, tile=given.tile))

    def with_endpoint(name: str, command: Any, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text)
        added.add_argument("--port", type=int, default=5555)
        added.add_argument("--transport", choices=("ipc", "tcp"), default="ipc")
        added.set_defaults(command=command)
        return added

    runs = with_endpoint("run", run, "run two steps over a plate")
    runs.add_argument("--plate", type=Path, required=True)
    runs.add_argument("--viewer", choices=("none", "persistent", "non-persistent"), required=True)
    runs.add_argument("--wells", type=int, default=2, help="how many wells are shown")
    with_endpoint("viewers", viewers, "what the GUI's viewer list finds")
    with_endpoint("compare", compare, "what is shown beside what was written")
    launches = with_endpoint("launch", launch, "which process would be started")
    launches.add_argument("--host", default="localhost")
    launches.add_argument("--accent", help="colour of the plate's windows")
    launches.add_argument("--replace-layers", action="store_true")
    launches.add_argument("--as-version")

    arguments = parser.parse_args()
    sys.stdout.flush()
    print(json.dumps(arguments.command(arguments), default=str), flush=True)


if __name__ == "__main__":
    main()
