"""The trained models: how to build each; its weights are `checkpoints/<name>.safetensors`."""

from __future__ import annotations

from typing import Any

# url: where weights that are not in checkpoints/ could be had; None for those that ship with us.
MODEL_ZOO: dict[str, dict[str, Any]] = {
    "pggan_footwear32": dict(
        gan_type="pggan",
        resolution=32,
        z_space_dim=64,
        fmaps_base=1024,
        fmaps_max=64,
        url=None,
    ),
}
