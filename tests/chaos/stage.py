"""Where it happens: a remote behind a bad network, clones of it, percyd in each clone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil

from tests.chaos import work
from tests.support.proxy import GitDaemon, Proxy

CLONES: Final = 4
CONFIG: Final = """\
base = "main"
[worker]
slots = 2
grace_s = 10
[lease]
beat_s = 0.7
lease_s = 3.0
idle_beat_s = 5.0
[limits]
max_attempts = 1000
backoff_s = 0.0
idle_s = 60
timeout_s = 60
"""
GITCONFIG: Final = """\
[user]
name = Tess Ter
email = tess@example.org
[init]
defaultBranch = main
"""
#: It refuses while there is a file `refuse`, and hangs while there is a file `hang`.
HOOK: Final = """\
#!/bin/sh
while [ -e "{control}/hang" ]; do sleep 0.05; done
if [ -e "{control}/refuse" ]; then echo "not today"; exit 1; fi
"""
#: The commands that run all the time, each in the clone of its number.
FLEET: Final = tuple(
    (number % CLONES, "serve" if number < 3 else "worker") for number in range(8)
)


def until(
    condition: Callable[[], object], within_s: float, every_s: float = 0.1
) -> bool:
    """Wait for a condition; whether it came true."""
    pause = threading.Event()
    deadline_s = os.times().elapsed + within_s
    while not (found := bool(condition())) and os.times().elapsed < deadline_s:
        pause.wait(every_s)
    return found


class Stage:
    """One remote, its clones, and every process in them. All of it below one folder.

    The folder is in every `PATH`: percyd hands that on to all that it starts, so that
    each process of the stage can be told from the others of the machine.
    """

    def __init__(self, root: Path, percyd: Path) -> None:
        self.root = root
        self.remote = root / "remotes/shop.git"
        self.control = root / "control"
        self.journal = root / "journal"
        self.state = root / "state"
        #: What each git of the remote has done.
        self.traces = root / "traces"
        self.clones = [root / f"clone-{number}" for number in range(CLONES)]
        self.fleet: list[subprocess.Popen[bytes] | None] = [None] * len(FLEET)
        self.given_up: set[int] = set()
        self.starts = 0
        self.env = {
            "PATH": f"{root}/bin:{percyd.parent}:{os.environ['PATH']}",
            "HOME": str(root / "home"),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "PERCYD_STATE_DIR": str(self.state),
            "CHAOS": str(root),
        }

    def git(self, repo: Path, *args: str) -> str:
        """Run git as a person would; its output."""
        done = self._run("git", "-C", str(repo), *args, cwd=self.root)
        assert done.returncode == 0, f"git {args}: {done.stderr}"
        return done.stdout.strip()

    def percyd(self, *args: str, clone: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command of percyd to its end."""
        return self._run("percyd", *args, cwd=self.clones[clone])

    def _run(self, *argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv, cwd=cwd, env=self.env, text=True, capture_output=True, check=False
        )

    @contextmanager
    def set_up(self, todo: work.Work) -> Iterator[Proxy]:
        """Everything but the fleet; at the end not even a process is left."""
        for folder in ("bin", "home", "control", "traces"):
            (self.root / folder).mkdir()
        (self.root / "home/.gitconfig").write_text(GITCONFIG)
        (self.root / "program").write_text(work.PROGRAM)
        self.journal.touch()
        self.git(self.root, "init", "-q", "--bare", str(self.remote))
        server = GitDaemon(self.remote.parent, self.traces)
        with server as daemon, Proxy(daemon.port) as proxy:
            try:
                self._fill(proxy.url(self.remote.name), todo)
                yield proxy
            finally:
                for process in self.processes():
                    process.kill()

    def _fill(self, url: str, todo: work.Work) -> None:
        first = self.clones[0]
        self.git(self.root, "init", "-q", str(first))
        self.git(first, "remote", "add", "origin", url)
        (first / "README").write_text("A shop\n")
        self._commit("first")
        done = self.percyd("init", "--no-hooks")
        assert done.returncode == 0, done.stderr
        (first / ".percy/config.toml").write_text(CONFIG)
        for name, document in todo.documents.items():
            (first / f".percy/plans/{name}.json").write_text(work.text(document))
        self._commit("plans")
        for clone in self.clones[1:]:
            self.git(self.root, "clone", "-q", url, str(clone))
        hook = self.remote / "hooks/pre-receive"
        hook.write_text(HOOK.format(control=self.control))
        hook.chmod(0o755)

    def _commit(self, message: str) -> None:
        self.git(self.clones[0], "add", "-A")
        self.git(self.clones[0], "commit", "-qm", message)
        self.git(self.clones[0], "push", "-q", "-u", "origin", "main")

    # The fleet

    def start(self, number: int) -> None:
        """Start one process of the fleet, anew if it has ended."""
        clone, command = FLEET[number]
        self.starts += 1
        with (self.root / f"fleet-{number}.log").open("ab") as log:
            self.fleet[number] = subprocess.Popen(
                ["percyd", command, "-v", "--name", f"w{number}"]
                if command == "worker"
                else ["percyd", command, "-v"],
                cwd=self.clones[clone],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def keep_up(self) -> None:
        """Start every process of the fleet that does not run, less those given up."""
        for number, process in enumerate(self.fleet):
            if number in self.given_up:
                continue
            if process is None or process.poll() is not None:
                self.start(number)

    def give_up(self, number: int) -> None:
        """Kill a process of the fleet; it never comes back."""
        self.given_up.add(number)
        process = self.fleet[number]
        if process is not None:
            process.kill()
            process.wait()

    def stop(self, within_s: float) -> list[str]:
        """Ask the fleet to end; what did not end, or not well."""
        running = [p for p in self.fleet if p is not None and p.poll() is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        until(lambda: all(p.poll() is not None for p in running), within_s)
        return [
            f"process {p.pid} of the fleet ended with {p.poll()}, asked by SIGTERM"
            for p in running
            if p.poll() != 0
        ]

    # What there is

    def plans(self) -> dict[str, str]:
        """The status of each plan, from the remote itself: this costs percyd nothing."""
        tree = self.git(
            self.remote, "ls-tree", "-r", "--name-only", "percy/state", "plans/"
        )
        found = {}
        for path in tree.splitlines():
            if path.endswith("/plan.json"):
                plan = json.loads(self.git(self.remote, "show", f"percy/state:{path}"))
                found[plan["id"]] = plan["status"]
        return found

    def tasks(self) -> dict[str, dict[str, Any]]:
        """Every task by its id, as ``percyd status --json`` has it."""
        done = self.percyd("status", "--json")
        assert done.returncode == 0, done.stderr
        return {task["id"]: task for task in json.loads(done.stdout)["tasks"]}

    def processes(self) -> list[psutil.Process]:
        """Every process of this machine that comes from here, daemon and all."""
        marker, found = f"PATH={self.root}/bin:".encode(), []
        for pid in psutil.pids():
            try:
                environ = Path(f"/proc/{pid}/environ").read_bytes()
                process = psutil.Process(pid)
            except (OSError, psutil.Error):
                continue
            if marker in environ:
                found.append(process)
        return found
