"""OpenHCS 0.8.6's napari server, launched with the command and the environment that OpenHCS itself makes for it.

Needs requirements.txt beside this file. What differs from a launch by OpenHCS: the log goes where the bench looks, and
for the slider figure `inside/` is on PYTHONPATH.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from endpoint import ViewerEndpoint
from openhcs.runtime.viewer_protocol import DetachedViewerLaunchRequest, ViewerQtEnvironmentPolicy
from openhcs_client import visualizer_of

from viewers import Hook, Viewer

INSIDE = Path(__file__).resolve().parent / "inside"


def launch_request(port: int) -> DetachedViewerLaunchRequest:
    """OpenHCS's own description of the process that it would start on this port."""
    return visualizer_of(ViewerEndpoint(port=port)).detached_launch_request()


class Incumbent(Viewer):
    """The napari server of OpenHCS."""

    name = "napari"

    def __init__(self, *, home: Path, port: int, with_hook: bool = False) -> None:
        self._request = launch_request(port)
        self._request.log_file.parent.mkdir(parents=True, exist_ok=True)
        path = home / f"hook-{port}.sock"
        self.hook = Hook(path)
        hooked = {"PYTHONPATH": str(INSIDE), "WELLSCOPE_BENCH_SOCKET": str(path)} if with_hook else {}
        super().__init__(home=home, port=port, environment=hooked)

    def command(self) -> Sequence[str]:
        return self._request.command()

    def environment(self) -> Mapping[str, str]:
        environment = self._request.launch_context.child_environment(os.environ)
        return dict(ViewerQtEnvironmentPolicy(self._request.platform).apply_to(environment))
