"""One line from an array to a window."""

from __future__ import annotations

from typing import Any

from .endpoint import DEFAULT_PORT, Transport
from .naming import variable_of
from .viewer import Viewer


def view(
    array: Any,
    *,
    name: str | None = None,
    port: int = DEFAULT_PORT,
    host: str | None = None,
    transport: Transport | None = None,
    headless: bool | None = None,
    persistent: bool = True,
    viewer: Viewer | None = None,
    **options: Any,
) -> Viewer:
    """Shows an array in the viewer on `port`, which is started when it does not run.

    Parameters
    ----------
    array
        ``(..., y, x)`` or ``(..., y, x, 3 or 4)``, see :meth:`Viewer.add_image`.
    name
        Of the layer; None: that of the variable that is passed, else "array". Calling again with the same name updates
        the layer, so a cell of a notebook can be run again.
    port, host, transport, headless, persistent
        See :class:`Viewer`.
    viewer
        Show it in this one instead.
    **options
        Arguments of :meth:`Viewer.add_image`: ``axes="well channel z y x"``, ``labels={"channel": ["DAPI", "GFP"]}``,
        ``colormap``, ``contrast_limits``, ...

    Returns
    -------
    Viewer
        For all else: ``viewer.add_labels(...)``, ``viewer.navigate(z=3)``, ``viewer.screenshot()``.
    """
    if viewer is None:
        viewer = Viewer(port, host=host, transport=transport, headless=headless, persistent=persistent)
    viewer.add_image(array, name=name or variable_of(array) or "array", **options)
    return viewer
