"""Pixels at rest: immutable OME-Zarr images, original files, and the one database."""
