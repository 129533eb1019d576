"""A committed document becomes tasks."""
