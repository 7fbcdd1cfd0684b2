"""The producers themselves, streamed into the stand-in viewer: what the end-to-end tests rely on.

    python tests/producers/test_producers.py

with the Python of either environment
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import unittest
from importlib.metadata import version
from pathlib import Path
from typing import Any

from plan import array_of

HERE = Path(__file__).resolve().parent
CAPTURES = HERE.parent / "captures" / "G3_openhcs-0.8.6"
GENERATION = "g3" if version("zmqruntime").startswith("0.2.") else "g4"
#: IPC sockets do not exist on Windows; zmqruntime refuses them there.
HAS_IPC = sys.platform != "win32"
ROUTE = "origin_pipeline_kind_main_projection_main_step_0_scope_scope-1_name_Gaussian_Blur"


def free_port(*, also_above: int = 0) -> int:
    """A TCP port that nothing holds, and whose neighbour `also_above` further is free too."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            if port + also_above > 65535:
                continue
            try:
                second.bind(("127.0.0.1", port + also_above if also_above else 0))
            except OSError:
                continue
            return port


def address(channel: int, well: str = "A01") -> dict[str, Any]:
    """The five components of one plane."""
    return {"site": 1, "channel": channel, "z_index": 1, "timepoint": 1, "well": well}


class Viewer:
    """A stand-in viewer in a process and a home folder of its own."""

    def __init__(self, transport: str, *flags: str) -> None:
        # Short: a socket path has about 107 bytes.
        self.home = tempfile.TemporaryDirectory(prefix="ws")
        self.port = free_port(also_above=1000)
        self.flags = ["--port", str(self.port), "--transport", transport]
        self.plan: dict[str, Any] = {"port": self.port, "transport": transport}
        if GENERATION == "g3":
            # 7555 is shared by every producer on the machine; another run may hold it.
            self.plan["ack_port"] = free_port()
            self.flags += ["--ack-port", str(self.plan["ack_port"])]
        self.environment = os.environ | {"HOME": self.home.name}
        self.process = subprocess.Popen(
            [sys.executable, HERE / "stand_in_viewer.py", *self.flags, "--pong", GENERATION, *flags],
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Viewer:
        pong = self.control("--timeout-seconds", "30", "wait-ready")
        assert pong.get("ready") is True, pong
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=10)
        self.home.cleanup()

    def control(self, *arguments: str) -> Any:
        """One run of control.py."""
        run = subprocess.run(
            [sys.executable, HERE / "control.py", *self.flags, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert run.stdout, run.stderr
        return json.loads(run.stdout)

    def stream(self, *batches: dict[str, Any]) -> list[dict[str, Any]]:
        """One run of stream.py; its lines."""
        run = subprocess.run(
            [sys.executable, HERE / "stream.py"],
            input=json.dumps(self.plan | {"batches": batches}),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert run.returncode == 0, run.stderr
        return [json.loads(line) for line in run.stdout.splitlines()]

    def finish(self) -> list[dict[str, Any]]:
        """Shut the viewer down; what it saw."""
        self.control("shutdown")
        out, _ = self.process.communicate(timeout=10)
        return [json.loads(line) for line in out.splitlines()]


class StreamedBatches(unittest.TestCase):
    def streamed(self, transport: str) -> None:
        arrays: list[dict[str, Any]] = [
            {"pattern": "ramp", "shape": [16, 24], "dtype": "uint16"},
            {"pattern": "noise", "shape": [9, 7], "dtype": ">u2", "seed": 3},
            {"pattern": "noise", "shape": [3, 5, 6], "dtype": "float32", "seed": 4},
        ]
        images = {
            "identity": {"step_name": "Gaussian Blur", "pipeline_position": 0},
            "component_names": {"channel": {"1": "DAPI", "2": None}},
            "items": [
                {"path": f"/plate/{index}.tif", "metadata": address(index + 1), "array": array}
                for index, array in enumerate(arrays)
            ],
        }
        square = {"type": "polygon", "coordinates": [[1, 1], [1, 6], [6, 6], [6, 1]]}
        ellipse = {"type": "ellipse", "center": [4, 5], "radii": [2, 3]}
        about = {"label": 1, "area": 25.0, "centroid": [3.5, 3.5]}
        rois = {
            "identity": {"output_kind": "artifact", "output_key": "cells", "projection_key": "cells"},
            "component_value_domain": {"channel": [1, 2], "well": ["A01"]},
            "items": [
                {
                    "path": "/plate/A01.roi.zip",
                    "metadata": address(1),
                    "rois": [{"shapes": [square, ellipse], "metadata": about}],
                }
            ],
        }
        with Viewer(transport) as viewer:
            *batches, done = viewer.stream(images, rois)
            self.assertEqual(viewer.control("state")["component_item_count"], 4)
            seen = viewer.finish()
            left = sorted(path.name for path in Path(viewer.home.name).rglob(f"*{viewer.port}.sock"))

        self.assertEqual([line["status"] for line in batches if "batch" in line], ["ok", "ok"])
        self.assertEqual([line["segments_left"] for line in batches if "batch" in line], [[], []])
        sent = [image_id for line in batches if "batch" in line for image_id in line["image_ids"]]
        self.assertEqual(sorted(line["ack"]["image_id"] for line in batches if "ack" in line), sorted(sent))
        self.assertEqual(done["tracker"], {"sent": 4, "processed": 4, "pending": 0})
        self.assertTrue(done["all_acknowledged"])

        pixels = [hashlib.sha256(array_of(array).tobytes()).hexdigest() for array in arrays]
        self.assertEqual([item["sha256"] for item in seen[0]["items"]], pixels)
        self.assertEqual([item["dtype"] for item in seen[0]["items"]], ["uint16", ">u2", "float32"])
        self.assertEqual(seen[0]["component_names_metadata"], {"channel": {"1": "DAPI", "2": None}})
        self.assertEqual(seen[0]["component_value_domain"]["channel"], [1, 2, 3])
        self.assertEqual(seen[1]["items"][0]["shapes"], ["polygon", "ellipse"])
        self.assertEqual(seen[1]["component_value_domain"], {"channel": [1, 2], "well": ["A01"]})
        self.assertEqual(left, [], "sockets are gone after shutdown")

    @unittest.skipUnless(HAS_IPC, "no IPC on Windows")
    def test_batches_arrive_whole_over_ipc(self) -> None:
        self.streamed("ipc")

    def test_batches_arrive_whole_over_tcp(self) -> None:
        self.streamed("tcp")

    def test_a_refused_batch_is_reported_with_the_viewers_words(self) -> None:
        item = {"path": "/a.tif", "metadata": address(1), "array": {"shape": [2, 2], "dtype": "uint8"}}
        with Viewer("ipc" if HAS_IPC else "tcp", "--refuse", "no room for 4 bytes") as viewer:
            viewer.plan["wait_for_acks_seconds"] = 0.2
            batch, *_, done = viewer.stream({"items": [item]})
        self.assertEqual(batch["error"], "RuntimeError: Napari rejected stream batch: no room for 4 bytes")
        self.assertEqual(batch["segments_left"], [])
        self.assertFalse(done["all_acknowledged"])


class ControlRequests(unittest.TestCase):
    #: Captured request to the command that must make the same bytes.
    SAME_AS_CAPTURED = {
        "control/state_full": ["state"],
        "control/payloads": ["payloads", "--route", ROUTE, "--array-values"],
        "control/navigate": "navigate --axis well=1 --axis channel=1 --visible --selected --route".split() + [ROUTE],
        "control/isolate_layers": ["isolate-layers", "--route", ROUTE],
        "control/apply_intensity_window": ["apply-intensity-window", "--route", ROUTE],
        "control/image_intensity": "image-intensity --limits 10 4000 --gamma 1.5 --route".split() + [ROUTE],
        "control/viewport": "viewport --center 0 8 12 --zoom 2".split(),
        "control/screenshot": "screenshot --into /home/u/h/shots".split(),
        "control_agent_requests/screenshot": "--timeout-seconds 3 screenshot --into /var/shots --as-agent".split(),
        "control/settle_2": ["settle"],
        "control/clear_state": ["clear-state"],
        "control/ping": ["ping"],
        "control/shutdown": ["shutdown"],
        "control/force_shutdown": ["force-shutdown"],
    }

    @unittest.skipUnless((CAPTURES / "control").is_dir(), "the captures of OpenHCS 0.8.6 are not in this checkout")
    def test_requests_have_the_bytes_that_openhcs_sends(self) -> None:
        for name, arguments in self.SAME_AS_CAPTURED.items():
            with self.subTest(name):
                run = subprocess.run(
                    [sys.executable, HERE / "control.py", "--show-request", *arguments],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                captured = (CAPTURES / f"{name}.request.pickle").read_bytes()
                self.assertEqual(json.loads(run.stdout)["request_hex"], captured.hex())

    def test_no_viewer_means_no_reply(self) -> None:
        run = subprocess.run(
            [sys.executable, str(HERE / "control.py"), "--transport", "tcp"]
            + ["--port", str(free_port(also_above=1000)), "--timeout-seconds", "0.3", "state"],
            capture_output=True,
            text=True,
        )
        self.assertEqual(run.returncode, 3, run.stderr)
        self.assertIn("no reply", run.stdout)


if __name__ == "__main__":
    unittest.main()
