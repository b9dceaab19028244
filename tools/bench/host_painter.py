"""The embedded models in ComfyUI: layouts in, pictures out, through the nodes as a workflow runs them."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from pakati_core.regions import RegionSet
from tools.bench.host import load_host

CFG = {"pakati-tiny": 4.0, "pakati-tiny-dit": 1.0}  # the second one has its guidance built in
STEPS = 20


class HostPainter:
    """loras: a folder of files that regions name."""

    def __init__(self, architecture: str, loras: Path | None = None):
        load_host()
        import folder_paths

        from pakati.nodes.models import PakatiTinyLoader  # type: ignore[import-not-found]

        if loras:
            folder_paths.add_model_folder_path("loras", str(loras))
        self.cfg = CFG[architecture]
        self.model, self.clip, self.vae = PakatiTinyLoader.execute(architecture).result

    def paint(self, layout: RegionSet, seed: int) -> Image.Image:
        import nodes as stock
        from pakati.nodes.regions import PakatiApplyRegions  # type: ignore[import-not-found]
        from pakati.pakati_core.layout import image_to_pil  # type: ignore[import-not-found]
        from pakati.pakati_core.regions import RegionSet as HostRegions  # type: ignore[import-not-found]

        regions = HostRegions.from_dict(layout.to_dict())
        texts = [stock.CLIPTextEncode().encode(self.clip, text)[0] for text in (layout.prompt, "")]
        model, positive, negative, *_ = PakatiApplyRegions.execute(self.model, self.clip, *texts, regions).result
        latent = stock.EmptyLatentImage().generate(*layout.extent, 1)[0]
        sampler = stock.KSampler().sample
        (sampled,) = sampler(model, seed, STEPS, self.cfg, "euler", "simple", positive, negative, latent)
        return image_to_pil(stock.VAEDecode().decode(self.vae, sampled)[0])
