"""Connection record of OpenHCS 0.8.6's agent requests (`openhcs.runtime.viewer_controls` says why it stands here)."""

from __future__ import annotations

from dataclasses import dataclass

from zmqruntime.config import TransportMode


@dataclass(frozen=True, slots=True)
class ExecutionConnectionSpec:
    """Which viewer the agent talks to."""

    host: str = "localhost"
    port: int = 5555
    transport_mode: TransportMode = TransportMode.IPC
    persistent: bool = True
