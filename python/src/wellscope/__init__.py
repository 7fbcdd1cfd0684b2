"""Live viewer for the images of image-analysis pipelines.

>>> import numpy as np, wellscope                                        # doctest: +SKIP
>>> stacks = np.random.rand(2, 8, 256, 256)                              # doctest: +SKIP
>>> viewer = wellscope.view(stacks, axes="channel z y x")                # doctest: +SKIP
>>> viewer.screenshot()                                                  # doctest: +SKIP

A viewer that runs is reused, else one is started. See :class:`Viewer` for all that it can do.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import ViewerNotFound, ViewerRefused, ViewerStartError, ViewerTimeout, WellscopeError
    from .launch import find_viewer
    from .layers import Layer
    from .picture import Picture
    from .show import view
    from .viewer import Viewer

__all__ = [
    "Layer",
    "Picture",
    "Viewer",
    "ViewerNotFound",
    "ViewerRefused",
    "ViewerStartError",
    "ViewerTimeout",
    "WellscopeError",
    "find_viewer",
    "view",
]

_MODULE_OF = {
    "Layer": "layers",
    "Picture": "picture",
    "Viewer": "viewer",
    "ViewerNotFound": "errors",
    "ViewerRefused": "errors",
    "ViewerStartError": "errors",
    "ViewerTimeout": "errors",
    "WellscopeError": "errors",
    "find_viewer": "launch",
    "view": "show",
}


def __getattr__(name: str) -> Any:
    # numpy and pyzmq are imported with the first name that needs them: the hook of the OpenHCS adapter may import this
    # package at the start of every interpreter.
    if name == "__version__":
        from importlib.metadata import version

        return version("wellscope")
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'wellscope' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
