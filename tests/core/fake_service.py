"""A vision service on this machine's loopback that speaks the four wire formats over real HTTP, faults included."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from PIL import Image

PATHS = {
    "openai": "/v1/chat/completions",
    "ollama": "/api/chat",
    "gemini": "/v1beta/models/seer:generateContent",
    "anthropic": "/v1/messages",
}
BASES = {"openai": "/v1", "ollama": "", "gemini": "/v1beta", "anthropic": ""}


@dataclass
class Seen:
    """One request as it arrived."""

    wire: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def text(self) -> str:
        """All that is said in it, pictures left out."""
        return re.sub(r"[A-Za-z0-9+/=]{200,}", "", json.dumps(self.body))

    def pictures(self) -> list[tuple[str, Image.Image]]:
        """MIME type as declared, and the picture, opened."""
        found: list[tuple[str, str]] = []
        for turn in self.body.get("messages", self.body.get("contents", [])):
            found += [("image/png", data) for data in turn.get("images", [])]
            for part in [*_listed(turn.get("content")), *_listed(turn.get("parts"))]:
                if "image_url" in part:
                    kind, data = part["image_url"]["url"].removeprefix("data:").split(";base64,")
                    found.append((kind, data))
                if "inlineData" in part:
                    found.append((part["inlineData"]["mimeType"], part["inlineData"]["data"]))
                if part.get("type") == "image":
                    found.append((part["source"]["media_type"], part["source"]["data"]))
        return [(kind, Image.open(io.BytesIO(base64.b64decode(data)))) for kind, data in found]

    def schema(self) -> Any:
        """The schema that was asked for, wherever this format has it."""
        body = self.body
        match self.wire:
            case "openai":
                return body.get("response_format", {}).get("json_schema", {}).get("schema")
            case "ollama":
                return body.get("format") if isinstance(body.get("format"), dict) else None
            case "gemini":
                return body.get("generationConfig", {}).get("responseJsonSchema")
        return body.get("output_config", {}).get("format", {}).get("schema")


def _listed(value: Any) -> list[dict]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def answer(wire: str, text: str) -> dict[str, Any]:
    """A successful answer, with all the fields that the services send."""
    match wire:
        case "openai":
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "finish_reason": "stop",
            }
            usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
            return {
                "id": "c1",
                "object": "chat.completion",
                "created": 1,
                "model": "seer",
                "choices": [choice],
                "usage": usage,
            }
        case "ollama":
            message = {"role": "assistant", "content": text}
            return {"model": "seer", "created_at": "2026-11-20T00:00:00Z", "message": message, "done": True,
                    "done_reason": "stop", "prompt_eval_count": 100, "eval_count": 20}  # fmt: skip
        case "gemini":
            thought = {"text": "thinking of {braces}", "thought": True}
            candidate = {
                "content": {"role": "model", "parts": [thought, {"text": text}]},
                "finishReason": "STOP",
                "index": 0,
            }
            usage = {"promptTokenCount": 100, "candidatesTokenCount": 20, "totalTokenCount": 120}
            return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "seer"}
    return {"id": "m1", "type": "message", "role": "assistant", "model": "seer", "stop_reason": "end_turn",
            "stop_sequence": None, "content": [{"type": "text", "text": text}],
            "usage": {"input_tokens": 100, "output_tokens": 20}}  # fmt: skip


Step = Callable[[web.Request, Seen], Any]  # returns a response, or awaits one


@dataclass
class FakeService:
    """Plays its script step by step; the last step is played for ever."""

    script: list[Step] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    url: str = ""

    def start(self) -> FakeService:
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._serve, args=(ready,), daemon=True).start()
        assert ready.wait(10)
        return self

    def _serve(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        ready.set()
        self._loop.run_forever()

    async def _listen(self) -> None:
        app = web.Application(client_max_size=2**26)
        for wire, path in PATHS.items():
            app.router.add_post(path, self._handler(wire))
        app.router.add_post("/stolen", self._handler("openai"))
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handle_signals=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def _handler(self, wire: str):
        async def handle(request: web.Request) -> web.StreamResponse:
            seen = Seen(wire, dict(request.headers), await request.json())
            self.seen.append(seen)
            step = self.script[min(len(self.seen), len(self.script)) - 1]
            made = step(request, seen)
            return await made if asyncio.iscoroutine(made) else made

        return handle

    def stop(self) -> None:
        async def close() -> None:
            await self._runner.cleanup()
            self._loop.stop()

        asyncio.run_coroutine_threadsafe(close(), self._loop)

    def base(self, wire: str) -> str:
        return self.url + BASES[wire]


# --- steps ------------------------------------------------------------------------------------------------------------


def says(text: str) -> Step:
    return lambda request, seen: web.json_response(answer(seen.wire, text))


def status(code: int, text: str = "no", **headers: str) -> Step:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request, seen: web.Response(status=code, text=text, headers=named)


def page(request: web.Request, seen: Seen) -> web.Response:
    return web.Response(text="<html><body>Sign in to the network</body></html>", content_type="text/html")


async def silence(request: web.Request, seen: Seen) -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


async def drip(request: web.Request, seen: Seen) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(600):
        await response.write(b" ")
        await asyncio.sleep(0.05)
    return response


async def broken_off(request: web.Request, seen: Seen) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "5000"})
    await response.prepare(request)
    await response.write(b'{"choices": [')
    assert request.transport is not None
    request.transport.close()
    return response


async def flood(request: web.Request, seen: Seen) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(100):
        await response.write(b" " * 100_000)
    return response
