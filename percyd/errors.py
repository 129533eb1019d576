"""The one tree of errors: what went wrong, what to do, which exit code.

Every error that can reach a person is a `PercydError`. The class docstring's first
line is the default message; ``code`` is the word that the command line, HTTP and MCP
share; ``exit_code`` follows CLI 1: 1 refused by the state of things, 2 bad input,
3 the remote cannot be reached, 4 the state branch is refused.
"""

from __future__ import annotations

from typing import ClassVar


class PercydError(Exception):
    """percyd could not do what was asked."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        default = (type(self).__doc__ or "").splitlines()[0].rstrip(".")
        self.message = message or default
        self.hint = hint
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class RefusedError(PercydError):
    """The state of things does not allow this."""

    code = "refused"


class IllegalTransition(RefusedError):
    """The record is not in a state that allows this operation."""

    code = "illegal_transition"


class StaleClaim(RefusedError):
    """The claim is no longer held: another attempt has taken its place."""

    code = "stale_claim"


class PlanExists(RefusedError):
    """There is a plan with this id already."""

    code = "plan_exists"


class DaemonRuns(RefusedError):
    """A daemon runs in this clone already."""

    code = "daemon_runs"


class BaseMoved(RefusedError):
    """The base branch has moved: it is merged and gated before the plan lands."""

    code = "base_moved"


class PlanLost(RefusedError):
    """The document of a plan was not kept."""

    code = "plan_lost"


class IntegrationMoved(RefusedError):
    """The integration branch is not where the gate saw it: merge and gate again."""

    code = "integration_moved"


class MergeConflictError(RefusedError):
    """The work does not merge with the integration branch."""

    code = "conflict"

    def __init__(self, paths: tuple[str, ...]) -> None:
        self.paths = paths
        shown = ", ".join(paths[:5]) + (" ..." if len(paths) > 5 else "")
        super().__init__(f"conflict in {shown}" if shown else "")


class PlanFinished(RefusedError):
    """The plan is finished: its file does not run again."""

    code = "plan_finished"


class PlanDiverged(RefusedError):
    """The plan was taken in from a commit that this branch does not have."""

    code = "plan_diverged"


class PlanRenamed(RefusedError):
    """The plan file is that of another plan, under a new name."""

    code = "plan_renamed"


class PlanChanged(RefusedError):
    """Another version of the plan's file was taken in meanwhile."""

    code = "plan_changed"


class EditRefused(RefusedError):
    """The edit does not fit what the plan has done already."""

    code = "edit_refused"

    def __init__(self, message: str = "", task: str = "") -> None:
        self.task = task
        super().__init__(message)


class BranchCheckedOut(RefusedError):
    """A branch that must move is checked out in the receiving repository."""

    code = "branch_checked_out"


class OutcomeUnknown(RefusedError):
    """The remote did not say whether the change was accepted."""

    code = "outcome_unknown"


class PushRefused(RefusedError):
    """The remote refused the push."""

    code = "push_refused"


class StatePushRefused(PushRefused):
    """The remote takes no change of percy/state now."""


class ContentionError(RefusedError):
    """Too many others changed the state at the same time."""

    code = "contention"


class WorkFailed(RefusedError):
    """Not every task was completed."""

    code = "work_failed"


class UsageError(PercydError):
    """The command was not understood."""

    code = "usage"
    exit_code = 2


class NotARepository(UsageError):
    """This is not a Git repository."""

    code = "not_a_repository"


class NotInitialised(UsageError):
    """percyd is not set up in this repository."""

    code = "not_initialised"


class UnknownIdError(UsageError):
    """There is nothing with this id."""

    code = "unknown_id"


class UnknownPlan(UnknownIdError):
    """There is no plan with this id."""

    def __init__(self, message: str, plan: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.plan = plan


class InvalidConfig(UsageError):
    """The configuration is not valid."""

    code = "invalid_config"


class InvalidPlan(UsageError):
    """The plan document is not valid."""

    code = "invalid_plan"


class NoRunner(InvalidPlan):
    """A task has no command and no runner, and no default runner is configured."""


class BaseMissing(InvalidPlan):
    """The branch that a plan starts from is not on the remote."""

    code = "base_missing"


class UnsupportedRepository(UsageError):
    """The repository uses something that percyd cannot handle safely."""

    code = "unsupported_repository"


class RemoteUnreachable(PercydError):
    """The remote cannot be reached."""

    code = "remote_unreachable"
    exit_code = 3


class RemoteFault(PercydError):
    """The remote took the push but could not store it."""

    code = "remote_fault"
    exit_code = 3


class GitError(PercydError):
    """A git command failed in a way that percyd did not expect."""

    code = "git_failed"


class StateRefused(PercydError):
    """The state branch is not one that percyd may build on."""

    code = "state_refused"
    exit_code = 4


class StateUnreadable(StateRefused):
    """The remote names a state branch, and cannot give it.

    ``tip`` is what the branch names: "" if its own file is damaged and names nothing.
    """

    def __init__(self, message: str, tip: str) -> None:
        self.tip = tip
        super().__init__(message, hint="nothing was changed; run 'percyd doctor'")
