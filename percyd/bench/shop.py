"""A clone and its remote as a user has them, and percyd's commands run in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from percyd.bench.children import Command, command
from percyd.bench.lab import BASE_REF, Lab
from percyd.bench.raw import WHO, bare
from percyd.repo.runner import Git

#: How long a command may take to be ready, or to be done.
WITHIN_S = 60.0


@dataclass
class Shop:
    """A clone, its remote on this machine, percyd set up; the marks of its tasks."""

    lab: Lab
    folder: Path
    environ: Mapping[str, str]

    @property
    def clone(self) -> Path:
        """Where plans are committed."""
        return self.folder / "clone"

    @property
    def marks(self) -> Path:
        """What the programs leave."""
        return self.folder / "marks"

    @property
    def remote(self) -> Path:
        """The bare repository."""
        return self.folder / "remote.git"

    def set_up(self) -> None:
        """Make all of it."""
        self.marks.mkdir(parents=True)
        self.clone.mkdir()
        bare(self.remote, self.environ)
        git = self.git(self.clone)
        git.run("init", "--quiet", "--template=", "--initial-branch=main")
        git.run("config", "core.bare", "false")
        git.run("remote", "add", "origin", str(self.remote))
        self.commit({"README.md": "hello\n"})
        self.push()
        with command(["init", "--no-hooks"], self.clone, self.environ) as made:
            made.wait(WITHIN_S)
        config = 'base = "main"\n'
        self.commit({".percy/config.toml": config})
        self.push()

    def clone_again(self, name: str) -> Path:
        """Another clone, as of another machine."""
        path = self.folder / name
        git = self.git(path)
        git.run("clone", "--quiet", str(self.remote), str(path), network=True)
        return path

    def git(self, path: Path) -> Git:
        """Git in one of the clones."""
        return Git(path / ".git", environ=self.environ)

    def push(self) -> None:
        """Push what was committed."""
        git = self.git(self.clone)
        git.run("push", "--quiet", str(self.remote), f"HEAD:{BASE_REF}", network=True)

    def commit(self, files: Mapping[str, str]) -> None:
        """Commit files as a person would."""
        git = self.git(self.clone)
        for name, text in files.items():
            path = self.clone / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        git.run("add", "--all", work_tree=self.clone)
        git.run("commit", "-q", "-m", "more", work_tree=self.clone, extra_env=WHO)

    @contextmanager
    def runs(
        self, what: str, clone: Path, poll_s: float, can: str = ""
    ) -> Iterator[Command]:
        """A process of percyd's, ready to work."""
        environ = {**self.environ, "PERCYD_WATCH__POLL_S": str(poll_s)}
        environ["PERCYD_WORKER__CAPABILITIES"] = can
        with command([what], clone, environ) as process:
            process.hear("watching", WITHIN_S)
            yield process


@contextmanager
def open_shop(lab: Lab) -> Iterator[Shop]:
    """A fresh shop, in the lab's folder."""
    folder = lab.new_folder()
    state = {"PERCYD_STATE_DIR": str(folder / "state")}
    shop = Shop(lab, folder, {**lab.environ, **state})
    shop.set_up()
    yield shop
