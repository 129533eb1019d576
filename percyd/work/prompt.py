"""The text that a task's program gets: the task, as delimited data."""

from __future__ import annotations

from percyd.core.records import Plan, Task


def prompt_text(plan: Plan, task: Task) -> str:
    """The prompt of one attempt: title, description, and the plan it belongs to."""
    parts = [f"# {task.title}", ""]
    if task.description:
        parts += [task.description.rstrip(), ""]
    parts += [f"Task {task.id}, attempt {task.attempt}, of plan: {plan.title}"]
    if task.paths:
        parts += ["Stay within: " + ", ".join(task.paths)]
    if task.verify:
        parts += [f"The result is checked with: {task.verify}"]
    return "\n".join(parts) + "\n"
