"""Embedders of faces. None of them downloads anything: each says which file goes where.

pakati-tiny      the objects of the embedded world, see tiny_embedder.py; comes with Pakati
pakati-heads     the embedded world's cartoon heads, see heads_embedder.py; comes with Pakati
opencv-sface     OpenCV's YuNet and SFace; needs opencv-python-headless and two free ONNX files
buffalo_l, ...   a pack of insightface; its pretrained packs are for non-commercial research only
NAME.onnx        any recogniser that takes faces aligned to ArcFace's 112x112 template
"""

from __future__ import annotations

import json
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import IdentityError, ModelError
from ..extras import optional
from ..geometry import Box
from .alignment import SIDE, align
from .embeddings import sha256_of, unit
from .finders import YUNET, WholePicture, YuNetFinder, check_files, open_net
from .heads_embedder import HEADS_ID, HeadsEmbedder
from .ports import Embedder, Face, Finder
from .tiny_embedder import TINY, TinyEmbedder

SFACE = "face_recognition_sface_2021dec.onnx"
OPENCV = "opencv-sface"
# Cosines. SFace: OpenCV's documentation of FaceRecognizerSF. insightface: the default of its own programs; 0.41 is
# where buffalo_l lets one stranger in a million through (MR-ALL, insightface/server).
SFACE_THRESHOLD, INSIGHTFACE_THRESHOLD = 0.363, 0.40
DOCUMENTS_THRESHOLD = 0.65  # what the project's first documents ask for: stricter than buffalo_l's makers advise
_LICENCE = "its pretrained models are for non-commercial research only, see insightface's licence"


class OnnxEmbedder:
    """Any recogniser in an ONNX file that takes [N,3,112,112] faces and gives [N,D].

    A JSON file of the same name beside it may say otherwise than (RGB - 127.5) / 127.5 and a threshold:
    {"mean": 127.5, "std": 127.5, "channels": "RGB" or "BGR", "threshold": 0.4}.
    finder: what looks for faces; by default YuNet where its file lies in the same folder, else the picture is the face.
    """

    def __init__(self, path: str | Path, finder: Finder | None = None):
        self.path = Path(path)
        check_files([self.path], "the recogniser")
        yunet = self.path.with_name(YUNET)
        self.finder = finder or (YuNetFinder(yunet) if yunet.is_file() else WholePicture())
        self.how = _recipe(self.path.with_suffix(".json"))
        self.id, self.threshold = self.path.name, float(self.how["threshold"])

    @property
    def weights(self) -> str:
        return sha256_of(self.path)

    @cached_property
    def session(self) -> Any:
        runtime = optional("onnxruntime", f"the recogniser {self.path.name}", "onnxruntime")
        session = open_net(runtime.InferenceSession, self.path, None, ["CPUExecutionProvider"])
        shape = session.get_inputs()[0].shape
        if len(shape) != 4 or any(isinstance(n, int) and n not in want for n, want in zip(shape[1:], _FACE)):
            raise ModelError(f"{self.path} takes {shape} but a recogniser of faces takes [N, 3, 112, 112]; get another")
        return session

    def embed(self, image: Image.Image) -> list[Face]:
        session, found = self.session, self.finder.find(image)
        name = session.get_inputs()[0].name
        rows = [session.run(None, {name: self._pixels(align(image, face.points))})[0] for face in found]
        vectors = [unit(np.asarray(row, np.float32).reshape(-1)) for row in rows]
        return [Face(face.box, vector, face.confidence) for face, vector in zip(found, vectors)]

    def _pixels(self, face: Image.Image) -> np.ndarray:
        """[1,3,112,112]"""
        levels = np.asarray(face, np.float32)
        if self.how["channels"] == "BGR":
            levels = levels[..., ::-1]
        values = (levels - np.float32(self.how["mean"])) / np.float32(self.how["std"])
        return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


_FACE = ((3,), (SIDE,), (SIDE,))


def _recipe(path: Path) -> dict[str, Any]:
    how = {"mean": 127.5, "std": 127.5, "channels": "RGB", "threshold": INSIGHTFACE_THRESHOLD}
    if not path.is_file():
        return how
    try:
        how |= json.loads(path.read_text(encoding="utf-8"))
        ok = how["channels"] in ("RGB", "BGR") and float(how["std"]) > 0 and -1 <= float(how["threshold"]) <= 1
        float(how["mean"])
    except (OSError, ValueError, TypeError) as exc:
        raise ModelError(f"{path} is not JSON with mean, std, channels and threshold; mend or remove it") from exc
    if not ok:
        raise ModelError(f"{path} wants channels RGB or BGR, std above 0 and threshold from -1 to 1; mend it")
    return how


