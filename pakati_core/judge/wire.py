"""The wire formats of vision models: how each is asked, and where its answer stands."""

from __future__ import annotations

import base64
import io
from typing import Any, NamedTuple, Protocol

from PIL import Image

LARGEST = 1024  # longest side of a picture that leaves this machine
SCHEMA_MODE, JSON_MODE, TEXT_MODE = "schema", "json", "text"


class Media(NamedTuple):
    kind: str  # the MIME type
    data: str  # base64

    @classmethod
    def of(cls, picture: Image.Image) -> Media:
        """Reduced to 1024 pixels and encoded anew: nothing but pixels leaves."""
        small = picture.convert("RGB")
        small.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
        bare = Image.frombytes("RGB", small.size, small.tobytes())
        lossless, file = max(small.size) <= 512, io.BytesIO()
        bare.save(file, "PNG" if lossless else "JPEG", **({} if lossless else {"quality": 92}))
        return cls("image/png" if lossless else "image/jpeg", base64.b64encode(file.getvalue()).decode())


class Turn(NamedTuple):
    """One turn of a conversation; pictures stand before the text."""

    role: str  # user or assistant
    text: str
    media: tuple[Media, ...] = ()


class Wire(Protocol):
    address: str  # of the service itself
    modes: tuple[str, ...]  # ways to ask for JSON, strictest first

    def path(self, model: str) -> str: ...

    def headers(self, key: str | None) -> dict[str, str]: ...

    def body(self, model: str, turns: list[Turn], mode: str, schema: dict[str, Any]) -> dict[str, Any]: ...

    def text(self, answer: Any) -> str:
        """Raises KeyError, IndexError or TypeError where there is none."""
        ...

    def tokens(self, answer: Any) -> int: ...


class OpenAIWire:
    """Chat completions: OpenAI, vLLM, LM Studio, llama.cpp, OpenRouter, Ollama's /v1."""

    address = "https://api.openai.com/v1"
    modes: tuple[str, ...] = (SCHEMA_MODE, JSON_MODE, TEXT_MODE)

    def path(self, model: str) -> str:
        return "/chat/completions"

    def headers(self, key: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}

    def body(self, model: str, turns: list[Turn], mode: str, schema: dict[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {"model": model, "messages": [self._message(turn) for turn in turns]}
        if mode == SCHEMA_MODE:
            named = {"name": "verdict", "strict": True, "schema": schema}
            return body | {"response_format": {"type": "json_schema", "json_schema": named}}
        return body | ({"response_format": {"type": "json_object"}} if mode == JSON_MODE else {})

    def _message(self, turn: Turn) -> dict[str, Any]:
        shown = [
            {"type": "image_url", "image_url": {"url": f"data:{media.kind};base64,{media.data}"}}
            for media in turn.media
        ]
        return {"role": turn.role, "content": [*shown, {"type": "text", "text": turn.text}] if shown else turn.text}

    def text(self, answer: Any) -> str:
        return answer["choices"][0]["message"]["content"]

    def tokens(self, answer: Any) -> int:
        return int(answer["usage"]["total_tokens"])


class OllamaWire:
    """Ollama's own /api/chat."""

    address = "http://127.0.0.1:11434"
    modes: tuple[str, ...] = (SCHEMA_MODE, JSON_MODE, TEXT_MODE)

    def path(self, model: str) -> str:
        return "/api/chat"

    def headers(self, key: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}

    def body(self, model: str, turns: list[Turn], mode: str, schema: dict[str, Any]) -> dict[str, Any]:
        messages = [
            {"role": turn.role, "content": turn.text}
            | ({"images": [media.data for media in turn.media]} if turn.media else {})
            for turn in turns
        ]
        wanted = {SCHEMA_MODE: {"format": schema}, JSON_MODE: {"format": "json"}}.get(mode, {})
        return {"model": model, "messages": messages, "stream": False, **wanted}

    def text(self, answer: Any) -> str:
        return answer["message"]["content"]

    def tokens(self, answer: Any) -> int:
        return int(answer["prompt_eval_count"]) + int(answer["eval_count"])


class GeminiWire:
    """generateContent of the Gemini API."""

    address = "https://generativelanguage.googleapis.com/v1beta"
    modes: tuple[str, ...] = (SCHEMA_MODE, JSON_MODE, TEXT_MODE)

    def path(self, model: str) -> str:
        return f"/models/{model}:generateContent"

    def headers(self, key: str | None) -> dict[str, str]:
        return {"x-goog-api-key": key} if key else {}

    def body(self, model: str, turns: list[Turn], mode: str, schema: dict[str, Any]) -> dict[str, Any]:
        wanted: dict[str, Any] = {} if mode == TEXT_MODE else {"responseMimeType": "application/json"}
        wanted |= {"responseJsonSchema": schema} if mode == SCHEMA_MODE else {}
        body: dict[str, Any] = {"contents": [self._content(turn) for turn in turns]}
        return body | ({"generationConfig": wanted} if wanted else {})

    def _content(self, turn: Turn) -> dict[str, Any]:
        shown = [{"inlineData": {"mimeType": media.kind, "data": media.data}} for media in turn.media]
        return {"role": "model" if turn.role == "assistant" else "user", "parts": [*shown, {"text": turn.text}]}

    def text(self, answer: Any) -> str:
        parts = answer["candidates"][0]["content"]["parts"]
        return "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))

    def tokens(self, answer: Any) -> int:
        return int(answer["usageMetadata"]["totalTokenCount"])


class AnthropicWire:
    """The Messages API."""

    address = "https://api.anthropic.com"
    modes: tuple[str, ...] = (SCHEMA_MODE, TEXT_MODE)

    def path(self, model: str) -> str:
        return "/v1/messages"

    def headers(self, key: str | None) -> dict[str, str]:
        return {"anthropic-version": "2023-06-01", **({"x-api-key": key} if key else {})}

    def body(self, model: str, turns: list[Turn], mode: str, schema: dict[str, Any]) -> dict[str, Any]:
        messages = [{"role": turn.role, "content": self._content(turn)} for turn in turns]
        wanted = {"output_config": {"format": {"type": "json_schema", "schema": schema}}} if mode == SCHEMA_MODE else {}
        return {"model": model, "max_tokens": 4096, "messages": messages, **wanted}

    def _content(self, turn: Turn) -> list[dict[str, Any]]:
        shown = [
            {"type": "image", "source": {"type": "base64", "media_type": media.kind, "data": media.data}}
            for media in turn.media
        ]
        return [*shown, {"type": "text", "text": turn.text}]

    def text(self, answer: Any) -> str:
        return "".join(part["text"] for part in answer["content"] if part["type"] == "text")

    def tokens(self, answer: Any) -> int:
        return int(answer["usage"]["input_tokens"]) + int(answer["usage"]["output_tokens"])


WIRES: dict[str, type[Wire]] = {
    "openai": OpenAIWire,
    "ollama": OllamaWire,
    "gemini": GeminiWire,
    "anthropic": AnthropicWire,
}
