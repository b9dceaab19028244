"""Nodes that load the embedded models."""

from comfy_api.latest import io


class PakatiTinyLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PakatiTinyLoader",
            display_name="Load Pakati's Embedded Model",
            category="Pakati/regions",
            description="Loads the small text-to-image model that comes with Pakati: nothing to download, made for the "
            "CPU. It knows simple shapes, things and materials, and is there to try and to test regions with.",
            search_aliases=["pakati tiny", "embedded model", "demo model", "checkpoint loader", "load tiny model"],
            outputs=[
                io.Model.Output("model", tooltip="The embedded UNet, as a stock MODEL"),
                io.Clip.Output("clip", tooltip="The embedded text encoder, as a stock CLIP with a closed vocabulary"),
                io.Vae.Output(
                    "vae", tooltip="The embedded autoencoder, as a stock VAE: 8 channels, an eighth of the size"
                ),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        # Imported late: it pulls in the host's model code, which a listing of the nodes does not need.
        from .tiny_model import load_tiny

        return io.NodeOutput(*load_tiny())


NODES = [PakatiTinyLoader]
