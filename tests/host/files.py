"""SDXL's and Flux.1's files in their real layout, with random numbers and little depth."""

from pathlib import Path

from tests.core.original import Shapes, Size, clip_g, clip_l, save_large, unet, vae_half

CLIP_WIDTH, BIG_CLIP_WIDTH = 768, 1280  # true: SDXL is known by their sum
CLIP_INNER, LAYERS = 64, 3  # as in reduced/
T5_WIDTH, T5_INNER, T5_HEADS, T5_HEAD, T5_WORDS = 64, 64, 2, 32, 32128
FLUX_WIDTH, FLUX_HEAD = 128, 128
DECODER = (32, 64, 128, 128)
# Depths 0, 1, 2 are those of Segmind-Vega, which is SDXL with fewer layers; all levels have the width of the first.
SMALL_SDXL = Size((320, 320, 320), (0, 1, 2), vae=(), l=CLIP_WIDTH, l_layers=LAYERS, g=BIG_CLIP_WIDTH, g_layers=LAYERS)


def write_sdxl(models: Path) -> None:
    save_large(sdxl(), _folder(models, "checkpoints") / "sd_xl_base_1.0.safetensors")


def write_flux(models: Path) -> None:
    save_large(flux(), _folder(models, "diffusion_models") / "flux1-dev.safetensors")
    save_large(vae_half("decoder", DECODER, 16, 3, "up", 3), _folder(models, "vae") / "ae.safetensors")
    encoders = _folder(models, "text_encoders")
    save_large(clip_l("text_model", SMALL_SDXL, CLIP_INNER), encoders / "clip_l.safetensors")
    save_large(t5(), encoders / "t5xxl_fp16.safetensors")


def _folder(models: Path, name: str) -> Path:
    (models / name).mkdir(parents=True, exist_ok=True)
    return models / name


def sdxl() -> Shapes:
    yield from unet("model.diffusion_model", SMALL_SDXL, context=CLIP_WIDTH + BIG_CLIP_WIDTH, linear=True)
    yield from vae_half("first_stage_model.decoder", DECODER, 4, 3, "up", 3)
    yield "first_stage_model.post_quant_conv.weight", (4, 4, 1, 1)
    yield "first_stage_model.post_quant_conv.bias", (4,)
    yield from clip_l("conditioner.embedders.0.transformer.text_model", SMALL_SDXL, CLIP_INNER)
    yield from clip_g("conditioner.embedders.1.model", SMALL_SDXL, CLIP_INNER)
    yield "conditioner.embedders.1.model.transformer.resblocks.30.mlp.c_fc.weight", (1, 1)  # how the host knows it


def flux() -> Shapes:
    wide = FLUX_WIDTH
    yield from _linear("img_in", 64, wide)
    yield from _linear("txt_in", T5_WIDTH, wide)
    for name, inputs in (("time_in", 256), ("guidance_in", 256), ("vector_in", CLIP_WIDTH)):
        yield from _linear(f"{name}.in_layer", inputs, wide)
        yield from _linear(f"{name}.out_layer", wide, wide)
    for stream in ("img", "txt"):
        block = f"double_blocks.0.{stream}"
        yield from _linear(f"{block}_mod.lin", wide, 6 * wide)
        yield from _linear(f"{block}_attn.qkv", wide, 3 * wide)
        yield from _linear(f"{block}_attn.proj", wide, wide)
        yield from _norms(f"{block}_attn.norm")
        yield from _linear(f"{block}_mlp.0", wide, 4 * wide)
        yield from _linear(f"{block}_mlp.2", 4 * wide, wide)
    yield from _linear("single_blocks.0.linear1", wide, 7 * wide)
    yield from _linear("single_blocks.0.linear2", 5 * wide, wide)
    yield from _linear("single_blocks.0.modulation.lin", wide, 3 * wide)
    yield from _norms("single_blocks.0.norm")
    yield from _linear("final_layer.linear", wide, 64)
    yield from _linear("final_layer.adaLN_modulation.1", wide, 2 * wide)


def t5() -> Shapes:
    inner = T5_HEADS * T5_HEAD
    yield "shared.weight", (T5_WORDS, T5_WIDTH)
    for number in range(LAYERS):
        block = f"encoder.block.{number}.layer"
        for name in "qkv":
            yield f"{block}.0.SelfAttention.{name}.weight", (inner, T5_WIDTH)
        yield f"{block}.0.SelfAttention.o.weight", (T5_WIDTH, inner)
        for name in ("wi_0", "wi_1"):
            yield f"{block}.1.DenseReluDense.{name}.weight", (T5_INNER, T5_WIDTH)
        yield f"{block}.1.DenseReluDense.wo.weight", (T5_WIDTH, T5_INNER)
        yield f"{block}.0.layer_norm.weight", (T5_WIDTH,)
        yield f"{block}.1.layer_norm.weight", (T5_WIDTH,)
    yield "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", (32, T5_HEADS)
    yield "encoder.final_layer_norm.weight", (T5_WIDTH,)


def _linear(at: str, inputs: int, outputs: int) -> Shapes:
    yield f"{at}.weight", (outputs, inputs)
    yield f"{at}.bias", (outputs,)


def _norms(at: str) -> Shapes:
    for name in ("query_norm", "key_norm"):
        yield f"{at}.{name}.scale", (FLUX_HEAD,)
