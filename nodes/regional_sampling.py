"""What regions ask of the sampler itself: a guidance scale of their own, and noise of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from ..pakati_core.attention import Frame, RegionalText
from ..pakati_core.regions import RegionSet
from .region_text import KEY
from .region_time import in_time


def guide_regions(args: dict) -> Tensor:
    """`sampler_post_cfg_function`: add what a region's scale differs by; another pack's guidance goes on working."""
    wanted, unwanted, denoised = args["cond_denoised"], args["uncond_denoised"], args["denoised"]
    text = next((cond[KEY] for cond in args["cond"] or () if KEY in cond), None)
    if text is None or unwanted is None or not has_own_guidance(text.regions):
        return denoised
    sampling, sigma = args["model"].model_sampling, float(args["sigma"].flatten()[0])
    active = text.active(lambda region: in_time(region, sampling, sigma))
    extra = _extra_guidance(text, active, tuple(denoised.shape[-2:]), args["cond_scale"]).to(denoised)
    return denoised + extra * (wanted - unwanted)


def has_own_guidance(regions: RegionSet) -> bool:
    return any(region.guidance is not None for region in regions.regions)


def has_own_seed(regions: RegionSet) -> bool:
    return any(region.seed is not None for region in regions.regions)


def _extra_guidance(text: RegionalText, active: tuple[str, ...], grid: tuple[int, int], scale: float) -> Tensor:
    """[height,width]: each latent cell's scale less the sampler's own, shared as its prompts share it."""
    own = {region.id: region.guidance for region in text.regions.regions}
    scales = [0.0 if own[name] is None else float(own[name]) - scale for name in active]
    weights = text.plan(active, Frame(*grid), grid, torch.device("cpu")).weights[1:].unflatten(1, grid)
    return (weights * torch.tensor(scales)[:, None, None]).sum(0)


def draw_own_noise(executor, noise, *args, **kwargs):
    """OUTER_SAMPLE wrapper: a region with a seed of its own draws its own noise, and nobody else's moves."""
    conds = getattr(executor.class_obj, "conds", None) or {}
    texts = (cond[KEY] for group in conds.values() for cond in group if KEY in cond)
    regions = next((text.regions for text in texts if has_own_seed(text.regions)), None)
    if regions is not None and noise.ndim >= 4 and noise.any():  # no noise: a later pass of a sampler in stages
        noise = with_own_noise(noise, regions)
    return executor(noise, *args, **kwargs)


def with_own_noise(noise: Tensor, regions: RegionSet) -> Tensor:
    """[B,C,...,h,w]: cells of a region with a seed are those that the sampler would draw from that seed."""
    owner = regions.weights_on_grid(*noise.shape[-2:]).argmax(0)
    for number, region in enumerate(regions.regions, start=1):
        if region.seed is not None:
            generator = torch.Generator("cpu").manual_seed(region.seed % 2**63)
            own = torch.randn(noise.shape, dtype=torch.float32, generator=generator).to(noise)
            noise = torch.where((owner == number).to(noise.device), own, noise)
    return noise
