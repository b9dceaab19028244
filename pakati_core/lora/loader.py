"""LoRAs on a diffusers pipeline, which has them by PEFT."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import PakatiError


class AllOrNone(ABC):
    """Loads several LoRAs, or leaves things as they were."""

    @property
    @abstractmethod
    def weights(self) -> dict[str, float]:
        """Of what is loaded, in order."""

    @abstractmethod
    def load_lora(self, lora_path: str | Path, adapter_name: str, weight: float = 0.8) -> None: ...

    @abstractmethod
    def unload_lora(self, adapter_name: str) -> None: ...

    def load_multiple_loras(self, loras: Iterable[Mapping[str, Any]]) -> None:
        """loras: each with `path`, `name` and, if it is not 0.8, `weight`. All of them or none."""
        before = dict(self.weights)
        try:
            for lora in loras:
                self.load_lora(lora["path"], lora["name"], lora.get("weight", 0.8))
        except (PakatiError, KeyError) as exc:
            for name in [name for name in self.weights if name not in before]:
                self.unload_lora(name)
            if isinstance(exc, KeyError):
                raise PakatiError(f"a LoRA lacks its {exc}; give each a path and a name") from exc
            raise


class LoRALoader(AllOrNone):
    """Loads LoRAs into a pipeline, mixes them, and takes them out again. Loaded ones act together."""

    def __init__(self, pipeline: Any):
        """pipeline: one of diffusers' that can load LoRAs."""
        if not hasattr(pipeline, "load_lora_weights"):
            raise PakatiError(f"a {type(pipeline).__name__} takes no LoRAs; give a pipeline of diffusers that does")
        self.pipeline = pipeline
        self._weights: dict[str, float] = {}

    @property
    def weights(self) -> dict[str, float]:
        return self._weights

    def load_lora(self, lora_path: str | Path, adapter_name: str, weight: float = 0.8) -> None:
        """A file or a folder of diffusers'. A name that is taken is loaded anew.  Raises PakatiError."""
        path = Path(lora_path)
        if not path.exists():
            raise PakatiError(f"LoRA {adapter_name!r} is not at {path}; give the path of its file")
        if adapter_name in self.weights:
            self.unload_lora(adapter_name)
        place = {"weight_name": path.name} if path.is_file() else {}
        folder = path.parent if path.is_file() else path
        try:
            self.pipeline.load_lora_weights(str(folder), adapter_name=adapter_name, local_files_only=True, **place)
        except Exception as exc:  # diffusers, PEFT and safetensors have no common class
            self._forget(adapter_name)
            reason = " ".join(str(exc).split())[:200]
            raise PakatiError(f"LoRA {path} does not fit this pipeline ({reason}); pick one of its family") from exc
        if adapter_name not in self._present():
            raise PakatiError(f"LoRA {path} has no layer of this pipeline; pick one of its family")
        self.weights[adapter_name] = weight
        self._mix()

    def set_lora_weight(self, adapter_name: str, weight: float) -> None:
        self._known(adapter_name)
        self.weights[adapter_name] = weight
        self._mix()

    def unload_lora(self, adapter_name: str) -> None:
        self._known(adapter_name)
        self._forget(adapter_name)
        del self.weights[adapter_name]
        self._mix()

    def unload_all_loras(self) -> None:
        self.weights.clear()
        self.pipeline.unload_lora_weights()

    def _mix(self) -> None:
        if self.weights:
            self.pipeline.set_adapters(list(self.weights), adapter_weights=list(self.weights.values()))
        else:
            self.pipeline.unload_lora_weights()  # so that not even an empty adapter stands in the layers

    def _present(self) -> set[str]:
        return {name for names in self.pipeline.get_list_adapters().values() for name in names}

    def _forget(self, adapter_name: str) -> None:
        if adapter_name in self._present():
            self.pipeline.delete_adapters(adapter_name)

    def _known(self, adapter_name: str) -> None:
        if adapter_name not in self.weights:
            loaded = ", ".join(self.weights) or "none"
            raise PakatiError(f"LoRA {adapter_name!r} is not loaded; there is {loaded}")
