"""Arrow keys pressed in a viewer's window by xdotool, as by a user who holds one of them."""

from __future__ import annotations

import subprocess

#: Shorter than any frame here, so that the viewer never waits for a key.
DELAY_MILLIS = 4


class Presses:
    """Presses keys in the window of one process, on the display that DISPLAY names."""

    def __init__(self, *, pid: int) -> None:
        found = self._xdotool("search", "--onlyvisible", "--pid", str(pid)).split()
        if len(found) != 1:
            raise RuntimeError(f"process {pid} shows {len(found)} windows, one is needed")
        # Without a window manager nobody else gives a window the keys.
        self._xdotool("windowfocus", "--sync", found[0])
        self.count = 0

    def _xdotool(self, *arguments: str) -> str:
        return subprocess.run(["xdotool", *arguments], capture_output=True, text=True, check=True).stdout

    def run(self, *, rounds: int, places: int) -> None:
        """To the end of the slider and back, so many times; returns when the last key was sent."""
        for _ in range(rounds):
            for key in ("Right", "Left"):
                self._xdotool("key", "--delay", str(DELAY_MILLIS), *([key] * (places - 1)))
                self.count += places - 1
