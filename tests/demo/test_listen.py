"""The demo's socket and its command."""

import socket

import pytest

from demo.cli import demo
from demo.listen import listen
from roadshift import UserError


def test_port_zero_takes_a_free_port() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0
        socket.create_connection(listener.getsockname()).close()


def test_a_taken_port_is_named() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} .*in use.*: choose another with --port"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_out_of_range_is_named(port: int) -> None:
    with pytest.raises(UserError, match=f"port {port} does not exist: give one from 1 to 65535"):
        listen("127.0.0.1", port)


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(UserError, match=r"cannot listen on 192\.0\.2\.1, port 0"):
        listen("192.0.2.1", 0)


def test_the_command_refuses_what_is_no_bundle(tmp_path) -> None:
    with pytest.raises(UserError, match="not a bundle"):
        demo(tmp_path)
