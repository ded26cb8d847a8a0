"""The page as a web application (ASGI), made with starlette.

It knows the page's three files and three questions, reads no other file, and answers only its own
page: a name that an attacker's DNS points at this machine is refused by its Host header, a request
that another website makes by its Sec-Fetch-Site header.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.resources import files
from urllib.parse import quote

from anyio import CapacityLimiter, create_task_group, to_thread
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dnnlib import UserError
from dnnlib.config import first_problem
from training.explore.explorer import Explorer, OutdatedError
from training.explore.server import HOSTS
from training.explore.wishes import Wish

_PAGE = {
    "/": ("index.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/script.js": ("script.js", "text/javascript"),
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_HUNG_UP = 499  # as web servers note it; nobody reads the answer

IsOutdated = Callable[[], bool]
Answer = Callable[[Wish, IsOutdated], Response]


def make_app(explorer: Explorer) -> Starlette:
    """The application: the page, and its questions `/network`, `/pictures` and `/download`.

    The last two take a `Wish` as query parameters; what is wrong with one is answered with status
    400 and a line of JSON, `error`.
    """
    pages = [Route(path, _file_route(*file)) for path, file in _PAGE.items()]
    one_at_a_time = CapacityLimiter(1)

    def wish_route(path: str, answer: Answer) -> Route:
        async def endpoint(request: Request) -> Response:
            if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
                return _error("asked by another website; open the page itself", 403)
            work = partial(_reply, request, answer)
            return await _unless_disconnected(request, work, one_at_a_time)

        return Route(path, endpoint)

    async def network(request: Request) -> Response:
        return _json(explorer.describe())

    questions = [
        Route("/network", network),
        wish_route("/pictures", partial(_pictures, explorer)),
        wish_route("/download", partial(_download, explorer)),
    ]
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False)
    return Starlette(routes=[*pages, *questions], middleware=[hosts])


async def _unless_disconnected(
    request: Request, work: Callable[[IsOutdated], Response], limiter: CapacityLimiter
) -> Response:
    """`work` in a thread when it is its turn, unless the browser hangs up before.

    When that happens meanwhile, `work` is told, and its thread is waited for.
    """
    outdated = threading.Event()
    response = Response(status_code=_HUNG_UP)

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        outdated.set()
        group.cancel_scope.cancel()

    async with create_task_group() as group:
        group.start_soon(watch)
        try:
            response = await to_thread.run_sync(work, outdated.is_set, limiter=limiter)
        finally:
            outdated.set()  # when the server shuts down
        group.cancel_scope.cancel()
    return response


def _reply(request: Request, answer: Answer, is_outdated: IsOutdated) -> Response:
    try:
        return answer(Wish.model_validate(dict(request.query_params)), is_outdated)
    except ValidationError as error:
        return _error(first_problem(error))
    except UserError as error:
        return _error(str(error).removeprefix("--"))
    except OutdatedError:
        return Response(status_code=_HUNG_UP)


def _pictures(explorer: Explorer, wish: Wish, is_outdated: IsOutdated) -> Response:
    command = explorer.command(wish)
    pictures = [
        {
            "seed": shown.seed,
            "class": shown.class_name,
            "file": shown.file,
            "png": base64.b64encode(shown.png).decode("ascii"),
        }
        for shown in explorer.pictures(wish, is_outdated)
    ]
    return _json({"command": command, "pictures": pictures})


def _download(explorer: Explorer, wish: Wish, is_outdated: IsOutdated) -> Response:
    name, png = explorer.file(wish, is_outdated)
    disposition = f"attachment; filename*=UTF-8''{quote(name)}"
    return Response(
        png, media_type="image/png", headers=_HEADERS | {"Content-Disposition": disposition}
    )


def _file_route(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    content = files("training.explore").joinpath("page", name).read_bytes()

    async def endpoint(request: Request) -> Response:
        return Response(content, media_type=media_type, headers=_HEADERS)

    return endpoint


def _json(content: object) -> Response:
    return JSONResponse(content, headers=_HEADERS)


def _error(line: str, status: int = 400) -> Response:
    return JSONResponse({"error": " ".join(line.split())}, status, headers=_HEADERS)
