"""Running the server in the foreground until it is told to stop."""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from specimg.api.app import create_app, open_server_desk
from specimg.errors import InvalidInput
from specimg.settings import Settings
from specimg.workflow.desk import Desk

STOP_SECONDS = 3
"""For answers in flight when the server is told to stop; models and the log's last checkpoint come after."""


def serve(settings: Settings, announce: Callable[[str], None], desk: Desk | None = None) -> None:
    """Serve until SIGINT or SIGTERM. ``announce`` gets the address once requests are answered; ``desk`` is the data
    folder if it is open already.

    Raises ``InvalidInput`` for an address that is not loopback, unless ``insecure_http`` allows it, and for a port in use.
    """
    if not (settings.insecure_http or _is_loopback(settings.host)):
        raise InvalidInput(
            f"{settings.host} is not a loopback address, and specimg speaks plain HTTP: passwords and images would travel "
            "in the clear. Put a reverse proxy with TLS on this machine in front of it, or say --insecure-http"
        )
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with _listen(settings.host, settings.port) as listening:
        # Opened here and not by the application, so that what is wrong with the folder is one line for the operator.
        desk = desk or open_server_desk(settings)
        config = uvicorn.Config(
            create_app(settings, desk),
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        port = listening.getsockname()[1]
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        server = _Server(config, lambda: announce(f"http://{host}:{port}"))
        server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """Says when it serves."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ctrl-C is how a server is meant to end, so it ends with success: uvicorn raises the signal again when all is
        put away, which would read as a failure (130, or killed by SIGTERM) to whoever started it. Twice does not wait.
        """
        self.force_exit = self.force_exit or (self.should_exit and sig == signal.SIGINT)
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise InvalidInput(f"cannot listen on {host} port {port}: {why}. Choose another with PORT or --port") from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
