"""Listening and ending: an address that is free, and a server that finishes what runs when a signal comes."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import uvicorn
from starlette.types import ASGIApp

from crispseg.errors import ConfigError
from crispseg.inference import Predictor
from crispseg.serving.app import make_app
from crispseg.serving.limits import Limits
from crispseg.serving.measures import Measures
from crispseg.stopping import StopSignals

__all__ = ["run_app", "serve"]

_LAST_SECONDS = 60  # for what runs when a signal comes
_TRIED_SIDE = 64  # pixels; the least that exported files take


def serve(
    predictors: Mapping[str, Predictor],
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits | None = None,
    on_start: Callable[[str, bool], object] = lambda address, is_open: None,
) -> None:
    """Serve models until a signal comes; then finish what runs.

    Args:
        predictors: by the models' names; each is tried once before anything is listened to.
        host: name or address to listen at.
        port: 0: any free one.
        limits: of uploads and of the queue. None: as `Limits` has them.
        on_start: called with the address, as ``http://127.0.0.1:8000``, and whether other machines may reach it.

    Raises:
        ConfigError: if the address cannot be had, or a model does not fit its label table.
        WeightsError: if a model's output is not finite.
        Interrupted: when a signal has come, after what ran is finished; on a second signal, at once.
    """
    for predictor in predictors.values():
        predictor(np.zeros((_TRIED_SIDE, _TRIED_SIDE, 3), dtype=np.uint8))
    measures = Measures()

    def what_stands() -> str:
        return f"{measures.images()} images were segmented"

    run_app(
        make_app(predictors, limits, measures), host, port, what_stands, lambda where, wide, _: on_start(where, wide)
    )


def run_app(
    app: ASGIApp,
    host: str,
    port: int,
    what_stands: Callable[[], str],
    on_start: Callable[[str, bool, Callable[[], None]], object],
) -> None:
    """Run an application until a signal comes, or until it is stopped; then finish what runs.

    Args:
        app: with a lifespan of its own, if it likes.
        host: name or address to listen at.
        port: 0: any free one.
        what_stands: says at the end what was done, for the message.
        on_start: called with the address, whether other machines may reach it, and what stops the server.

    Raises:
        ConfigError: if the address cannot be had.
        Interrupted: when a signal has come, after what ran is finished; on a second signal, at once.
    """
    with contextlib.closing(_listening(host, port)) as listener:
        server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_LAST_SECONDS,
            )
        )

        def stop() -> None:
            server.should_exit = True

        def stop_at_once() -> None:
            logging.getLogger("uvicorn.error").disabled = True  # it would show each request that is cut off
            server.force_exit = True

        def standing() -> str:
            rest = "what ran was left" if server.force_exit else "what ran was finished"
            return f"{what_stands()}, and {rest}"

        with StopSignals(standing, on_note=stop, on_again=stop_at_once) as signals, signals.postponed():
            on_start(*_address(listener, host), stop)
            server.run(sockets=[listener])


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None: `StopSignals` hears them, as in all commands."""
        yield


def _listening(host: str, port: int) -> socket.socket:
    if "*" in host:  # some systems take it for this machine alone, which is not what is meant
        raise ConfigError(f"host is {host!r:.200}: no name or address; 0.0.0.0 is every address of this machine")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, ValueError) as error:  # ValueError: characters that no name has
        raise ConfigError(f"host is {host!r:.200}: no name or address of this machine ({error})") from error
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name != "nt":  # where it would let two servers have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()  # from here on nobody is sent away
    except OSError as error:
        listener.close()
        cure = {
            errno.EADDRINUSE: "something listens there already; give another --port, or 0 for any free one",
            errno.EACCES: "ports below 1024 are the system's; give another --port",
            errno.EADDRNOTAVAIL: "not an address of this machine; give another --host",
        }.get(error.errno or 0, "give another --host or --port")
        raise ConfigError(f"cannot listen at {host} port {port} ({error.strerror}): {cure}") from error
    return listener


def _address(listener: socket.socket, host: str) -> tuple[str, bool]:
    """As a URL, and whether other machines may reach it."""
    found, port = listener.getsockname()[:2]
    named = f"[{found}]" if ":" in found else found
    return f"http://{named}:{port}", not ipaddress.ip_address(found.partition("%")[0]).is_loopback
