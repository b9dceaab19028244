"""A stand-in for ComfyUI's server: enough of its routes for the real frontend to run with our extension.

    python tests/web/backend.py       serve on a free port, to look at with a browser

The frontend is the released package; the node definitions are tests/data/object_info.json, recorded from a real
ComfyUI. Prompts are accepted and kept in `prompts`, never run.
"""

import asyncio
import base64
import importlib
import importlib.metadata
import json
import shutil
import sys
import tempfile
import threading
import uuid
from pathlib import Path
from types import ModuleType

import comfyui_frontend_package
from aiohttp import WSMsgType, web

ROOT = Path(__file__).absolute().parents[2]
FRONTEND = Path(comfyui_frontend_package.__file__).parent / "static"
VERSION = importlib.metadata.version("comfyui-frontend-package")

SETTINGS = {"Comfy.TutorialCompleted": True, "Comfy.Workflow.WarnBlueprintOverwrite": False}
QUEUE = {"exec_info": {"queue_remaining": 0}}
SYSTEM = {
    "system": {"os": "linux", "comfyui_version": "0.33.0", "python_version": "3.11", "pytorch_version": "", "argv": []},
    "devices": [],
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
JOBS = {"jobs": [], "pagination": {"offset": 0, "limit": 200, "total": 0, "has_more": False}}


def pack_module(name: str) -> ModuleType:
    """A module of nodes/ that needs no ComfyUI. The packages around it do, so their __init__ is left out."""
    for package, folder in (("pakati_alone", ROOT), ("pakati_alone.nodes", ROOT / "nodes")):
        if package not in sys.modules:
            sys.modules[package] = ModuleType(package)
            sys.modules[package].__path__ = [str(folder)]
    return importlib.import_module(f"pakati_alone.nodes.{name}")


class Backend:
    """Use as a context manager: serves in a thread of its own while the context lasts."""

    def __init__(self, settings: dict | None = None, frontend: Path = FRONTEND, port: int = 0):
        self.settings = SETTINGS | (settings or {})
        self.frontend = frontend
        self.port = port
        self.prompts: list[dict] = []
        self.userdata: dict[str, bytes] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="pakati-web-"))
        self.unanswered: set[str] = set()
        self.object_info = json.loads((ROOT / "tests/data/object_info.json").read_text(encoding="utf-8"))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def __enter__(self) -> "Backend":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self.folder)

    @property
    def canvases(self) -> Path:
        """Where project files lie."""
        return self.folder / "canvases"

    def forget(self) -> None:
        """What was queued or saved."""
        self.prompts.clear()
        self.userdata.clear()
        shutil.rmtree(self.folder)
        self.canvases.mkdir(parents=True)

    async def _start(self) -> None:
        self._runner = web.AppRunner(self.app(), shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_get("/ws", self.websocket)
        for path, answer in self.answers().items():
            app.router.add_get("/api" + path, answer)
        app.router.add_get("/api/view", self.picture)
        app.router.add_post("/api/settings", self.save_settings)
        app.router.add_post("/api/settings/{id}", self.save_settings)
        app.router.add_post("/api/prompt", self.queue_prompt)
        app.router.add_route("*", "/api/userdata/{path:.+}", self.userdata_file)
        for route in self.pack_routes():
            app.router.add_route(route.method, "/api" + route.path, route.handler)
        app.router.add_static("/extensions/pakati", ROOT / "web")
        app.router.add_route("*", "/api/{path:.*}", self.unknown)
        app.router.add_get("/internal/folder_paths", self.no_folders)
        app.router.add_get("/user.css", self.no_style)
        app.router.add_get("/", self.page)
        app.router.add_static("/", self.frontend)
        if (ROOT / "workflows").is_dir():
            app.router.add_static("/api/workflow_templates/pakati", ROOT / "workflows")
        return app

    def pack_routes(self) -> web.RouteTableDef:
        """The pack's own, on a folder of this backend."""
        table = web.RouteTableDef()
        templates = pack_module("templates").Templates(self.folder / "templates")
        pack_module("routes").register(table, templates, pack_module("canvases").Canvases(lambda: self.canvases))
        return table

    def answers(self) -> dict:
        """The routes that answer the same whatever they are asked."""

        def reply(value):
            async def answer(request: web.Request) -> web.Response:
                return web.json_response(value() if callable(value) else value)

            return answer

        empty_list = ("/embeddings", "/experiment/models", "/global_subgraphs", "/userdata", "/v2/userdata")
        empty_dict = ("/node_replacements", "/features", "/history")
        values = {
            **dict.fromkeys(empty_list, []),
            **dict.fromkeys(empty_dict, {}),
            "/settings": lambda: self.settings,
            "/object_info": lambda: self.object_info,
            "/extensions": self.extensions,
            "/workflow_templates": lambda: {"pakati": [path.stem for path in (ROOT / "workflows").glob("*.json")]},
            "/i18n": self.translations,
            "/users": {"storage": "server", "migrated": True},
            "/system_stats": SYSTEM,
            "/prompt": QUEUE,
            "/queue": {"queue_running": [], "queue_pending": []},
            "/jobs": JOBS,
            "/models/loras": ["paint.safetensors", "ink.safetensors"],
        }
        return {path: reply(value) for path, value in values.items()}

    def extensions(self) -> list[str]:
        """Every script below web/ and every one that the frontend itself ships, as the host lists them."""
        core = sorted(path.relative_to(self.frontend) for path in (self.frontend / "extensions").rglob("*.js"))
        ours = sorted(path.relative_to(ROOT / "web") for path in (ROOT / "web").rglob("*.js"))
        return [f"/{path.as_posix()}" for path in core] + [f"/extensions/pakati/{path.as_posix()}" for path in ours]

    def translations(self) -> dict:
        found: dict = {}
        for path in (ROOT / "locales").glob("*/*.json"):
            saved = json.loads(path.read_text(encoding="utf-8"))
            part = saved if path.stem == "main" else {path.stem: saved}
            found.setdefault(path.parent.name, {}).update(part)
        return found

    async def no_folders(self, request: web.Request) -> web.Response:
        """Asked for by the Vue renderer where a node takes files."""
        return web.json_response({})

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        sid = request.query.get("clientId") or uuid.uuid4().hex
        await socket.send_json({"type": "status", "data": {"status": QUEUE, "sid": sid}})
        async for message in socket:
            if message.type == WSMsgType.TEXT and json.loads(message.data).get("type") == "feature_flags":
                await socket.send_json({"type": "feature_flags", "data": {}})
        return socket

    async def save_settings(self, request: web.Request) -> web.Response:
        value = await request.json()
        name = request.match_info.get("id")
        self.settings.update({name: value} if name else value)
        return web.Response()

    async def queue_prompt(self, request: web.Request) -> web.Response:
        self.prompts.append(await request.json())
        return web.json_response({"prompt_id": str(uuid.uuid4()), "number": len(self.prompts), "node_errors": {}})

    async def userdata_file(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        if request.method == "POST":
            self.userdata[path] = await request.read()
            return web.json_response({"path": path, "size": len(self.userdata[path]), "modified": 0, "created": 0})
        if path not in self.userdata:
            return web.Response(status=404)
        return web.Response(body=self.userdata[path])

    async def page(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(self.frontend / "index.html", headers={"Cache-Control": "no-store"})

    async def picture(self, request: web.Request) -> web.Response:
        """Whatever picture is asked for: a grey pixel."""
        return web.Response(body=base64.b64decode(PIXEL), content_type="image/png")

    async def no_style(self, request: web.Request) -> web.Response:
        return web.Response(content_type="text/css")

    async def unknown(self, request: web.Request) -> web.Response:
        self.unanswered.add(f"{request.method} {request.path}")
        return web.json_response({"error": "the stand-in backend has no such route"}, status=404)


if __name__ == "__main__":
    with Backend() as backend:
        print(backend.url, f"(frontend {VERSION})", flush=True)
        threading.Event().wait()
