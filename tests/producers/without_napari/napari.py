"""In napari's place where it is not installed: OpenHCS's visualizer only looks whether it can be imported."""
