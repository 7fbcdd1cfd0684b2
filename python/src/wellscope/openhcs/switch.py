"""Whether OpenHCS gets wellscope: the user's switch, and the versions of OpenHCS that are known."""

from __future__ import annotations

import importlib.machinery
import logging
import os

logger = logging.getLogger("wellscope.openhcs")

SWITCH_VARIABLE = "WELLSCOPE_OPENHCS"
"""Environment variable; ``0``, ``off``, ``no`` and ``false`` leave OpenHCS as it is."""

OPTIONS_VARIABLE = "WELLSCOPE_OPENHCS_OPTIONS"
"""Environment variable with further options for viewers that OpenHCS launches, e.g. ``--memory-limit 16GiB``."""

KNOWN_VERSIONS = frozenset({"0.8.6"})
"""Versions of OpenHCS whose launch of the viewer was read and is tested."""

#: Processes that OpenHCS spawns inherit it, so that a warning is given once and not by each worker.
_WARNED_VARIABLE = "_WELLSCOPE_OPENHCS_WARNED"

_OFF = frozenset({"0", "off", "no", "false"})


def is_switched_on() -> bool:
    """Whether the user wants wellscope in the place of napari, which is so unless the switch says no."""
    return os.environ.get(SWITCH_VARIABLE, "").strip().lower() not in _OFF


def is_known(version: str | None) -> bool:
    """Whether this version of OpenHCS launches its viewer in a way that we know; warns, once, when it does not.

    Parameters
    ----------
    version
        ``openhcs.__version__``, None when it has none.
    """
    if version in KNOWN_VERSIONS:
        return True
    warn_once(
        f"OpenHCS {version or 'without a version'} is not known to wellscope, "
        f"which knows {', '.join(sorted(KNOWN_VERSIONS))}; "
        f"OpenHCS keeps its own viewer. Set {SWITCH_VARIABLE}=0 to hide this warning, or install a newer wellscope."
    )
    return False


def warn_once(message: str) -> None:
    """Log a warning, unless this process or one that started it has."""
    if _WARNED_VARIABLE not in os.environ:
        os.environ[_WARNED_VARIABLE] = "1"
        logger.warning(message)


def napari_is_installed() -> bool:
    """Whether there is a napari to import. Nothing of it is imported."""
    return importlib.machinery.PathFinder.find_spec("napari") is not None
