"""Pakati for ComfyUI.

ComfyUI imports this file. So does pytest, on machines without ComfyUI; hence the probe, after which a real import error
still shows its traceback.
"""

import importlib.util

WEB_DIRECTORY = "./web"
__all__ = ["WEB_DIRECTORY"]

if importlib.util.find_spec("comfy_api"):
    from .nodes import comfy_entrypoint

    __all__ += ["comfy_entrypoint"]
