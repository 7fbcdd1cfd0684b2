"""What can go wrong with a viewer. Every message says what was found, what was needed and what to do."""

from __future__ import annotations


class WellscopeError(RuntimeError):
    """Anything that a viewer or the way to it refused."""


class ViewerNotFound(WellscopeError):
    """Nobody serves the address, or the viewer's program is not installed."""


class ViewerStartError(WellscopeError):
    """The viewer was started and did not come to serve."""


class ViewerTimeout(WellscopeError, TimeoutError):
    """The viewer is there and did not answer in time."""


class ViewerRefused(WellscopeError):
    """The viewer answered with an error. The message carries its sentence."""
