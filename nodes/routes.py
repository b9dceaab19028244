"""The pack's routes below /pakati/: JSON only; a request that is not understood gets 4xx and a sentence.

GET    /pakati/templates            the names of the saved region layouts
GET    /pakati/templates/{name}     one layout
PUT    /pakati/templates/{name}     {"layout": {...}} is saved under the name
DELETE /pakati/templates/{name}
GET    /pakati/canvases                       the canvases of the output folder, each with a small picture
GET    /pakati/canvases/{name}                its latest steps, each with a small picture
GET    /pakati/canvases/{name}/steps/{step}   the layout and the picture of one; 0 is the one it stands at
POST   /pakati/canvases/{name}/duplicate      {} gives the copy's name
POST   /pakati/canvases/{name}/restore        {"token": "..."} takes a deletion back
DELETE /pakati/canvases/{name}                gives the token
"""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web

from ..pakati_core.errors import OutputError, PakatiError, PakatiWarning
from .canvases import Canvases, MissingCanvasError
from .templates import LARGEST, MissingTemplateError, Templates

Handler = Callable[[web.Request], Awaitable[web.Response]]
Result = TypeVar("Result")


def register(routes: web.RouteTableDef, templates: Templates, canvases: Canvases) -> None:
    register_templates(routes, templates)
    register_canvases(routes, canvases)


def register_templates(routes: web.RouteTableDef, templates: Templates) -> None:
    async def names(request: web.Request) -> web.Response:
        return web.json_response({"templates": await asyncio.to_thread(templates.names)})

    async def load(request: web.Request) -> web.Response:
        return web.json_response({"layout": await asyncio.to_thread(templates.load, request.match_info["name"])})

    async def save(request: web.Request) -> web.Response:
        body = await json_body(request)
        await asyncio.to_thread(_quietly, templates.save, request.match_info["name"], body.get("layout"))
        return web.json_response({"saved": request.match_info["name"].strip()})

    async def delete(request: web.Request) -> web.Response:
        await asyncio.to_thread(templates.delete, request.match_info["name"])
        return web.json_response({"deleted": request.match_info["name"].strip()})

    routes.get("/pakati/templates")(answered(names))
    routes.get("/pakati/templates/{name}")(answered(load))
    routes.put("/pakati/templates/{name}")(answered(save))
    routes.delete("/pakati/templates/{name}")(answered(delete))


def register_canvases(routes: web.RouteTableDef, canvases: Canvases) -> None:
    async def listed(request: web.Request) -> web.Response:
        return web.json_response(await asyncio.to_thread(canvases.listed))

    async def steps(request: web.Request) -> web.Response:
        return web.json_response(await asyncio.to_thread(canvases.steps, request.match_info["name"]))

    async def step(request: web.Request) -> web.Response:
        name, number = request.match_info["name"], int(request.match_info["step"])
        return web.json_response(await asyncio.to_thread(_quietly, canvases.step, name, number))

    async def duplicate(request: web.Request) -> web.Response:
        await json_body(request)
        return web.json_response({"name": await asyncio.to_thread(canvases.duplicate, request.match_info["name"])})

    async def restore(request: web.Request) -> web.Response:
        token = (await json_body(request)).get("token")
        name = await asyncio.to_thread(canvases.restore, request.match_info["name"], token)
        return web.json_response({"name": name})

    async def delete(request: web.Request) -> web.Response:
        return web.json_response({"token": await asyncio.to_thread(canvases.delete, request.match_info["name"])})

    routes.get("/pakati/canvases")(answered(listed))
    routes.get("/pakati/canvases/{name}")(answered(steps))
    routes.get(r"/pakati/canvases/{name}/steps/{step:\d{1,9}}")(answered(step))
    routes.post("/pakati/canvases/{name}/duplicate")(answered(duplicate))
    routes.post("/pakati/canvases/{name}/restore")(answered(restore))
    routes.delete("/pakati/canvases/{name}")(answered(delete))


def answered(handler: Handler) -> Handler:
    """What the pack refuses becomes an answer with its sentence."""

    async def answer(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except web.HTTPException as error:
            return refusal(error.status, error.text or error.reason)
        except (MissingTemplateError, MissingCanvasError) as error:
            return refusal(404, str(error))
        except OutputError:
            return refusal(507, "ComfyUI's folders cannot be written to; free some space or mend their permissions")
        except PakatiError as error:
            return refusal(400, str(error))

    return answer


def refusal(status: int, sentence: str) -> web.Response:
    return web.json_response({"error": sentence}, status=status)


async def json_body(request: web.Request) -> dict[str, Any]:
    """Raises web.HTTPException unless the body is a JSON object of a bearable size."""
    if request.content_type != "application/json":
        # Also what keeps a form of another site from writing here: browsers ask first before they send JSON.
        raise web.HTTPUnsupportedMediaType(text="the body is not JSON; send it as application/json")
    data = bytearray()
    async for chunk in request.content.iter_chunked(1 << 16):
        data += chunk
        if len(data) > LARGEST + 4096:
            raise web.HTTPRequestEntityTooLarge(LARGEST, len(data), text=f"the body has more than {LARGEST} bytes")
    try:
        body = json.loads(bytes(data))
    except (ValueError, RecursionError) as exc:
        raise web.HTTPBadRequest(text="the body is not JSON; send an object") from exc
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="the body is not a JSON object; send one")
    return body


def _quietly(run: Callable[..., Result], *given: Any) -> Result:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PakatiWarning)  # a layout may wait for its prompts
        return run(*given)
