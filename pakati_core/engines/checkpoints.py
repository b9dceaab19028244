"""Single-file checkpoints of SD1.5 and SDXL in their original layout.

diffusers reads their weights, but asks a hub for their configurations and the tokenizer's vocabulary. Here the
configurations are read off the shapes in the file, and the vocabulary is CLIP's own, which lies beside this module
(clip_merges.txt, OpenAI's, see clip_license.txt): so nothing is asked of any network.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import torch
from safetensors import safe_open

from ..errors import ModelError

MERGES = Path(__file__).with_name("clip_merges.txt")
UNET, VAE = "model.diffusion_model", "first_stage_model"
CLIP_L = {"sd15": "cond_stage_model.transformer.text_model", "sdxl": "conditioner.embedders.0.transformer.text_model"}
CLIP_G = "conditioner.embedders.1.model"
# What a file's further keys say about how it was trained, where that is something this engine does not do.
FOREIGN = {"edm_mean": "EDM (Playground)", "edm_vpred.sigma_max": "EDM", "ztsnr": "zero terminal SNR"}


class Shapes(dict[str, tuple[int, ...]]):
    """Name -> shape of every tensor in a checkpoint."""

    @classmethod
    def of(cls, path: Path) -> Self:
        """Only the file's header is read."""
        with safe_open(path, "pt") as file:
            return cls({name: tuple(file.get_slice(name).get_shape()) for name in file.keys()})  # noqa: SIM118

    def __missing__(self, name: str):
        raise ModelError(f"it has no {name}; give a checkpoint with UNet, text encoder and VAE, all in one file")

    def count(self, pattern: str) -> int:
        """pattern: the start of names with a `{}` for the number, counted from 0."""
        number = 0
        while any(name.startswith(pattern.format(number)) for name in self):
            number += 1
        return number


def load_checkpoint(path: Path, dtype: torch.dtype) -> Any:
    """A diffusers pipeline for SD1.5 or SDXL. Raises ModelError, and what diffusers raises for a damaged file."""
    if path.suffix != ".safetensors":
        message = f"{path.name} is not a .safetensors file; other formats can hold programs and are not read"
        raise ModelError(message)
    # Imported here: it takes seconds and talks about torchvision, and the embedded model needs neither.
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    shapes = Shapes.of(path)
    with TemporaryDirectory(prefix="pakati-") as folder:
        try:
            family = write_configs(shapes, Path(folder))
            _check_whole(Path(folder), shapes)
            kind = StableDiffusionXLPipeline if family == "sdxl" else StableDiffusionPipeline
            pipe = kind.from_single_file(str(path), config=folder, local_files_only=True, torch_dtype=dtype)
        except ModelError as exc:
            raise ModelError(f"{path} cannot be used: {exc}") from None
    return pipe


def _check_whole(folder: Path, shapes: Shapes) -> None:
    """diffusers leaves what a file lacks at random without a word, or fails far from here where accelerate is there."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    for kind, part, prefix in ((UNet2DConditionModel, "unet", UNET), (AutoencoderKL, "vae", VAE)):
        with torch.device("meta"):
            model: Any = kind.from_config(json.loads((folder / part / "config.json").read_text(encoding="utf-8")))
        held = sum(math.prod(shape) for name, shape in shapes.items() if name.startswith(f"{prefix}."))
        wanted = sum(parameter.numel() for parameter in model.parameters())
        if held < wanted:
            raise ModelError(f"it has {held} of the {wanted} numbers below {prefix}; get it again")


def write_configs(shapes: Shapes, folder: Path) -> str:
    """Write what diffusers' from_single_file wants in `config=`; returns the family."""
    family = _family(shapes)
    parts = {
        "unet/config": _unet(shapes, family),
        "vae/config": _vae(shapes, family),
        "scheduler/scheduler_config": _scheduler(shapes),
        "text_encoder/config": _clip_l(shapes, CLIP_L[family]),
        "model_index": _index(family),
    }
    _write_tokenizer(folder / "tokenizer", pad="<|endoftext|>")
    if family == "sdxl":
        parts["text_encoder_2/config"] = _clip_g(shapes)
        _write_tokenizer(folder / "tokenizer_2", pad="!")
    for name, config in parts.items():
        _write(folder / f"{name}.json", config)
    return family


def _family(shapes: Shapes) -> str:
    for mark, meaning in FOREIGN.items():
        if mark in shapes:
            raise ModelError(f"it was trained for {meaning}, which this engine does not do; give another checkpoint")
    for family, prefix in CLIP_L.items():
        if f"{prefix}.embeddings.token_embedding.weight" in shapes:
            return family
    raise ModelError("it is neither SD1.5 nor SDXL with text encoder and VAE; give such a checkpoint")


