"""Engines that turn a request into a picture. `DiffusersEngine` is imported where it is used: it loads diffusers."""

from .ports import Capabilities, Engine, Picture, Progress, Request

__all__ = ["Capabilities", "Engine", "Picture", "Progress", "Request"]
