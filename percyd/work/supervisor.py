"""The parent of one task's processes: ends every one of them when percyd goes away.

Run by `percyd.work.supervise` in an interpreter of its own, with the arguments FD...:
each is held open until it ends, and no program inherits it. Standard input brings what
to run (``argv, cwd, env, stdin, grace_s``; `marshal`, after its length) and is then the
lifeline: its end means "end the tree". Standard output belongs to the program, standard
error carries the reports to percyd, one Python literal a line.

One program at a time, because a subreaper cannot tell apart what it adopts, and because
PR_SET_PDEATHSIG fires when the spawning *thread* ends. Once all of a program is gone
(``done``), it waits for the next one: starting an interpreter for each costs as much as
all the git commands of a small task (measured: 16 ms of processor time, of 41). Where
nothing adopts orphans, nobody can know that all is gone, and it ends with its program.

It imports little all the same: json, typing and contextlib would double its start.

On Linux it is two processes: a guard that does nothing but wait, and the supervisor proper below it. Whichever
of them is killed, by hand or for want of memory, the other one ends the tree. Only where
both are killed within a moment can a program that left its session go on.
"""

from __future__ import annotations

import ctypes
import errno
import marshal
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False  # without the module that has it
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

#: So many bytes say how long the spec is, the most significant first.
LENGTH_BYTES = 8
POLL_S = 0.05
#: What outlives a program that ended by itself gets less time than a stopped program.
LEFTOVER_GRACE_S = 5.0
#: After SIGKILL only the kernel can keep a process (a hung disk); then give up.
KILL_S = 10.0
REAPS_PER_TURN = 4096

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: Python ignores the last two, and a shell may have had the others ignored.
RESET_SIGNALS = (*STOP_SIGNALS, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ)


def report(**fields: Any) -> None:
    """Tell percyd; a percyd that is gone cannot listen, and that is no error."""
    try:
        os.write(2, repr(fields).encode() + b"\n")
    except OSError:
        return


def read_spec(wake: int) -> dict[str, Any] | None:
    """What to run; None if nothing more is to be run, or percyd went away."""
    while 0 not in (ready := select.select([wake, 0], [], [])[0]):
        if is_stop(os.read(ready[0], 4096)):
            return None
    length = read_exactly(LENGTH_BYTES)
    data = read_exactly(int.from_bytes(length)) if length else None
    spec: dict[str, Any] | None = marshal.loads(data) if data else None  # noqa: S302
    return spec


def read_exactly(count: int) -> bytes | None:
    """So many bytes of standard input; None if it ends before."""
    data = b""
    while len(data) < count:
        chunk = os.read(0, count - len(data))
        if not chunk:
            return None
        data += chunk
    return data


def kill(pid: int, signum: int) -> None:
    """Send a signal to a process; one that is gone needs none."""
    try:
        os.kill(pid, signum)
    except OSError:
        return


def adopt_orphans() -> Any:
    """Become the parent of every orphan below; returns libc, for the child's use."""
    if not LINUX:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become a subreaper")
    return libc


def become(spec: dict[str, Any], libc: Any, parent: int, output: int) -> NoReturn:
    """In the child: turn into the program, or raise OSError or ValueError."""
    signal.set_wakeup_fd(-1)
    for signum in RESET_SIGNALS:
        signal.signal(signum, signal.SIG_DFL)
    os.setpgid(0, 0)
    if libc is not None:
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
    try:
        os.chdir(spec["cwd"])
        stdin = os.open(spec["stdin"] or os.devnull, os.O_RDONLY)
    except OSError as error:
        # No errno name in front: only a missing *program* is reported with one.
        raise ValueError(f"{error.filename}: {error.strerror}") from error
    os.dup2(stdin, 0)
    os.dup2(output, 1)
    os.dup2(1, 2)
    os.execvpe(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606 - no shell wanted


def explain(error: Exception, program: str) -> str:
    """Why the program could not be started, in one line."""
    if isinstance(error, OSError) and error.errno is not None:
        name = errno.errorcode.get(error.errno, str(error.errno))
        return f"{name}: {program}: {os.strerror(error.errno)}"
    return str(error)


def start(spec: dict[str, Any], libc: Any, output: int) -> tuple[int, str]:
    """Start the program, which prints to ``output``: its id, and an error text or ''."""
    read_end, write_end = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            become(spec, libc, parent, output)
        except Exception as error:  # noqa: BLE001 - the only way out is the pipe
            os.write(write_end, explain(error, str(spec["argv"][0])).encode()[:4000])
        finally:
            os._exit(127)
    os.close(write_end)
    text = b""
    while chunk := os.read(read_end, 4096):
        text += chunk
    os.close(read_end)
    return pid, text.decode(errors="replace")


def parents() -> Iterator[tuple[int, int]]:
    """Every process of the machine with its parent."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib would double the start
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                stat = file.read()
        except OSError:
            continue
        # The command's name may hold spaces and parentheses: count from its end.
        yield int(name), int(stat.rpartition(b")")[2].split()[1])


def descendants() -> list[int]:
    """Every process below this one, adopted orphans included."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    queue = [os.getpid()]
    while queue:
        below = children.pop(queue.pop(), [])
        found += below
        queue += below
    return found


class Tree:
    """The program and everything that it started."""

    def __init__(self, main: int, wake: int) -> None:
        self.main = main
        self.ended = False
        self.is_stopped = False
        self._wake = wake
        self._childless = False

    def reap(self) -> None:
        """Collect what has ended; report the program's own end at once."""
        for _ in range(REAPS_PER_TURN):
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._childless = True
                return
            if pid == 0:
                return
            if pid == self.main:
                self.ended = True
                code = os.waitstatus_to_exitcode(status)
                report(**({"exit": code} if code >= 0 else {"signal": -code}))

    def gone(self) -> bool:
        """Whether nothing is left: without a child, a subreaper has no descendant."""
        return self._childless and (LINUX or not self._signal_group(0))

    def signal(self, signum: int) -> None:
        """Send ``signum`` to everything that is alive."""
        if not LINUX or not self.ended:
            self._signal_group(signum)
        for pid in descendants() if LINUX else ():
            kill(pid, signum)

    def _signal_group(self, signum: int) -> bool:
        try:
            os.killpg(self.main, signum)
        except OSError:
            return False
        return True

    def pause(self, timeout_s: float, *others: int) -> list[int]:
        """Wait for a signal or for one of ``others``; collect; return what is ready."""
        ready = select.select([self._wake, *others], [], [], max(0.0, timeout_s))[0]
        self.reap()
        return list(ready)

    def end(self, grace_s: float) -> None:
        """Ask everything to end, wait, then kill until nothing is left."""
        deadline = time.monotonic() + grace_s
        if not self.gone():
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)
        while not self.gone() and time.monotonic() < deadline:
            self._rest(deadline)
        deadline = time.monotonic() + KILL_S
        while not self.gone() and time.monotonic() < deadline:
            self.signal(signal.SIGKILL)
            self._rest(deadline)
        if not self.gone():
            report(left=descendants() if LINUX else [self.main])

    def _rest(self, deadline: float) -> None:
        for fd in self.pause(min(POLL_S, deadline - time.monotonic())):
            self.is_stopped |= is_stop(os.read(fd, 4096))


