"""Nodes that load the embedded models."""

from comfy_api.latest import io

ARCHITECTURES = "pakati-tiny", "pakati-tiny-dit"


class PakatiTinyLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiTinyLoader",
            display_name="Load Pakati's Embedded Model",
            category="Pakati/regions",
            description="Loads the small text-to-image model that comes with Pakati: nothing to download, made for the "
            "CPU. It knows simple shapes, things and materials, and is there to try and to test regions with. "
            "pakati-tiny is a UNet, pakati-tiny-dit a joint-attention transformer in Flux's layout.",
            search_aliases=["pakati tiny", "embedded model", "demo model", "checkpoint loader", "load tiny model"],
            inputs=[
                io.Combo.Input(
                    "architecture",
                    options=list(ARCHITECTURES),
                    optional=True,
                    default=ARCHITECTURES[0],
                    tooltip="pakati-tiny: a UNet, 128x128 to 256x256, guidance scale (cfg) about 4. pakati-tiny-dit: "
                    "joint attention as in Flux, 128x128, its guidance is built in, so cfg 1",
                )
            ],
            outputs=[
                io.Model.Output("model", tooltip="The embedded UNet or transformer, as a stock MODEL"),
                io.Clip.Output("clip", tooltip="The embedded text encoder, as a stock CLIP with a closed vocabulary"),
                io.Vae.Output(
                    "vae",
                    tooltip="The embedded autoencoder, as a stock VAE: an eighth of the size, 8 channels, "
                    "or Flux's 16 of which 8 are used",
                ),
            ],
        )

    @classmethod
    def execute(cls, architecture: str = ARCHITECTURES[0]) -> io.NodeOutput:
        # Imported late: they pull in the host's model code, which a listing of the nodes does not need.
        if architecture == "pakati-tiny-dit":
            from .tiny_dit import load_tiny_dit

            return io.NodeOutput(*load_tiny_dit())
        from .tiny_model import load_tiny

        return io.NodeOutput(*load_tiny())


NODES = [PakatiTinyLoader]
