"""A viewer of a few lines that takes binary frames and keeps what it got: says what travelled, byte by byte."""

from __future__ import annotations

import json
import pickle
import threading
from typing import Any

import zmq


class StandInViewer:
    """Serves data and control port over TCP until it is closed.

    Attributes
    ----------
    batches
        The JSON of each batch, with ``bytes`` put into each item whose pixels came in frames.
    frame_sizes
        Bytes of every binary frame.
    """

    def __init__(
        self,
        port: int,
        *,
        accepts: tuple[str, ...] = ("frames",),
        reply: dict[str, Any] | None = None,
        answers: bool = True,
    ) -> None:
        self.port = port
        self.batches: list[dict[str, Any]] = []
        self.frame_sizes: list[int] = []
        self._answers = answers
        self._accepts, self._reply = accepts, reply or {"status": "success", "type": "batch"}
        self._ended = threading.Event()
        self._serving = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self._serving.wait()

    def __enter__(self) -> StandInViewer:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _serve(self) -> None:
        context = zmq.Context()
        data, control = context.socket(zmq.ROUTER), context.socket(zmq.REP)
        for socket, port in ((data, self.port), (control, self.port + 1000)):
            socket.setsockopt(zmq.LINGER, 0)
            socket.bind(f"tcp://127.0.0.1:{port}")
        self._serving.set()
        while not self._ended.is_set():
            if control.poll(5):
                request = pickle.loads(control.recv())
                pong = {"type": "pong", "ready": True, "wellscope": {"version": "0", "accepts": list(self._accepts)}}
                control.send(
                    pickle.dumps(
                        pong if request["type"] == "ping" else {"status": "success", "type": "state_ack", "layers": ()}
                    )
                )
            if data.poll(5):
                sender, empty, message, *frames = data.recv_multipart()
                assert empty == b""
                batch = json.loads(message)
                for item in batch["images"]:
                    if "frames" in item:
                        item["bytes"] = b"".join(frames[index] for index in item["frames"])
                self.frame_sizes += [len(frame) for frame in frames]
                self.batches.append(batch)
                if self._answers:
                    data.send_multipart([sender, b"", json.dumps(self._reply).encode()])
        context.destroy(linger=0)
