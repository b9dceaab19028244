"""Characters and settings as YAML files, in the form of the project's documents. Unknown keys are kept.

    character_presets.yaml   a mapping of character to Preset
    sdxl_config.yaml         SdxlConfig
    controlnet_config.yaml   ControlnetConfig
    lora_registry.yaml       LoraRegistry, of the package lora

JSON is YAML, too, so JSON files work as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..errors import IdentityError
from ..extras import read_yaml, write_yaml
from ..lora import LoraRegistry

CAST = Path(__file__).with_name("cast.json")  # characters of the embedded world


class _Table(BaseModel):
    """Keeps what it does not know, and writes only what was given."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    def to_dict(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)


Table = TypeVar("Table", bound=_Table)
Thing = TypeVar("Thing")


class Sampling(_Table):
    """None: the model's or the quality's own."""

    steps: int | None = Field(default=None, ge=1)
    cfg_scale: float | None = Field(default=None, ge=0)
    size: list[int] | None = Field(default=None, min_length=2, max_length=2)  # width, height in pixels
    scheduler: str | None = None


class Preset(_Table):
    """One character: everything that makes a picture of it."""

    character_name: str = ""
    lora_name: str | None = None  # in the LoRA registry
    lora_weight: float = 0.8
    loras: list[dict[str, Any]] = []  # more of them: name or path, weight
    trigger_words: list[str] = []
    base_prompt: str = ""
    negative_prompt: str = ""
    reference_embeddings: list[str] = []  # files, see Embeddings.load
    reference_images: list[str] = []
    embedder: str | None = None
    consistency_threshold: float | None = Field(default=None, ge=-1, le=1)  # None: the makers', or a calibrated one
    generation_params: Sampling = Sampling()


class Quality(_Table):
    steps: int | None = Field(default=None, ge=1)
    cfg_scale: float | None = Field(default=None, ge=0)


class _Model(_Table):
    base_model: str = "pakati-tiny"
    cache_dir: str | None = None
    variant: str | None = None


class _Generation(_Table):
    quality_presets: dict[str, Quality] = {
        "draft": Quality(steps=20, cfg_scale=7.0),
        "standard": Quality(steps=30, cfg_scale=7.5),
        "high": Quality(steps=40, cfg_scale=8.0),
    }
    default_size: list[int] | None = None
    scheduler: str | None = None


class _Hardware(_Table):
    device: str = "cuda"
    dtype: str = "float16"
    enable_cpu_offload: bool = False
    enable_sequential_cpu_offload: bool = False


class _Attention(_Table):
    backend: str = "sdpa"
    enable_xformers: bool = False

    @field_validator("backend")
    @classmethod
    def _only_sdpa(cls, backend: str) -> str:
        if backend != "sdpa":
            raise ValueError("only sdpa, PyTorch's own attention, is supported")
        return backend

    @field_validator("enable_xformers")
    @classmethod
    def _no_xformers(cls, enabled: bool) -> bool:
        if enabled:
            raise ValueError("xformers is not supported; PyTorch's own attention is used")
        return enabled


class SdxlConfig(_Table):
    model: _Model = _Model()
    hardware: _Hardware = _Hardware()
    attention: _Attention = _Attention()
    generation: _Generation = _Generation()
    safety: dict[str, Any] = {}


class ControlnetEntry(_Table):
    model: str
    cache_dir: str | None = None
    default_strength: float = Field(default=1.0, ge=0)
    preprocessor: str | None = None


class ControlnetConfig(_Table):
    controlnets: dict[str, ControlnetEntry] = {}
    preprocessing: dict[str, dict[str, Any]] = {}


def configs_folder() -> Path:
    """$PAKATI_CONFIGS, else configs/generation in the working folder, as in the documents."""
    return Path(os.environ.get("PAKATI_CONFIGS", "configs/generation"))


def load_presets(path: str | Path | None = None) -> dict[str, Preset]:
    """The characters of a file; without one, of the configs folder, else those of the embedded world.

    Relative names of references and LoRAs are looked up beside the file first.
    """
    path = Path(path) if path else _config("character_presets.yaml") or CAST
    entries = read_yaml(path, IdentityError).items()
    return {name: _beside(_checked(Preset, entry, path, name), path.parent) for name, entry in entries}


def save_presets(presets: dict[str, Preset], path: str | Path) -> None:
    """What load_presets gives back the same."""
    write_yaml({name: preset.to_dict() for name, preset in presets.items()}, path)


def load_sdxl_config(path: str | Path | None = None) -> SdxlConfig:
    return _load(SdxlConfig, path, "sdxl_config.yaml")


def load_controlnet_config(path: str | Path | None = None) -> ControlnetConfig:
    return _load(ControlnetConfig, path, "controlnet_config.yaml")


def load_lora_registry(path: str | Path | None = None) -> LoraRegistry:
    """The LoRAs that presets name."""
    found = Path(path) if path else _config("lora_registry.yaml")
    return LoraRegistry.load(found) if found else LoraRegistry()


def choose(things: dict[str, Thing], name: str, what: str) -> Thing:
    """Raises IdentityError that lists what there is."""
    if name not in things:
        raise IdentityError(f"there is no {what} {name!r}; there is {_listed(things) or 'none'}")
    return things[name]


def _beside(preset: Preset, folder: Path) -> Preset:
    def found(name: Any) -> Any:
        return str(folder / name) if isinstance(name, str) and (folder / name).is_file() else name

    files = {
        "reference_embeddings": [*map(found, preset.reference_embeddings)],
        "reference_images": [*map(found, preset.reference_images)],
        "loras": [row | {"path": found(row["path"])} if "path" in row else row for row in preset.loras],
    }
    return preset.model_copy(update={name: rows for name, rows in files.items() if rows})


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _load(kind: type[Table], path: str | Path | None, name: str) -> Table:
    found = Path(path) if path else _config(name)
    return _checked(kind, read_yaml(found, IdentityError), found) if found else kind()


def _config(name: str) -> Path | None:
    path = configs_folder() / name
    return path if path.is_file() else None


def _checked(kind: type[Table], data: Any, path: Path, name: str = "") -> Table:
    try:
        return kind.model_validate(data)
    except ValidationError as exc:
        wrong = exc.errors()[0]
        place = ".".join(map(str, filter(None, (name, *wrong["loc"]))))
        raise IdentityError(f"{path}: {place or 'it'} cannot be used ({wrong['msg']}); mend it") from exc


class Choice(BaseModel):
    """The sampling settings that hold in the end."""

    steps: int | None
    cfg_scale: float | None
    size: list[int] | None
    scheduler: str | None

    @classmethod
    def of(cls, preset: Preset, config: SdxlConfig, quality: str | None) -> Self:
        """quality None: only what the preset itself says."""
        own, general = preset.generation_params, config.generation
        level = choose(general.quality_presets, quality, "quality") if quality else Quality()
        return cls(
            # A quality that is asked for is a wish of this moment, so it comes before the preset's own steps.
            steps=level.steps or own.steps,
            cfg_scale=level.cfg_scale if level.cfg_scale is not None else own.cfg_scale,
            size=own.size or general.default_size,
            scheduler=own.scheduler or general.scheduler,
        )
