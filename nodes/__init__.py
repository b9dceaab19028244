"""The ComfyUI adapters: one file per menu group, each with its list NODES."""

from comfy_api.latest import ComfyExtension, io

from . import characters, controls, models, regions


class PakatiExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [*regions.NODES, *models.NODES, *characters.NODES, *controls.NODES]


def comfy_entrypoint() -> PakatiExtension:
    return PakatiExtension()
