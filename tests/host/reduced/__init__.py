"""A custom node of the tests alone: ComfyUI builds its text encoders as small as the tests' files.

It reads the sizes of UNets, DiTs and decoders from the files, but those of text encoders from its own configuration,
for which it has an option that no stock node sets. T5-XXL at its true size has 4.7 billion numbers.
"""

from comfy.sd1_clip import SDClipModel

NODE_CLASS_MAPPINGS = {}
SIZES = {
    "clip_l": {"num_hidden_layers": 3, "intermediate_size": 64},
    "clip_g": {"num_hidden_layers": 3, "intermediate_size": 64},
    "t5xxl": {"num_layers": 3, "d_model": 64, "d_ff": 64, "d_kv": 32, "num_heads": 2},
}
stock = SDClipModel.__init__


def build(self, *args, model_options=None, **kwargs):
    options = dict(model_options or {})
    for name, sizes in SIZES.items():  # the host's own are the number of places
        options[f"{name}_model_config"] = {**options.get(f"{name}_model_config", {}), **sizes}
    stock(self, *args, model_options=options, **kwargs)


SDClipModel.__init__ = build
