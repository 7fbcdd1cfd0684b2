"""The smallest viewer that the released producers accept, for testing the producers themselves.

    python stand_in_viewer.py --port 5555 --transport ipc --pong g3

Binds data (port) and control (port + 1000), answers every batch after copying its segments, acknowledges every item,
and answers ping, settle, state and shutdown. Prints a line per batch: the address of each item with the SHA-256 of
its pixels. It shows nothing. It ends on `shutdown`, on `force_shutdown`, and on SIGTERM.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import zmq
from endpoint import ViewerEndpoint, add_endpoint_arguments, endpoint_from
from polystore.streaming._streaming_backend import StreamingSharedMemoryAuthority
from zmqruntime.transport import TransportEndpoint, get_zmq_transport_url

DEFAULT_ACK_PORT = 7555


def bound(context: zmq.Context, url: str, path_of_host: str) -> zmq.Socket:
    """A REP socket at `url`; for TCP the host of clients is replaced by the loopback address."""
    socket = context.socket(zmq.REP)
    socket.setsockopt(zmq.LINGER, 0)
    socket.bind(url.replace(f"tcp://{path_of_host}:", "tcp://127.0.0.1:"))
    return socket


def described(item: dict[str, Any]) -> dict[str, Any]:
    """What one item holds, with its pixels copied and hashed."""
    seen = {key: item.get(key) for key in ("path", "data_type", "metadata", "shape", "dtype", "image_id")}
    if item.get("shm_name"):
        pixels = StreamingSharedMemoryAuthority.copy_sender_owned_array(
            name=item["shm_name"], shape=item["shape"], dtype=item["dtype"]
        )
        seen["sha256"] = hashlib.sha256(pixels.tobytes()).hexdigest()
    if "shapes" in item:
        seen["shapes"] = [shape["type"] for shape in item["shapes"]]
    return seen


class Acks:
    """PUSH sockets back to producers, one per address that a batch names."""

    def __init__(self, context: zmq.Context, endpoint: ViewerEndpoint) -> None:
        self._context = context
        self._endpoint = endpoint
        self._sockets: dict[str, zmq.Socket] = {}

    def send(self, item: dict[str, Any]) -> None:
        """Acknowledge one item: to its own return route (G4), else to the shared ack port (G3)."""
        if not item.get("image_id"):
            return
        ack = {
            "type": "image_ack",
            "image_id": item["image_id"],
            "viewer_port": self._endpoint.port,
            "viewer_type": "napari",
            "status": "success",
            "timestamp": time.time(),
        }
        if "return_route" in item:
            url = item["return_route"]["url"]
            ack |= {"return_route": item["return_route"], "producer": item["producer"], "error": None}
        else:
            url = get_zmq_transport_url(
                self._endpoint.ack_port or DEFAULT_ACK_PORT,
                host=self._endpoint.host,
                mode=self._endpoint.transport_mode,
                config=self._endpoint.config,
            )
        if url not in self._sockets:
            socket = self._context.socket(zmq.PUSH)
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(url)
            self._sockets[url] = socket
        self._sockets[url].send_json(ack)


def pong(endpoint: ViewerEndpoint, spelling: str) -> dict[str, Any]:
    """A pong in the keys that zmqruntime 0.2.24 (g3) or 0.6.5 (g4) parses."""
    application = {"application_id": "openhcs", "application_version": "0.8.6"}
    if spelling == "g4":
        application = {"identifier": "openhcs", "version": "0.8.6"}
    return {
        "type": "pong",
        "port": endpoint.port,
        "control_port": endpoint.port + endpoint.config.control_port_offset,
        "ready": True,
        "server": "StandInViewer",
        "server_type": "napari",
        "server_role": "viewer",
        "control_capabilities": ["force_shutdown", "ping", "shutdown"],
        "application": application,
        "process_identity": {"pid": os.getpid(), "create_time": psutil.Process().create_time()},
    }


def control_reply(request: Any, endpoint: ViewerEndpoint, spelling: str, items: int) -> dict[str, Any]:
    """The reply to one control request."""
    kind = request.get("type") if isinstance(request, dict) else None
    if kind == "ping":
        return pong(endpoint, spelling)
    if kind in ("shutdown", "force_shutdown"):
        return {"status": "success", "type": "shutdown_ack", "message": "stand-in viewer shutting down"}
    if kind == "settle":
        return {
            "status": "success",
            "type": "settle_ack",
            "message": "nothing to draw",
            "settle_phase": "complete",
            "completed_update_count": 0,
            "total_update_count": 0,
            "active_route": None,
            "active_route_work_unit_count": 0,
            "active_route_work_unit_active": False,
        }
    if kind == "state":
        # The payload's class name goes back, so that a test sees what the viewer would have to unpickle.
        payload = request.get("payload")
        return {
            "status": "success",
            "type": "state",
            "component_item_count": items,
            "payload_class": f"{type(payload).__module__}.{type(payload).__qualname__}",
        }
    return {"status": "error", "type": "error", "message": f"Unsupported Napari control message: {kind!r}."}


def main() -> int:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_endpoint_arguments(parser)
    parser.add_argument("--pong", choices=("g3", "g4"), default="g3")
    parser.add_argument("--refuse", default=None, metavar="MESSAGE", help="answer every batch with this error")
    arguments = parser.parse_args()
    endpoint = endpoint_from(arguments)
    sys.path.append(str(Path(__file__).resolve().parent / "stand_ins"))
    target = TransportEndpoint(host=endpoint.host, port=endpoint.port, transport_mode=endpoint.transport_mode)

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    context = zmq.Context()
    data = bound(context, target.data_url(endpoint.config), endpoint.host)
    control = bound(context, target.control_url(endpoint.config), endpoint.host)
    acks = Acks(context, endpoint)
    poller = zmq.Poller()
    poller.register(data, zmq.POLLIN)
    poller.register(control, zmq.POLLIN)
    items = 0
    try:
        while not stop.is_set():
            ready = dict(poller.poll(100))
            if control in ready:
                request = pickle.loads(control.recv())
                control.send(pickle.dumps(control_reply(request, endpoint, arguments.pong, items)))
                if isinstance(request, dict) and request.get("type") in ("shutdown", "force_shutdown"):
                    stop.set()
            if data in ready:
                message = json.loads(data.recv())
                if arguments.refuse is not None:
                    data.send_json({"status": "error", "type": "batch", "message": arguments.refuse})
                    continue
                seen = [described(item) for item in message["images"]]
                data.send_json({"status": "success", "type": "batch"})
                for item in message["images"]:
                    acks.send(item)
                items += len(seen)
                rest = {key: value for key, value in message.items() if key not in ("images", "timestamp")}
                print(json.dumps({"items": seen} | rest), flush=True)
        time.sleep(0.1)  # the last reply leaves before the sockets close
    finally:
        context.destroy(linger=0)
        # libzmq leaves its socket files behind.
        for url in (target.data_url(endpoint.config), target.control_url(endpoint.config)):
            if url.startswith("ipc://"):
                Path(url.removeprefix("ipc://")).unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
