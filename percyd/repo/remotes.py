"""Decides which remote percyd uses, and whether its URL may be used."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from percyd.core.refs import Oid
from percyd.errors import UsageError
from percyd.repo.environ import is_transport_key
from percyd.repo.runner import Git, mask
from percyd.repo.settings import Setting, read_all
from percyd.repo.values import Clone, Remote

DEFAULT_REMOTE = "origin"
_SCHEMES = frozenset({"https", "http", "ssh", "git", "file"})
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HELPER = re.compile(r"[A-Za-z0-9+.-]+::")
#: A zero id is what a crash may leave.
_LOOSE = re.compile(rb"(?!0+\n)(?:[0-9a-f]{40}|[0-9a-f]{64})\n")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def resolve_remote(clone: Clone, configured: str | None) -> Remote:
    """The remote that percyd uses: the configured one, ``origin``, or the clone itself.

    Raises:
        UsageError: there is no remote of that name, or its URL cannot be used.
    """
    git = Git(clone.common_dir)
    settings = read_all(git)
    name = configured or DEFAULT_REMOTE
    urls = _values(settings, f"remote.{name}.url")
    if not urls:
        if configured:
            raise UsageError(
                f"there is no remote named {configured}",
                hint="see 'git remote -v', or set remote in .percy/config.toml",
            )
        return Remote(str(clone.common_dir), is_local=True)
    pushed = _values(settings, f"remote.{name}.pushurl")
    if len(set(urls)) > 1 or set(pushed) - set(urls):
        raise UsageError(
            f"the remote {name} has more than one URL, or a different pushurl",
            hint="percyd needs one URL for fetch and push: set remote to another one",
        )
    url, is_rewritten = _usable(git, clone, urls[0])
    transport = tuple(_transport(settings, name))
    return Remote(url, is_rewritten=is_rewritten, config=transport)


def folder_of(remote: Remote) -> Path | None:
    """The git directory of a remote that is a folder of this machine."""
    if remote.is_rewritten:
        return None
    folder = Path(remote.url.removeprefix("file://"))
    for git_dir in (folder / ".git", folder):
        if (git_dir / "HEAD").is_file():
            return git_dir
    return None


def loose_ref(git_dir: Path, ref: str) -> Oid | None:
    """The object that a ref's own file names; None if it has none, or another content.

    Git itself reads such a file before anything else, where refs are files.
    """
    try:
        text = (git_dir / ref).read_bytes()
    except OSError:
        return None
    return text.strip().decode() if _LOOSE.fullmatch(text) else None


def _usable(git: Git, clone: Clone, url: str) -> tuple[str, bool]:
    """The URL, a relative path made absolute, and whether git makes another one of it.

    Raises:
        UsageError: it is not allowed.
    """
    if not url or url.startswith("-") or _CONTROL.search(url):
        raise UsageError(f"the remote's URL {mask(url)!r} is not one that can be used")
    rewritten = git.run("ls-remote", "--get-url", "--", url, network=True).text
    if _HELPER.match(rewritten) or rewritten.startswith("-"):
        raise UsageError(f"the remote's URL {mask(url)!r} would run a program")
    scheme = _SCHEME.match(rewritten)
    if scheme and scheme[1].lower() not in _SCHEMES:
        raise UsageError(
            f"the remote's URL {mask(url)!r} has an unknown scheme",
            hint="https, http, ssh, git, file, host:path and paths can be used",
        )
    if scheme or _is_scp_like(rewritten) or rewritten != url:
        return url, rewritten != url
    if url.startswith("~"):
        return os.path.expanduser(url), False  # noqa: PTH111 - leaves "~nobody"
    return str((clone.work_tree or clone.common_dir) / url), False


def _is_scp_like(url: str) -> bool:
    """``host:path``: a colon before the first slash."""
    return ":" in url.partition("/")[0]


def _values(settings: Sequence[Setting], key: str) -> list[str]:
    return [setting.value for setting in settings if setting.key == key]


def _transport(settings: Sequence[Setting], remote: str) -> list[tuple[str, str]]:
    """The transport settings that hold in the clone and nowhere else.

    Not only those of its own file: an ``includeIf`` of the user's may match the clone's
    folder and not the hub's. What holds everywhere is left out, because a list such as
    ``http.extraHeader`` must not get the same value twice.
    """
    elsewhere = Counter(read_all(Git(Path(os.devnull))))
    own = []
    for setting in settings:
        if elsewhere[setting] > 0:
            elsewhere[setting] -= 1
        elif is_transport_key(setting.key):
            own.append((setting.key, setting.value))
    for key, means in (
        ("proxy", "http.proxy"),
        ("proxyauthmethod", "http.proxyAuthMethod"),
    ):
        own += [(means, value) for value in _values(settings, f"remote.{remote}.{key}")]
    return own
