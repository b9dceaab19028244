"""Regional attention in ComfyUI: the prompts of all regions are joined to the base prompt, and an attention override
lets each image token see its own. Nothing is patched globally and the model's weights stay as they are.

The regions ride in the CONDITIONING (under `pakati_regions`), the wrappers in the MODEL: so Combine, timestep ranges,
negatives and several samplers work, and a conditioning without regions samples as stock.
"""

from __future__ import annotations

import torch
from comfy.ldm.modules.attention import attention_pytorch
from comfy.patcher_extension import WrappersMP

from ..pakati_core.attention import (
    Frame,
    RegionalText,
    Rows,
    Sequence,
    attend_joint_rows,
    attend_rows,
    attend_word_rows,
    join_prompts,
    join_shared,
    joined_length,
    make_rows,
    unet_levels,
    unmistakable_length,
)
from ..pakati_core.errors import PakatiError
from ..pakati_core.regions import RegionSet
from .architectures import Architecture, architecture_of, is_reachable
from .latent_blending import blend_regions
from .lora_files import clips_of, read_loras
from .region_text import KEY, with_extras, with_regions
from .region_time import in_time
from .regional_call import CALL, RegionalCall
from .regional_lora import with_loras
from .regional_patches import WordsRead, beside_patches
from .regional_sampling import draw_own_noise, guide_regions, has_own_guidance, has_own_seed

ARGUMENTS = ("heads", "mask", "attn_precision", "skip_reshape", "skip_output_reshape")  # after q, k, v, by position
OTHERS_MASK = "another pack masks the text of this model; remove it, or use it instead of the regions"


def apply_regions(
    model, clip, positive, negative, regions: RegionSet, blend_where_unreachable=False, global_layers=False
):
    """MODEL, CLIP, CONDITIONING x2, regions -> MODEL, CONDITIONING x2.

    blend_where_unreachable: for a model whose attention cannot be reached, let every prompt predict the picture and
    blend the predictions, as ComfyUI's masked conditionings do: a pass of the model for each region.
    global_layers: see with_loras.
    """
    if clip is None:
        raise PakatiError("no CLIP is connected; connect the CLIP that encoded the base prompt")
    network = model.get_model_object("diffusion_model")
    if blend_where_unreachable and not is_reachable(network):
        return blend_regions(model, clip, positive, negative, regions)
    fill = architecture_of(network).fills_left(network)
    wanted = {region.id: region.prompt for region in regions.regions}
    unwanted = _unwanted(regions)
    loras = read_loras(model, clip, regions)
    clips = clips_of(clip, regions, loras)
    positive = with_regions(clip, positive, regions, wanted, fill, clips)
    negative = with_regions(clip, negative, regions, unwanted, fill, clips)
    model = with_loras(_sample_by_regions(reach_regions(model), regions), loras, global_layers)
    number = architecture_of(network).number
    return model, with_extras(number, clip, positive, wanted), with_extras(number, clip, negative, unwanted)


def _unwanted(regions: RegionSet) -> dict[str, str | None]:
    """Negatives of the regions. A LoRA acts on both sides of the guidance, as a stock LoRA does: else the guidance
    scale would multiply it. So a region with LoRAs and no negative has the base's, which None stands for."""
    own = {region.id: region.negative if region.negative.strip() else None for region in regions.regions}
    acting = {region.id for region in regions.regions if any(strength for _, strength, _ in region.loras)}
    return {name: text for name, text in own.items() if text is not None or name in acting}


def reach_regions(model):
    """A clone of the MODEL that listens to the regions of its conditionings."""
    family = architecture_of(model.get_model_object("diffusion_model"))
    model = model.clone()
    for kind, wrapper in ((WrappersMP.CALC_COND_BATCH, _publish_regions), (WrappersMP.APPLY_MODEL, _join_prompts)):
        if wrapper not in model.get_wrappers(kind, KEY):
            model.add_wrapper_with_key(kind, KEY, wrapper)
    if family.prepare is not None:
        family.prepare(model)
    return model


def _sample_by_regions(model, regions: RegionSet):
    """What changes sampling is added only where a region asks for it: it makes the host compute more."""
    if has_own_guidance(regions) and guide_regions not in model.model_options.get("sampler_post_cfg_function", []):
        model.set_model_sampler_post_cfg_function(guide_regions, disable_cfg1_optimization=True)
    if has_own_seed(regions) and draw_own_noise not in model.get_wrappers(WrappersMP.OUTER_SAMPLE, KEY):
        model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, draw_own_noise)
    return model


