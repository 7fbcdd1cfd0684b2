"""Visit a few positions of the demo's plate in a running viewer, and have a picture taken at each.

    python demo-tour.py --port 5555 --transport ipc --into FOLDER

Speaks to the viewer's control socket only: `state` to learn the routes, `navigate` to move the sliders, `settle` to
wait until the plane is drawn, and `screenshot`. Prints the path of every picture.
"""

from __future__ import annotations

import argparse
import pickle
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "producers"))

import control
from endpoint import ViewerEndpoint, add_endpoint_arguments, endpoint_from

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Stop:
    """One picture of the tour."""

    file_name: str
    about: str
    #: Name of the pipeline step whose sliders are moved.
    step: str
    #: Component to value.
    position: Mapping[str, Any]
    scope: str = "widget"


def at(well: str, *, site: int = 1, channel: int = 1, z_index: int = 1, timepoint: int = 1) -> dict[str, Any]:
    """One position on the plate, complete, so that a stop does not depend on the one before."""
    return {"well": well, "site": site, "channel": channel, "z_index": z_index, "timepoint": timepoint}


#: Channels 3 and 4 are the z-stack's and the histology image's (demo-plate.py).
TOUR = (
    Stop("window.png", "the whole window, well A01", "Raw", at("A01"), scope="window"),
    Stop("well-A01.png", "well A01, fluorescence", "Raw", at("A01")),
    Stop("well-A01-edges.png", "well A01, the computed channel", "Raw", at("A01", channel=2)),
    Stop("well-B03-moved.png", "well B03, site 2, crop moved", "Raw", at("B03", site=2, timepoint=3)),
    Stop("well-B02-hole.png", "the site that was left out: a hole", "Raw", at("B02", site=2)),
    Stop("well-C01-z16.png", "the z-stack, plane 16 of 31", "Z-stack", at("C01", channel=3, z_index=16)),
    Stop("well-C02-histology.png", "the histology image", "Histology", at("C02", channel=4)),
)


class Viewer:
    """The viewer, through its control socket."""

    def __init__(self, endpoint: ViewerEndpoint) -> None:
        self._endpoint = endpoint

    def ask(self, kind: str, payload: Any = None) -> Any:
        """One request; ends the program with the viewer's words when it is refused."""
        request = {"type": kind} if payload is None else {"type": kind, "payload": payload}
        reply = control.exchange(self._endpoint, pickle.dumps(request), timeout_seconds=TIMEOUT_SECONDS)
        if reply.get("status") != "success":
            raise SystemExit(f"the viewer refused {kind!r}: {reply.get('message', reply)}")
        return reply

    def settle(self) -> None:
        """Wait until everything received is drawn."""
        reply = control.settle(self._endpoint, timeout_seconds=TIMEOUT_SECONDS)
        if reply.get("status") != "success" or reply["settle_phase"] != "complete":
            raise SystemExit(f"the viewer could not draw everything: {reply.get('message', reply)}")

    def layers(self) -> list[Mapping[str, Any]]:
        """Every layer of the `state` reply."""
        return list(self.ask("state", control.controls.ViewerStateControlOptions())["layers"])

    def navigate(self, layer: Mapping[str, Any], position: Mapping[str, Any]) -> None:
        """Move the sliders; a component without a slider in this layer (one value only) is left alone."""
        axes = layer["axis_component_values"]
        indices = {name: list(axes[name]).index(value) for name, value in position.items() if name in axes}
        self.ask(
            "navigate",
            control.controls.ViewerNavigationControlOptions(route_key=layer["route_key"], axis_indices=indices),
        )

    def screenshot(self, scope: str, into: Path) -> Path:
        """Have a picture taken; the path that the viewer wrote."""
        spec = control.WindowSnapshotCaptureSpec(
            output_dir_path=str(into), capture_scope=control.WindowSnapshotCaptureScope(scope)
        )
        return Path(self.ask("screenshot", spec)["resource"]["path"])


def layer_of_step(layers: list[Mapping[str, Any]], step: str) -> Mapping[str, Any]:
    """The image layer of a pipeline step."""
    for layer in layers:
        names = {identity["step_name"] for identity in layer["producer_identities"]}
        if step in names and "image" in layer["data_types"]:
            return layer
    raise SystemExit(f"no image layer of step {step!r}; layers: {[layer['title'] for layer in layers]}")


def main() -> None:
    """Take the tour."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_endpoint_arguments(parser)
    parser.add_argument("--into", type=Path, required=True, help="folder for the pictures")
    arguments = parser.parse_args()
    into = arguments.into.absolute()
    into.mkdir(parents=True, exist_ok=True)
    viewer = Viewer(endpoint_from(arguments))
    viewer.settle()
    layers = viewer.layers()
    print("layers: " + "; ".join(str(layer["title"]) for layer in layers))
    for stop in TOUR:
        viewer.navigate(layer_of_step(layers, stop.step), stop.position)
        viewer.settle()
        written = viewer.screenshot(stop.scope, into)
        target = into / stop.file_name
        shutil.move(written, target)
        print(f"  {target}  ({stop.about})")


if __name__ == "__main__":
    main()
