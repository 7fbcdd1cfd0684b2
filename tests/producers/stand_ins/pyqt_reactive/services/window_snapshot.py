"""`screenshot` payload of OpenHCS 0.8.6's user interface (`openhcs.runtime.viewer_controls` says why it is here).

No slots here: this one pickles as its class path and a dict of its fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class WindowSnapshotCaptureScope(Enum):
    """What is drawn into the picture: the canvas alone, or the window with its panels."""

    WIDGET = "widget"
    WINDOW = "window"


class WindowSnapshotFrameCondition(Enum):
    """Which frame is taken."""

    IMMEDIATE = "immediate"
    FLASH_MAXIMUM_ALPHA = "flash_maximum_alpha"
    NO_FLASH = "no_flash"


@dataclass(frozen=True)
class WindowSnapshotCaptureSpec:
    """Payload of `screenshot`, and what the reply's `snapshot` must unpickle to."""

    output_dir_path: str
    capture_scope: WindowSnapshotCaptureScope = WindowSnapshotCaptureScope.WIDGET
    frame_condition: WindowSnapshotFrameCondition = WindowSnapshotFrameCondition.IMMEDIATE
    observation_timeout_s: float = 5.0
