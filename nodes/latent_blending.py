"""ComfyUI's own way with regions, for models that regional attention cannot reach."""

from __future__ import annotations

from torch import Tensor

from ..pakati_core.errors import RegionError
from ..pakati_core.regions import RegionSet


def blend_regions(model, clip, positive, negative, regions: RegionSet):
    """MODEL as it is, and each prompt as a conditioning of its own, masked to its share of the canvas.

    Raises RegionError for a region with LoRAs.
    """
    for region in regions.regions:
        if any(any(strengths) for _, *strengths in region.loras):
            raise RegionError(
                f"region {region.name!r} has LoRAs, but blending cannot keep them inside; take them out, or use "
                "a model that regions reach"
            )
    wanted = {region.id: region.prompt for region in regions.regions}
    unwanted = {region.id: region.negative for region in regions.regions if region.negative.strip()}
    return model, _masked(clip, positive, regions, wanted), _masked(clip, negative, regions, unwanted)


def _masked(clip, base: list, regions: RegionSet, texts: dict[str, str]) -> list:
    if not texts:
        return base
    shares, left = regions.coverage(), regions.base_coverage()
    conditionings = []
    for region, share in zip(regions.regions, shares, strict=True):
        if region.id not in texts:
            left = left + share
            continue
        encoded = clip.encode_from_tokens_scheduled(clip.tokenize(texts[region.id]))
        time = {"start_percent": region.start, "end_percent": region.end}
        conditionings += _with_mask(encoded, share, **(time if (region.start, region.end) != (0, 1) else {}))
    return (_with_mask(base, left) if left.any() else []) + conditionings


def _with_mask(conditioning: list, mask: Tensor, **more) -> list:
    masked = {"mask": mask[None], "set_area_to_bounds": False, "mask_strength": 1.0, **more}
    return [[text, {**options, **masked}] for text, options in conditioning]
