"""Serving the page to browsers of this machine."""

from __future__ import annotations

import socket
import webbrowser
from contextlib import suppress
from importlib import import_module
from threading import Thread

from dnnlib import Config, UserError
from dnnlib.logs import logger
from training.explore.explorer import Explorer, ExplorerConfig

HOSTS = ("127.0.0.1", "localhost")
_PACKAGES = ("starlette", "uvicorn")
_MAX_CONNECTIONS = 32  # beyond it the server says 503
_SECONDS_TO_END = 2


class ServerConfig(Config):
    """Where the page is served."""

    host: str = "127.0.0.1"
    port: int = 7860  # 0: a free one
    browser: bool = True  # open it


def explore(config: ServerConfig, explorer_config: ExplorerConfig) -> None:
    """Serve the page until Ctrl-C. Raises `UserError` for what the configs cannot have."""
    _check_packages()
    with _listening(config) as listener:
        explorer = Explorer(explorer_config)
        url = f"http://{config.host}:{listener.getsockname()[1]}/"
        logger.info(f"{url}  (Ctrl-C ends it)")
        if config.browser:
            # Connections wait until the server takes them; a browser in the terminal waits too.
            Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        with suppress(KeyboardInterrupt):
            serve(explorer, listener)


def serve(explorer: Explorer, listener: socket.socket) -> None:
    """Answer connections of `listener` until Ctrl-C or SIGTERM, which are passed on."""
    uvicorn = import_module("uvicorn")
    web = import_module("training.explore.web")
    config = uvicorn.Config(
        web.make_app(explorer),
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_graceful_shutdown=_SECONDS_TO_END,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _check_packages() -> None:
    for name in _PACKAGES:
        try:
            import_module(name)
        except ImportError:
            raise UserError(
                f"explore.py: its page is served by the package {name}, which is not there; "
                f"install it: pip install {' '.join(_PACKAGES)}"
            ) from None


def _listening(config: ServerConfig) -> socket.socket:
    if config.host not in HOSTS:
        tunnel = f"ssh -L {config.port}:127.0.0.1:{config.port}"
        raise UserError(
            f"--host {config.host}: the page is for this machine alone; give {' or '.join(HOSTS)}; "
            f"from another machine use {tunnel}"
        )
    try:
        return socket.create_server((config.host, config.port))
    except OSError as error:
        raise UserError(
            f"--port {config.port}: cannot be listened on ({error.strerror}); choose another, or 0 "
            "for a free one"
        ) from error
