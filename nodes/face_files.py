"""Where ComfyUI keeps what recognises faces: its models folder.

models/faces/          YuNet, SFace and any recogniser, as ONNX files
models/insightface/    insightface's packs, each a folder below models/, where other packs of nodes look for them, too
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import folder_paths

from ..pakati_core.characters import HEADS_ID, OPENCV, TINY, Embedder, embedder_called
from ..pakati_core.characters.finders import YUNET
from ..pakati_core.errors import IdentityError

PACK = "buffalo_l"
NOT_RECOGNISERS = {YUNET, "face_recognition_sface_2021dec.onnx"}  # a choice of their own: opencv-sface


def faces_folder() -> Path:
    return Path(folder_paths.models_dir) / "faces"


def insightface_folder() -> Path:
    return Path(folder_paths.models_dir) / "insightface"


def embedder_names() -> list[str]:
    """The embedded one, those that people know by name, and whatever lies in the folders."""
    packs = sorted(folder.name for folder in (insightface_folder() / "models").glob("*") if any(folder.glob("*.onnx")))
    files = sorted(path.name for path in faces_folder().glob("*.onnx") if path.name not in NOT_RECOGNISERS)
    return list(dict.fromkeys([TINY, HEADS_ID, OPENCV, PACK, *packs, *files]))


def embedder(name: str) -> Embedder:
    """Raises ModelError that says what to put where."""
    if Path(name).name != name:
        raise IdentityError(f"the embedder {name!r} is a path; put it into {faces_folder()} and give its name")
    return _embedder(name, str(folder_paths.models_dir))


@lru_cache(2)
def _embedder(name: str, _models: str) -> Embedder:
    return embedder_called(name, faces_folder(), insightface_folder())


def input_file(name: str) -> Path:
    """A file of ComfyUI's input folder.  Raises IdentityError where it is elsewhere or missing."""
    folder = Path(folder_paths.get_input_directory()).resolve()
    path = (folder / name).resolve()
    if not path.is_relative_to(folder) or not path.is_file():
        raise IdentityError(f"{name!r} is not a file of ComfyUI's input folder; put it there and give its name")
    return path
