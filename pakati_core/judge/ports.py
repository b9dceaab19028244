"""What the rest of Pakati sees of a judge: picture and questions go in, a verdict or the reason for none comes out."""

from __future__ import annotations

from typing import Protocol

from PIL import Image

from .questions import QuestionSet
from .verdict import NoVerdict, Verdict


class Judge(Protocol):
    @property
    def name(self) -> str:
        """Who judges: the same name for the same judge, so that answers can be kept and found again."""
        ...

    def judge(self, image: Image.Image, questions: QuestionSet) -> Verdict | NoVerdict:
        """Answers all questions or none. Never raises for what a remote service does."""
        ...
