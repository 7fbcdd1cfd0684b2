"""The agent's own `screenshot` payload in OpenHCS 0.8.6 (`openhcs.runtime.viewer_controls` says why it is here)."""

from __future__ import annotations

from dataclasses import dataclass

from openhcs.agent.dto.execution import ExecutionConnectionSpec
from pyqt_reactive.services.window_snapshot import WindowSnapshotCaptureScope, WindowSnapshotFrameCondition


@dataclass(frozen=True, slots=True)
class ViewerWindowSnapshotRequest:
    """Payload of `screenshot` as the agent sends it."""

    connection: ExecutionConnectionSpec
    timeout_ms: int
    include_response: bool
    output_dir_path: str
    capture_scope: WindowSnapshotCaptureScope
    frame_condition: WindowSnapshotFrameCondition
    observation_timeout_s: float
