"""One hub, several processes: they share objects and the copies of the remote's refs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from percyd.core.ids import STATE_REF
from percyd.repo.hub import Hub
from percyd.repo.values import Remote
from percyd.repo.wire import SEEN_STATE
from tests.support.gitrepo import commit, git, make_bare, make_repo, tip

#: More often than a fetch is tried where nobody else is at work.
RACES = 6
#: Runs on the remote in the middle of a fetch: another process, with a newer state to
#: fetch, moves the hub's copy meanwhile; and the remote's branch goes on.
MEANWHILE = """\
#!/bin/sh
exec 3>&1 >&2
left=$(($(cat {left}) - 1))
echo $left > {left}
if [ $left -ge 0 ]; then
    git --git-dir={hub} update-ref {seen} "$(git --git-dir={hub} rev-parse {seen}~1)"
    new=$(git commit-tree -p {state} -m more {state}^{{tree}})
    git update-ref {state} "$new"
fi
exec "$@" >&3
"""


@pytest.mark.spoiled  # any commits will do for a state
def test_a_fetch_that_another_process_overtakes_again_and_again_is_no_fault(
    tmp_path: Path,
) -> None:
    seed = make_repo(tmp_path / "seed")
    for number in range(RACES + 1):
        commit(seed, {"a": str(number)})
    remote, left = make_bare(tmp_path / "shop.git"), tmp_path / "left"
    git(seed, "push", "-q", str(remote), f"HEAD:{STATE_REF}")
    with Hub.open(tmp_path / "hub.git", Remote(f"file://{remote}")) as hub:
        hub.fetch_state()
        commit(seed, {"a": "news"})
        git(seed, "push", "-q", str(remote), f"HEAD:{STATE_REF}")
        left.write_text(str(RACES))
        script = tmp_path / "meanwhile"
        script.write_text(
            MEANWHILE.format(left=left, hub=hub.path, seen=SEEN_STATE, state=STATE_REF)
        )
        script.chmod(0o755)
        settings = os.environ["GIT_CONFIG_GLOBAL"]
        git(seed, "config", "-f", settings, "uploadpack.packObjectsHook", str(script))

        assert hub.fetch_state() == tip(remote, STATE_REF)

    assert int(left.read_text()) < 0
