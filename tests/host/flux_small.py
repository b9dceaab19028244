"""Flux.1 in its own layout, name by name, with little width and depth left, and a small autoencoder beside it."""

from pathlib import Path

from tests.core.original import Shapes, save

HEAD = 128  # channels of an attention head: the host takes their number from the width
CHANNELS = 64  # 2x2 latent pixels of 16 channels
FILL_CHANNELS = 384  # as many of the masked picture, too, and 8x8 mask pixels for each of the four
WIDE = 64  # of every layer of TAESD


def write_flux(path: Path, text: int, pooled: int, channels: int = CHANNELS) -> Path:
    """text, pooled: channels of the text encoder; the original has 4096 and 768."""
    return save(_transformer(HEAD, text, pooled, channels), path)


def write_taesd(path: Path, channels: int = 16) -> Path:
    """The autoencoder of taef1: its encoder, its decoder and the two numbers that the host keeps with them."""
    rows = [*_conv("taesd_encoder.0", 3, WIDE), *_conv("taesd_encoder.14", WIDE, channels)]
    rows += _stack("taesd_encoder", blocks=(1, 3, 4, 5, 7, 8, 9, 11, 12, 13), plain=(2, 6, 10))
    rows += [*_conv("taesd_decoder.1", channels, WIDE), *_conv("taesd_decoder.19", WIDE, 3)]
    rows += _stack("taesd_decoder", blocks=(3, 4, 5, 8, 9, 10, 13, 14, 15, 18), plain=(7, 12, 17))
    return save([*rows, ("vae_scale", ()), ("vae_shift", ())], path)


def _transformer(width: int, text: int, pooled: int, channels: int) -> Shapes:
    yield from _linear("img_in", channels, width)
    yield from _linear("txt_in", text, width)
    for name, inputs in (("time_in", 256), ("guidance_in", 256), ("vector_in", pooled)):
        yield from _linear(f"{name}.in_layer", inputs, width)
        yield from _linear(f"{name}.out_layer", width, width)
    for side in ("img", "txt"):
        block = f"double_blocks.0.{side}"
        yield from _linear(f"{block}_mod.lin", width, 6 * width)
        yield from _linear(f"{block}_attn.qkv", width, 3 * width)
        yield from _linear(f"{block}_attn.proj", width, width)
        yield from _norms(f"{block}_attn.norm")
        yield from _linear(f"{block}_mlp.0", width, 4 * width)
        yield from _linear(f"{block}_mlp.2", 4 * width, width)
    yield from _linear("single_blocks.0.modulation.lin", width, 3 * width)
    yield from _linear("single_blocks.0.linear1", width, 7 * width)
    yield from _linear("single_blocks.0.linear2", 5 * width, width)
    yield from _norms("single_blocks.0.norm")
    yield from _linear("final_layer.linear", width, 64)
    yield from _linear("final_layer.adaLN_modulation.1", width, 2 * width)


def _norms(at: str) -> Shapes:
    yield f"{at}.query_norm.scale", (HEAD,)
    yield f"{at}.key_norm.scale", (HEAD,)


def _stack(at: str, blocks: tuple[int, ...], plain: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
    rows = [row for i in blocks for part in (0, 2, 4) for row in _conv(f"{at}.{i}.conv.{part}", WIDE, WIDE)]
    return rows + [(f"{at}.{i}.weight", (WIDE, WIDE, 3, 3)) for i in plain]


def _conv(at: str, inputs: int, outputs: int) -> Shapes:
    yield f"{at}.weight", (outputs, inputs, 3, 3)
    yield f"{at}.bias", (outputs,)


def _linear(at: str, inputs: int, outputs: int) -> Shapes:
    yield f"{at}.weight", (outputs, inputs)
    yield f"{at}.bias", (outputs,)
