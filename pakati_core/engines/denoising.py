"""One request on one model: the denoising loop, with regional attention where the request has regions."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..attention import Frame, RegionalText, join_prompts, joined_length, make_rows
from ..errors import ShapeError, warn
from ..masks import to_grid
from ..regions import Region
from .parts import Parts, Text
from .ports import Progress, Request
from .processor import RegionalProcessor, RegionalState, install


class Denoising:
    """Text, noise and schedule of one request; `sample` and `decode` make the picture."""

    def __init__(self, parts: Parts, request: Request):
        self.parts, self.request = parts, request
        self.extent = request.regions.extent
        if self.extent.width % parts.scale or self.extent.height % parts.scale:
            size = f"{self.extent.width}x{self.extent.height}"
            raise ShapeError(f"the canvas is {size}; {parts.name} wants sides that divide by {parts.scale}")
        self.device, self.dtype = parts.unet.device, parts.unet.dtype
        self.frame = Frame(self.extent.height // parts.scale, self.extent.width // parts.scale)
        self.guidance = parts.guidance if request.guidance is None else request.guidance
        self.scheduler = self._scheduled()
        self._encode()

    @property
    def initial_scale(self) -> float:
        return float(getattr(self.scheduler, "init_noise_sigma", 1.0))

    def _scheduled(self):
        scheduler, steps = self.parts.scheduler(), self.request.steps or self.parts.steps
        if hasattr(scheduler, "scale_noise"):  # flow matching: the host's `simple` schedule
            scheduler.set_timesteps(sigmas=np.linspace(1.0, 1.0 / steps, steps), device=self.device)
        else:
            scheduler.set_timesteps(steps, device=self.device)
        return scheduler

    def _encode(self) -> None:
        layout, cache = self.request.regions, {}

        def text(prompt: str) -> Text:
            if prompt not in cache:
                cache[prompt] = self.parts.encode(prompt)
            return cache[prompt]

        self.positive, self.negative = text(layout.prompt), text(layout.negative)
        prompts = {region.id: text(region.prompt).tokens for region in layout.regions}
        refused = {region.id: text(region.negative).tokens for region in layout.regions if region.negative.strip()}
        self.wanted, self.unwanted = RegionalText(layout, prompts), RegionalText(layout, refused)
        self.notes = tuple(f"{self.parts.name} does not know {word!r}" for t in cache.values() for word in t.unknown)
        self.notes += tuple(_unserved(layout.regions))
        for note in self.notes:
            warn(note)

    def noise(self) -> Tensor:
        """[1,C,h,w]; a region with a seed of its own draws its own, and nobody else's noise moves."""
        shape = 1, self.parts.unet.config.in_channels, self.frame.height, self.frame.width
        noise = _noise(shape, self.request.seed)
        seeded = [i for i, region in enumerate(self.request.regions.regions) if region.seed is not None]
        if seeded:
            owner = self.request.regions.weights_on_grid(self.frame.height, self.frame.width).argmax(0)
            for i in seeded:
                own = _noise(shape, self.request.regions.regions[i].seed or 0)
                noise = torch.where(owner == i + 1, own, noise)
        return noise.to(self.device, self.dtype)

    @torch.no_grad()
    def sample(self, latents: Tensor, progress: Progress | None, start: int = 0, hold=None) -> Tensor:
        """hold: called with the latents after each step, to put back what must not change."""
        state = RegionalState()
        timesteps = self.scheduler.timesteps[start:]
        with install(self.parts.unet, RegionalProcessor(state) if self.request.regions.regions else None):
            for number, t in enumerate(timesteps):
                prediction = self.predict(latents, t, state)
                latents = self.scheduler.step(prediction, t, latents, return_dict=False)[0]
                latents = hold(latents, start + number + 1) if hold else latents
                if progress:
                    progress(number + 1, len(timesteps))
        return latents

    def predict(self, latents: Tensor, t: Tensor, state: RegionalState) -> Tensor:
        done = 1 - float(t) / self.scheduler.config.num_train_timesteps
        x = self.scheduler.scale_model_input(latents, t) if hasattr(self.scheduler, "scale_model_input") else latents
        guidance = self._guidance(latents)
        if isinstance(guidance, float) and guidance == 1.0:
            return self._denoise(x, t, done, state, [(self.positive, self.wanted)])
        sides = [(self.positive, self.wanted), (self.negative, self.unwanted)]
        if self.positive.tokens.shape != self.negative.tokens.shape:
            wanted, unwanted = (self._denoise(x, t, done, state, [side]) for side in sides)
        else:
            wanted, unwanted = self._denoise(x, t, done, state, sides).chunk(2)
        return unwanted + guidance * (wanted - unwanted)

    def _denoise(self, x: Tensor, t: Tensor, done: float, state: RegionalState, sides) -> Tensor:
        context = torch.cat([text.tokens for text, _ in sides])
        rows = [
            make_rows(i, i + 1, context.shape[1], regional, regional.active(lambda r: r.is_active(done)), self.frame)
            for i, (_, regional) in enumerate(sides)
        ]
        state.rows = []
        if any(row.text for row in rows):
            context, state.rows = join_prompts(context, rows, joined_length(rows))
        state.latent = (self.frame.height, self.frame.width)
        x = x.expand(len(sides), -1, -1, -1)
        return self.parts.unet(x, t, context, added_cond_kwargs=self._added([text for text, _ in sides])).sample

    def _added(self, texts: list[Text]) -> dict | None:
        if not self.parts.wants_size:
            return None
        width, height = self.extent
        sizes = torch.tensor([[height, width, 0, 0, height, width]], device=self.device, dtype=self.dtype)
        pooled = torch.cat([text.pooled for text in texts if text.pooled is not None])
        return {"text_embeds": pooled, "time_ids": sizes.expand(len(texts), -1)}

    def _guidance(self, latents: Tensor) -> float | Tensor:
        """One number, or [1,1,h,w] where a region has a scale of its own."""
        own = [region.guidance for region in self.request.regions.regions]
        if all(value is None for value in own):
            return float(self.guidance)
        weights = self.request.regions.weights_on_grid(self.frame.height, self.frame.width)
        scales = torch.tensor([self.guidance, *(self.guidance if value is None else value for value in own)])
        return (weights * scales[:, None, None]).sum(0)[None, None].to(latents)

    @torch.no_grad()
    def repaint(self, image: Image.Image, mask: Tensor, progress: Progress | None) -> Image.Image:
        """Noise only inside the mask; outside, each step goes back to the picture at that noise level."""
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float().div(127.5).sub(1)
        original = self._encode_latents(pixels.to(self.device))
        mask = to_grid(mask[None], self.frame.height, self.frame.width)[None].to(self.device)
        noise, timesteps = self.noise(), self.scheduler.timesteps
        start = len(timesteps) - max(1, round(len(timesteps) * self.request.strength))

        def at_step(step: int) -> Tensor:
            if step >= len(timesteps):
                return original
            when = timesteps[step : step + 1]
            add = getattr(self.scheduler, "scale_noise", None)
            return add(original, when, noise) if add else self.scheduler.add_noise(original, noise, when)

        def hold(latents: Tensor, step: int) -> Tensor:
            left = (len(timesteps) - step) / (len(timesteps) - start)
            inside = (mask > 0) & (mask >= left) if self.request.soft else mask > 0
            return torch.where(inside, latents, at_step(step))

        return self.decode(self.sample(at_step(start), progress, start, hold))

    def _encode_latents(self, pixels: Tensor) -> Tensor:
        out = self.parts.vae.encode(pixels.to(self.parts.vae.dtype))
        latents = out.latents if hasattr(out, "latents") else out.latent_dist.mode()
        return (latents * self.parts.vae.config.scaling_factor).to(self.dtype)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Image.Image:
        vae = self.parts.vae
        out = vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor).sample
        pixels = F.relu(out[0].float().add(1).mul(127.5)).clamp(max=255).round().byte()
        return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


def _noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """On the CPU, so that every device draws the same."""
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed % 2**63))


def _unserved(regions: tuple[Region, ...]) -> list[str]:
    """What regions ask for and this engine does not do yet: said, never silently left out."""
    asked = [(region, name) for region in regions for name in ("loras", "controls", "model") if getattr(region, name)]
    return [f"region {region.id!r}: {name} are not used by this engine yet" for region, name in asked]


@torch.no_grad()
def denoised_at(parts: Parts, request: Request, latents: Tensor, sigma: float) -> Tensor:
    """The guided prediction of the finished latents at one noise level, for a flow-matching model."""
    run, state = Denoising(parts, request), RegionalState()
    with install(parts.unet, RegionalProcessor(state)):
        t = torch.tensor(sigma * run.scheduler.config.num_train_timesteps, device=run.device)
        return latents - sigma * run.predict(latents, t, state)
