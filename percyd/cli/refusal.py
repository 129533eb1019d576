"""A refused state for people: what is wrong, and the command that mends it by itself."""

from __future__ import annotations

import click

from percyd.errors import StateRefused

#: What a command in a hint begins with: those of `percyd.state.ways`.
_COMMANDS = ("git ", "mv ")


def say_refused(error: StateRefused) -> None:
    """Say it on stderr; a command to copy has a line of its own."""
    click.echo("percyd: " + "\n".join(refusal_lines(error)), err=True)


def refusal_lines(error: StateRefused) -> tuple[str, ...]:
    """The error in a line, and the command that mends it, if there is one, in another."""
    words, colon, command = error.hint.partition(": ")
    if colon and command.startswith(_COMMANDS):
        return f"{error.message}; {words}:", f"  {command}"
    return (str(error),)