def catch_signals() -> int:
    """Turn signals into bytes on a pipe; returns its reading end."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, False)
    for signum in (*STOP_SIGNALS, signal.SIGCHLD):
        signal.signal(signum, lambda *_: None)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    return read_end


def is_stop(data: bytes) -> bool:
    """Whether one of the signals that came wants everything to end."""
    return not {int(signum) for signum in STOP_SIGNALS}.isdisjoint(data)


def watch(tree: Tree, wake: int) -> bool:
    """Wait until the program ends; false if somebody wants everything to."""
    while not tree.ended:
        for fd in tree.pause(3600.0, 0):
            data = os.read(fd, 4096)
            if (fd == 0 and not data) or (fd == wake and is_stop(data)):
                return False
    return True


def guard(libc: Any, parent: int) -> int:
    """Wait for the supervisor, and end what it leaves if it was killed."""
    pid = os.fork()
    if pid == 0:
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        # A group of its own: one signal to a group must not end both.
        os.setpgid(0, 0)
        return supervise() if os.getppid() == parent else 1

    def pass_on(number: int, _: object) -> None:
        kill(pid, number)

    for signum in STOP_SIGNALS:
        signal.signal(signum, pass_on)
    # Only the supervisor may hold these pipes.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    deadline = time.monotonic() + KILL_S
    while has_children():
        if time.monotonic() >= deadline:
            report(left=descendants())
            break
        for orphan in descendants():
            kill(orphan, signal.SIGKILL)
        time.sleep(POLL_S)
    return code if code >= 0 else 1


def has_children() -> bool:
    """Whether anything below is left, once what has ended is collected."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return False
    return True


def supervise() -> int:
    """Run one program after the other, and end the tree of each."""
    wake = catch_signals()
    # Only a program may hold this pipe where its end is all that percyd can go by.
    output = os.dup(1)
    os.set_inheritable(output, False)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    libc = None
    while (spec := read_spec(wake)) is not None:
        # Before it is begun: where this is not said, another supervisor may run it.
        report(taken=True)
        try:
            libc = libc or adopt_orphans()
            pid, problem = start(spec, libc, output)
        except OSError as error:
            problem, pid = f"cannot start a process: {error.strerror}", 0
        if problem:
            report(error=problem)
            return 0
        report(started=pid)
        if not LINUX:
            os.close(output)
        if not run_out(Tree(pid, wake), wake, float(spec["grace_s"])):
            return 0
        report(done=True)
    return 0


def run_out(tree: Tree, wake: int, grace_s: float) -> bool:
    """See a program to its end; whether another one may follow."""
    goes_on = False
    try:
        goes_on = watch(tree, wake)
    finally:
        tree.end(min(grace_s, LEFTOVER_GRACE_S) if tree.ended else grace_s)
    return goes_on and LINUX and tree.gone() and not tree.is_stopped


def main() -> NoReturn:
    """Run programs and end their trees, whatever becomes of this process."""
    code = 1
    try:
        for kept in sys.argv[1:]:
            os.set_inheritable(int(kept), False)
        code = guard(adopt_orphans(), os.getpid()) if LINUX else supervise()
    except Exception as error:  # noqa: BLE001 - percyd has to hear of it
        report(failed=f"{type(error).__name__}: {error}")
    finally:
        os._exit(code)
