"""The ComfyUI adapters: one file per menu group, each with its list NODES."""

import sys
from pathlib import Path

from comfy_api.latest import ComfyExtension, io

from ..pakati_core.tiny import JOINT_WEIGHTS, cast, styles
from . import canvas, characters, controls, editor, judge, loras, models, refine, regions


class PakatiExtension(ComfyExtension):
    async def on_load(self) -> None:
        register_routes()
        offer_files()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        groups = (editor, regions, models, canvas, judge, refine, loras, characters, controls)
        return [node for group in groups for node in group.NODES]


def register_routes() -> None:
    """Only where the host's server runs; a listing of the nodes needs none."""
    server = getattr(sys.modules.get("server"), "PromptServer", None)
    if getattr(server, "instance", None) is None:
        return
    import folder_paths

    from . import canvases, routes, templates

    def projects() -> Path:
        return Path(folder_paths.get_output_directory()) / canvases.FOLDER

    kept = Path(folder_paths.get_system_user_directory("pakati")) / "templates"
    routes.register(server.instance.routes, templates.Templates(kept), canvases.Canvases(projects))


def offer_files() -> None:
    """The embedded models' own LoRAs, and the one that stock loaders read, beside those of the user's folders."""
    import folder_paths

    for kind, folder in (("loras", cast.LORAS), ("loras", styles.LORAS), ("diffusion_models", JOINT_WEIGHTS.parent)):
        folder_paths.add_model_folder_path(kind, str(folder))


def comfy_entrypoint() -> PakatiExtension:
    return PakatiExtension()
