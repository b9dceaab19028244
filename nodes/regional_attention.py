"""Regional attention in ComfyUI: the prompts of all regions are joined to the base prompt, and an attention override
lets each image token see its own. Nothing is patched globally and the model's weights stay as they are.

The regions ride in the CONDITIONING (under `pakati_regions`), the wrappers in the MODEL: so Combine, timestep ranges,
negatives and several samplers work, and a conditioning without regions samples as stock.
"""

from __future__ import annotations

import torch
from comfy.ldm.modules.attention import attention_pytorch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.patcher_extension import WrappersMP

from ..pakati_core.attention import (
    Frame,
    RegionalText,
    Rows,
    attend_rows,
    join_prompts,
    make_rows,
    unet_levels,
    unmistakable_length,
)
from ..pakati_core.errors import PakatiError
from ..pakati_core.regions import RegionSet

KEY = "pakati_regions"  # in a conditioning, and in transformer_options while sampling
ARGUMENTS = ("heads", "mask", "attn_precision", "skip_reshape", "skip_output_reshape")  # after q, k, v, by position


def apply_regions(model, clip, positive, negative, regions: RegionSet):
    """MODEL, CLIP, CONDITIONING x2, regions -> MODEL, CONDITIONING x2."""
    if clip is None:
        raise PakatiError("no CLIP is connected; connect the CLIP that encoded the base prompt")
    network = model.get_model_object("diffusion_model")
    if not isinstance(network, UNetModel):
        kind = type(network).__name__
        raise PakatiError(
            f"regions need a UNet model (SD1.5, SD2, SDXL or Pakati's own), and this one is {kind}; use "
            "ConditioningSetMask with it"
        )
    wanted = {region.id: region.prompt for region in regions.regions}
    unwanted = {region.id: region.negative for region in regions.regions if region.negative.strip()}
    model = model.clone()
    for kind, wrapper in ((WrappersMP.CALC_COND_BATCH, _publish_regions), (WrappersMP.APPLY_MODEL, _join_prompts)):
        if wrapper not in model.get_wrappers(kind, KEY):
            model.add_wrapper_with_key(kind, KEY, wrapper)
    return model, _with_text(clip, positive, regions, wanted), _with_text(clip, negative, regions, unwanted)


def _with_text(clip, conditioning, regions: RegionSet, texts: dict[str, str]):
    if not texts:
        return conditioning
    distinct = {text: clip.encode_from_tokens(clip.tokenize(text)) for text in dict.fromkeys(texts.values())}
    text = RegionalText(regions, {name: distinct[text] for name, text in texts.items()})
    return [[embedding, {**options, KEY: text}] for embedding, options in conditioning]


def _publish_regions(executor, model, conds, x_in, timestep, model_options):
    """Around one step of the sampler, which knows the conditionings: tell the model's wrapper who has regions."""
    texts = {}
    for cond in (cond for group in conds if group is not None for cond in group if KEY in cond):
        area = cond.get("area")
        texts[cond["uuid"]] = cond[KEY], Frame(*x_in.shape[-2:], None if area is None else tuple(area))
    if texts:
        options = {**model_options.get("transformer_options", {}), KEY: texts}
        model_options = {**model_options, "transformer_options": options}
    return executor(model, conds, x_in, timestep, model_options)


def _join_prompts(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
    options = transformer_options or {}
    rows = _rows(executor.class_obj.model_sampling, x, t, c_crossattn, options)
    if any(row.text for row in rows):
        length = unmistakable_length(max(row.prompts.total for row in rows), *x.shape[-2:])
        c_crossattn = join_prompts(c_crossattn, rows, length)
        override = RegionalOverride(rows, length, x.shape[-2:], options.get("optimized_attention_override"))
        options = {**options, "optimized_attention_override": override}
    return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)


def _rows(sampling, x, t, context, options: dict) -> list[Rows]:
    """One entry for each conditioning in the batch; empty where none can have regions."""
    texts, uuids = options.get(KEY), options.get("uuids")
    if not texts or not uuids or context is None:
        return []
    each, sigma, rows = x.shape[0] // len(uuids), float(t[0]), []
    for number, uuid in enumerate(uuids):
        text, frame = texts.get(uuid, (None, None))
        active = text.active(lambda region: _in_time(region, sampling, sigma)) if text else ()
        rows.append(make_rows(number * each, (number + 1) * each, context.shape[1], text, active, frame))
    return rows


def _in_time(region, sampling, sigma: float) -> bool:
    """As ConditioningSetTimestepRange counts, but the end belongs to the region's successor."""
    begun = region.start <= 0 or sigma <= sampling.percent_to_sigma(region.start)
    return begun and (region.end >= 1 or sigma > sampling.percent_to_sigma(region.end))


class RegionalOverride:
    """`optimized_attention_override` for one call of the model; another pack's override goes on working inside it."""

    def __init__(self, rows: list[Rows], keys: int, latent: tuple[int, int], inner):
        self.rows, self.keys, self.latent, self.inner = rows, keys, latent, inner

    @torch.compiler.disable
    def __call__(self, func, q, k, v, *args, **kwargs):
        if k.shape[-2] != self.keys:
            return self._stock(func, q, k, v, *args, **kwargs)
        named = {**dict(zip(ARGUMENTS, args, strict=False)), **kwargs}
        if named.pop("mask", None) is not None:
            raise PakatiError("another pack masks the text of this model; remove it, or use it instead of the regions")
        heads = named.pop("heads")

        def attention(q, k, v, mask):
            if mask is None:
                return self._stock(func, q, k, v, heads, **named)
            # Sage and flash take no masks: asked for one, they log a warning at each call or fail.
            return attention_pytorch(q, k, v, heads, mask=mask, **named)

        grid = self._grid(q.shape[-2], named.get("transformer_options") or {})
        return attend_rows(attention, q, k, v, self.rows, grid)

    def _stock(self, func, q, k, v, *args, **kwargs):
        if self.inner is not None:
            return self.inner(func, q, k, v, *args, **kwargs)
        return func(q, k, v, *args, **kwargs)

    def _grid(self, tokens: int, options: dict) -> tuple[int, int]:
        shape = tuple(options.get("activations_shape", (0, 0))[-2:])
        for height, width in (shape, *unet_levels(*self.latent)):
            if height * width == tokens:
                return height, width
        raise PakatiError(f"regions do not know this model's {tokens} image tokens; use another model or no regions")
