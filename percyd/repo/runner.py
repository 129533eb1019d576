"""Runs the git binary: the only place where percyd starts a git process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from percyd.errors import GitError
from percyd.repo import environ as env
from percyd.repo.processes import communicate

#: Oldest git that percyd works with: ``merge-tree --write-tree`` and security fixes.
OLDEST_GIT = (2, 39, 5)
_MESSAGE_LIMIT = 300

_URL_USER = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://)[^/@\s]+@")
_VERSION = re.compile(r"git version (\d+)\.(\d+)(?:\.(\d+))?")
_LET_DOWN = "invalid index-pack output"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


@dataclass(frozen=True, slots=True)
class GitResult:
    """What a git process printed, and how it ended."""

    args: tuple[str, ...]
    #: The exit code; negative for a signal; None when it was ended at its deadline.
    code: int | None
    stdout: bytes
    stderr: bytes

    @property
    def ok(self) -> bool:
        """Whether git reported success."""
        return self.code == 0

    @property
    def timed_out(self) -> bool:
        """Whether the process was ended at its deadline."""
        return self.code is None

    @property
    def text(self) -> str:
        """The standard output, decoded, without white space around it."""
        return self.stdout.decode("utf-8", "replace").strip()

    @property
    def problem(self) -> str:
        """One line that says what git complained about, safe to show."""
        if self.timed_out:
            return "did not finish before its deadline"
        return last_words(self.stderr) or _ending(self.code or 0)


class Git:
    """Runs the git binary on one repository."""

    def __init__(
        self,
        git_dir: Path,
        *,
        config: Sequence[tuple[str, str]] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.git_dir = git_dir.absolute()
        self._config = tuple(config)
        self._environ = dict(os.environ if environ is None else environ)
        self._ssh_lock = threading.Lock()
        self._ssh: tuple[str | None] | None = None

    def run(
        self,
        *args: str,
        stdin: bytes | None = None,
        deadline_s: float = 60,
        check: bool = True,
        network: bool = False,
        work_tree: Path | None = None,
        index: Path | None = None,
        extra_env: Mapping[str, str] | None = None,
        stop: threading.Event | None = None,
    ) -> GitResult:
        """Run one git command to its end, or to its deadline.

        Args:
            *args: The subcommand and its arguments.
            stdin: What the command reads; nothing by default.
            deadline_s: When its whole process group is ended.
            check: Raise `GitError` unless the command succeeds.
            network: Keep the user's own configuration and transport settings.
            work_tree: The folder that the command treats as its work tree.
            index: The index file that it uses.
            extra_env: More environment variables.
            stop: Ends the command as its deadline does.
        """
        process = self._spawn(args, network, work_tree, index, extra_env, stdin)
        stdout, stderr, in_time = communicate(process, stdin, deadline_s, stop)
        code = process.returncode if in_time else None
        result = GitResult(args, code, stdout, stderr)
        if check and not result.ok:
            raise GitError(f"git {_subcommand(args)}: {result.problem}")
        return result

    def start(self, *args: str) -> subprocess.Popen[bytes]:
        """Start a local command that stays up, with pipes on all but stderr."""
        return self._popen(
            self._argv(args, network=False, work_tree=None),
            env.build(self._environ, network=False),
            cwd="/",
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def ref(self, name: str) -> str | None:
        """The object that a full ref name stands for, or None."""
        found = self.run(
            *("rev-parse", "--verify", "--quiet", "--end-of-options", name),
            check=False,
        )
        return found.text if found.ok else None

    def _spawn(
        self,
        args: tuple[str, ...],
        network: bool,
        work_tree: Path | None,
        index: Path | None,
        extra_env: Mapping[str, str] | None,
        stdin: bytes | None,
    ) -> subprocess.Popen[bytes]:
        extra = dict(extra_env or {})
        connects = _subcommand(args) != "config" and "--get-url" not in args
        if index is not None:
            extra["GIT_INDEX_FILE"] = str(index.absolute())
        return self._popen(
            self._argv(args, network=network, work_tree=work_tree),
            env.build(
                self._environ,
                network=network,
                config=self._config,
                ssh_command=self._ssh_command() if network and connects else None,
                extra=extra,
            ),
            cwd="/" if work_tree is None else str(work_tree),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def _argv(
        self, args: tuple[str, ...], *, network: bool, work_tree: Path | None
    ) -> list[str]:
        argv = ["git", f"--git-dir={self.git_dir}"]
        if work_tree is not None:
            argv.append(f"--work-tree={work_tree.absolute()}")
        return [*argv, *env.settings(network=network), *args]

    def _popen(
        self,
        argv: list[str],
        environ: dict[str, str],
        cwd: str,
        stdin: int,
        stderr: int,
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                argv,
                env=environ,
                cwd=cwd,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                # Its own session: no terminal for ssh to ask on, one group to end.
                start_new_session=True,
            )
        except FileNotFoundError as error:
            if not Path(cwd).is_dir():
                raise GitError(f"the folder {cwd} does not exist") from error
            raise GitError("git is not installed or not on PATH") from error
        except OSError as error:
            raise GitError(f"git cannot be started: {error.strerror}") from error

    def _ssh_command(self) -> str | None:
        """Options for ssh, unless the user's configuration names a command."""
        with self._ssh_lock:
            if self._ssh is None:
                argv = self._argv(
                    ("config", "--get", "core.sshCommand"), network=True, work_tree=None
                )
                environ = env.build(self._environ, network=True, config=self._config)
                null = subprocess.DEVNULL
                process = self._popen(argv, environ, "/", stdin=null, stderr=null)
                found, _, _ = communicate(process, None, 10)
                self._ssh = (None if found.strip() else env.SSH_COMMAND,)
            return self._ssh[0]


