"""Real processes: they end when they should, all of them, whatever they try."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from percyd.clock import SystemClock
from percyd.home import FileLock
from percyd.work import supervise, supervisors
from percyd.work.output import Listener
from percyd.work.supervise import (
    Bounds,
    Command,
    Ending,
    ProcessResult,
    SystemProcesses,
)
from tests.support.daemonised import until

linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has subreapers and /proc"
)
PATH = os.defpath
WIDE = Bounds(timeout_s=50, idle_s=50, log_bytes=1_000_000, grace_s=0.2)

#: Prints its own id and that of a daemon in a session of its own; both ignore SIGTERM.
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
read_end, write_end = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(write_end, str(os.getpid()).encode())
        os.close(write_end)
        time.sleep(600)
    os._exit(0)
os.close(write_end)
daemon = os.read(read_end, 20).decode()
print(os.getpid(), daemon, flush=True)
if sys.argv[1] == "stay":
    time.sleep(600)
"""


def shell(script: str, *, cwd: Path = Path("/"), **more: Path) -> Command:
    return Command(("/bin/sh", "-c", script), cwd, {"PATH": PATH}, **more)


def stubborn(how: str) -> Command:
    return Command((sys.executable, "-c", STUBBORN, how), Path("/"), {"PATH": PATH})


def run(
    command: Command,
    bounds: Bounds = WIDE,
    *,
    log: Path | None = None,
    stop: threading.Event | None = None,
    on_line: Callable[[bytes], None] | None = None,
    keep: tuple[int, ...] = (),
) -> ProcessResult:
    with SystemProcesses(SystemClock(), keep) as processes:
        listener = Listener(on_line) if on_line else None
        return processes.run(command, bounds, log, stop or threading.Event(), listener)


def pids(text: str) -> list[int]:
    return [int(word) for word in text.split()]


def alive(numbers: list[int]) -> list[int]:
    return [pid for pid in numbers if psutil.pid_exists(pid)]


def supervisor_of(pid: int) -> psutil.Process:
    parent = psutil.Process(pid).parent()
    assert parent is not None
    return parent


def guard_of(pid: int) -> psutil.Process:
    return supervisor_of(supervisor_of(pid).pid)


def bounds(**changes: float) -> Bounds:
    values = {"timeout_s": 50, "idle_s": 50, "log_bytes": 1_000_000, "grace_s": 0.2}
    return Bounds(**{**values, **changes})  # type: ignore[arg-type]


# How a run ends


def test_exit_code_and_output_of_both_streams_are_kept() -> None:
    result = run(shell("echo out; echo err >&2; exit 3"))
    assert (result.ending, result.code) == (Ending.EXITED, 3)
    assert result.tail == "out\nerr"
    assert result.duration_s > 0


@pytest.mark.parametrize("code", [0, 1, 126, 127, 255])
def test_every_exit_code_is_just_a_code(code: int) -> None:
    assert run(shell(f"exit {code}")).code == code


def test_a_program_that_a_signal_ends_says_which() -> None:
    result = run(shell("kill -9 $$"))
    assert (result.ending, result.code) == (Ending.SIGNALLED, 9)
    assert result.message == "ended by signal 9"


def test_a_missing_program_could_not_start() -> None:
    result = run(Command(("no-such-program",), Path("/"), {"PATH": PATH}))
    assert result.ending is Ending.COULD_NOT_START
    assert result.message.startswith("ENOENT: no-such-program")


