"""How OpenHCS's visualizer launches wellscope: a launch request of OpenHCS's own kind, with another program in it.

OpenHCS 0.8.6 starts viewers as `python -c ...` (runtime/viewer_protocol.py, DetachedViewerLaunchRequest). Starting the
program at once instead spares the pipeline the start of a Python process that imports OpenHCS, about a second, and
makes the process that OpenHCS watches and ends the viewer itself.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from openhcs.runtime.viewer_protocol import DetachedViewerLaunchRequest  # type: ignore[import-not-found]
from openhcs.runtime.zmq_application import OPENHCS_ENDPOINT_APPLICATION  # type: ignore[import-not-found]
from pyqt_reactive.process_launch import BackgroundProcessLaunchPolicy  # type: ignore[import-not-found]

from ..launch import find_viewer
from .switch import OPTIONS_VARIABLE, is_switched_on

#: What the viewer takes when it is not told otherwise; OpenHCS's own defaults (zmqruntime 0.2.24, ZMQConfig).
_CONTROL_PORT_OFFSET = 1000
_ACK_PORT = 7555

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")


@dataclass(frozen=True, slots=True)
class WellscopeLaunchRequest(DetachedViewerLaunchRequest):  # type: ignore[misc]
    """OpenHCS's description of the process of a viewer, for the process of wellscope.

    `python_code` stays what OpenHCS would have run.

    Attributes
    ----------
    viewer_options
        Command line of the viewer without the program.
    """

    viewer_options: tuple[str, ...] = ()

    def command(self) -> list[str]:
        """The program and its options.

        Raises
        ------
        wellscope.errors.ViewerNotFound
            When the program is not there.
        """
        environment = self._environment()
        command = [find_viewer(), *self.viewer_options]
        if not (self.launch_context.graphical_session_available and has_display(environment)):
            command.append("--headless")
        return command + shlex.split(environment.get(OPTIONS_VARIABLE, ""))

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the viewer, detached from this process, in a window if its session has a display."""
        command = self.command()
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        self.log_file.write_bytes(b"")
        policy = BackgroundProcessLaunchPolicy.current(detached=True)
        # The viewer appends its log by itself; what drivers, panics and a refused command line print comes by the pipe.
        with open(self.log_file, "ab") as errors:
            return subprocess.Popen(
                command,
                env=self._environment(),
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                **policy.popen_arguments(),
            )

    def _environment(self) -> dict[str, str]:
        environment: dict[str, str] = self.launch_context.child_environment(os.environ)
        return environment


def launch_wellscope(visualizer: Any) -> None:
    """Make a visualizer class of OpenHCS ask for wellscope; does nothing when it does already.

    Parameters
    ----------
    visualizer
        ``NapariStreamVisualizer``.

    Raises
    ------
    AttributeError
        When the class does not launch viewers the way that OpenHCS 0.8.6 does. It is unchanged then.
    """
    theirs = visualizer.detached_launch_request
    if getattr(theirs, "launches_wellscope", False):
        return

    def detached_launch_request(self: Any) -> DetachedViewerLaunchRequest:
        request = theirs(self)
        if not is_switched_on():
            return request
        same = {field.name: getattr(request, field.name) for field in fields(request)}
        return WellscopeLaunchRequest(**same, viewer_options=tuple(viewer_options(self, request.log_file)))

    detached_launch_request.launches_wellscope = True  # type: ignore[attr-defined]
    visualizer.detached_launch_request = detached_launch_request


def viewer_options(visualizer: Any, log_file: Path) -> list[str]:
    """Options of the viewer's command line that say what OpenHCS would have told its own viewer.

    Parameters
    ----------
    visualizer
        A ``NapariStreamVisualizer``.
    log_file
        Where OpenHCS, and the viewer list of its GUI, look for the viewer's log.
    """
    endpoint = visualizer.runtime_endpoint
    application = OPENHCS_ENDPOINT_APPLICATION
    options = ["--port", str(endpoint.port), "--transport", endpoint.mode.value]
    if endpoint.control_port != endpoint.port + _CONTROL_PORT_OFFSET:
        options += ["--control-port", str(endpoint.control_port)]
    if endpoint.config.shared_ack_port != _ACK_PORT:
        options += ["--ack-port", str(endpoint.config.shared_ack_port)]
    if endpoint.mode.value == "tcp" and endpoint.host not in _LOOPBACK:
        # Reached by its name from elsewhere; OpenHCS's own viewer listens on every interface, always.
        options += ["--bind", "0.0.0.0"]
    options += ["--title", visualizer.viewer_title, "--log-file", str(log_file)]
    options += ["--application", f"{application.identifier}={application.version}"]
    if visualizer.replace_layers:
        options.append("--replace-layers")
    if visualizer.scope_accent_color is not None and _COLOUR.fullmatch(visualizer.scope_accent_color):
        options += ["--accent-color", visualizer.scope_accent_color]
    return options


def has_display(environment: Mapping[str, str]) -> bool:
    """Whether a process with this environment can open a window: always on Windows and macOS."""
    if os.name == "nt" or sys.platform == "darwin":
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
