"""What travels on Pakati's own wires, beside the stock types."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple, Self

from comfy_api.latest import io
from torch import Tensor

from ..pakati_core.canvas.crop import CropPlan
from ..pakati_core.errors import PakatiWarning
from ..pakati_core.geometry import Extent
from ..pakati_core.regions import Region, RegionSet
from ..pakati_core.shapes import Shape

PakatiRegion = io.Custom("PAKATI_REGION")  # a PlacedRegion
PakatiCrop = io.Custom("PAKATI_CROP")  # a CutOut
PakatiCanvas = io.Custom("PAKATI_CANVAS")  # a SavedCanvas
PakatiRegions = io.Custom("PAKATI_REGIONS")  # a RegionSet; its base prompt stays empty, the CONDITIONING has it
LoraStack = io.Custom("LORA_STACK")  # shared with other packs: a list of (name, strength on the model, on the CLIP)
PakatiFaces = io.Custom("PAKATI_FACES")  # a KnownFace
PakatiCharacter = io.Custom("PAKATI_CHARACTER")  # a Role

PakatiQuestions = io.Custom("PAKATI_QUESTIONS")  # a QuestionSet
PakatiVerdict = io.Custom("PAKATI_VERDICT")  # a Verdict or a NoVerdict
PakatiReference = io.Custom("PAKATI_REFERENCE")  # a Reference
PakatiLoop = io.Custom("PAKATI_LOOP")  # a Loop, from a refinement's start to its end
PakatiState = io.Custom("PAKATI_STATE")  # a Refined: the history, its pictures and the decision


class CutOut(NamedTuple):
    """What was cut, and from what. image: [B,H,W,3]; mask: [H,W]."""

    plan: CropPlan
    image: Tensor
    mask: Tensor


class SavedCanvas(NamedTuple):
    """A step of a project file."""

    path: Path
    step: int


class PlacedRegion(NamedTuple):
    """A region and the canvas on which its pixels count."""

    extent: Extent
    region: Region

    @classmethod
    def unnamed(cls, width: int, height: int, shape: Shape, **edge: Any) -> Self:
        """A region that has no prompt yet.  Raises PakatiError where it cannot be drawn."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PakatiWarning)
            region = Region("unnamed", shape, **edge)
        return cls(RegionSet(Extent(width, height), (region,)).extent, region)

    def mask(self) -> Tensor:
        """MASK [1,H,W]."""
        return RegionSet(self.extent, (self.region,)).masks()
