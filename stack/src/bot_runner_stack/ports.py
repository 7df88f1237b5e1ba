"""TCP ports of this machine."""

import socket

from bot_runner_stack.errors import StackError


def free_port(host: str) -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def ensure_free(host: str, port: int, *, hint: str) -> None:
    """Raise StackError, ending in `hint`, if `port` cannot be listened on."""
    with socket.socket() as probe:
        # As servers do: a port whose last connections are still fading is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StackError(f"Port {port} on {host} cannot be used ({error.strerror}): {hint}") from error
