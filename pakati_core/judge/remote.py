"""A vision model over HTTP as a judge. Whatever goes wrong there ends in no verdict with a reason, never in a score."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from PIL import Image

from ..errors import JudgeError
from .answers import SCHEMA, Unreadable, instruction, read_answers, read_choice
from .keys import check_address, find_key, key_names, may_carry_key, redact
from .questions import QuestionSet
from .verdict import NoVerdict, Verdict, verdict_of
from .wire import WIRES, Media, Turn

AGAIN = {408, 425, 429, 500, 502, 503, 504, 529}  # worth another try
LARGEST_ANSWER = 4_000_000  # bytes
CHOICE: dict[str, Any] = {
    "type": "object",
    "properties": {"better": {"type": "string", "enum": ["first", "second", "equal"]}},
    "required": ["better"],
    "additionalProperties": False,
}
T = TypeVar("T")


@dataclass
class Budget:
    """What a judge may cost in all; None is without limit."""

    calls: int | None = None
    tokens: int | None = None
    calls_used: int = 0
    tokens_used: int = 0

    def spend_call(self) -> None:
        if self.calls is not None and self.calls_used >= self.calls:
            raise _Failed(f"the budget of {self.calls} calls is spent")
        if self.tokens is not None and self.tokens_used >= self.tokens:
            raise _Failed(f"the budget of {self.tokens} tokens is spent")
        self.calls_used += 1


class _Failed(Exception):
    """The conversation is over without an answer; its text is the reason."""


class _Refused(Exception):
    """The service did not take the request as it was put."""


class RemoteJudge:
    """wire: openai, ollama, gemini or anthropic.  address: base URL; the service's own where it is not given.

    limit_s: for one judgement with all its retries.  pause_s: before the first retry, then doubled.
    key_files: files of lines NAME=value beside the environment.
    The key is read when a call is made, kept nowhere, and sent only to the host that its name stands for.
    """

    def __init__(
        self, wire: str, model: str, address: str = "", limit_s: float = 120, retries: int = 3,
        budget: Budget | None = None, key_files: Iterable[Path] = (), pause_s: float = 0.5,
    ):  # fmt: skip
        if wire not in WIRES:
            raise JudgeError(f"the judge's wire format is {wire!r}; give one of {', '.join(WIRES)}")
        if not model.strip() or any(c in model for c in "?#\\") or ".." in model:
            raise JudgeError(f"the judge's model is {model!r}; give the name that the service knows it by")
        self.wire, self.kind, self.model = WIRES[wire](), wire, model.strip()
        self.address = check_address(address or self.wire.address)
        self.limit_s, self.retries, self.pause_s = limit_s, retries, pause_s
        self.budget, self.key_files = budget or Budget(), tuple(key_files)
        self._rung = 0  # of wire.modes: the first that this service has not refused

    @property
    def name(self) -> str:
        return f"{self.kind} {self.model} at {self.address.split('://')[1]}"

    def judge(self, image: Image.Image, questions: QuestionSet) -> Verdict | NoVerdict:
        return _run(self.judge_async(image, questions))

    async def judge_async(self, image: Image.Image, questions: QuestionSet) -> Verdict | NoVerdict:
        """Cancel the task to give up at once; the connection is closed."""
        calls, tokens, key = self.budget.calls_used, self.budget.tokens_used, self._key()
        try:
            first = Turn("user", instruction(questions), (await asyncio.to_thread(Media.of, image),))
            answers = await self._ask(first, SCHEMA, lambda text: read_answers(text, questions), key)
            rows = [(question, *answers[question.id]) for question in questions]
            rows = [(question, p, redact(evidence, key)) for question, p, evidence in rows]
            made: Verdict | NoVerdict = verdict_of(questions, rows, self.name)
        except _Failed as exc:
            made = NoVerdict(redact(str(exc), key), self.name)
        used = self.budget.calls_used - calls, self.budget.tokens_used - tokens
        return replace(made, calls=used[0], tokens=used[1])

    def prefers(self, candidate: Image.Image, best: Image.Image, questions: QuestionSet) -> bool | None:
        """Is the candidate the better picture, whichever of the two is shown first? None: no answer."""
        return _run(self.prefers_async(candidate, best, questions))

    async def prefers_async(self, candidate: Image.Image, best: Image.Image, questions: QuestionSet) -> bool | None:
        asked = "\n".join(question.text for question in questions)
        text = (
            "Two pictures, the first and the second. Which one fits these questions better, all in all? Reply with "
            f'JSON only: {{"better": "first"}}, "second" or "equal".\n{asked}'
        )
        pair = [await asyncio.to_thread(Media.of, picture) for picture in (candidate, best)]
        try:
            said = [
                await self._ask(Turn("user", text, tuple(order)), CHOICE, read_choice, self._key())
                for order in (pair, pair[::-1])
            ]
        except _Failed:
            return None
        return said == ["first", "second"]

    def _key(self) -> str | None:
        key = find_key(key_names(self.address), self.key_files)
        return key if key and may_carry_key(self.address) else None

    async def _ask(self, first: Turn, schema: dict, read: Any, key: str | None) -> Any:
        """Down the ladder: a strict schema, JSON mode, plain text; and once more where an answer cannot be read."""
        try:
            async with asyncio.timeout(self.limit_s), self._session(key) as session:
                text = await self._post(session, [first], schema)
                try:
                    return read(text)
                except Unreadable as fault:
                    said = Turn("user", f"That could not be used: {fault}. Reply again, with the JSON object only.")
                    again = [first, Turn("assistant", text[:20_000] or "(nothing)"), said]
                    return read(await self._post(session, again, schema))
        except Unreadable as exc:
            raise _Failed(f"the answer was not understood, twice: {exc}") from None
        except TimeoutError:
            raise _Failed(f"there was no whole answer within {self.limit_s:g} s") from None

    def _session(self, key: str | None) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers=self.wire.headers(key), timeout=aiohttp.ClientTimeout(None, sock_connect=10)
        )

    async def _post(self, session: aiohttp.ClientSession, turns: list[Turn], schema: dict) -> str:
        while True:
            body = self.wire.body(self.model, turns, self.wire.modes[self._rung], schema)
            try:
                answer = await self._with_retries(session, body)
                break
            except _Refused as exc:
                if self._rung + 1 == len(self.wire.modes):
                    raise _Failed(str(exc)) from None
                self._rung += 1
        with suppress(KeyError, TypeError, ValueError):  # some servers do not count
            self.budget.tokens_used += max(0, self.wire.tokens(answer))
        try:
            return str(self.wire.text(answer) or "")
        except (KeyError, IndexError, TypeError):
            raise _Failed(f"the service's answer holds no text: {json.dumps(answer)[:200]}") from None

    async def _with_retries(self, session: aiohttp.ClientSession, body: dict) -> Any:
        deadline, reason = time.monotonic() + self.limit_s, ""
        for attempt in range(self.retries + 1):
            self.budget.spend_call()
            pause = min(8.0, self.pause_s * 2**attempt) * random.uniform(0.8, 1.2)
            try:
                status, headers, text = await self._send(session, body)
            except (aiohttp.ClientError, OSError) as exc:
                reason = f"{self.name} cannot be reached: {exc or type(exc).__name__}"
            else:
                if status == 200:
                    return _parsed(text)
                reason = f"{self.name} answers {status}: {text[:200]}"
                if status in (400, 422):
                    raise _Refused(reason)
                if status not in AGAIN:
                    raise _Failed(self._advised(status, reason))
                pause = _retry_after(headers.get("Retry-After")) or pause
            if attempt == self.retries or time.monotonic() + pause > deadline:
                break
            await asyncio.sleep(pause)
        raise _Failed(reason)

    def _advised(self, status: int, reason: str) -> str:
        if status not in (401, 403):
            return reason
        names = " or ".join(key_names(self.address))
        if not may_carry_key(self.address):
            return f"{reason}; a key is sent over https only, so change the address"
        return f"{reason}; set the right key in the environment as {names}"

    async def _send(self, session: aiohttp.ClientSession, body: dict) -> tuple[int, Any, str]:
        # No redirects: they would carry the key and the picture to another host.
        url = self.address + self.wire.path(self.model)
        async with session.post(url, json=body, allow_redirects=False) as response:
            data = bytearray()
            async for chunk in response.content.iter_chunked(65536):
                data += chunk
                if len(data) > LARGEST_ANSWER:
                    raise _Failed(f"{self.name} answers with more than {LARGEST_ANSWER // 10**6} MB")
            return response.status, response.headers, data.decode("utf-8", "replace")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        start = " ".join(text.split())[:120]
        raise _Failed(f"the service answers with something that is not JSON: {start!r}; check its address") from None


def _retry_after(value: str | None) -> float | None:
    """Seconds; the header holds seconds or a date."""
    if not value:
        return None
    with suppress(ValueError):
        return max(0.0, float(value))
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _run(work: Coroutine[Any, Any, T]) -> T:
    """From plain code, also where this thread already runs an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