def _publish_regions(executor, model, conds, x_in, timestep, model_options):
    """Around one step of the sampler, which knows the conditionings: tell the model's wrapper who has regions."""
    texts = {}
    for cond in (cond for group in conds if group is not None for cond in group if KEY in cond):
        area = cond.get("area")
        text = _adapted(model, cond[KEY], x_in.device)
        texts[cond["uuid"]] = text, Frame(*x_in.shape[-2:], None if area is None else tuple(area))
    if texts:
        options = {**model_options.get("transformer_options", {}), KEY: texts}
        model_options = {**model_options, "transformer_options": options}
    return executor(model, conds, x_in, timestep, model_options)


def _adapted(model, text: RegionalText, device: torch.device) -> RegionalText:
    """The text as this model reads it: made once for each state of its weights, that is once a run."""
    adapt = architecture_of(model.diffusion_model).adapt
    if adapt is None or not text.extras:
        return text
    patcher = model.current_patcher
    state = id(model), None if patcher is None else patcher.patches_uuid, device
    if text.adapted is None or text.adapted[0] != state:
        text.adapted = state, adapt(model, text, device)
    return text.adapted[1]


def _join_prompts(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
    options = transformer_options or {}
    rows = _rows(executor.class_obj.model_sampling, x, t, c_crossattn, options)
    if not any(row.text for row in rows):
        return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)
    if x.ndim > 4 and x.shape[2] > 1:
        raise PakatiError(f"regions are for pictures, and this latent has {x.shape[2]} frames; use a latent of one")
    family = architecture_of(executor.class_obj.diffusion_model)
    if family.adapt is not None and kwargs.get("t5xxl_ids") is not None:
        raise PakatiError("regions cannot be trained with; sample without gradients, or train without regions")
    join = _join_sequence if family.joint else _join_keys
    c_crossattn, call, options = join(executor.class_obj, family, rows, x.shape[-2:], c_crossattn, options, kwargs)
    token = CALL.set(call)
    try:
        return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)
    finally:
        CALL.reset(token)


def _rows(sampling, x, t, context, options: dict) -> list[Rows]:
    """One entry for each conditioning in the batch; empty where none can have regions."""
    texts, uuids = options.get(KEY), options.get("uuids")
    if not texts or not uuids or context is None:
        return []
    each, sigma, rows = x.shape[0] // len(uuids), float(t[0]), []
    for number, uuid in enumerate(uuids):
        text, frame = texts.get(uuid, (None, None))
        active = text.active(lambda region: in_time(region, sampling, sigma)) if text else ()
        rows.append(make_rows(number * each, (number + 1) * each, context.shape[1], text, active, frame))
    return rows


def _join_keys(model, family: Architecture, rows, latent, context, options: dict, kwargs: dict):
    """For models that read words by cross-attention."""
    grid = family.grid(model.diffusion_model, *latent) if family.patch else latent
    base, length = context.shape[1], unmistakable_length(joined_length(rows), *grid)
    context, rows = join_prompts(context, rows, length)
    words = WordsRead(length, rows[-1].stop)
    override = CrossOverride(rows, words, grid, options.get("optimized_attention_override"))
    options = beside_patches({**options, "optimized_attention_override": override}, words, base)
    return context, RegionalCall(rows, grid, latent, {}, base=base, keys=length), options


