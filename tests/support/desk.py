"""The command line in one clone, without a process for each command."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from percyd.cli.common import Options, run_guarded
from percyd.cli.main import cli


@dataclass
class Desk:
    """Types commands in a clone; ``err`` is what the last one said on stderr."""

    clone: Path
    capfd: pytest.CaptureFixture[str]
    err: str = ""

    def __call__(self, *args: str, code: int = 0) -> str:
        """What a command prints; one that fails says one line, which is answered."""
        self.capfd.readouterr()
        options = Options(directory=self.clone)
        ended = run_guarded(
            lambda: cli.main(list(args), "percyd", standalone_mode=False, obj=options)
        )
        said = self.capfd.readouterr()
        self.err = said.err
        assert ended == code, (args, ended, said)
        return said.err.splitlines()[-1] if code else said.out

    def json(self, *args: str) -> Any:
        """The document that a command prints."""
        return json.loads(self(*args, "--json"))