def test_a_file_that_is_no_program_could_not_start(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("x")
    result = run(Command(("./tool",), tmp_path, {"PATH": PATH}))
    assert result.message == "EACCES: ./tool: Permission denied"
    tool.chmod(0o755)
    assert run(Command(("./tool",), tmp_path, {})).message.startswith("ENOEXEC: ./tool")


def test_a_missing_folder_is_not_taken_for_a_missing_program(tmp_path: Path) -> None:
    result = run(shell("true", cwd=tmp_path / "gone"))
    assert result.ending is Ending.COULD_NOT_START
    assert result.message == f"{tmp_path}/gone: No such file or directory"
    result = run(shell("true", stdin=tmp_path / "prompt"))
    assert result.message == f"{tmp_path}/prompt: No such file or directory"


def test_words_that_cannot_be_passed_are_reported_not_raised() -> None:
    result = run(Command(("echo", "a\0b"), Path("/"), {"PATH": PATH}))
    assert (result.ending, result.message) == (
        Ending.COULD_NOT_START,
        "embedded null byte",
    )


def test_too_long_an_argument_is_reported_not_raised() -> None:
    result = run(Command(("echo", "x" * 3_000_000), Path("/"), {"PATH": PATH}))
    assert result.ending is Ending.COULD_NOT_START
    assert result.message.startswith("E2BIG")


# What a program gets


def test_it_gets_exactly_the_given_environment_folder_and_input(tmp_path: Path) -> None:
    prompt = tmp_path / "prompt"
    prompt.write_text("the prompt")
    env = {"PATH": PATH, "ODD": "ä\udcff\n", "EMPTY": "", "LC_ALL": "C.UTF-8"}
    script = "import os, sys; print(sorted(os.environ.items()), os.getcwd(), input())"
    argv = (sys.executable, "-I", "-X", "utf8", "-c", script)
    result = run(Command(argv, tmp_path, env, stdin=prompt))
    env["PWD"] = str(tmp_path)
    assert result.tail == f"{sorted(env.items())} {tmp_path} the prompt"


def test_it_is_not_told_the_folder_of_whoever_started_percyd(tmp_path: Path) -> None:
    # Some programs work where PWD says they are, whatever folder they were started in.
    env = {"PATH": PATH, "PWD": "/elsewhere", "OLDPWD": "/before"}
    argv = (sys.executable, "-c", "import os; print(os.environ)")
    said = run(Command(argv, tmp_path, env)).tail
    assert f"'PWD': '{tmp_path}'" in said
    assert "elsewhere" not in said
    assert "before" not in said


def test_without_input_it_reads_an_end_of_file() -> None:
    assert run(shell("cat; echo end")).tail == "end"


@linux_only
def test_it_inherits_no_descriptor_and_no_ignored_signal(tmp_path: Path) -> None:
    with FileLock(tmp_path / "l") as lock:
        result = run(
            shell("ls /proc/self/fd; grep SigIgn /proc/self/status"),
            keep=(lock.fileno(),),
        )
    *descriptors, ignored = result.tail.splitlines()
    assert descriptors == ["0", "1", "2", "3"]  # 3 is the folder that ls reads
    assert int(ignored.split()[1], 16) == 0


def test_a_large_specification_arrives() -> None:
    env = {"PATH": PATH} | {f"V{n}": "x" * 1000 for n in range(500)}
    assert run(Command(("printenv", "V499"), Path("/"), env)).tail == "x" * 1000


# Bounds


def test_a_run_that_takes_too_long_is_ended() -> None:
    result = run(shell("echo first; sleep 600"), bounds(timeout_s=0.3))
    assert (result.ending, result.code) == (Ending.TIMED_OUT, None)
    assert (result.tail, result.message) == ("first", "ran longer than 0.3 s")


def test_a_silent_run_is_ended() -> None:
    result = run(shell("echo first; sleep 600"), bounds(idle_s=0.3))
    assert (result.ending, result.message) == (
        Ending.IDLE,
        "printed nothing for 0.3 s",
    )


def test_a_talkative_run_is_not_idle() -> None:
    result = run(shell("yes"), bounds(timeout_s=0.6, idle_s=0.3))
    assert result.ending is Ending.TIMED_OUT


def test_stop_ends_a_run() -> None:
    stop = threading.Event()
    result = run(shell("echo go; sleep 600"), stop=stop, on_line=lambda _: stop.set())
    assert (result.ending, result.tail) == (Ending.STOPPED, "go")


def test_a_run_that_is_stopped_before_it_starts_starts_nothing(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    assert run(shell("touch made", cwd=tmp_path), stop=stop).ending is Ending.STOPPED
    assert list(tmp_path.iterdir()) == []


def test_a_program_may_use_its_grace_to_say_goodbye() -> None:
    script = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    stop = threading.Event()
    result = run(
        shell(script), bounds(grace_s=30), stop=stop, on_line=lambda _: stop.set()
    )
    assert result.ending is Ending.STOPPED
    assert result.tail.splitlines()[-1] == "bye"
    assert result.duration_s < 20


def test_a_program_that_ignores_sigterm_is_killed_after_its_grace() -> None:
    result = run(stubborn("stay"), bounds(timeout_s=1, grace_s=0.3))
    assert result.ending is Ending.TIMED_OUT
    assert 1.2 < result.duration_s < 10
    assert len(pids(result.tail)) == 2
    assert alive(pids(result.tail)) == []


# Nothing is left behind


@linux_only
def test_a_daemon_ends_with_the_program_that_started_it() -> None:
    result = run(stubborn("leave"))
    assert (result.ending, result.code) == (Ending.EXITED, 0)
    assert len(pids(result.tail)) == 2
    assert alive(pids(result.tail)) == []


@linux_only
def test_a_stopped_daemon_ends_too() -> None:
    script = "setsid sh -c 'echo $$; kill -STOP $$' & read line"
    result = run(shell(script + " </dev/zero"), bounds(timeout_s=0.5))
    assert len(pids(result.tail)) == 1
    assert alive(pids(result.tail)) == []


@linux_only
def test_many_daemons_end() -> None:
    script = "for i in $(seq 40); do setsid sleep 600 & echo $!; done"
    result = run(shell(script))
    assert len(pids(result.tail)) == 40
    assert alive(pids(result.tail)) == []


def test_closed_pipes_do_not_hide_the_end() -> None:
    result = run(shell("exec >&- 2>&-; exit 5"))
    assert (result.ending, result.code) == (Ending.EXITED, 5)


def test_an_error_in_the_reader_ends_the_tree() -> None:
    seen: list[bytes] = []

    def fail(line: bytes) -> None:
        seen.append(line)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(stubborn("stay"), on_line=fail)
    assert alive(pids(seen[0].decode())) == []


@linux_only
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_supervisor_ends_the_tree(how: signal.Signals) -> None:
    def interrupt(line: bytes) -> None:
        supervisor_of(pids(line.decode())[0]).send_signal(how)

    result = run(stubborn("stay"), on_line=interrupt)
    assert (result.ending, result.code) == (Ending.SIGNALLED, signal.SIGKILL)
    assert alive(pids(result.tail)) == []


@linux_only
def test_when_a_supervisor_is_killed_its_guard_ends_the_tree() -> None:
    def kill(line: bytes) -> None:
        supervisor_of(pids(line.decode())[0]).kill()

    result = run(stubborn("stay"), on_line=kill)
    assert result.ending is Ending.SIGNALLED
    assert result.message == "its supervisor was killed"
    assert len(pids(result.tail)) == 2
    assert alive(pids(result.tail)) == []


@linux_only
def test_when_a_guard_is_killed_the_supervisor_ends_the_tree() -> None:
    def kill(line: bytes) -> None:
        guard_of(pids(line.decode())[0]).kill()

    result = run(stubborn("stay"), on_line=kill)
    assert (result.ending, result.code) == (Ending.SIGNALLED, signal.SIGKILL)
    assert len(pids(result.tail)) == 2
    assert alive(pids(result.tail)) == []


@linux_only
def test_a_supervisor_that_hangs_is_killed_with_all_below_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervise, "SLACK_S", 0.5)
    monkeypatch.setattr(supervise, "DRAIN_S", 0.2)

    def freeze(line: bytes) -> None:
        supervisor_of(pids(line.decode())[0]).suspend()

    result = run(stubborn("stay"), bounds(timeout_s=0.5), on_line=freeze)
    assert result.ending is Ending.TIMED_OUT
    gone = [psutil.Process(pid) for pid in alive(pids(result.tail))]
    assert psutil.wait_procs(gone, timeout=10)[1] == []


WORKER = """
import sys, threading
from pathlib import Path
from percyd.clock import SystemClock
from percyd.work.output import Listener
from percyd.work.supervise import Bounds, Command, SystemProcesses
processes = SystemProcesses(SystemClock())
env = {"PATH": "/bin:/usr/bin"}
"""


def worker(script: str, *args: str) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", WORKER + script, *args],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(root), "PATH": PATH},
    )


