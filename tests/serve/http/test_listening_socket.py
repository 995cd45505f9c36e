"""The listening socket, and the mistakes in its address."""

import socket

import pytest

from roadshift import UserError
from serve.http.listening_socket import listen


def test_port_zero_takes_a_free_port() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0
        socket.create_connection(listener.getsockname()).close()


def test_a_taken_port_is_named() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UserError, match=rf":{port} \(.*in use.*: choose another --port"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_out_of_range_is_named(port: int) -> None:
    with pytest.raises(UserError, match=rf"on port {port}: wanted 0 .* to 65535"):
        listen("127.0.0.1", port)


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(UserError, match=r"cannot listen on 192\.0\.2\.1:0 "):
        listen("192.0.2.1", 0)
