"""percyd: a plan file becomes merged, verified work through nothing but Git."""

__version__ = "0.1.0"