@linux_only
@pytest.mark.parametrize("another", ["nobody", "supervisor", "guard"])
def test_when_percyd_is_killed_everything_that_it_ran_ends(another: str) -> None:
    script = """
command = Command((sys.executable, "-c", sys.argv[1], "stay"), Path("/"), env)
bounds = Bounds(600, 600, 1000, 0.2)
def say(line): print(line.decode(), flush=True)
processes.run(command, bounds, None, threading.Event(), Listener(say))
"""
    with worker(script, STUBBORN) as percyd:
        assert percyd.stdout is not None
        running = [psutil.Process(pid) for pid in pids(percyd.stdout.readline())]
        running += [supervisor_of(running[0].pid), guard_of(running[0].pid)]
        if another != "nobody":
            running[2 if another == "supervisor" else 3].kill()
        percyd.kill()
    assert len(running) == 4
    assert psutil.wait_procs(running, timeout=20)[1] == []


@linux_only
@pytest.mark.parametrize("another", ["nobody", "supervisor", "guard"])
def test_a_kept_lock_is_free_only_when_everything_that_percyd_ran_is_gone(
    tmp_path: Path, another: str
) -> None:
    script = """
from percyd.home import FileLock
lock = FileLock(Path(sys.argv[2]))
assert lock.acquire()
processes = SystemProcesses(SystemClock(), keep=(lock.fileno(),))
command = Command((sys.executable, "-c", sys.argv[1], "stay"), Path("/"), env)
def say(line): print(line.decode(), flush=True)
listener = Listener(say)
processes.run(command, Bounds(600, 600, 1000, 2), None, threading.Event(), listener)
"""
    lock = FileLock(tmp_path / "l")
    with worker(script, STUBBORN, str(lock.path)) as percyd:
        assert percyd.stdout is not None
        programs = pids(percyd.stdout.readline())
        if another != "nobody":
            find = supervisor_of if another == "supervisor" else guard_of
            find(programs[0]).kill()
        percyd.kill()
    assert len(programs) == 2
    until(lock.acquire, "the lock is free", within_s=30)
    assert alive(programs) == []
    lock.release()


