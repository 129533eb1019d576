"""What is wrong with a document, where, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass

#: Reading stops here: nobody repairs the thousandth problem before the first.
MAX_PROBLEMS = 1_000
#: Looking for the nearest name is slow, and callers print no more than these.
SUGGESTED = 50
_LINE_LENGTH = 290
_SHOWN = 80


def escaped(text: str, limit: int = _SHOWN) -> str:
    """``text`` in printable ASCII, cut to ``limit`` characters."""
    pieces: list[str] = []
    size = 0
    for char in text[: limit + 1]:
        piece = char if " " <= char <= "~" else ascii(char)[1:-1]
        size += len(piece)
        pieces.append(piece)
        if size > limit:
            break
    if size <= limit:
        return "".join(pieces)
    while size > limit - 3:
        size -= len(pieces.pop())
    return "".join(pieces) + "..."


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a document.

    ``field`` and ``text`` are made printable ASCII and cut, whatever was in the
    document; ``str()`` gives one such line of less than 300 characters.
    """

    file: str
    line: int
    field: str
    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "field", escaped(self.field, 60))
        object.__setattr__(self, "text", escaped(self.text, _LINE_LENGTH))

    def __str__(self) -> str:
        file = self.file if len(self.file) <= _SHOWN else f"...{self.file[-70:]}"
        start = f"{escaped(file)}:{self.line}: {self.field}: "
        return start + escaped(self.text, _LINE_LENGTH - len(start))


class Unreadable(Exception):
    """Reading cannot go on after this problem."""

    def __init__(self, line: int, text: str, field: str = "document") -> None:
        self.line = line
        self.text = text
        self.field = field
        super().__init__(text)


class Report:
    """Collects the problems of one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    @property
    def suggests(self) -> bool:
        """Whether it is still worth looking for the nearest name."""
        return len(self.problems) < SUGGESTED

    def add(self, line: int, field: str, text: str) -> None:
        """Note a problem.

        Raises:
            Unreadable: There are so many that going on is no use.
        """
        if len(self.problems) >= MAX_PROBLEMS:
            raise Unreadable(
                line, f"there are more than {MAX_PROBLEMS:,} problems; mend these first"
            )
        self.problems.append(Problem(self.file, line, field, text))

    def stop(self, fault: Unreadable) -> None:
        """Note the problem that ended the reading."""
        self.problems.append(Problem(self.file, fault.line, fault.field, fault.text))
