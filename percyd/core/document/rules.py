"""What single values of a document or of the configuration must be.

Each rule takes a text and says what is wrong with it and what is allowed, or None.
"""

from __future__ import annotations

import re

MAX_TITLE = 200
MAX_BRANCH = 200
MAX_RUNNER = 64

#: Control characters, and those that are not seen or that turn the text around.
UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\U000e0000-\U000e007f]"
)
RUNNER_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
CAPABILITY_PATTERN = r"^[a-z0-9][a-z0-9_+.#-]{0,47}$"

_RUNNER = re.compile(RUNNER_PATTERN.rstrip("$") + r"\Z")
_CAPABILITY = re.compile(CAPABILITY_PATTERN.rstrip("$") + r"\Z")
_BRANCH_PARTS = re.compile(r"\.\.|@\{|//|/\.|\.lock(?:/|\Z)|\A[-./]|[./]\Z")
#: What check-ref-format refuses, and what a shell would not take as it is.
_BRANCH_MARKS = re.compile(r"[ ~^:?*\[\]\\$`'\"();&|<>{}!\s]")
_OBJECT_ID = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")


def unseen_problem(text: str) -> str | None:
    """Refuse characters that a reader would not see."""
    found = UNSEEN.search(text)
    if found is None:
        return None
    return f"holds U+{ord(found.group()):04X}; visible characters are allowed"


def title_problem(text: str) -> str | None:
    """A title is one visible line."""
    if not text.strip():
        return f"is empty; 1 to {MAX_TITLE} characters are allowed"
    if len(text) > MAX_TITLE:
        return f"has {len(text):,} characters; 1 to {MAX_TITLE} are allowed"
    if "\n" in text or "\r" in text:
        return "has several lines; one is allowed"
    return unseen_problem(text)


def text_problem(text: str) -> str | None:
    """A description may be anything but NUL."""
    return "holds NUL; text is allowed" if "\0" in text else None


def command_problem(text: str) -> str | None:
    """A shell command."""
    if not text.strip():
        return "is empty; give a shell command"
    return "holds NUL; give a shell command" if "\0" in text else None


def runner_problem(text: str) -> str | None:
    """The name of a runner in the configuration."""
    if len(text) <= MAX_RUNNER and _RUNNER.match(text):
        return None
    return f"is no runner's name; {MAX_RUNNER} letters, digits, '_', '.', '-' are"


def capability_problem(text: str) -> str | None:
    """A capability that a task asks for."""
    if _CAPABILITY.match(text):
        return None
    return "is no capability; up to 48 letters, digits and '_+.#-' are allowed"


def pattern_problem(text: str) -> str | None:
    """A gitignore-style pattern of paths, from the repository's root."""
    allowed = "patterns from the repository's root are allowed"
    if not text.strip():
        return f"is empty; {allowed}"
    if "\0" in text or "\n" in text or "\r" in text:
        return f"holds NUL or a line break; {allowed}"
    if text.startswith("/"):
        return f"starts with '/'; {allowed}, without it"
    if text.startswith("!"):
        return f"starts with '!'; {allowed}, no exceptions from them"
    if ".." in text.split("/"):
        return f"holds '..'; {allowed}"
    return None


def branch_problem(text: str) -> str | None:
    """The short name of a branch that plans may start from."""
    allowed = "the short name of a branch is allowed, such as main"
    if not text or len(text) > MAX_BRANCH:
        return f"has {len(text):,} characters; 1 to {MAX_BRANCH} are allowed"
    if unseen_problem(text):
        return unseen_problem(text)
    if _BRANCH_PARTS.search(text) or _BRANCH_MARKS.search(text):
        return f"is no safe branch name; {allowed}"
    if text.startswith("refs/") or _OBJECT_ID.match(text) or text in ("@", "HEAD"):
        return f"is no short branch name; {allowed}"
    if text.partition("/")[0] in ("percy", "agent"):
        return f"is a branch of percyd's own; {allowed}"
    return None
