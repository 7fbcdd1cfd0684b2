"""Lets OpenHCS show images in wellscope; `wellscope_openhcs.pth` beside this file imports it at every start of Python.

So it does next to nothing: it puts one finder before Python's own, which waits for the single module of OpenHCS that
launches napari. Everything else lies in `wellscope.openhcs` and is imported when OpenHCS asks for that module.
"""

import sys

#: The module whose class NapariStreamVisualizer launches the viewer (openhcs 0.8.6).
VISUALIZER_MODULE = "openhcs.runtime.napari_stream_visualizer"


class VisualizerFinder:
    """A meta path finder for one module; of all others it says that it does not know them."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Python's import asks this first, for every module."""
        if name != VISUALIZER_MODULE:
            return None
        try:
            from wellscope.openhcs.hook import spec_of_visualizer
        except ImportError:
            # wellscope was uninstalled halfway, or is being upgraded: OpenHCS must work as without it.
            return None
        return spec_of_visualizer(name, path)


def install():
    """Put the finder first on the meta path, once."""
    if VisualizerFinder not in sys.meta_path:
        sys.meta_path.insert(0, VisualizerFinder)


install()
