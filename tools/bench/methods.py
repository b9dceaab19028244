"""The ways to prompt by region that are compared: each prepares one step of the host's sampler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tools.bench.models import Family

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
        from pakati.pakati_core.geometry import Extent
        from pakati.pakati_core.regions import Region, RegionSet
        from pakati.pakati_core.shapes import BoxShape, EllipseShape

        side = self.latents.shape[-1] * self.family.cell
        kinds, width = (BoxShape, EllipseShape), side / max(1, self.count)
        regions = [
            Region(name, kinds[i % 2](i * width, side * 0.1, width, side * 0.8), "p", feather=self.feather)
            for i, name in enumerate(self.prompts)
        ]
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
    from pakati.nodes.region_text import KEY
    from pakati.nodes.regional_attention import reach_regions
    from pakati.pakati_core.attention import RegionalText

    offsets = {name: 512 - text.shape[1] for name, text in scene.prompts.items() if scene.family.family == "Flux2"}
    text = RegionalText(scene.regions, scene.prompts, offsets)
    return step(scene, reach_regions(scene.patcher), scene.family.conditioning(scene.base, **{KEY: text}))


METHODS = {"stock": stock, "SetMask": set_mask, "Pakati": pakati}


def step(scene: Scene, patcher, positive: list) -> Step:
    """One guided prediction by the host's own sampling function, with all that happens once a run already done."""
    import comfy.model_patcher
    import comfy.sampler_helpers
    import comfy.samplers

    conds = {"positive": comfy.sampler_helpers.convert_cond(positive)}
    if scene.guided:
        conds["negative"] = comfy.sampler_helpers.convert_cond(scene.family.conditioning(scene.negative))
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