# One supervisor for many programs


def ran(processes: SystemProcesses, script: str, **changes: float) -> ProcessResult:
    stop = threading.Event()
    return processes.run(shell(script), bounds(**changes), None, stop)


@linux_only
def test_one_supervisor_runs_one_program_after_the_other_and_goes_at_the_end() -> None:
    with SystemProcesses(SystemClock()) as processes:
        results = [ran(processes, f"echo $PPID {n}; exit {n}") for n in range(20)]
        assert [result.code for result in results] == list(range(20))
        printed = [pids(result.tail) for result in results]
        assert [number for _, number in printed] == list(range(20))
        (supervisor,) = {parent for parent, _ in printed}
        assert alive([supervisor]) == [supervisor]
    assert alive([supervisor]) == []


def descriptors(pid: int) -> list[str]:
    folder = Path(f"/proc/{pid}/fd")
    return [str(path.readlink()) for path in folder.iterdir()]


@linux_only
def test_what_a_program_leaves_running_is_gone_before_the_next_one_begins() -> None:
    with SystemProcesses(SystemClock()) as processes:
        first = ran(processes, "echo $PPID; trap '' TERM; setsid sleep 600 & echo $!")
        supervisor, left = pids(first.tail)
        assert alive([left]) == []
        before = descriptors(supervisor)
        second = ran(processes, "echo $PPID")
        assert pids(second.tail) == [supervisor]
        assert len(descriptors(supervisor)) == len(before)


@linux_only
@pytest.mark.parametrize("how", ["stop", "kill", "term", "missing", "guard"])
def test_a_supervisor_that_was_disturbed_is_not_used_again(how: str) -> None:
    with SystemProcesses(SystemClock()) as processes:
        first = pids(ran(processes, "echo $PPID").tail)[0]
        guard = psutil.Process(supervisor_of(first).pid)
        match how:
            case "stop":
                stopped = ran(processes, "sleep 600", timeout_s=0.2)
                assert stopped.ending is Ending.TIMED_OUT
            case "missing":
                gone = Command(("no-such-program",), Path("/"), {"PATH": PATH})
                processes.run(gone, WIDE, None, threading.Event())
            case "guard":
                guard.kill()
            case _:
                name = signal.SIGKILL if how == "kill" else signal.SIGTERM
                os.kill(first, name)
        until(lambda: alive([first]) == [], "it is gone")
        second = ran(processes, "echo $PPID")
        assert (second.ending, second.code) == (Ending.EXITED, 0)
        assert pids(second.tail) != [first]


@linux_only
def test_one_that_is_killed_at_the_moment_of_the_next_program_costs_nothing(
    tmp_path: Path,
) -> None:
    """Its guard takes a moment longer to end, so that it seems to be there."""
    ran_by = tmp_path / "ran"
    with SystemProcesses(SystemClock()) as processes:
        for number in range(30):
            supervisor = pids(ran(processes, "echo $PPID").tail)[0]
            os.kill(supervisor, signal.SIGKILL)
            result = ran(processes, f"echo {number} >> {ran_by}")
            assert (result.ending, result.code) == (Ending.EXITED, 0), result
    assert pids(ran_by.read_text()) == list(range(30))


