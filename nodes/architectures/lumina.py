"""Lumina2 and Z-Image: captions stand before the image, which begins where they end, and are filled up to 32."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...pakati_core.errors import PakatiError
from ..regional_call import CALL

CAPTION, POSITIONS = "embed_cap", "rope_embedder"


def share_captions(model) -> None:
    """Give each prompt of a regional call the positions and the padding that it would have alone."""
    if isinstance(model.get_model_object(f"diffusion_model.{CAPTION}"), _SharedCaptions):
        return
    network = model.get_model_object("diffusion_model")
    positions = model.get_model_object(f"diffusion_model.{POSITIONS}")
    model.add_object_patch(f"diffusion_model.{CAPTION}", _SharedCaptions(network, positions))
    model.add_object_patch(f"diffusion_model.{POSITIONS}", _ImageAfterBase(positions))


class _SharedCaptions:
    def __init__(self, network: nn.Module, positions: nn.Module):
        self.network, self.positions, self.stock = network, positions, getattr(network, CAPTION)

    def __call__(self, cap_feats=None, offset=0, bsz=1, device=None, dtype=None):
        """NextDiT.embed_cap: features, rotary frequencies and length of the caption."""
        call = CALL.get()
        if call is None or cap_feats is None or cap_feats.shape[1] != call.joined.words:
            return self.stock(cap_feats, offset=offset, bsz=bsz, device=device, dtype=dtype)
        if offset:
            raise PakatiError(
                "regions cannot be used with reference pictures on this model; remove the references, or the regions"
            )
        features, back = self.network.cap_embedder(cap_feats), call.joined.before_image
        if self.network.pad_tokens_multiple is not None:
            pad = self.network.cap_pad_token.to(features)
            features = torch.where(call.joined.pads[None, :, None], pad, features)
        ids = torch.zeros(bsz, len(back), 3, dtype=torch.float32, device=device)
        ids[:, :, 0] = back - back[0] + 1.0  # counted back from the image, for only differences matter
        return (features,), (self.positions(ids).movedim(1, 2),), len(back)


class _ImageAfterBase(nn.Module):
    """The image begins where the base prompt ends, not where all prompts end: its padding stands at position 0."""

    def __init__(self, stock: nn.Module):
        super().__init__()
        self.stock = stock

    def forward(self, ids: Tensor) -> Tensor:
        call = CALL.get()
        if call is not None and call.joined is not None:
            ids = ids.clone()
            ids[..., 0] -= call.joined.before_image[0] * (ids[..., 0] > 0)
        return self.stock(ids)
