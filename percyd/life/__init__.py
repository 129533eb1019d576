"""The life of percyd's processes: one daemon for each clone, its start and its end."""
