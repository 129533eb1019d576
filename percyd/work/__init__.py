"""A claimed task becomes a landed commit."""
