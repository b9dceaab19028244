"""LoRAs of one region: on the families' own classes with small random weights, through the host's sampling path."""

import functools
import logging
import re

import comfy.lora
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.utils
import folder_paths
import pytest
import torch

from pakati.nodes import lora_files, regional_lora, thin_lora
from pakati.nodes.latent_blending import blend_regions
from pakati.nodes.region_text import KEY
from pakati.nodes.regional_attention import apply_regions, reach_regions
from pakati.nodes.regional_call import CALL
from pakati.nodes.regional_lora import with_loras
from pakati.nodes.regions import PakatiApplyRegions, PakatiRegionalPrompt
from pakati.nodes.tiny_model import load_tiny
from pakati.nodes.types import PlacedRegion
from pakati.pakati_core.attention import RegionalText
from pakati.pakati_core.errors import PakatiError
from pakati.pakati_core.geometry import Extent
from pakati.pakati_core.regions import Region, RegionSet
from pakati.pakati_core.shapes import BoxShape, WholeShape
from pakati.pakati_core.tiny.cast import CAST, LORAS, lora_of
from tests.nodes.architectures import FLUX, ROWS, Built
from tests.nodes.loras import layers_of, random_loha, random_lokr, random_lora, write
from tests.nodes.sampling import denoise

LEFT, RIGHT = BoxShape(0, 0, 0.5, 1, "fraction"), BoxShape(0.5, 0, 0.5, 1, "fraction")
NEAR, FAR = BoxShape(0, 0, 0.4, 0.7, "fraction"), BoxShape(0.3, 0.2, 0.5, 0.8, "fraction")
EVERY = pytest.mark.parametrize("name", [name for name in ROWS if name != "HiDream-I1"])  # refused: test_hidream.py
# Where the words of a layer stand among its tokens: none, all, or before the image. All others have image tokens.
WORDS = {
    "UNet that reads twice": (r"attn2\.to_[kv]$|^(input_blocks\.1|output_blocks\.[23])\..*attn1\.to_[kv]$", None),
    "SD1.5": (r"attn2\.to_[kv]$", None), "SDXL": (r"attn2\.to_[kv]$", None),
    "Flux dev": ("txt_", "^single_blocks"), "Flux.2": ("txt_", "^single_blocks"),
    "Qwen-Image": (r"txt_|\.add_[qkv]_proj|to_add_out", None),
    "Z-Image": ("cap_embedder|context_refiner", r"^(layers|final)"),
    "SD3": (r"context_embedder|context_block", None), "Chroma": ("txt_", "^single_blocks"),
}  # fmt: skip


WIDE = {"Flux as shipped": Built("Flux", FLUX | {"mlp_ratio": 4.0}, {"guidance": 3.5})}  # the host's names assume it


@functools.cache
def made(name):
    """The family's row, and a model of it."""
    row = {**ROWS, **WIDE}[name]
    return row, row.make()


def read(model, tensors: dict) -> dict:
    """LoRA tensors -> the host's patches."""
    return comfy.lora.load_lora(tensors, comfy.lora.model_lora_keys_unet(model.model, {}), log_missing=False)


def whole_lora(model, **more) -> dict:
    return random_lora(layers_of(model.model.diffusion_model), **more)


def conditioning(row, *regions: Region, base: int = 1, seed: int = 2, lengths=(3, 9), words: int = 5) -> list:
    """The regions' texts are random, and `filled` for the whole canvas as the node fills them."""
    prompts, offsets = {}, {}
    for number, (region, length) in enumerate(zip(regions, lengths, strict=False)):
        text, missing = row.text(seed + number, length), (512 - length if row.family == "Flux2" else 0)
        fill = missing if isinstance(region.shape, WholeShape) else 0
        prompts[region.id] = torch.nn.functional.pad(text, (0, 0, fill, 0))
        offsets[region.id] = missing - fill
    layout = RegionSet(Extent(64, 64), regions)
    return row.conditioning(row.text(base, words), **{KEY: RegionalText(layout, prompts, offsets)})


def look(row, model, positive, negative=None, x=None, at=0.4):
    sigma = float(model.get_model_object("model_sampling").percent_to_sigma(at))
    negative = negative or row.conditioning(row.text(7, 5))
    return denoise(model, positive, negative, row.latents() if x is None else x, sigma)


