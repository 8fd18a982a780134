import socket

import pytest

from cloister.api.listening import public_socket


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_body_of_an_answer_waits_for_no_acknowledgement_of_its_head(host: str) -> None:
    with public_socket((host, 0)) as listening:
        assert listening is not None
        with socket.create_connection(listening.getsockname()[:2]):
            ours, _ = listening.accept()
            with ours:
                assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
