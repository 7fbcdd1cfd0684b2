"""A virtual X display of the bench's own, the same for both viewers: 1600x1000, 24 bits."""

from __future__ import annotations

import subprocess

SCREEN = "1600x1000x24"


class Display:
    """A running Xvfb; `name` is what DISPLAY is set to."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            # Without -noreset it starts anew whenever its last client has gone, and refuses the next one meanwhile.
            ["Xvfb", "-displayfd", "1", "-screen", "0", SCREEN, "-nolisten", "tcp", "-noreset"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Ctrl-C is for the bench, which ends its viewers before their display.
            start_new_session=True,
        )
        assert self._server.stdout is not None
        number = self._server.stdout.readline().decode().strip()
        if not number:
            raise RuntimeError("Xvfb ended without a display")
        self.name = f":{number}"

    def close(self) -> None:
        """End it."""
        self._server.terminate()
        self._server.wait()
