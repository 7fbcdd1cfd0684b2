"""OpenHCS shows its images in wellscope instead of napari.

Installing the wheel is all there is to do: `wellscope_openhcs.pth` puts a finder into every Python of that environment,
and when OpenHCS imports the module that launches napari, this package makes it launch wellscope. napari need not be
installed. ``WELLSCOPE_OPENHCS=0`` in the environment brings OpenHCS's own behaviour back, and an OpenHCS of another
version than `KNOWN_VERSIONS` gets a warning and its own behaviour.

Where Python reads no ``.pth`` files (frozen applications, ``python -S``), one line before the first import of OpenHCS
does the same::

    import wellscope.openhcs; wellscope.openhcs.install()

``python -m wellscope.openhcs`` says what would happen here and now.
"""

from __future__ import annotations

import sys

from .switch import KNOWN_VERSIONS, OPTIONS_VARIABLE, SWITCH_VARIABLE, is_switched_on

__all__ = ["KNOWN_VERSIONS", "OPTIONS_VARIABLE", "SWITCH_VARIABLE", "install", "is_switched_on"]


def install() -> None:
    """Make OpenHCS launch wellscope in this process, and in those that it spawns if they see the same ``.pth`` file.

    Called a second time it does nothing. OpenHCS may have been imported before; viewers that run already stay.
    """
    # Not a package of ours: it lies beside the .pth file, see there.
    import _wellscope_openhcs  # type: ignore[import-not-found]

    _wellscope_openhcs.install()
    visualizer = sys.modules.get(_wellscope_openhcs.VISUALIZER_MODULE)
    if visualizer is not None:
        from .hook import adopt_if_known

        adopt_if_known(visualizer)
