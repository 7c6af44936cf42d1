"""Datasets: the on-disk format, the packaged ones, and the loaders that make it of a source."""
