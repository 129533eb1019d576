"""Judging a history of ``percy/state`` against the format and the protocol.

`walk` goes from commit to commit; `commits` and `files` read them; `form` judges a
commit by itself, `tasks`, `claims`, `plans` and `others` what it changes, and `results`
what the remote's refs make of the newest state. Illegal things are findings here, never
errors: this is the tool for the day on which somebody has pushed by hand.
"""
