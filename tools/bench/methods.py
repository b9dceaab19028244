"""The ways to prompt by region that are compared: each prepares one step of the host's sampler."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tools.bench.models import Family

RANK = 32
TRAINED, UNTRAINED = re.compile(r"blocks|layers|\.proj_(in|out)$"), re.compile(r"_mod|modulation|emb_layers|time|mod\.")
SIGMA_AT = 0.4  # of sampling; every region acts all the time


@dataclass
class Scene:
    """One MODEL, its latents, a base prompt and `count` regions. guided: a negative prompt is sampled as well."""

    family: Family
    patcher: object
    latents: Tensor
    count: int
    feather: float
    guided: bool

    def __post_init__(self):
        self.base, self.negative = self.family.text(), self.family.text()
        self.prompts = {f"r{number}": self.family.text(of_region=True) for number in range(self.count)}

    @property
    def regions(self):
        """Columns of boxes and ellipses in turn over most of the canvas."""
        from pakati.pakati_core.shapes import BoxShape, EllipseShape

        return self._columns((BoxShape, EllipseShape), 0.1)

    @property
    def regions_with_loras(self):
        """Columns that share the whole canvas, each with a LoRA of its own name."""
        from pakati.pakati_core.shapes import BoxShape

        return self._columns((BoxShape,), 0.0, loras=True)

    def _columns(self, kinds: tuple, margin: float, loras: bool = False):
        from pakati.pakati_core.geometry import Extent
        from pakati.pakati_core.regions import Region, RegionSet

        side = self.latents.shape[-1] * self.family.cell
        width, top, height = side / max(1, self.count), side * margin, side * (1 - 2 * margin)
        regions = [
            Region(
                name, kinds[i % len(kinds)](i * width, top, width, height), "p", feather=self.feather,
                loras=((name, 1.0, 1.0),) if loras else (),
            )
            for i, name in enumerate(self.prompts)
        ]  # fmt: skip
        return RegionSet(Extent(side, side), tuple(regions))

    def masks(self) -> list[Tensor]:
        """[1,H,W] in pixels: the base's, then each region's."""
        side = self.latents.shape[-1] * self.family.cell
        return list(self.regions.weights_on_grid(side, side)[:, None])

    def plain(self) -> list:
        return self.family.conditioning(self.base)


Step = Callable[[], Tensor]


def stock(scene: Scene) -> Step:
    """The base prompt alone."""
    return step(scene, scene.patcher, scene.plain())


def set_mask(scene: Scene) -> Step:
    """ComfyUI's ConditioningSetMask and ConditioningCombine: each prompt predicts the canvas, and masks mix them."""
    texts, positive = (scene.base, *scene.prompts.values()), []
    for text, mask in zip(texts, scene.masks(), strict=True):
        positive += scene.family.conditioning(text, mask=mask, mask_strength=1.0, set_area_to_bounds=False)
    return step(scene, scene.patcher, positive)


def pakati(scene: Scene) -> Step:
    from pakati.nodes.regional_attention import reach_regions

    return step(scene, reach_regions(scene.patcher), _regional(scene, scene.regions))


def pakati_with_loras(scene: Scene) -> Step:
    """The canvas divided among the regions, each with a LoRA of rank 32 that acts on both sides of the guidance."""
    from pakati.nodes.regional_attention import reach_regions
    from pakati.nodes.regional_lora import with_loras

    network = scene.patcher.model.diffusion_model
    loras = {name: _random_lora(network) for name in scene.prompts}
    model, layout = with_loras(reach_regions(scene.patcher), loras), scene.regions_with_loras
    return step(scene, model, _regional(scene, layout), _regional(scene, layout, of_negative=True))


def _regional(scene: Scene, layout, of_negative: bool = False) -> list:
    from pakati.nodes.region_text import KEY
    from pakati.pakati_core.attention import RegionalText

    base = scene.negative if of_negative else scene.base
    prompts = dict.fromkeys(scene.prompts, scene.negative) if of_negative else scene.prompts
    offsets = {name: 512 - text.shape[1] for name, text in prompts.items() if scene.family.family == "Flux2"}
    return scene.family.conditioning(base, **{KEY: RegionalText(layout, prompts, offsets)})


def _random_lora(network: nn.Module) -> dict:
    """The host's patches for every layer that reads tokens inside a transformer block, as trainers choose them."""
    from comfy.weight_adapter import LoRAAdapter

    patches = {}
    for path, layer in network.named_modules():
        if isinstance(layer, nn.Linear) and TRAINED.search(path) and not UNTRAINED.search(path):
            outputs, inputs = layer.weight.shape
            like = {"device": layer.weight.device, "dtype": layer.weight.dtype}
            up, down = torch.randn(outputs, RANK, **like) * 0.01, torch.randn(RANK, inputs, **like) * inputs**-0.5
            patches[f"diffusion_model.{path}.weight"] = LoRAAdapter(set(), (up, down, float(RANK), None, None, None))
    return patches


METHODS = {"stock": stock, "SetMask": set_mask, "Pakati": pakati, "LoRAs": pakati_with_loras}


def step(scene: Scene, patcher, positive: list, negative: list | None = None) -> Step:
    """One guided prediction by the host's own sampling function, with all that happens once a run already done."""
    import comfy.model_patcher
    import comfy.sampler_helpers
    import comfy.samplers

    conds = {"positive": comfy.sampler_helpers.convert_cond(positive)}
    if scene.guided:
        conds["negative"] = comfy.sampler_helpers.convert_cond(negative or scene.family.conditioning(scene.negative))
    options = comfy.model_patcher.create_model_options_clone(patcher.model_options)
    comfy.samplers.preprocess_conds_hooks(conds)
    comfy.sampler_helpers.prepare_model_patcher(patcher, conds, options)
    model, x = patcher.model, scene.latents
    model.latent_shapes, model.current_patcher = [x.shape], patcher
    with torch.no_grad():
        conds = comfy.samplers.process_conds(model, x, conds, x.device, torch.zeros_like(x), None, 0)
    sigma = torch.full((len(x),), float(model.model_sampling.percent_to_sigma(SIGMA_AT)), device=x.device)

    def run() -> Tensor:
        with torch.no_grad():
            patcher.pre_run()
            patcher.patch_model(load_weights=False)
            try:
                return comfy.samplers.sampling_function(
                    model, x, sigma, conds.get("negative"), conds["positive"], 4.0 if scene.guided else 1.0, options
                )
            finally:
                patcher.unpatch_model(unpatch_weights=False)

    return run
