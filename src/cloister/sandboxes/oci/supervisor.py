"""The process that watches one container, whatever happens to the worker that started it.

Standard library only, run as a program of its own (`python -I -S supervisor.py`). It is first a
*spawner*: a small process that the worker starts once and that forks one supervisor per container,
because forking this is ten times cheaper than starting an interpreter. A supervisor

- starts the container through the OCI runtime and becomes its init's parent (PR_SET_CHILD_SUBREAPER),
- appends what it prints to the file `output` (frames: stream, length, data),
- ends it at its deadline, at its output limit, or when asked through the socket,
- writes how it ended to the file `exit`, by rename, and goes.

Whoever connects to the socket `watch` receives a byte at once, a byte when there is more output, and the
end of the stream when the supervisor has gone. A client may send

- `stop SECONDS`,
- `terminal`: the first one receives the descriptor of our end of the container's terminal with a byte `t`, later ones
  that byte alone. When the first one has gone, the container is hung up,
- `listeners`: it receives a byte `l` with duplicates of the sockets that the worker gave us to hold, see `listening`,
- `awake`: as long as this client is there, the container waits for somebody, and is not stuck,
- `person`: somebody enters the container, see `entrance`. It receives `p NUMBER`; that it came, and when its connection
  ends that it went, is noted among the frames.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import select
import selectors
import signal
import socket
import struct
import sys
import time
import traceback
from typing import Any

FRAME = struct.Struct("!BI")
"""Stream (1 standard output, 2 standard error, 3 a note of ours), length of the data that follows in bytes."""

READ_BYTES = 64 * 1024
REQUEST_BYTES = 64 * 1024
MOST_LISTENERS = 250
"""Descriptors that one message carries: SCM_MAX_FD of unix(7) is 253."""
LONGEST_SLEEP_SECONDS = 3600.0
FULL_DISK_SECONDS = 10.0
"""How long a full disk is remembered when its program has made room again."""
ABSENCE_SECONDS = 60.0
"""How long a terminal waits for its user."""
FAREWELL_SECONDS = 2.0
"""From SIGHUP to SIGKILL, when the user of a terminal has gone."""
CONSOLE_SECONDS = 10.0
_LONGEST_LOOK_SECONDS = 5.0
_IDLE_SHARE = 0.005
"""Of one processor: what waits computes less. A loop that sleeps a second and looks again takes a fifth of it."""
_MOST_PERSONS = 100
"""In the life of a container, so that notes have an end."""
_LOOK_SECONDS = 0.05
"""How soon it is seen that everything has ended that was asked to."""
_MOST_NAMED = 50
"""Processes that are named when their time is up, and how many bytes of their command lines are read."""
_LONGEST_NAME_BYTES = 4096
_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000
_MS_REC_PRIVATE = 0x4000 | 0x40000
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NAME = 15
_ALL_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_MOST_SHARED = {resource.RLIMIT_MSGQUEUE: 256 * 1024, resource.RLIMIT_SIGPENDING: 16 * 1024}
"""Bytes of message queues, and signals and timers that wait."""

_libc = ctypes.CDLL(None, use_errno=True)


def spawn_forever(requests: socket.socket, runtime: int | None = None) -> None:
    """Fork a supervisor for each request, until the worker is gone.

    A request is a JSON object: `directory` (of the process), `argv` (of the runtime), `delete` (the
    runtime's command that removes the container), `hide` (mount points that the runtime must not see),
    `timeout_seconds`, `stuck_seconds` (or null), `cpu` (files that tell the time it computed), `output_bytes`,
    `enterable` (whether people may enter it), `counters` (files that count kills for lack of memory), `members` (the
    file that lists its processes), `volume` (what it writes to, with the share of it
    that is as good as none; or null),
    `terminal` (whether `argv` sends one to the socket `console`). The answer is `ok`, sent when the watch socket can be
    connected to.
    `runtime` is the program that `argv` and `delete` call, sealed; without it, they are found by their paths.
    Descriptors that come with it are held for the next worker. Without `directory`, the container of a lost
    supervisor is removed, and the answer sent afterwards.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, listeners, _, _ = socket.recv_fds(requests, REQUEST_BYTES, MOST_LISTENERS)
        if not request:
            return
        try:
            order = {**json.loads(request), "runtime": runtime}
            if "directory" not in order:
                _remove_container(order)
                requests.send(b"ok")
                continue
            watch = listen(os.path.join(order["directory"], "watch"))
            if os.fork() == 0:
                requests.close()
                _become_supervisor(order, watch, listeners)
            watch.close()
            requests.send(b"ok")
        except BrokenPipeError:
            return  # who asked has gone
        except OSError as error:
            requests.send(str(error).encode())
        finally:
            for listener in listeners:
                os.close(listener)


def _become_supervisor(order: dict[str, Any], watch: socket.socket, listeners: list[int]) -> None:
    status = 1
    try:
        os.setsid()
        become_reaper(b"cloister-watch")
        for listener in listeners:
            os.set_inheritable(listener, False)
        Supervisor(order, watch, listeners).run()
        status = 0
    except Exception:
        with open(os.path.join(order["directory"], "supervisor.log"), "w") as file:
            traceback.print_exc(file=file)
        _remove_container(order)  # nobody would hold its limits
    finally:
        os._exit(status)


class Supervisor:
    """One container from its start to its removal."""

    def __init__(self, order: dict[str, Any], watch: socket.socket, listeners: list[int]) -> None:
        self.order = order
        self.directory: str = order["directory"]
        self.watch = watch
        self.listeners = listeners
        self.clients: list[socket.socket] = []
        self.events = selectors.DefaultSelector()
        self.output = os.open(self._path("output"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.room: int = order["output_bytes"]
        self.deadline: float = time.monotonic() + order["timeout_seconds"]
        self.kill_at: float | None = None
        self.ask_at: float | None = None
        self.cause = "exited"
        self.full, self.full_at = "", -FULL_DISK_SECONDS
        self.init: int | None = None
        self.running: list[str] = []
        self.terminal: int | None = None
        self.awaits_user = False
        self.user: socket.socket | None = None
        self.persons: dict[socket.socket, tuple[int, float]] = {}
        self.entered = 0
        self.awake: set[socket.socket] = set()
        self.moved_at, self.moved_cpu = time.monotonic(), 0.0

    def run(self) -> None:
        """Watch the container until it has ended, then say how, then remove it."""
        with open(self._path("pid"), "w") as file:
            file.write(str(os.getpid()))
        streams = self._start()
        if self.init is None:
            self._finish(status=255, cause="not started", message=self._runtime_message())
            return
        pidfd = os.pidfd_open(self.init)
        if self.terminal is not None:
            self.awaits_user, self.kill_at = True, time.monotonic() + ABSENCE_SECONDS
        for stream, number in streams.items():
            self.events.register(stream, selectors.EVENT_READ, number)
        self.events.register(pidfd, selectors.EVENT_READ, "init")
        self.events.register(self.watch, selectors.EVENT_READ, "watch")
        while len(self.events.get_map()) > 1 + len(self.clients):
            self._turn()
        _, wait_status = os.waitpid(self.init, 0)
        code = os.waitstatus_to_exitcode(wait_status)
        if self.cause == "exited" and code != 0 and self._killed_for_memory():
            self.cause = "out of memory"
        self._look_at_disk()
        if self.cause == "exited" and code != 0 and time.monotonic() - self.full_at < FULL_DISK_SECONDS:
            self.cause = self.full
        self._finish(status=code if code >= 0 else 128 - code, cause=self.cause)

    def _turn(self) -> None:
        due = min(self.deadline, self.kill_at or self.deadline)
        if self.ask_at is not None:
            due = min(due, time.monotonic() + _LOOK_SECONDS)
        if self.order["stuck_seconds"] is not None:
            due = min(due, time.monotonic() + min(_LONGEST_LOOK_SECONDS, self.order["stuck_seconds"] / 10))
        for key, _ in self.events.select(min(max(0.0, due - time.monotonic()), LONGEST_SLEEP_SECONDS)):
            match key.data:
                case "init":
                    self.events.unregister(key.fileobj)
                case "watch":
                    self._accept()
                case "client":
                    self._hear(key.fileobj)  # type: ignore[arg-type]  # only sockets are registered as clients
                case number:
                    self._copy(key.fd, number)
        now = time.monotonic()
        if self.ask_at is not None and (now >= self.ask_at or not self._others()):
            self.ask_at = None
            self._signal(signal.SIGTERM)
        if now >= self.deadline and self.cause == "exited":
            self._kill("timed out")
        if self.cause == "exited" and self._is_stuck(now):
            self._kill("stuck")
        if self.kill_at is not None and now >= self.kill_at:
            self._kill("hung up" if self.awaits_user else "stopped")
        self._look_at_disk()

    def _is_stuck(self, now: float) -> bool:
        """Whether nothing was printed or awaited, next to nothing computed, and nobody in there, for so long."""
        longest, cpu = self.order["stuck_seconds"], _cpu_seconds(self.order["cpu"])
        if longest is None or cpu is None:
            return False
        if self.persons or self.awake or cpu - self.moved_cpu > longest * _IDLE_SHARE:
            self._moves(now)
        return bool(now - self.moved_at >= longest)

    def _moves(self, now: float) -> None:
        self.moved_at, self.moved_cpu = now, _cpu_seconds(self.order["cpu"]) or 0.0

    def _look_at_disk(self) -> None:
        """Remember for a moment that it was full: a program that found no room says so, and may tidy up then."""
        if self.order["volume"] is None:
            return
        place, share = self.order["volume"]
        with contextlib.suppress(OSError):
            space = os.statvfs(place)
            if space.f_bavail < space.f_blocks * share:
                self.full, self.full_at = "disk full", time.monotonic()
            elif space.f_favail < space.f_files * share:
                self.full, self.full_at = "no inodes left", time.monotonic()

    def _start(self) -> dict[int, int]:
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        for end in (out_write, err_write):  # so that /dev/stdout can be opened inside
            os.fchmod(end, 0o222)
        for end in (out_read, err_read):
            # Some runtimes give the pipes to container root, who can then read from them as well: the bytes that
            # `select` saw may be gone, and whoever waits for them in `read` holds no deadline.
            os.set_blocking(end, False)
        console = listen(self._path("console")) if self.order["terminal"] else None
        child = os.fork()
        if child == 0:
            self._become_runtime(out_write, err_write)
        os.close(out_write)
        os.close(err_write)
        _, status = os.waitpid(child, 0)
        for name in ("stdin", "config.json"):  # they may hold secrets
            with contextlib.suppress(OSError):
                os.unlink(self._path(name))
        if status == 0:
            with open(self._path("init-pid")) as file:
                self.init = int(file.read())
            self.terminal = receive_terminal(console) if console is not None else None
        return {out_read: 1, err_read: 2}

    def _become_runtime(self, out_write: int, err_write: int) -> None:
        try:
            for path in self.order["hide"]:
                hide_mount(path)
            for source, target in ((sealed_copy(self._path("stdin")), 0), (out_write, 1), (err_write, 2)):
                os.dup2(source, target)
            _leave_room_for_host()
            _execute(self.order["argv"], self.order["runtime"])
        except OSError as error:
            os.write(2, f"{self.order['argv'][0]}: {error}\n".encode())
        os._exit(127)

    def _copy(self, stream: int, number: int) -> None:
        try:
            data = os.read(stream, READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self.events.unregister(stream)
            os.close(stream)
            return
        if self.order["stuck_seconds"] is not None:
            self._moves(time.monotonic())
        if not self._has_space():
            self._kill("no room for output")
            return
        kept = data[: self.room]
        if kept:
            os.write(self.output, FRAME.pack(number, len(kept)) + kept)
        self.room -= len(kept)
        if len(kept) < len(data):
            self._kill("output limit reached")
        for client in list(self.clients):
            self._send(client)

    def _has_space(self) -> bool:
        """Whether a quarter of our tmpfs is free: it is the host's too, and limits are a repository's to choose."""
        space = os.statvfs(self.directory)
        return space.f_bavail * 4 >= space.f_blocks

    def _accept(self) -> None:
        client, _ = self.watch.accept()
        client.setblocking(False)
        self.clients.append(client)
        self.events.register(client, selectors.EVENT_READ, "client")
        self._send(client)  # it may have looked before the last output was written, which it was not told of

    def _hear(self, client: socket.socket) -> None:
        try:
            words = client.recv(64).split()
        except OSError:
            words = []
        if not words:
            self._drop(client)
        elif words[0] == b"stop" and self.init is not None:
            grace = float(words[1])
            self.awaits_user, self.kill_at = False, time.monotonic() + grace
            if grace > 0:
                self.cause = "stopped"
                self._ask_to_end(grace)
        elif words[0] == b"awake":
            self.awake.add(client)
        elif words[0] == b"listeners":
            with contextlib.suppress(OSError):  # it has gone again, which is heard next
                socket.send_fds(client, [b"l"], self.listeners)
        elif words[0] == b"person":
            self._let_in(client)
        elif words[0] == b"terminal":
            self._hand_over(client) if self.order["terminal"] else self._drop(client)

    def _hand_over(self, client: socket.socket) -> None:
        """Give the terminal away. We keep no end of it: with the user's death the kernel hangs it up."""
        taken, self.terminal = self.terminal, None
        with contextlib.suppress(OSError):  # it has gone again; what that means is done when its end is heard
            socket.send_fds(client, [b"t"], [taken] if taken is not None else [])
        if taken is not None:
            os.close(taken)
            self.user, self.awaits_user, self.kill_at = client, False, None

    def _let_in(self, client: socket.socket) -> None:
        if not self.order["enterable"] or self.entered >= _MOST_PERSONS or client in self.persons:
            self._drop(client)
            return
        self.entered += 1
        self.persons[client] = self.entered, time.monotonic()
        self._note(f"entered {self.entered}")
        with contextlib.suppress(OSError):  # it has gone again, which is heard next
            client.send(b"p %d" % self.entered)

    def _let_out(self, client: socket.socket) -> None:
        number, since = self.persons.pop(client)
        self._note(f"left {number} {time.monotonic() - since:.2f}")

    def _note(self, text: str) -> None:
        """Write among the output what is not the container's to write, nor counted as its own."""
        os.write(self.output, FRAME.pack(3, len(text)) + text.encode())
        for client in list(self.clients):
            if client not in self.persons:
                self._send(client)

    def _hang_up(self) -> None:
        self.user = None
        if self.cause == "exited":
            self.cause = "hung up"
        self._signal(signal.SIGHUP)
        self.kill_at = time.monotonic() + FAREWELL_SECONDS

    def _send(self, client: socket.socket) -> None:
        try:
            client.send(b"\n")
        except BlockingIOError:
            pass  # it has signs enough that it did not read
        except (BrokenPipeError, ConnectionResetError):
            self._drop(client)

    def _drop(self, client: socket.socket) -> None:
        if client not in self.clients:  # it was dropped a moment ago, when there was output to tell it of
            return
        self.events.unregister(client)
        self.clients.remove(client)
        client.close()
        if client in self.persons:
            self._let_out(client)
        if client in self.awake:
            self.awake.remove(client)
            self._moves(time.monotonic())
        if client is self.user:
            self._hang_up()

    def _kill(self, cause: str) -> None:
        if cause in ("timed out", "stuck"):
            self.running = _command_lines(self.order["members"], but=self.init)
        if self.cause == "exited":
            self.cause = cause
        self.kill_at = None
        self.deadline = float("inf")
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.init or 0, number)

    def _ask_to_end(self, grace: float) -> None:
        """Tell every process but the program itself, and the program when they have gone or half the time has.

        With the program's end everything else is killed, and a shell ends at once, whatever it waits for.
        """
        for pid in self._others():
            _ask(pid, self.order["members"])
        self.ask_at = time.monotonic() + grace / 2

    def _others(self) -> list[int]:
        """What lives beside the program, which is the oldest child of the container's process 1."""
        born = {pid: found for pid in _pids(self.order["members"]) if (found := _parent_and_birth(pid)) is not None}
        children = [pid for pid, (parent, _) in born.items() if parent == self.init]
        program = min(children, key=lambda pid: born[pid][1], default=None)
        return [pid for pid in born if pid not in (self.init, program)]

    def _killed_for_memory(self) -> bool:
        for path in self.order["counters"]:
            with contextlib.suppress(OSError), open(path) as file:
                for line in file:
                    name, _, count = line.partition(" ")
                    if name == "oom_kill" and int(count) > 0:
                        return True
        return False

    def _runtime_message(self) -> str:
        with contextlib.suppress(OSError), open(self._path("runtime.log"), errors="replace") as file:
            return file.read()[-2000:]
        return ""

    def _finish(self, *, status: int, cause: str, message: str = "") -> None:
        for client in list(self.persons):
            self._let_out(client)
        draft = self._path("exit.draft")
        with open(draft, "w") as file:
            json.dump({"status": status, "cause": cause, "message": message, "running": self.running}, file)
        os.rename(draft, self._path("exit"))
        os.close(self.output)
        _remove_container(self.order)

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)


def _execute(argv: list[str], runtime: int | None) -> None:
    """Become the runtime, with its three streams alone."""
    if runtime is None:
        os.closerange(3, 256)
        os.execvp(argv[0], argv)
    os.closerange(3, runtime)
    os.closerange(runtime + 1, 256)
    os.execve(runtime, argv, os.environ)


def _remove_container(order: dict[str, Any]) -> None:
    """Have the runtime remove it, and wait; by pidfd, because the spawner's children are buried by the kernel."""
    child = os.fork()
    if child == 0:
        try:
            for path in order["hide"]:
                hide_mount(path)
            null = os.open("/dev/null", os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(null, number)
            _execute(order["delete"], order["runtime"])
        finally:
            os._exit(127)
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(child)
        select.select([pidfd], [], [])
        os.close(pidfd)


def become_reaper(name: bytes) -> None:
    """Be the parent of what our children leave, under that name."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _libc.prctl(_PR_SET_NAME, name, 0, 0, 0)


def receive_terminal(console: socket.socket) -> int:
    """Return our end of the container's terminal, which the runtime has sent."""
    with console:
        console.settimeout(CONSOLE_SECONDS)
        connection, _ = console.accept()
        with connection:
            connection.settimeout(CONSOLE_SECONDS)
            _, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
    if not descriptors:
        raise ValueError("the runtime sent no terminal")
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]


def _command_lines(members: str, *, but: int | None) -> list[str]:
    """What runs in a container, lowest process number first."""
    lines = []
    for pid in [pid for pid in _pids(members) if pid != but][:_MOST_NAMED]:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as command:
            line = command.read(_LONGEST_NAME_BYTES).rstrip(b"\0").replace(b"\0", b" ")
            lines.append(line.decode(errors="replace"))
    return [line for line in lines if line]


def _cpu_seconds(paths: list[str]) -> float | None:
    """Return how long a group has computed: by version 1 in nanoseconds, by version 2 in microseconds."""
    for path in paths:
        with contextlib.suppress(OSError, ValueError), open(path) as file:
            first = file.readline().split()
            return int(first[1]) / 1e6 if first[0] == "usage_usec" else int(first[0]) / 1e9
    return None


def _ask(pid: int, members: str) -> None:
    """Send SIGTERM, unless the number is another process's by now: what we hold is looked for once more."""
    with contextlib.suppress(OSError):
        held = os.pidfd_open(pid)
        try:
            if pid in _pids(members):
                signal.pidfd_send_signal(held, signal.SIGTERM)
        finally:
            os.close(held)


def _parent_and_birth(pid: int) -> tuple[int, int] | None:
    """Return what proc(5) calls ppid and starttime; None when it has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        state, parent, *rest = file.read().rpartition(b")")[2].split()
        return None if state in (b"Z", b"X") else (int(parent), int(rest[17]))
    return None


def _pids(members: str) -> list[int]:
    with contextlib.suppress(OSError), open(members) as file:
        return sorted(int(line) for line in file)
    return []


def sealed_copy(path: str) -> int:
    """Return a descriptor with the file's content, which nobody can write to.

    The runtime gives standard input to container root, who could open /proc/self/fd/0 again and fill our tmpfs.
    """
    copy = os.memfd_create(os.path.basename(path), os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    with open(path, "rb") as file, open(copy, "wb", closefd=False) as target:
        target.write(file.read())
    fcntl.fcntl(copy, fcntl.F_ADD_SEALS, _ALL_SEALS)
    sealed = os.open(f"/proc/self/fd/{copy}", os.O_RDONLY | os.O_CLOEXEC)
    os.close(copy)
    return sealed


def _leave_room_for_host() -> None:
    """Lower limits that count for the user who makes a user namespace: what all sandboxes use together is ours.

    The namespace remembers them, so that no number of users inside can have more (kernel/ucount.c).
    """
    for limit in (resource.RLIMIT_MSGQUEUE, resource.RLIMIT_SIGPENDING):
        soft, _ = resource.getrlimit(limit)
        most = _MOST_SHARED[limit] if soft == resource.RLIM_INFINITY else min(soft // 4, _MOST_SHARED[limit])
        resource.setrlimit(limit, (most, most))


def listen(path: str) -> socket.socket:
    """Return a socket that listens there."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.bind(path)
    listener.listen(16)
    return listener


def join_network(path: str) -> None:
    """Enter a network namespace. OSError."""
    namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if _libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "the network namespace cannot be entered")
    os.close(namespace)


def hide_mount(path: str) -> None:
    """Cover `path` in a mount namespace of our own: crun 1.8 refuses hosts with hybrid cgroups otherwise.

    By something to write to, because it makes a directory there all the same, and what systemd mounts below the
    hierarchies is read-only.
    """
    _libc.unshare(_CLONE_NEWNS)
    _libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None)
    _libc.mount(b"none", path.encode(), b"tmpfs", 0, b"mode=700")


if __name__ == "__main__":
    for inherited in sys.argv[1:]:
        os.set_inheritable(int(inherited), False)
    spawn_forever(socket.socket(fileno=int(sys.argv[1])), *map(int, sys.argv[2:]))