def git_version(environ: Mapping[str, str] | None = None) -> tuple[int, int, int]:
    """The version of the git binary.

    Distributions and vendors append to it ("2.39.5 (Apple Git-154)", "2.39.5-1"):
    only the three numbers count.
    """
    text = Git(Path("/nonexistent"), environ=environ).run("version").text
    return parse_version(text)


def parse_version(text: str) -> tuple[int, int, int]:
    """The three numbers in what ``git version`` prints."""
    found = _VERSION.match(text)
    if not found:
        raise GitError(f"git version: not understood: {text[:80]!r}")
    major, minor, patch = found.groups(default="0")
    return int(major), int(minor), int(patch)


def require_git(environ: Mapping[str, str] | None = None) -> tuple[int, int, int]:
    """The version of the git binary; `GitError` if percyd cannot work with it."""
    version = git_version(environ)
    if version < OLDEST_GIT:
        found, oldest = (".".join(map(str, v)) for v in (version, OLDEST_GIT))
        raise GitError(f"git {found} is too old", hint=f"install git {oldest} or later")
    return version


def mask(text: str) -> str:
    """``text`` without the user names and passwords of the URLs in it."""
    return _URL_USER.sub(r"\1***@", text)


def last_words(stderr: bytes) -> str:
    """The line of stderr that says why git failed: one line, bounded, masked."""
    lines = [
        line for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()
    ]
    said = [line for line in lines if line.startswith(("fatal: ", "error: "))]
    # fetch only says that it was let down; what let it down has said why before.
    causes = [line for line in said if not line.endswith(_LET_DOWN)]
    last = (causes or said or lines or [""])[-1]
    if last.endswith(":"):
        # "unable to connect to HOST:" says why on the next line.
        last = " ".join([last, *lines[lines.index(last) + 1 :][:1]])
    plain = _CONTROL.sub(" ", last.removeprefix("fatal: ").removeprefix("error: "))
    # A hint comes behind it.
    return mask(plain).strip().rstrip(".")[:_MESSAGE_LIMIT]


def _ending(code: int) -> str:
    """An exit code in words: a signal says more by its name (a limit on file size)."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"


def _subcommand(args: tuple[str, ...]) -> str:
    words = iter(args)
    for word in words:
        if word == "-c":
            next(words, None)
        elif not word.startswith("-"):
            return word
    return ""
