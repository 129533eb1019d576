"""A repository to try percyd on: a bakery, its remote, and a plan of ten tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from percyd.repo.runner import Git

PLAN_ID = "bakery"
#: The file that two tasks of the plan write at the same time.
SHARED = "prices.txt"

_CONFIG = """\
base = "main"
verify = "sh check.sh"

[limits]
backoff_s = 0.5
"""

_CHECK = """\
# The gate: every recipe must name the dough that it is made of, and no file is empty.
for file in $(git ls-files); do
  [ -s "$file" ] || { echo "$file is empty"; exit 1; }
done
for recipe in recipes/*; do
  [ -e "$recipe" ] || continue
  grep -q dough "$recipe" || { echo "$recipe has no dough"; exit 1; }
done
"""

_README = """\
# A bakery

Its plan lies in `.percy/plans/bakery.yaml`.
"""

_PLAN = """\
title: Open a bakery
description: >-
  Three ingredients become dough, the dough two recipes, all of it a menu. Both recipes
  add a price to the same file at the same time: the second to land meets a conflict,
  and its command runs again on what the first has left.

defaults:
  max_attempts: 3

tasks:
  - id: flour
    title: Mill the flour
    run: mkdir -p store && seq 1 40 | sed 's/^/grain /' > store/flour.txt
  - id: water
    title: Draw the water
    run: mkdir -p store && echo "65 parts of water" > store/water.txt
  - id: yeast
    title: Wake the yeast
    run: mkdir -p store && echo "2 parts of yeast" > store/yeast.txt

  - id: dough
    title: Knead the dough
    depends_on: [flour, water, yeast]
    run: cat store/flour.txt store/water.txt store/yeast.txt > dough.txt

  - id: loaf
    title: Write the recipe for the loaf, and its price
    depends_on: [dough]
    priority: 1
    run: >-
      mkdir -p recipes && sleep 1 && echo "loaf 4.00" >> prices.txt &&
      echo "loaf: dough of $(wc -l < dough.txt) lines, one hour" > recipes/loaf.txt
  - id: rolls
    title: Write the recipe for the rolls, and their price
    depends_on: [dough]
    priority: 1
    run: >-
      mkdir -p recipes && sleep 1 && echo "rolls 0.50" >> prices.txt &&
      echo "rolls: dough of $(wc -l < dough.txt) lines, ten each" > recipes/rolls.txt
  - id: oven
    title: Light the oven (fails at the first attempt)
    depends_on: [dough]
    run: >-
      if [ "$PERCY_ATTEMPT" = 1 ]; then echo "the match broke" >&2; exit 1; fi;
      echo "230 degrees" > oven.txt

  - id: menu
    title: Write the menu
    depends_on: [loaf, rolls]
    run: cat recipes/*.txt prices.txt > menu.txt
  - id: sign
    title: Paint the sign
    run: echo "BAKERY" > sign.txt
  - id: opening
    title: Open the doors
    depends_on: [menu, oven, sign]
    run: '{ cat sign.txt; cat menu.txt; } > opening.txt'
"""

FILES = {
    "README.md": _README,
    "check.sh": _CHECK,
    ".percy/config.toml": _CONFIG,
    f".percy/plans/{PLAN_ID}.yaml": _PLAN,
}


def build(folder: Path, environ: Mapping[str, str]) -> Path:
    """Make a bare remote and a clone with the plan committed; answers the clone."""
    remote, clone = folder / "bakery.git", folder / "bakery"
    bare = Git(remote, environ=environ)
    bare.run("init", "--quiet", "--bare", "--initial-branch=main")
    for name, content in FILES.items():
        path = clone / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    git = Git(clone / ".git", environ=environ)
    git.run("init", "--quiet", "--initial-branch=main", work_tree=clone)
    git.run("config", "core.bare", "false")
    for key, value in (("user.name", "Baker"), ("user.email", "baker@localhost")):
        git.run("config", key, value)
    git.run("config", "remote.origin.url", str(remote))
    git.run("config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*")
    git.run("add", "--all", work_tree=clone)
    git.run("commit", "--quiet", "-m", "Plan a bakery", work_tree=clone)
    git.run("push", "--quiet", str(remote), "main:main")
    return clone