def region(name: str, shape, *loras, **more) -> Region:
    return Region(name, shape, name, loras=loras, **more)


def off(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """The largest error, relative to the largest value."""
    return float((got - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("ranks", [0, 128], ids=["gathered", "thin"])
@EVERY
def test_over_the_whole_canvas_it_is_the_stock_lora_loader(name, ranks, monkeypatch):
    """With the guidance's both sides, and the layers without tokens: all that the stock loader does."""
    monkeypatch.setattr(thin_lora, "MOST_RANKS", ranks)
    row, stock = made(name)
    lora = whole_lora(stock)
    wanted_model, _ = comfy.sd.load_lora_for_models(stock, None, lora, 0.7, 0.0)
    texts, filled = (row.text(2, 9), row.text(7, 9)), (512 if row.family == "Flux2" else 9)
    plain = [row.conditioning(torch.nn.functional.pad(text, (0, 0, filled - 9, 0))) for text in texts]
    wanted = look(row, wanted_model, *plain)
    whole = region("a", WholeShape(), ("lora", 0.7, 0.7))
    model = with_loras(reach_regions(stock), {"lora": read(stock, lora)}, global_layers=True)
    positive, negative = conditioning(row, whole, lengths=(9,)), conditioning(row, whole, seed=7, lengths=(9,))
    assert off(look(row, model, positive, negative), wanted) < 1e-4
    assert off(look(row, stock, *plain), wanted) > 1e-2


@EVERY
def test_strength_0_and_no_lora_change_no_bit(name):
    row, stock = made(name)
    regions = region("a", LEFT), region("b", FAR)
    plain = look(row, reach_regions(stock), conditioning(row, *regions))
    model = with_loras(reach_regions(stock), {"lora": read(stock, whole_lora(stock))})
    assert torch.equal(look(row, model, conditioning(row, *regions)), plain)
    silent = region("a", LEFT, ("lora", 0.0, 1.0)), region("b", FAR)
    assert torch.equal(look(row, model, conditioning(row, *silent)), plain)
    acting = region("a", LEFT, ("lora", 1.0, 1.0)), region("b", FAR)
    assert not torch.equal(look(row, model, conditioning(row, *acting)), plain)


@pytest.mark.parametrize("ranks", [0, 128], ids=["gathered", "thin"])
@pytest.mark.parametrize("name", WORDS)
def test_two_regions_with_two_loras_equal_a_reference_for_each_token(name, ranks, monkeypatch):
    """Soft and overlapping edges, an odd latent, a stack in one region, a negative without any."""
    monkeypatch.setattr(thin_lora, "MOST_RANKS", ranks)
    row, stock = made(name)
    first = region("a", NEAR, ("one", 0.8, 0.0), ("two", -0.5, 0.0), feather=6)
    second = region("b", FAR, ("two", 1.0, 0.0), feather=3)
    loras = {"one": whole_lora(stock, seed=4), "two": whole_lora(stock, seed=5, rank=3)}
    model = with_loras(reach_regions(stock), {key: read(stock, lora) for key, lora in loras.items()})
    positive, x = conditioning(row, first, second), row.latents(rows=2, height=9, width=13)
    check, errors = Reference(name, first, second, loras), []
    real = regional_lora.RegionalLayer.__call__

    def checked(self, layer, args, out):
        wanted = check.reference(self.path, layer, args[0], out)
        got = real(self, layer, args, out)
        got = out if got is None else got
        errors.append(float((got - wanted).abs().max() / wanted.abs().max()))
        return got

    monkeypatch.setattr(regional_lora.RegionalLayer, "__call__", checked)
    look(row, model, positive, x=x)
    assert len(errors) > 10
    assert max(errors) < 1e-5


class Reference:
    """y + share dW x in double precision, for each token, from the layout and the order of the tokens."""

    def __init__(self, name: str, first: Region, second: Region, loras: dict):
        self.words, self.both = WORDS[name]
        self.regions, self.loras = (first, second), loras
        self.layout = RegionSet(Extent(64, 64), self.regions)

    def reference(self, path: str, layer, x, out):
        call, wanted = CALL.get(), out.double().clone()
        if call is None:
            return wanted
        (row,) = [row for row in call.rows if row.text is not None]
        here = slice(row.start, row.stop)
        if layer.__class__.__name__ == "Conv2d":
            if len(x) == call.batch and tuple(out.shape[-2:]) in call.grids:
                for number, each in enumerate(self.regions, start=1):
                    share = self.layout.weights_on_grid(*out.shape[-2:])[number].double()
                    wanted[here] += self.convolved(path, layer, x[here].double(), each) * share
            return wanted
        both = "both" if self.both and re.search(self.both, path) else "image"
        kind = "words" if re.search(self.words, path) else both
        shares = self.shares(kind, call, row, x)
        if shares is None:
            return wanted
        rows, back = x.double(), wanted
        if kind == "words" and len(x) == call.batch * call.words:  # every word in a batch of its own
            rows, back = rows.unflatten(0, (call.batch, -1)), back.unflatten(0, (call.batch, -1))
        if kind == "words" and call.joined is None:
            self.add_to_held_words(path, call, row, rows, back)
            return wanted
        for share, each in zip(shares, self.regions, strict=True):
            share = share.reshape(rows.shape[1:-1]) if kind == "image" else share.view(-1, *[1] * (rows.ndim - 3))
            back[here] += (rows[here] @ self.weight(path, each).T) * share[None, ..., None]
        return wanted

    def add_to_held_words(self, path: str, call, row, rows, back) -> None:
        """Word by word: those of regions lie in the parts of all rows in turn."""
        for number, each in enumerate(self.regions, start=1):
            start, length = row.prompts.span(number)
            for holder, place in (divmod(word, call.keys - call.base) for word in range(start, start + length)):
                at = holder, call.base + place
                back[at] += rows[at] @ self.weight(path, each).T

    def shares(self, kind: str, call, row, x):
        """[2,tokens]"""
        words = torch.zeros(2, call.words, dtype=torch.float64)
        for number in (1, 2):
            start, length = row.prompts.span(number)
            words[number - 1, start : start + length] = 1
        if kind == "words":
            known = x.shape[:2] == (call.batch, call.words) or len(x) == call.batch * call.words
            return words if known else None
        tokens = x[0].numel() // x.shape[-1]
        if len(x) != call.batch or x.ndim < 3:
            return None
        before = call.words if kind == "both" else 0
        grids = [grid for grid in call.grids if 0 <= tokens - before - grid[0] * grid[1] < 32]
        if not grids:
            return None
        image = self.layout.weights_on_grid(*grids[0])[1:].double().flatten(1)
        rest = torch.zeros(2, tokens - before - image.shape[1], dtype=torch.float64)
        return torch.cat([words[:, :before], image, rest], 1)

    def weight(self, path: str, each: Region):
        return sum(self._dense(self.loras[name], path) * strength for name, strength, _ in each.loras)

    def convolved(self, path: str, layer, x, each: Region):
        weight = self.weight(path, each).reshape(layer.weight.shape)
        return torch.nn.functional.conv2d(x, weight, stride=layer.stride, padding=layer.padding)

    @staticmethod
    def _dense(lora: dict, path: str):
        up, down = (lora[f"diffusion_model.{path}.lora_{side}.weight"].double().flatten(1) for side in ("up", "down"))
        return up @ down * float(lora[f"diffusion_model.{path}.alpha"]) / len(down)


KINDS = {
    "LoHa": random_loha,
    "LoHa in Tucker's form": functools.partial(random_loha, tucker=True),
    "LoKr": random_lokr,
    "LoKr of low rank": functools.partial(random_lokr, low_rank=True),
}


def with_biases(shapes: dict) -> dict:
    """Full differences, biases among them: what trainers write for layers that they train whole."""
    generator, made = torch.Generator().manual_seed(6), {}
    for path, shape in shapes.items():
        made[f"diffusion_model.{path}.diff"] = torch.randn(shape, generator=generator) / shape[1:].numel() ** 0.5
        made[f"diffusion_model.{path}.diff_b"] = torch.randn(shape[0], generator=generator)
    return made


def equals_stock(name: str, lora: dict) -> None:
    row, stock = made(name)
    wanted_model, _ = comfy.sd.load_lora_for_models(stock, None, lora, 1.0, 0.0)
    whole = region("a", WholeShape(), ("lora", 1.0, 1.0))
    model = with_loras(reach_regions(stock), {"lora": read(stock, lora)}, global_layers=True)
    plain = row.conditioning(row.text(2, 9)), row.conditioning(row.text(7, 9))
    sides = conditioning(row, whole, lengths=(9,)), conditioning(row, whole, seed=7, lengths=(9,))
    wanted = look(row, wanted_model, *plain)
    assert off(look(row, model, *sides), wanted) < 1e-4
    assert off(look(row, stock, *plain), wanted) > 1e-2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["SD1.5", "Flux dev"])
def test_other_adapters_are_what_the_host_makes_of_them(name, kind):
    equals_stock(name, KINDS[kind](layers_of(made(name)[1].model.diffusion_model)))


@pytest.mark.parametrize("name", ["SD1.5", "Flux dev"])
def test_biases_act_with_their_layers(name):
    """bypass.py and its users drop them or spread them over the whole picture."""
    has_bias = {path for path, layer in layers(name) if layer.bias is not None}
    equals_stock(name, with_biases(layers_of(made(name)[1].model.diffusion_model, has_bias.__contains__)))


def layers(name: str):
    found = made(name)[1].model.diffusion_model.named_modules()
    return [(path, layer) for path, layer in found if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)]


def diffusers_names(name: str) -> dict:
    """What diffusers call a layer -> shape of its weight; of a fused layer, each part by itself."""
    _, stock = made(name)
    names = {
        "Flux as shipped": comfy.utils.flux_to_diffusers, "Z-Image": comfy.utils.z_image_to_diffusers,
        "SD3": comfy.utils.mmdit_to_diffusers,
    }[name](stock.model.model_config.unet_config, output_prefix="")  # fmt: skip
    shapes = layers_of(stock.model.diffusion_model)
    found = {}
    for theirs, ours in names.items():
        path, place = (ours, None) if isinstance(ours, str) else (ours[0], ours[1])
        if theirs.endswith(".weight") and len(ours) < 3 or isinstance(ours, str):
            path = path.removesuffix(".weight")
            if path in shapes and theirs.endswith(".weight"):
                rows = shapes[path][0] if place is None else place[2]
                found[theirs.removesuffix(".weight")] = torch.Size((rows, *shapes[path][1:]))
    return found


@pytest.mark.parametrize("name", ["Flux as shipped", "Z-Image", "SD3"])
def test_diffusers_names_and_parts_of_fused_layers(name):
    shapes = diffusers_names(name)
    assert any(rows.endswith(("to_q", "q_proj")) for rows in shapes)
    lora = random_lora(shapes, name="transformer.{}".format)
    lora = {key.replace("lora_down", "lora_A").replace("lora_up", "lora_B"): value for key, value in lora.items()}
    assert sum(isinstance(key, tuple) for key in read(made(name)[1], lora)) >= 6
    equals_stock(name, lora)


@pytest.mark.parametrize("name", ["SD1.5", "SDXL", "Flux dev", "Qwen-Image"])
def test_kohya_names(name):
    def kohya(path: str) -> str:
        return "lora_unet_" + path.replace(".", "_")

    equals_stock(name, random_lora(layers_of(made(name)[1].model.diffusion_model), name=kohya))


def two_sided(stock) -> tuple[Region, Region, dict]:
    loras = {"one": read(stock, whole_lora(stock, seed=4)), "two": read(stock, whole_lora(stock, seed=5))}
    return region("a", LEFT, ("one", 0.8, 0.0)), region("b", FAR, ("two", 0.6, 0.0), feather=4), loras


@pytest.mark.parametrize("name", ["SD1.5", "Flux dev", "Flux.2", "Qwen-Image", "Z-Image"])
def test_a_lora_underneath_goes_on_acting(name):
    """The same as with the other LoRA's numbers written into the weights."""
    row, stock = made(name)
    under, x = whole_lora(stock, seed=8), row.latents(height=9, width=13)
    first, second, loras = two_sided(stock)
    below, _ = comfy.sd.load_lora_for_models(stock, None, under, 0.5, 0.0)
    got = look(row, with_loras(reach_regions(below), loras), conditioning(row, first, second), x=x)
    baked = ROWS[name].make()
    for path, layer in baked.model.diffusion_model.named_modules():
        if f"diffusion_model.{path}.alpha" in under:
            layer.weight.data += 0.5 * Reference._dense(under, path).reshape(layer.weight.shape).float()
    wanted = look(row, with_loras(reach_regions(baked), loras), conditioning(row, first, second), x=x)
    assert off(got, wanted) < 1e-4
    assert off(look(row, with_loras(reach_regions(stock), loras), conditioning(row, first, second), x=x), wanted) > 1e-2


@pytest.mark.parametrize("name", ["SD1.5", "Flux dev", "Flux.2", "Qwen-Image", "Z-Image"])
def test_weights_in_eight_bits(name):
    """The same as with the rounded weights in full precision."""
    row, _ = made(name)
    small, rounded = ROWS[name].make(operations=comfy.ops.manual_cast), ROWS[name].make()
    for path, _ in layers(name):
        layer = comfy.utils.get_attr(small.model.diffusion_model, path)
        layer.weight.data = layer.weight.data.to(torch.float8_e4m3fn)
        comfy.utils.get_attr(rounded.model.diffusion_model, path).weight.data = layer.weight.data.float()
    first, second, loras = two_sided(rounded)
    results = [
        look(row, with_loras(reach_regions(model), loras), conditioning(row, first, second))
        for model in (small, rounded)
    ]
    assert off(*results) < 1e-5


@pytest.mark.parametrize("name", ["SD1.5", "Flux dev"])
def test_weights_that_are_left_in_main_memory(name, monkeypatch):
    """As the host does where a model does not fit: each layer's weights are fetched, and patched, as it runs."""
    row, _ = made(name)
    models = []
    for _ in range(2):
        stock = ROWS[name].make(operations=comfy.ops.manual_cast)
        models.append(comfy.sd.load_lora_for_models(stock, None, whole_lora(stock, seed=8), 0.5, 0.0)[0])
    first, second, loras = two_sided(models[0])
    positive = conditioning(row, first, second)
    wanted = look(row, with_loras(reach_regions(models[0]), loras), positive)
    real, fetched = comfy.model_patcher.ModelPatcher.load, []

    def load(self, device_to=None, lowvram_model_memory=0, force_patch_weights=False, full_load=False):
        real(self, device_to, 64, force_patch_weights, full_load=False)
        fetched.append(sum(bool(getattr(layer, "weight_function", None)) for layer in self.model.modules()))

    monkeypatch.setattr(comfy.model_patcher.ModelPatcher, "load", load)
    got = look(row, with_loras(reach_regions(models[1]), loras), positive)
    assert max(fetched) > 5
    assert off(got, wanted) < 1e-5


@EVERY
def test_no_trace_is_left(name):
    row, stock = made(name)
    plain = row.conditioning(row.text(1, 5))
    before, network = look(row, stock, plain), stock.model.diffusion_model
    keys = set(stock.model.state_dict())
    first, second, loras = two_sided(stock)
    model = with_loras(reach_regions(stock), loras)
    changed = look(row, model, conditioning(row, first, second))
    assert torch.equal(look(row, model, plain), before), "a conditioning without regions is left alone"
    assert torch.equal(look(row, stock, plain), before)
    assert not any(layer._forward_hooks for layer in network.modules())
    assert set(stock.model.state_dict()) == keys
    assert torch.equal(look(row, model, conditioning(row, first, second)), changed), "and it can be used again"


@pytest.mark.parametrize("name", ["SD1.5", "Flux dev", "Z-Image"])
def test_only_the_rows_of_the_conditioning_that_has_the_region(name, monkeypatch):
    """Combined with a conditioning from elsewhere, each is what it is alone."""
    row, stock = made(name)
    first, second, loras = two_sided(stock)
    model = with_loras(reach_regions(stock), loras)
    positive = conditioning(row, first, second) + row.conditioning(row.text(1, 5))
    together = look(row, model, positive, x=row.latents(rows=2))
    monkeypatch.setattr("comfy.samplers.can_concat_cond", lambda one, other: one is other)
    assert off(look(row, model, positive, x=row.latents(rows=2)), together) < 1e-5


@pytest.mark.parametrize("name", ["SD1.5", "Flux dev", "Z-Image"])
def test_the_other_half_sees_the_lora_only_through_the_picture(name, monkeypatch):
    """Layer for layer: what is added in the region's half is added nowhere else."""
    row, stock = made(name)
    model = with_loras(reach_regions(stock), {"lora": read(stock, whole_lora(stock))})
    real, seen = regional_lora.RegionalLayer.__call__, []

    def recorded(self, layer, args, out):
        before = out.clone()
        after = real(self, layer, args, out)
        if after is not None and self.path in IMAGE_LAYERS[name]:
            seen.append((after - before).abs())
        return after

    monkeypatch.setattr(regional_lora.RegionalLayer, "__call__", recorded)
    look(row, model, conditioning(row, region("a", LEFT, ("lora", 1.0, 1.0))))
    assert seen
    for change in seen:
        left, right = _halves(change, 8)
        assert left.amin() > 0 and right.amax() == 0


IMAGE_LAYERS = {
    "SD1.5": ["input_blocks.1.1.transformer_blocks.0.attn1.to_q"], "Flux dev": ["double_blocks.0.img_attn.qkv"],
    "Z-Image": ["x_embedder"],
}  # fmt: skip


def _halves(change, side: int):
    """[B,tokens,C] -> the largest change of each token, in the left and the right half, of the first row with any."""
    rows = change.flatten(2).amax(-1) if change.ndim > 2 else change
    acting = rows[rows.amax(-1) > 0][0]
    across = side if len(acting) >= side * side else side // 2
    return acting[: across * across].reshape(across, across).tensor_split(2, dim=1)


def test_layers_without_tokens_are_named_once(caplog):
    row, stock = made("Flux dev")
    model = with_loras(reach_regions(stock), {"moon.safetensors": read(stock, whole_lora(stock))})
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            look(row, model, conditioning(row, region("a", LEFT, ("moon.safetensors", 1.0, 1.0))))
    (said,) = [record.getMessage() for record in caplog.records if "no tokens" in record.getMessage()]
    assert "moon.safetensors" in said
    assert "global_layers" in said
    assert int(said.split()[1]) == sum("mod" in path or "_in" in path and path != "img_in" and path != "txt_in"
                                       for path, _ in layers("Flux dev"))  # fmt: skip


def test_what_cannot_be_confined_is_named_and_left_out(caplog):
    """DoRA scales, orthogonal and whole weights are no additions to a layer's output; norms have no tokens of words."""
    row, stock = made("SD1.5")
    shapes = layers_of(stock.model.diffusion_model, lambda path: path.endswith("attn1.to_q"))
    (path, shape), *_ = shapes.items()
    decomposed = random_lora({path: shape}) | {f"diffusion_model.{path}.dora_scale": torch.ones(shape[0], 1)}
    orthogonal = {f"diffusion_model.{path}.oft_blocks": torch.zeros(4, shape[0] // 4, shape[0] // 4)}
    norm = "input_blocks.1.1.transformer_blocks.0.norm1"
    whole = {f"diffusion_model.{path}.set_weight": torch.zeros(shape)}
    norms = {f"diffusion_model.{norm}.diff": torch.ones(32), f"diffusion_model.{norm}.diff_b": torch.ones(32)}
    kinds = {"DoRA": decomposed, "OFT": orthogonal, "whole weights": whole, "norms": norms}
    plain = look(row, reach_regions(stock), conditioning(row, region("a", LEFT)))
    for kind, lora in kinds.items():
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            model = with_loras(reach_regions(stock), {"sun.safetensors": read(stock, lora)})
        said = " ".join(record.getMessage() for record in caplog.records)
        assert kind in said
        assert "sun.safetensors" in said
        assert torch.equal(look(row, model, conditioning(row, region("a", LEFT, ("sun.safetensors", 1.0, 1.0)))), plain)


def test_a_lora_of_a_sister_family_is_refused_by_name():
    _, stock = made("SD1.5")
    path, (outputs, inputs) = "input_blocks.1.1.transformer_blocks.0.attn2.to_k", (32, 64)
    lora = read(stock, random_lora({path: (outputs, inputs)}))
    with pytest.raises(PakatiError, match=r"'sdxl\.safetensors' is 32x64 at .*attn2.to_k but this model has 32x48"):
        with_loras(reach_regions(stock), {"sdxl.safetensors": lora})


def test_its_weights_are_counted_and_held_once():
    _, stock = made("SD1.5")
    lora = whole_lora(stock)
    model = with_loras(reach_regions(stock), {"lora": read(stock, lora)})
    (weights,) = model.get_nested_additional_models()
    assert weights.model_size() == sum(tensor.nbytes for name, tensor in lora.items() if ".alpha" not in name)
    assert not stock.get_nested_additional_models()


def test_two_injections_on_a_module(name="SD1.5"):
    """Two Apply Regions one after the other, each with LoRAs: the host's bypass hooks fail on the way out."""
    row, stock = made(name)
    first, second, loras = two_sided(stock)
    together = look(row, with_loras(reach_regions(stock), loras), conditioning(row, first, second))
    model = with_loras(reach_regions(stock), {"one": loras["one"]})
    model = with_loras(reach_regions(model), {"two": loras["two"]})
    assert torch.equal(look(row, model, conditioning(row, first, second)), together)
    plain = row.conditioning(row.text(1, 5))
    assert torch.equal(look(row, stock, plain), look(row, made(name)[1].clone(), plain))
    assert not any(layer._forward_hooks for layer in stock.model.modules())


@pytest.mark.parametrize("missing", ["not there.safetensors", "broken.safetensors", "other.safetensors"])
def test_files_that_cannot_be_used(missing, tmp_path):
    _, stock = made("SD1.5")
    (tmp_path / "broken.safetensors").write_bytes(b"no header")
    write({"some_other_layer.lora_up.weight": torch.zeros(4, 4)}, tmp_path / "other.safetensors")
    folder_paths.add_model_folder_path("loras", str(tmp_path), is_default=True)
    regions = RegionSet(Extent(64, 64), (region("a", LEFT, (missing, 1.0, 1.0)),))
    with pytest.raises(PakatiError, match=f"LoRA '{missing}' .*(put|download|pick)"):
        lora_files.read_loras(stock, WordlessClip(), regions)


class WordlessClip:
    cond_stage_model = torch.nn.Module()


@pytest.fixture(scope="module")
def wired(tmp_path_factory):
    """The embedded model, with two LoRAs for its UNet and its text encoder in the folder of LoRAs."""
    folder = tmp_path_factory.mktemp("loras")
    model, clip, _ = load_tiny()
    text = clip.cond_stage_model
    for seed, name in enumerate(("sun.safetensors", "moon.safetensors"), start=1):
        unet = random_lora(layers_of(model.model.diffusion_model), seed=seed)
        words = layers_of(text, lambda path: path.endswith("_proj"))
        write(unet | random_lora(words, seed=seed, name="text_encoders.{}".format), folder / name)
    folder_paths.add_model_folder_path("loras", str(folder), is_default=True)
    folder_paths.add_model_folder_path("loras", str(LORAS))
    return model, clip


def prompted(clip, text: str) -> list:
    return clip.encode_from_tokens_scheduled(clip.tokenize(text))


def applied(wired, *regions, global_layers=True):
    layout = RegionSet(Extent(128, 128), regions)
    return apply_regions(
        *wired, *(prompted(wired[1], text) for text in ("grass", "")), layout, global_layers=global_layers
    )


def step(model, positive, negative):
    return denoise(
        model, positive, negative, torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(1)), 0.6
    )


def test_node_on_a_whole_canvas_is_the_stock_lora_loader_text_included(wired):
    lora = comfy.utils.load_torch_file(folder_paths.get_full_path("loras", "sun.safetensors"), safe_load=True)
    model, clip = comfy.sd.load_lora_for_models(*wired, lora, 0.8, 0.6)
    wanted = step(model, prompted(clip, "a red circle"), prompted(clip, "brick"))
    sun = Region("all", WholeShape(), "a red circle", negative="brick", loras=(("sun.safetensors", 0.8, 0.6),))
    assert off(step(*applied(wired, sun)), wanted) < 1e-4
    assert off(step(wired[0], prompted(wired[1], "a red circle"), prompted(wired[1], "brick")), wanted) > 1e-2


@pytest.mark.parametrize("name", CAST)
def test_no_layer_of_a_shipped_lora_is_left_out(wired, name, caplog):
    one = Region("a", LEFT, "sand", loras=((lora_of(name).name, 1.0, 1.0),))
    with caplog.at_level(logging.WARNING):
        step(*applied(wired, one, global_layers=False))
    assert not [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]


def test_a_region_without_a_negative_has_its_lora_under_the_base_negative(wired):
    """The guidance would multiply a LoRA that acts on one of its sides alone; the stock loader's acts on both."""
    lora = comfy.utils.load_torch_file(folder_paths.get_full_path("loras", "sun.safetensors"), safe_load=True)
    model, clip = comfy.sd.load_lora_for_models(*wired, lora, 0.8, 0.6)
    wanted = step(model, prompted(clip, "a red circle"), prompted(wired[1], ""))
    sun = Region("all", WholeShape(), "a red circle", weight=1.0, loras=(("sun.safetensors", 0.8, 0.6),))
    assert off(step(*applied(wired, sun)), wanted) < 1e-4


def test_each_region_has_its_words_from_its_own_clip(wired):
    one = Region("a", LEFT, "a red circle", loras=(("sun.safetensors", 0.0, 1.0),))
    other = Region("b", RIGHT, "a red circle")
    _, ((_, options),), _ = applied(wired, one, other)
    prompts = options[KEY].prompts
    lora = comfy.utils.load_torch_file(folder_paths.get_full_path("loras", "sun.safetensors"), safe_load=True)
    clip = comfy.sd.load_lora_for_models(None, wired[1], lora, 0.0, 1.0)[1]
    assert torch.equal(prompts["a"], prompted(clip, "a red circle")[0][0])
    assert torch.equal(prompts["b"], prompted(wired[1], "a red circle")[0][0])
    assert not torch.equal(prompts["a"], prompts["b"])


def test_two_regions_with_the_same_file_read_it_once(wired, monkeypatch):
    real, read_files = comfy.utils.load_torch_file, []

    def load(path, *args, **kwargs):
        read_files.append(path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(comfy.utils, "load_torch_file", load)
    stack = ("sun.safetensors", 1.0, 1.0), ("moon.safetensors", 0.5, 0.5)
    model, *_ = applied(wired, Region("a", LEFT, "a", loras=stack), Region("b", RIGHT, "b", loras=stack[:1]))
    assert len(read_files) == 2
    (weights,) = model.get_nested_additional_models()
    (alone,) = applied(wired, Region("a", LEFT, "a", loras=stack))[0].get_nested_additional_models()
    assert weights.model_size() == alone.model_size()


def test_the_nodes_carry_a_stack_from_other_packs(wired):
    stack = [("sun.safetensors", 0.8, 0.6), ["moon.safetensors", 0.3, 0.0]]
    (regions,) = PakatiRegionalPrompt.execute(
        PlacedRegion.unnamed(128, 128, WholeShape()), "a red circle", loras=stack
    ).result
    assert regions.regions[0].loras == (("sun.safetensors", 0.8, 0.6), ("moon.safetensors", 0.3, 0.0))
    base = prompted(wired[1], "grass"), prompted(wired[1], "")
    out = PakatiApplyRegions.execute(*wired, *base, regions, global_layers=True).result
    same = Region("all", WholeShape(), "a red circle", loras=regions.regions[0].loras)
    assert torch.equal(step(*out), step(*applied(wired, same)))


def test_blending_refuses_what_it_cannot_confine(wired):
    sun = Region("sun", LEFT, "a", loras=(("sun.safetensors", 1.0, 1.0),))
    with pytest.raises(PakatiError, match="region 'sun' has LoRAs"):
        blend_regions(*wired, prompted(wired[1], "grass"), prompted(wired[1], ""), RegionSet(Extent(128, 128), (sun,)))