def _unet(shapes: Shapes, family: str) -> dict[str, Any]:
    inputs = shapes[f"{UNET}.input_blocks.0.0.weight"][1]
    if inputs != 4:
        raise ModelError(f"its UNet takes {inputs} channels, as inpainting models do; give a plain one, which takes 4")
    levels = _levels(shapes)
    channels = [level[0][0] for level in levels]
    depths = [level[0][1] for level in levels]
    middle = shapes.count(f"{UNET}.middle_block.1.transformer_blocks.{{}}.")
    if any(len(set(level)) > 1 for level in levels) or len({len(level) for level in levels}) > 1:
        raise ModelError("the layers of its UNet differ within a level, as in pruned models; give a full one")
    if not middle or depths[-1] not in (0, middle):
        raise ModelError("its UNet has another middle than SD1.5 and SDXL, as in pruned models; give a full one")
    first = next(level for level, depth in enumerate(depths) if depth)
    attention = f"{UNET}.input_blocks.{1 + first * (len(levels[0]) + 1)}.1"
    config = {
        "_class_name": "UNet2DConditionModel",
        "sample_size": 128 if family == "sdxl" else 64,
        "block_out_channels": channels,
        "layers_per_block": len(levels[0]),
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "transformer_layers_per_block": [*(depth or 1 for depth in depths[:-1]), middle],
        "cross_attention_dim": shapes[f"{attention}.transformer_blocks.0.attn2.to_k.weight"][1],
        # diffusers' name for the number of heads: 8 in SD1.5, 64 channels to a head in SDXL.
        "attention_head_dim": [width // 64 for width in channels] if family == "sdxl" else 8,
        "use_linear_projection": len(shapes[f"{attention}.proj_in.weight"]) == 2,
    }
    if family == "sdxl":
        embedded = shapes[f"{UNET}.label_emb.0.0.weight"][1]
        config |= {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}
        config |= {"projection_class_embeddings_input_dim": embedded}
    return config


def _levels(shapes: Shapes) -> list[list[tuple[int, int]]]:
    """(width, transformer blocks) of each layer on the way down, level by level: a downsampling ends a level."""
    levels: list[list[tuple[int, int]]] = [[]]
    for number in range(1, shapes.count(f"{UNET}.input_blocks.{{}}.")):
        block = f"{UNET}.input_blocks.{number}"
        if f"{block}.0.op.weight" in shapes:
            levels.append([])
        else:
            width = shapes[f"{block}.0.out_layers.3.weight"][0]
            levels[-1].append((width, shapes.count(f"{block}.1.transformer_blocks.{{}}.")))
    return levels


def _vae(shapes: Shapes, family: str) -> dict[str, Any]:
    levels = shapes.count(f"{VAE}.encoder.down.{{}}.")
    is_xl = family == "sdxl"
    return {
        "_class_name": "AutoencoderKL",
        "block_out_channels": [shapes[f"{VAE}.encoder.down.{i}.block.0.conv1.weight"][0] for i in range(levels)],
        "layers_per_block": shapes.count(f"{VAE}.encoder.down.0.block.{{}}."),
        "latent_channels": shapes[f"{VAE}.post_quant_conv.weight"][0],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "sample_size": 1024 if is_xl else 512,
        "scaling_factor": 0.13025 if is_xl else 0.18215,
        "force_upcast": is_xl,
    }


def _clip_l(shapes: Shapes, prefix: str) -> dict[str, Any]:
    words, hidden = shapes[f"{prefix}.embeddings.token_embedding.weight"]
    return {
        **_text_encoder(words, hidden, shapes.count(f"{prefix}.encoder.layers.{{}}.")),
        "architectures": ["CLIPTextModel"],
        "intermediate_size": shapes[f"{prefix}.encoder.layers.0.mlp.fc1.weight"][0],
        "hidden_act": "quick_gelu",
        "projection_dim": hidden,
    }


def _clip_g(shapes: Shapes) -> dict[str, Any]:
    words, hidden = shapes[f"{CLIP_G}.token_embedding.weight"]
    return {
        **_text_encoder(words, hidden, shapes.count(f"{CLIP_G}.transformer.resblocks.{{}}.")),
        "architectures": ["CLIPTextModelWithProjection"],
        "intermediate_size": shapes[f"{CLIP_G}.transformer.resblocks.0.mlp.c_fc.weight"][0],
        "hidden_act": "gelu",
        "projection_dim": shapes[f"{CLIP_G}.text_projection"][1],
    }


def _text_encoder(words: int, hidden: int, layers: int) -> dict[str, Any]:
    known = len(_vocabulary())
    if words != known:
        raise ModelError(f"its text encoder has {words} tokens and CLIP's vocabulary {known}; give another checkpoint")
    return {
        "model_type": "clip_text_model", "vocab_size": words, "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": hidden // 64, "max_position_embeddings": 77, "layer_norm_eps": 1e-5,
        "bos_token_id": words - 2, "eos_token_id": words - 1, "pad_token_id": words - 1,
    }  # fmt: skip


def _scheduler(shapes: Shapes) -> dict[str, Any]:
    return {
        "_class_name": "EulerDiscreteScheduler", "num_train_timesteps": 1000, "beta_schedule": "scaled_linear",
        "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1, "timestep_spacing": "leading",
        "prediction_type": "v_prediction" if "v_pred" in shapes else "epsilon",
    }  # fmt: skip


def _index(family: str) -> dict[str, Any]:
    parts = {
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
    }  # fmt: skip
    if family == "sd15":
        return {"_class_name": "StableDiffusionPipeline", **parts}
    second = {
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
    }
    return {"_class_name": "StableDiffusionXLPipeline", **parts, **second}


def _write_tokenizer(folder: Path, pad: str) -> None:
    start, end = "<|startoftext|>", "<|endoftext|>"
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True}
    _write(folder / "tokenizer_config.json", {**config, "bos_token": start, "eos_token": end, "unk_token": end,
                                              "pad_token": pad})  # fmt: skip
    _write(folder / "vocab.json", {token: number for number, token in enumerate(_vocabulary())})
    shutil.copyfile(MERGES, folder / MERGES.name.removeprefix("clip_"))


def _vocabulary() -> list[str]:
    """CLIP's tokens in their order: every byte, every byte at a word's end, each merge, start and end of a text."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    # The bytes without a letter of their own get the letters after the last byte.
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    merges = MERGES.read_text(encoding="utf-8").splitlines()[1:]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *(merge.replace(" ", "") for merge in merges)]
    return [*tokens, "<|startoftext|>", "<|endoftext|>"]


def _write(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
