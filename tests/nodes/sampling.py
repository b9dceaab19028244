"""One look through the host's own sampling path."""

import comfy.samplers
import torch


def denoise(model, positive, negative, latents, sigma, cfg=3.0, guider=None):
    """The guided prediction of the finished latents at one noise level, through the host's own sampling path."""
    seen = []

    def look(model, x, sigmas, extra_args=None, callback=None, disable=None, **_):
        seen.append(model(latents.to(x), sigmas[:1].expand(len(x)), **(extra_args or {})))
        return x

    guider = guider or comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    sigmas = torch.tensor([sigma, 0.0])
    guider.sample(torch.zeros_like(latents), torch.zeros_like(latents), comfy.samplers.KSAMPLER(look), sigmas, seed=0)
    return seen[0].cpu()
