"""What the kernel is asked about a socket, and how its answers are read."""

import os
import socket

import pytest

from cloister.model.asker import Asker, Connection, printable
from cloister.sandboxes.oci.owner import asker_of, inode_in, request_of

STATUS = "Name:\tcurl\nPid:\t4711\nNSpid:\t4711\t17\n"


def ask(connection: Connection) -> int | None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as diagnosis:
        diagnosis.send(request_of(connection))
        return inode_in(diagnosis.recv(8192))


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["IPv4", "IPv6"]
)
def test_the_kernel_names_the_inode_of_one_end(family: socket.AddressFamily, address: str) -> None:
    with (
        socket.create_server((address, 0), family=family) as listener,
        socket.create_connection(listener.getsockname()[:2]) as client,
        listener.accept()[0] as server,
    ):
        there, here = client.getsockname()[:2], server.getsockname()[:2]
        assert ask(Connection(*there, *here)) == os.fstat(client.fileno()).st_ino
        assert ask(Connection(*here, *there)) == os.fstat(server.fileno()).st_ino


def test_a_socket_of_both_families_is_found_by_the_older() -> None:
    """As a JVM's are."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_INET6) as client,
    ):
        client.connect((f"::ffff:{listener.getsockname()[0]}", listener.getsockname()[1]))
        with listener.accept()[0] as server:
            assert ask(Connection(*server.getpeername(), *server.getsockname())) == os.fstat(client.fileno()).st_ino


def test_a_connection_that_is_not_there_has_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert ask(Connection("127.0.0.1", listener.getsockname()[1], "127.0.0.1", 1)) is None, "that one only listens"
    assert ask(Connection("127.0.0.1", 1, "127.0.0.1", 2)) is None


def test_an_asker_is_what_proc_says() -> None:
    assert asker_of(b"pip\0install\0foo bar\0", STATUS) == Asker(pid=17, command="pip install foo bar")
    assert asker_of(b"", STATUS) is None, "a process that ends has no command line"
    assert asker_of(b"pip\0", "Name:\tNSpid: 3\n") is None
    assert asker_of(b"\xff\0", STATUS) == Asker(pid=17, command="\ufffd")


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("pip install foo", "pip install foo"),
        ("a\nb\r\x1b[31m\t\x00\x7f\x9b", "a?b??[31m????"),
        ("right \u202eto left \u2028 line", "right ?to left ? line"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 197 + "..."),
        ("\udcff", "?"),
    ],
)
def test_a_command_line_is_shown_on_one_line(command: str, shown: str) -> None:
    assert printable(command) == printable(printable(command)) == shown
