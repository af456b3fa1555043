"""specimg: an annotation server for images that carry physical meaning."""

__version__ = "0.1.0"
