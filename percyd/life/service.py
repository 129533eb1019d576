"""What starts the daemon with the machine: a systemd user unit, a launchd agent."""

from __future__ import annotations

import plistlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from percyd.errors import UsageError
from percyd.life.stop import MARGIN_S

#: How long to wait before a daemon that could not start is started again.
_AGAIN_S = 15
#: Bad input gets no better by itself.
_BAD_INPUT = 2
#: systemd takes no other name for the program itself, however it is quoted.
_MAY_NAME_A_PROGRAM = re.compile(r"[^\x00-\x1f\x7f\"'\\]+")
_SAFE = re.compile(r"[A-Za-z0-9_./:@+,=-]+")


@dataclass(frozen=True, slots=True)
class Service:
    """The daemon of one clone, as a service manager has to start it."""

    name: str
    #: How percyd is called, with an absolute path.
    program: tuple[str, ...]
    clone: Path
    environment: Mapping[str, str]
    grace_s: float

    @property
    def argv(self) -> tuple[str, ...]:
        """The whole command line."""
        return (*self.program, "-C", str(self.clone), "serve")

    @property
    def _stop_s(self) -> int:
        return int(self.grace_s + MARGIN_S)

    @property
    def unit_name(self) -> str:
        """The name of the systemd unit."""
        return f"percyd-{self.name}.service"

    @property
    def label(self) -> str:
        """The name of the launchd agent."""
        return f"percyd.{self.name}"

    def systemd(self) -> str:
        """The unit."""
        program, *words = self.argv
        if not _MAY_NAME_A_PROGRAM.fullmatch(program):
            program, words = "/bin/sh", ["-c", 'exec "$0" "$@"', *self.argv]
        # Only in the program's own name is "$" no variable.
        command = " ".join([_quoted(program), *map(_argument, words)])
        rows = [
            "[Unit]",
            f"Description=percyd in {_text(str(self.clone))}",
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            # Ready once it has read the state; a first fetch may take any time.
            "Type=notify",
            "TimeoutStartSec=infinity",
            f"ExecStart={command}",
            *(
                f"Environment={_quoted(f'{name}={value}')}"
                for name, value in sorted(self.environment.items())
            ),
            # percyd ends its programs itself, and gives their tasks back.
            "KillMode=mixed",
            f"TimeoutStopSec={self._stop_s}",
            # A program that takes all the memory is its task's failure, not the daemon's.
            "OOMPolicy=continue",
            "Restart=on-failure",
            f"RestartSec={_AGAIN_S}",
            f"RestartPreventExitStatus={_BAD_INPUT}",
            "",
            "[Install]",
            "WantedBy=default.target",
        ]
        return "\n".join(rows) + "\n"

    @property
    def systemd_steps(self) -> list[str]:
        """What to do with the unit."""
        return [
            f"percyd service > ~/.config/systemd/user/{self.unit_name}",
            "systemctl --user daemon-reload",
            f"systemctl --user enable --now {self.unit_name}",
            "loginctl enable-linger   # if it is to run while you are not logged in",
        ]

    @property
    def launchd_steps(self) -> list[str]:
        """What to do with the agent."""
        where = f"~/Library/LaunchAgents/{self.label}.plist"
        return [f"percyd service > {where}", f"launchctl load -w {where}"]

    def launchd(self) -> str:
        """The property list.

        Raises:
            UsageError: a path has characters that XML cannot have.
        """
        agent = {
            "Label": self.label,
            "ProgramArguments": list(self.argv),
            "EnvironmentVariables": dict(self.environment),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": _AGAIN_S,
            "ExitTimeOut": self._stop_s,
        }
        try:
            return plistlib.dumps(agent).decode()
        except ValueError as error:
            raise UsageError(f"launchd cannot be told: {error}") from error


def _argument(word: str) -> str:
    return _quoted(word.replace("$", "$$"))


def _quoted(word: str) -> str:
    """One word of a unit file, without specifiers."""
    if _SAFE.fullmatch(word):
        return word
    return f'"{_c_escaped(word).replace("%", "%%")}"'


def _c_escaped(word: str) -> str:
    marks = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return "".join(marks.get(c) or (c if c.isprintable() else _hex(c)) for c in word)


def _hex(character: str) -> str:
    """The bytes of a character, also of one that stands for a byte of no text."""
    data = character.encode("utf-8", "surrogateescape")
    return "".join(f"\\x{byte:02x}" for byte in data)


def _text(text: str) -> str:
    """Words for people in a unit file, on one line."""
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return shown.replace("\\", "\\\\").replace("%", "%%")
