"""Where the faces in a picture are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import ModelError
from ..extras import optional
from ..geometry import Box
from .alignment import SIDE, TEMPLATE
from .ports import FoundFace

YUNET = "face_detection_yunet_2023mar.onnx"
LONGEST = 1280  # pixels; larger pictures are shrunk for the search, which loses faces of a few pixels only


class WholePicture:
    """Takes every picture for one face that lies as the 112x112 template wants it, as cut-out faces do."""

    def find(self, image: Image.Image) -> list[FoundFace]:
        scale = np.array(image.size) / SIDE
        return [FoundFace(Box(0, 0, image.width, image.height), (TEMPLATE + 0.5) * scale - 0.5)]


class YuNetFinder:
    """OpenCV's YuNet. path: its ONNX file; confidence: faces below it are left out.

    Raises ModelError where OpenCV or the file is missing.
    """

    def __init__(self, path: str | Path, confidence: float = 0.7):
        check_files([Path(path)], "OpenCV's face finder YuNet (MIT licence)")
        self.cv2 = optional("cv2", "OpenCV's face finder", "opencv-python-headless")
        self.net = open_net(self.cv2.FaceDetectorYN.create, Path(path), "", (320, 320), confidence, 0.3, 5000)

    def find(self, image: Image.Image) -> list[FoundFace]:
        image = image.convert("RGB")
        scale = min(1.0, LONGEST / max(image.size))
        small = image if scale == 1 else image.resize([max(1, round(side * scale)) for side in image.size])
        self.net.setInputSize(small.size)
        _, rows = self.net.detect(np.ascontiguousarray(np.asarray(small)[..., ::-1]))
        found = [_found(row / np.array([*[scale] * 14, 1])) for row in (() if rows is None else rows)]
        return sorted(found, key=lambda face: -face.box.area)


def _found(row: np.ndarray) -> FoundFace:
    """x, y, width, height, five points, confidence. OpenCV names the eyes by whose they are, which is left to right
    in the picture, and gives pixels as indices."""
    return FoundFace(Box(*map(float, row[:4])), row[4:14].reshape(5, 2).astype(np.float64), float(row[14]))


def check_files(paths: list[Path], what: str) -> None:
    """Raises ModelError that says which file goes where; nothing is ever downloaded."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        names = " and ".join(path.name for path in missing)
        raise ModelError(
            f"{what} is not installed: put {names} into {missing[0].parent}; Pakati downloads nothing by itself"
        )


def open_net(make: Any, path: Path, *args: Any) -> Any:
    """What `make` makes of a file.  Raises ModelError where the file is damaged or of another kind."""
    try:
        return make(str(path), *args)
    except Exception as exc:  # every runtime raises its own
        raise ModelError(f"{path} is damaged or of another kind ({str(exc).splitlines()[0]}); get it again") from exc
