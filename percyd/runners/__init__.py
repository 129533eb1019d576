"""One small file per coding program: how to start it, how to read what it prints."""