@linux_only
def test_programs_at_the_same_time_have_supervisors_of_their_own(
    tmp_path: Path,
) -> None:
    script = f"echo $PPID >> {tmp_path}/begun; until [ -e {tmp_path}/go ]; do sleep .01; done"
    with SystemProcesses(SystemClock()) as processes:
        threads = [
            threading.Thread(target=ran, args=(processes, script)) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        begun = tmp_path / "begun"
        until(lambda: begun.exists() and len(pids(begun.read_text())) == 3, "all run")
        (tmp_path / "go").touch()
        for thread in threads:
            thread.join()
        of_the_three = pids(begun.read_text())
        assert len(set(of_the_three)) == 3
        assert pids(ran(processes, "echo $PPID").tail)[0] in of_the_three
    assert alive(of_the_three) == []


@linux_only
def test_much_output_at_the_very_end_is_all_there(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with SystemProcesses(SystemClock()) as processes:
        for _ in range(20):
            log.unlink(missing_ok=True)
            script = "head -c 60000 /dev/zero; exec head -c 60000 /dev/zero"
            processes.run(shell(script), WIDE, log, threading.Event())
            assert log.stat().st_size == 120_000


# Output


def test_memory_stays_flat_for_output_without_end_of_line(tmp_path: Path) -> None:
    script = """
import resource
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before, lines = peak(), []
result = processes.run(
    Command(("/bin/sh", "-c", "head -c 200000000 /dev/zero; echo; echo end"),
            Path("/"), env),
    Bounds(600, 600, 1000, 1), Path(sys.argv[1]), threading.Event(),
    Listener(lambda line: lines.append(len(line))),
)
print(result.truncated, lines, result.tail.strip(), result.code)
print((peak() - before) // (1024 if sys.platform == "linux" else 1024 * 1024))
"""
    log = tmp_path / "log"
    with worker(script, str(log)) as percyd:
        assert percyd.stdout is not None
        said = percyd.stdout.read().splitlines()
    assert said[0] == f"199999005 [{5 * 1024 * 1024}, 3] end 0"
    assert int(said[1]) < 40
    note = b"\n[percyd: 199999005 more bytes were dropped]\n"
    assert log.read_bytes() == b"\0" * 1000 + note


def test_the_log_holds_every_byte_as_it_was_printed(tmp_path: Path) -> None:
    log = tmp_path / "deep" / "log"
    run(shell(r"printf '\033[1mb\033[0m\377\r\n'"), log=log)
    assert log.read_bytes() == b"\x1b[1mb\x1b[0m\xff\r\n"


def test_the_rounds_of_an_attempt_share_one_log_and_its_bound(tmp_path: Path) -> None:
    log = tmp_path / "log"
    small = bounds(log_bytes=8)
    assert run(shell("echo first"), small, log=log).truncated == 0
    assert run(shell("echo second"), small, log=log).truncated == 5
    assert log.read_text() == "first\nse\n[percyd: 5 more bytes were dropped]\n"


@linux_only
def test_a_full_disk_costs_the_log_and_not_the_run() -> None:
    result = run(shell("echo a; echo b; exit 4"), log=Path("/dev/full"))
    assert (result.code, result.tail, result.truncated) == (4, "a\nb", 4)
    assert result.message == "the log could not be written: No space left on device"


def test_a_log_that_cannot_be_made_costs_the_log_and_not_the_run(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    result = run(shell("echo a"), log=tmp_path / "file" / "log")
    assert (result.code, result.tail, result.truncated) == (0, "a", 2)
    assert result.message == "the log could not be written: File exists"


@linux_only
def test_a_process_that_flees_from_its_own_shadow_is_caught() -> None:
    script = """
import os, sys
read_end, write_end = os.pipe()
if os.fork():
    os.read(read_end, 1)
    sys.exit(0)
os.setsid()
print(os.getpid(), flush=True)
os.write(write_end, b"x")
while True:
    if os.fork():
        os._exit(0)
"""
    result = run(Command((sys.executable, "-c", script), Path("/"), {"PATH": PATH}))
    assert (result.ending, result.code) == (Ending.EXITED, 0)
    assert result.message == ""
    first = int(result.tail)
    assert [p for p in psutil.pids() if session_of(p) == first] == []


def session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def test_where_nothing_adopts_orphans_the_process_group_still_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = Path(supervisors.SUPERVISOR).read_text()
    elsewhere = tmp_path / "supervisor.py"
    elsewhere.write_text(source.replace('sys.platform == "linux"', "False"))
    monkeypatch.setattr(supervisors, "SUPERVISOR", elsewhere)
    ignore = "trap '' TERM; sleep 600 & echo $!; (sleep 600 & echo $!); echo $$; "
    result = run(shell(ignore + "wait"), bounds(timeout_s=0.5))
    assert result.ending is Ending.TIMED_OUT
    assert len(pids(result.tail)) == 3
    gone = [psutil.Process(pid) for pid in alive(pids(result.tail))]
    assert psutil.wait_procs(gone, timeout=10)[1] == []
    result = run(shell("trap '' TERM; sleep 600 & echo $!"))
    assert (result.ending, result.code) == (Ending.EXITED, 0)
    gone = [psutil.Process(pid) for pid in alive(pids(result.tail))]
    assert psutil.wait_procs(gone, timeout=10)[1] == []
