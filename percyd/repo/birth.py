"""Makes percyd's bare repositories."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from percyd.errors import GitError
from percyd.repo.remotes import folder_of
from percyd.repo.runner import Git
from percyd.repo.values import Remote

HUB_CONFIG = (
    # Git syncs neither loose objects nor refs by default (2.39).
    ("core.fsync", "committed"),
    ("core.fsyncMethod", "fsync"),
    ("core.logAllRefUpdates", "false"),
    # One sync for each pack instead of one for each object; `packs` keeps them few.
    ("fastimport.unpackLimit", "1"),
    ("transfer.unpackLimit", "1"),
    # Two percyd processes may share a hub.
    ("core.filesRefLockTimeout", "2000"),
    ("core.packedRefsTimeout", "5000"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("submodule.recurse", "false"),
    # Slots fetch pinned commits by their ids.
    ("uploadpack.allowAnySHA1InWant", "true"),
)


def ensure(path: Path, remote: Remote, environ: Mapping[str, str] | None) -> None:
    """Make the hub at ``path`` unless it is there; safe against another process."""
    if (path / "HEAD").exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        made = scratch / "hub.git"
        init_bare(made, _object_format(remote, environ), environ)
        try:
            made.rename(path)
        except OSError as error:
            # Another process was faster; anything else in the way is not ours.
            if not (path / "HEAD").exists():
                raise GitError(f"cannot make the hub at {path}: {error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def init_bare(
    path: Path, object_format: str, environ: Mapping[str, str] | None
) -> None:
    """Make a bare repository with the settings of a hub, without any template."""
    git = Git(path, environ=environ)
    git.run(
        *("init", "--quiet", "--bare", "--template="),
        *(f"--object-format={object_format}", "--initial-branch=percyd-none"),
    )
    for key, value in HUB_CONFIG:
        git.run("config", key, value)


def _object_format(remote: Remote, environ: Mapping[str, str] | None) -> str:
    """The hash of the remote's repository; SHA-1 if it cannot be told yet."""
    git_dir = folder_of(remote)
    if git_dir is not None:
        found = Git(git_dir, environ=environ).run(
            "rev-parse", "--show-object-format", check=False
        )
        return found.text if found.ok else "sha1"
    somewhere = Git(Path(os.devnull), config=remote.config, environ=environ)
    listing = somewhere.run(
        *("ls-remote", "--", remote.url), check=False, network=True, deadline_s=30
    )
    oid = listing.stdout.partition(b"\t")[0]
    return "sha256" if listing.ok and len(oid) == 64 else "sha1"
