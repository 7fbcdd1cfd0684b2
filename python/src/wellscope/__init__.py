"""Live viewer for the images of image-analysis pipelines."""
