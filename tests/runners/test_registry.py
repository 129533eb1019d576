"""Which runners there are, how each is started, and those of other packages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from percyd.errors import InvalidConfig
from percyd.runners.base import Job, Start, available
from percyd.runners.registry import OWN, installed, registry
from percyd.settings import AGENTS, Config

JOB = Job(Path("/p/prompt.md"))


def start(name: str, job: Job = JOB, **fields: object) -> Start:
    config = Config.model_validate({"runners": {name: fields}})
    return registry(config)[name].start(job)


@pytest.mark.parametrize("name", AGENTS)
def test_a_table_of_an_agents_name_needs_nothing_else(name: str) -> None:
    runner = registry(Config.model_validate({"runners": {name: {}}}))[name]

    assert (runner.type, runner.program) == (name, name)
    assert any("API_KEY" in key for key in runner.env_allow)


@pytest.mark.parametrize("name", AGENTS)
def test_a_prompt_is_never_part_of_the_command_line(name: str) -> None:
    found = start(name)

    assert found.stdin == JOB.prompt_file or str(JOB.prompt_file) in found.argv


@pytest.mark.parametrize("name", AGENTS)
def test_model_arguments_and_environment_come_from_the_configuration(
    name: str,
) -> None:
    found = start(name, model="best", args=["--extra", "1"], env={"A": "b"})

    at = found.argv.index("best")
    assert found.argv[at - 1] in ("-m", "--model")
    assert "--extra" in found.argv
    assert found.env["A"] == "b"


def test_another_program_may_be_spoken_to_like_an_agent() -> None:
    found = start("fast", type="claude", command=["my-claude", "-x"])

    assert found.argv[:3] == ("my-claude", "-x", "-p")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("claude", ("--strict-mcp-config", "--setting-sources")),
        ("codex", ("projects={}",)),
    ],
)
def test_what_a_repository_brings_for_an_agent_is_not_obeyed(
    name: str, words: tuple[str, ...]
) -> None:
    assert set(words) <= set(start(name).argv)
    assert not set(words) & set(start(name, project_settings=True).argv)


def test_settings_that_aider_would_obey_keep_it_from_running(tmp_path: Path) -> None:
    def obeys(**fields: object) -> str | None:
        config = Config.model_validate({"runners": {"aider": fields}})
        return registry(config)["aider"].obeys(tmp_path)

    assert obeys() is None
    (tmp_path / ".env").touch()
    assert obeys() == ".env"
    (tmp_path / ".aider.conf.yml").touch()
    assert obeys() == ".aider.conf.yml"
    assert obeys(project_settings=True) is None


def test_opencode_is_told_by_its_environment() -> None:
    assert start("opencode").env["OPENCODE_DISABLE_PROJECT_CONFIG"] == "1"
    env = start("opencode", project_settings=True).env
    assert "OPENCODE_DISABLE_PROJECT_CONFIG" not in env


def test_a_reader_of_the_work_gets_no_right_to_write() -> None:
    job = Job(Path("/p"), read_only=True)
    claude = start("claude", job, permission_mode="bypassPermissions").argv
    assert claude[claude.index("--permission-mode") + 1] == "default"
    codex = start("codex", job, permission_mode="danger-full-access").argv
    assert codex[codex.index("-s") + 1] == "read-only"
    gemini = start("gemini", job, permission_mode="yolo").argv
    assert gemini[gemini.index("--approval-mode") + 1] == "plan"
    assert "OPENCODE_CONFIG_CONTENT" not in start("opencode", job).env


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("claude", ("--resume", "s1")),
        ("codex", ("resume", "s1")),
        ("opencode", ("--session", "s1")),
    ],
)
def test_a_session_goes_on_where_that_is_possible(
    name: str, words: tuple[str, str]
) -> None:
    argv = start(name, Job(Path("/p"), session="s1")).argv

    assert argv[argv.index(words[0]) + 1] == words[1]
    assert OWN[name].can_resume


def test_a_cost_limit_is_passed_to_who_takes_one() -> None:
    argv = start("claude", cost_usd=1.5).argv
    assert argv[argv.index("--max-budget-usd") + 1] == "1.5"


def test_what_is_installed_is_found_in_percyds_order(tmp_path: Path) -> None:
    for name in ("gemini", "claude", "other"):
        (tmp_path / name).touch(mode=0o755)

    assert installed(str(tmp_path)) == ["claude", "gemini"]


def test_a_type_that_nobody_brings_is_named() -> None:
    config = Config.model_validate({"runners": {"x": {"type": "cursor"}}})

    with pytest.raises(
        InvalidConfig, match=r"runners\.x\.type: is 'cursor'; there are"
    ):
        registry(config)


_PACKAGE = """
from percyd.runners.agent import AgentRunner
from percyd.runners.base import Start
class Mine(AgentRunner):
    type = "mine"
    default_command = ("my-agent",)
    def start(self, job):
        return Start((*self.command, str(job.prompt_file)))
    def reader(self, job):
        return None
broken = 7
"""


def test_another_package_may_bring_a_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "my_agent-1.0.dist-info"
    info.mkdir()
    (tmp_path / "my_agent.py").write_text(_PACKAGE)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: my-agent\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(
        "[percyd.runners]\nmine = my_agent:Mine\nbroken = my_agent:broken\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    config = Config.model_validate({"runners": {"mine": {"type": "mine"}}})
    runner = registry(config)["mine"]

    assert runner.start(JOB).argv == ("my-agent", "/p/prompt.md")
    assert not available(runner)
    config = Config.model_validate({"runners": {"b": {"type": "broken"}}})
    with pytest.raises(InvalidConfig, match="cannot be used"):
        registry(config)
    sys.modules.pop("my_agent")
