"""The plan file that ``percyd plan new`` writes: valid as it is, and commented."""

from __future__ import annotations

_TEMPLATE = """\
# Plan {plan}. Check it with: percyd plan check .percy/plans/{plan}.yaml
# It starts when it is committed. What stands behind a '#' is off.

title: Say in one line what this plan is for
# description: What every task of the plan has to know, in as many lines as you like.
# status: draft           # hold it back until: percyd plan start {plan}
# base: main              # the branch that it starts from and lands in
# verify: make test       # the gate: nothing is merged that does not pass it
# land: auto              # land when all is done; manual: percyd plan land {plan}
# defaults:               # for tasks that say nothing themselves
#   timeout_s: 3600
#   max_attempts: 3
#   specialization: [python]

tasks:
  - id: first
    title: Say in one line what is to be done
    description: |
      Everything that whoever does it has to know: where to look, what to leave alone,
      how to tell that it is done.
{first}    # type: implement     # or test, review, refactor, fix, docs, chore
    # paths: [src/]       # what it touches; tasks that overlap never run together
    # priority: 10        # -1000 to 1000, higher first
    # verify: make check  # a gate of its own
    # timeout_s: 600
    # max_attempts: 2
    # specialization: [python]   # what the worker must be able to do
    # allow_empty: true   # it may change nothing

  - id: second
    title: This one begins when the first one is merged
    depends_on: [first]
{second}"""
_COMMAND = (
    "    run: echo {0} > {0}.txt   # a command; a configured program: runner: NAME\n"
)
_RUNNER = "    # runner: {0}\n"


def template(plan: str, runner: str | None) -> str:
    """The text of a new plan file.

    Args:
        plan: Its id.
        runner: The default runner; without one the tasks run commands.
    """
    if runner is not None:
        how = [_RUNNER.format(runner)] * 2
    else:
        how = [_COMMAND.format(name) for name in ("first", "second")]
    return _TEMPLATE.format(plan=plan, first=how[0], second=how[1])
