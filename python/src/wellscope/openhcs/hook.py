"""What happens when OpenHCS imports what launches napari (openhcs 0.8.6, runtime/napari_stream_visualizer.py).

Two things keep OpenHCS from launching another viewer: this module cannot be imported without napari, and its class
asks for a Python process that runs napari. The module is run as it is, an empty `napari` standing in when there is
none, then one method of the class is replaced. What OpenHCS does to launch, find, reuse, settle and stop viewers stays
its own.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

from .switch import is_known, is_switched_on, napari_is_installed, warn_once


def spec_of_visualizer(name: str, path: Sequence[str] | None) -> importlib.machinery.ModuleSpec | None:
    """The spec that OpenHCS's module is imported by, or None when OpenHCS shall keep its own viewer.

    Parameters
    ----------
    name, path
        As Python gives them to a meta path finder.
    """
    if not is_switched_on() or not is_known(version_of_openhcs()):
        return None
    spec = importlib.machinery.PathFinder.find_spec(name, path)
    if spec is None or spec.loader is None:
        return None
    spec.loader = _VisualizerLoader(spec.loader)
    return spec


def version_of_openhcs() -> str | None:
    """Version of the OpenHCS that is imported, None when there is none or it does not say."""
    version = getattr(sys.modules.get("openhcs"), "__version__", None)
    return version if isinstance(version, str) else None


def adopt_if_known(visualizer: ModuleType) -> None:
    """Change the module after it was imported, when the user and the version of OpenHCS allow it."""
    if is_switched_on() and is_known(version_of_openhcs()):
        _adopt(visualizer)


class _VisualizerLoader(importlib.abc.Loader):
    """Loads the module as OpenHCS wrote it, then makes it launch wellscope."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with _napari_stand_in():
            self._loader.exec_module(module)
        if not _adopt(module) and not napari_is_installed():
            # As without wellscope: OpenHCS knows what to do without a viewer.
            raise ImportError("napari is not installed, and wellscope could not take its place (see the warning above)")


def _adopt(visualizer: ModuleType) -> bool:
    """Replace the launch request of the class; say so and leave all as it was when that is not possible."""
    try:
        from .launch import launch_wellscope

        launch_wellscope(visualizer.NapariStreamVisualizer)
    except (AttributeError, ImportError, TypeError) as error:
        warn_once(f"wellscope cannot be launched by this OpenHCS, which keeps its own viewer: {error}")
        return False
    return True


@contextmanager
def _napari_stand_in() -> Iterator[None]:
    """An empty module `napari` while OpenHCS looks whether it can be imported, not longer: nothing else is deceived."""
    if "napari" in sys.modules or napari_is_installed():
        yield
        return
    stand_in = ModuleType("napari", "Stands in for napari while OpenHCS imports its visualizer; wellscope is launched.")
    stand_in.__spec__ = importlib.machinery.ModuleSpec("napari", None)
    sys.modules["napari"] = stand_in
    try:
        yield
    finally:
        if sys.modules.get("napari") is stand_in:
            del sys.modules["napari"]
