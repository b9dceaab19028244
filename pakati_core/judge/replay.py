"""Answers that were given once, kept by the picture's content: a judgement is never paid for twice."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from PIL import Image

from ..errors import JudgeError
from ..files import save_text
from .ports import Judge
from .questions import QuestionSet
from .verdict import NoVerdict, Verdict, verdict_or_none


def picture_digest(image: Image.Image) -> str:
    """Of the pixels alone: metadata and file format change nothing."""
    rgb = image.convert("RGB")
    text = f"{rgb.width}x{rgb.height}|".encode()
    return hashlib.blake2b(text + rgb.tobytes(), digest_size=16).hexdigest()


class ReplayJudge:
    """Answers from a folder; what is not there is asked of `judge` and kept, or is no verdict without one.

    A judge that gave no verdict is asked again the next time.
    """

    def __init__(self, folder: str | Path, judge: Judge | None = None):
        self.folder, self.inner = Path(folder), judge

    @property
    def name(self) -> str:
        return self.inner.name if self.inner else "replay"

    def judge(self, image: Image.Image, questions: QuestionSet) -> Verdict | NoVerdict:
        path = self._path(image, questions)
        if path.is_file():
            return self._read(path)
        if self.inner is None:
            return NoVerdict(f"no answer about this picture is kept in {self.folder.name}", self.name)
        verdict = self.inner.judge(image, questions)
        if isinstance(verdict, Verdict):
            self.folder.mkdir(parents=True, exist_ok=True)
            save_text(json.dumps(verdict.to_dict(), indent=1) + "\n", path)
        return verdict

    def _path(self, image: Image.Image, questions: QuestionSet) -> Path:
        who = hashlib.blake2b(self.name.encode(), digest_size=4).hexdigest() if self.inner else "*"
        stem = f"{picture_digest(image)}-{questions.digest}"
        if self.inner is None:  # whoever answered
            return next(iter(sorted(self.folder.glob(f"{stem}-{who}.json"))), self.folder / f"{stem}.json")
        return self.folder / f"{stem}-{who}.json"

    def _read(self, path: Path) -> Verdict | NoVerdict:
        try:
            return verdict_or_none(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as exc:
            raise JudgeError(f"the kept answer {path} is damaged ({exc}); delete it to have it asked again") from exc
