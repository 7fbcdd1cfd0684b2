"""Become OpenHCS 0.8.6's napari server, by the command and environment that OpenHCS makes for it.

    python run_incumbent.py --port 5555 [--transport ipc]

The process that is started stays the one that runs, so that ending it ends the viewer. Needs the environment of
benches/vs_napari/requirements.txt and a display.
"""

from __future__ import annotations

import argparse
import os

from endpoint import add_endpoint_arguments, endpoint_from
from openhcs.runtime.viewer_protocol import ViewerQtEnvironmentPolicy
from openhcs_client import visualizer_of


def main() -> None:
    """Replace this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_endpoint_arguments(parser)
    request = visualizer_of(endpoint_from(parser.parse_args())).detached_launch_request()
    request.log_file.parent.mkdir(parents=True, exist_ok=True)
    environment = request.launch_context.child_environment(os.environ)
    environment = dict(ViewerQtEnvironmentPolicy(request.platform).apply_to(environment))
    command = request.command()
    os.execvpe(command[0], list(command), environment)


if __name__ == "__main__":
    main()