def _join_sequence(model, family: Architecture, rows, latent, context, options: dict, kwargs: dict):
    """For models that have words and pixels in one sequence."""
    network = model.diffusion_model
    grid, before = family.grid(network, *latent), family.registers_of(network)
    multiple = getattr(network, "pad_tokens_multiple", None) or 1
    if kwargs.get("attention_mask") is not None and not family.refines_words:
        if not family.masks:
            raise PakatiError(OTHERS_MASK)
        rows = [_unmasked(row, kwargs["attention_mask"]) for row in rows]
        kwargs["attention_mask"] = None
    pixels = -(-grid[0] * grid[1] // multiple) * multiple
    if family.join is not None:
        joined = family.join(context, rows, kwargs)
    else:
        joined = join_shared(context, rows, multiple, avoid=pixels if family.refines_words else -1)
    call = RegionalCall(joined.rows, grid, latent, {}, before, joined, image_last=family.image_last)
    override = JointOverride(call, family, options.get("optimized_attention_override"))
    options = {**options, "optimized_attention_override": override}
    if family.counts_words:
        options["patches"] = _with_positions(options.get("patches", {}), joined.positions)
    if family.image_shift and type(model).__name__ == "LongCatImage":
        shift = {"shift_t": 1.0, "shift_y": float(context.shape[1]), "shift_x": float(context.shape[1])}
        options["rope_options"] = {**shift, **options.get("rope_options", {})}
    return joined.context, call, options


def _unmasked(row: Rows, mask: torch.Tensor) -> Rows:
    """The row with the words of its base prompt that the model's own mask, [B,words], lets through."""
    seen = (mask[row.start].flatten() > 0 if not mask.is_floating_point() else mask[row.start].flatten() == 0).nonzero()
    first, last = int(seen[0]), int(seen[-1])
    if last - first + 1 != len(seen):
        raise PakatiError(OTHERS_MASK)
    lengths = (len(seen), *row.prompts.lengths[1:])
    return row._replace(prompts=row.prompts._replace(lengths=lengths, starts=(first, *lengths[1:])))


def _with_positions(patches: dict, positions: torch.Tensor) -> dict:
    """Let every prompt count its words as if it were alone."""

    def count(args: dict) -> dict:
        return {**args, "txt_ids": args["txt_ids"][:, positions]}

    return {**patches, "post_input": [count, *patches.get("post_input", [])]}


class _Override:
    """`optimized_attention_override` for one call of the model; another pack's override goes on working inside it."""

    inner = None

    def _stock(self, func, q, k, v, *args, **kwargs):
        if self.inner is not None:
            return self.inner(func, q, k, v, *args, **kwargs)
        return func(q, k, v, *args, **kwargs)

    def _attention(self, func, args, kwargs):
        """(q, k, v, mask) -> out, with everything else as the model asked for, and the named arguments."""
        named = {**dict(zip(ARGUMENTS, args, strict=False)), **kwargs}
        if named.pop("mask", None) is not None:
            raise PakatiError(OTHERS_MASK)
        heads = named.pop("heads")

        def attention(q, k, v, mask):
            if mask is None:
                return self._stock(func, q, k, v, heads, **named)
            # Sage and flash take no masks: asked for one, they log a warning at each call or fail.
            return attention_pytorch(q, k, v, heads, mask=mask, **named)

        return attention, named


class CrossOverride(_Override):
    def __init__(self, rows: list[Rows], words: WordsRead, grid: tuple[int, int], inner):
        self.rows, self.words, self.grid, self.inner = rows, words, grid, inner

    @torch.compiler.disable
    def __call__(self, func, q, k, v, *args, **kwargs):
        common = self.words.take(k.shape[-2])
        if common is None:
            return self._stock(func, q, k, v, *args, **kwargs)
        attention, named = self._attention(func, args, kwargs)
        grid = self._grid(q.shape[-2], named.get("transformer_options"))
        return attend_rows(attention, q, k, v, self.rows, grid, common)

    def _grid(self, tokens: int, options: dict | None) -> tuple[int, int]:
        shape = tuple((options or {}).get("activations_shape", (0, 0))[-2:])
        for height, width in (shape, *unet_levels(*self.grid)):
            if height * width == tokens:
                return height, width
        raise PakatiError(f"regions do not know this model's {tokens} image tokens; use another model or no regions")


class JointOverride(_Override):
    def __init__(self, call: RegionalCall, family: Architecture, inner):
        self.call, self.family, self.inner = call, family, inner

    @torch.compiler.disable
    def __call__(self, func, q, k, v, *args, **kwargs):
        total, words, pixels = k.shape[-2], self.call.joined.words, self.call.grid[0] * self.call.grid[1]
        known = q.shape[-2] == total and q.shape[0] == self.call.rows[-1].stop
        if known and self.family.refines_words and total == words:
            return attend_word_rows(self._attention(func, args, kwargs)[0], q, k, v, self.call.rows)
        if not known or total < self.call.before + words + pixels:
            return self._stock(func, q, k, v, *args, **kwargs)
        if v.ndim > q.ndim:  # SD3 folds the heads of queries and keys, and not of values
            v = v.flatten(2)
        if self.call.joined.order is not None:
            return self._in_order(func, q, k, v, args, kwargs)
        first = total - pixels if self.family.image_last else self.call.before + words
        sequence = Sequence(self.call.before, words, first, pixels, total)
        attention, _ = self._attention(func, args, kwargs)
        return attend_joint_rows(attention, q, k, v, self.call.rows, sequence, self.call.grid)

    def _in_order(self, func, q, k, v, args, kwargs):
        """Words one prompt after another, then the image; the model has the image first and words in several runs."""
        words, pixels = self.call.joined.words, self.call.grid[0] * self.call.grid[1]
        order = torch.cat([self.call.joined.order + pixels, torch.arange(pixels, device=q.device)])
        q, k, v = (part.index_select(-2, order) for part in (q, k, v))
        attention, _ = self._attention(func, args, kwargs)
        sequence = Sequence(0, words, words, pixels, words + pixels)
        out = attend_joint_rows(attention, q, k, v, self.call.rows, sequence, self.call.grid)
        return out.index_select(-2, order.argsort())
