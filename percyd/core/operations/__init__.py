"""The operations: each one change of state, decided purely on a snapshot.

`base` says what an operation is and what it answers; the other modules hold the
operations themselves, grouped by what they are about.
"""
