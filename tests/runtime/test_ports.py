"""Choosing ports."""

import socket

from planasonix_orchestrator.runtime.ports import LOOPBACK, choose_port


def test_a_free_port_is_taken_as_wished() -> None:
    """The wished port is chosen if nobody listens on it."""
    free = choose_port(0)
    assert choose_port(free) == free


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    """Where somebody listens already, another port is chosen."""
    with socket.create_server((LOOPBACK, 0)) as other:
        taken = other.getsockname()[1]
        chosen = choose_port(taken)
    assert chosen != taken
    with socket.create_server((LOOPBACK, chosen)):
        pass


def test_ports_promised_to_others_are_not_chosen() -> None:
    """A port that another part is going to use counts as taken."""
    promised = choose_port(0)
    assert choose_port(promised, taken=[promised]) != promised
