"""A killed percyd whose program does not end at once: the next one waits for its end."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.faults.test_sudden_death import leftovers
from tests.support.checker import check
from tests.support.daemonised import until
from tests.support.gitrepo import git
from tests.support.newuser import finish, new_user, start

#: The first attempt makes something, ignores SIGTERM, and tells if its folder goes away.
#: The second one says whether the first still runs.
PLAN = """\
title: Stubborn
tasks:
  - id: a
    title: A
    run: |
      if first=$(cat {seen}/first); then
        if kill -0 "$first"; then echo together; else echo alone; fi > {seen}/second
        echo done > a.txt
        exit 0
      fi
      trap '' TERM
      echo half > a.txt
      echo $$ > {seen}/new
      mv {seen}/new {seen}/first
      while :; do [ -e .git ] || touch {seen}/homeless; sleep 0.05; done
"""


@pytest.mark.timeout(120)
def test_a_task_begins_again_only_when_its_killed_program_is_gone(
    tmp_path: Path,
) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    user = new_user(tmp_path)
    user.commit_plan("p.yaml", PLAN.format(seen=seen))
    killed = start("serve", cwd=user.clone)
    until((seen / "first").exists, "its program runs", within_s=60)
    killed.kill()
    assert finish(killed).code == -signal.SIGKILL

    user.percyd("serve", "--until-idle")

    assert (seen / "second").read_text() == "alone\n"
    assert not (seen / "homeless").exists()
    first, second = user.task("p.a")["attempts"]
    assert (first["reason"]["code"], second["outcome"]) == ("agent_lost", "completed")
    # The slot was looked at again too: what the first had made is kept.
    assert git(user.remote, "show", f"{first['commit']}:a.txt") == "half"
    assert user.file("p", "a.txt") == "done"
    assert check(user.remote) == []
    assert leftovers(tmp_path) == []
