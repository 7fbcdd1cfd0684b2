"""``python -m wellscope.openhcs``: what OpenHCS would launch here, and why."""

from __future__ import annotations

import importlib.metadata
import os
import sys

from ..errors import ViewerNotFound
from ..launch import find_viewer
from .switch import KNOWN_VERSIONS, OPTIONS_VARIABLE, SWITCH_VARIABLE, is_switched_on, napari_is_installed


def main() -> int:
    """Print one line per question; 0 when OpenHCS launches wellscope here, else 1."""
    reasons: list[str] = []
    hooked = any(getattr(finder, "__module__", None) == "_wellscope_openhcs" for finder in sys.meta_path)
    print(f"Python        {sys.executable}")
    print(f"hook          {'read at start of Python' if hooked else 'not read'}")
    if not hooked:
        reasons.append(
            "Python did not read wellscope_openhcs.pth; call wellscope.openhcs.install() before importing OpenHCS"
        )
    switch = os.environ.get(SWITCH_VARIABLE)
    setting = " is not set" if switch is None else "=" + switch
    print(f"switch        {SWITCH_VARIABLE}{setting}: {'on' if is_switched_on() else 'off'}")
    if not is_switched_on():
        reasons.append(f"{SWITCH_VARIABLE}={switch} switches wellscope off")
    try:
        version = importlib.metadata.version("openhcs")
        print(f"OpenHCS       {version}; known: {', '.join(sorted(KNOWN_VERSIONS))}")
        if version not in KNOWN_VERSIONS:
            reasons.append(f"OpenHCS {version} is not known to this wellscope")
    except importlib.metadata.PackageNotFoundError:
        print("OpenHCS       not installed")
        reasons.append("OpenHCS is not installed in this Python")
    print(f"napari        {'installed' if napari_is_installed() else 'not installed'}")
    print(f"options       {os.environ.get(OPTIONS_VARIABLE) or '(none)'}")
    try:
        print(f"viewer        {find_viewer()}")
    except ViewerNotFound as error:
        print("viewer        not found")
        reasons.append(str(error))
    for reason in reasons:
        print(f"! {reason}")
    print("OpenHCS does not launch wellscope here." if reasons else "OpenHCS launches wellscope.")
    return 1 if reasons else 0


if __name__ == "__main__":
    raise SystemExit(main())
