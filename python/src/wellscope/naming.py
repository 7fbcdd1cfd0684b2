"""What a layer is called when nobody says: as in napari, like the variable that the caller passed."""

from __future__ import annotations

import sys
from typing import Any

_PACKAGE = __name__.partition(".")[0]


def variable_of(value: Any) -> str | None:
    """The name under which the nearest caller outside of this package holds `value` itself, not an equal one.

    None for what has no name there: ``add_image(np.zeros((4, 4)))``. Names with a leading underscore do not count, such
    as IPython's ``_3`` for its third result.
    """
    frame = sys._getframe(1)
    while frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        if frame.f_back is None:
            return None
        frame = frame.f_back
    for namespace in (frame.f_locals, frame.f_globals):
        for name, held in namespace.items():
            if held is value and not name.startswith("_"):
                return name
    return None
