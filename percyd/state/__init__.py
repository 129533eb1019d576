"""The branch ``percy/state``: reading it, changing it, following it."""