class OpencvEmbedder:
    """YuNet finds, SFace tells apart. folder: where their two ONNX files lie."""

    id, threshold = OPENCV, SFACE_THRESHOLD

    def __init__(self, folder: str | Path):
        self.files = [Path(folder) / YUNET, Path(folder) / SFACE]
        check_files(self.files, "OpenCV's face recogniser (YuNet, MIT licence; SFace, Apache-2.0; both of opencv_zoo)")
        self.finder = YuNetFinder(self.files[0])
        cv2 = optional("cv2", "OpenCV's face recogniser", "opencv-python-headless")
        self.net = open_net(cv2.FaceRecognizerSF.create, self.files[1], "")

    @property
    def weights(self) -> str:
        return sha256_of(self.files[1])

    def embed(self, image: Image.Image) -> list[Face]:
        return [
            Face(found.box, self._vector(align(image, found.points)), found.confidence)
            for found in self.finder.find(image)
        ]

    def _vector(self, face: Image.Image) -> np.ndarray:
        """SFace swaps the channels itself: it wants BGR, as OpenCV's pictures are."""
        return unit(self.net.feature(np.ascontiguousarray(np.asarray(face)[..., ::-1])).reshape(-1).copy())


class InsightfaceEmbedder:
    """A pack of insightface, by name. root: the folder that holds models/PACK/*.onnx.

    The pack is looked for before insightface is imported: it would fetch a missing one from the network.
    """

    threshold = INSIGHTFACE_THRESHOLD

    def __init__(self, pack: str = "buffalo_l", root: str | Path | None = None, side: int = 640):
        self.id, self.folder = f"insightface/{pack}", Path(root or insightface_root()) / "models" / pack
        self.files = sorted(self.folder.glob("*.onnx")) if self.folder.is_dir() else []
        if len(self.files) < 2:
            raise ModelError(
                f"insightface's pack {pack} is not installed: unpack {pack}.zip of insightface's model zoo into "
                f"{self.folder} ({_LICENCE}); Pakati downloads nothing by itself"
            )
        self.side = side

    @property
    def weights(self) -> str:
        return sha256_of(*self.files)

    @cached_property
    def app(self) -> Any:
        insightface = optional("insightface.app", "a pack of insightface", "insightface onnxruntime")
        # By its path: a name that insightface does not find, it would fetch from the network.
        modules, providers = ["detection", "recognition"], ["CPUExecutionProvider"]
        app = open_net(
            partial(insightface.FaceAnalysis, allowed_modules=modules, providers=providers), self.folder.absolute()
        )
        app.prepare(ctx_id=-1, det_size=(self.side, self.side))
        return app

    def embed(self, image: Image.Image) -> list[Face]:
        found = self.app.get(np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1]))
        faces = [
            Face(Box.between(*map(float, face.bbox)), face.normed_embedding, float(face.det_score)) for face in found
        ]
        return sorted(faces, key=lambda face: -face.box.area)


def faces_folder() -> Path:
    # Imported here: it loads diffusers, which ComfyUI does not have and does not need.
    from ..engines.models import models_folder

    return models_folder() / "faces"


def insightface_root() -> Path:
    """In the models folder, else where insightface itself keeps its packs."""
    from ..engines.models import models_folder

    ours, theirs = models_folder() / "insightface", Path.home() / ".insightface"
    return theirs if not ours.is_dir() and theirs.is_dir() else ours


def embedder_called(name: str, faces: Path | None = None, insightface: Path | None = None) -> Embedder:
    """An embedder by name: pakati-tiny, pakati-heads, opencv-sface, a pack of insightface, or an ONNX file (a path, or
    a name in the folder `faces`).

    Raises ModelError that says what to put where.
    """
    if not name.strip():
        raise IdentityError(
            f"no embedder is named; name {TINY}, {HEADS_ID}, {OPENCV}, a pack such as buffalo_l, or an ONNX file"
        )
    if name == TINY:
        return TinyEmbedder()
    if name == HEADS_ID:
        return HeadsEmbedder()
    if name == OPENCV:
        return OpencvEmbedder(faces or faces_folder())
    if name.endswith(".onnx"):
        return OnnxEmbedder(Path(name) if Path(name).is_file() else (faces or faces_folder()) / name)
    return InsightfaceEmbedder(name.removeprefix("insightface/"), insightface)
