"""`jdq web`: serve the pages."""

import os
import socket

import click

from jdq.cli.client import BadRequest, Client
from jdq.cli.output import say
from jdq.cli.programs import require_worker_packages


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0: all.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="Port to listen on; 0: any.",
)
@click.option("--new-token", metavar="OWNER", help="Print a new token for OWNER and the setting for it, and exit.")
def web(host: str, port: int, new_token: str | None) -> None:
    """Serve pages about jobs, workers and results.

    Anyone with a token of JDQ_WEB_TOKENS may log in, and acts as its owner. Without that setting, the command prints an
    address with a token for you, which is valid until the command ends.

    \b
    jdq web
    jdq web --new-token alice
    """
    require_worker_packages(("starlette", "uvicorn", "jinja2"), extra="web")
    from jdq.cli.web.access import new_token as random_token
    from jdq.cli.web.access import token_digest

    client = Client()
    token = random_token()
    if new_token:
        say(token)
        say(f"add to JDQ_WEB_TOKENS, and restart jdq web: {new_token}={token_digest(token)}", err=True)
        return
    listening = _listening(host, port)
    owners = client.config.owner_of_token
    address = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{listening.getsockname()[1]}/"
    say(address if owners else f"{address}#token={token}", err=True)
    _serve(listening, owners or {token_digest(token): client.config.user})


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise BadRequest(f"cannot listen on {host}, port {port}: {error}\n  try: jdq web --port 0") from None


def _serve(listening: socket.socket, owners: dict[str, str]) -> None:
    import uvicorn

    from jdq.cli.web.app import application

    def ending() -> bool:
        return server.should_exit

    app = application(os.environ, owners, ending=ending)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=10))
    with listening:
        server.run(sockets=[listening])
