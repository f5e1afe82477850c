"""What every runner does: build the configured models and load their weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch.distributed as dist
from models import build_model
from torch import nn
from utils.checkpoint import default_device, load_weights


class BaseRunner:
    """`models` by name, on this rank's device, as `config.modules` describes them."""

    def __init__(self, config: SimpleNamespace):
        self.config = config
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()
        self.device = default_device()
        self.work_dir = Path(config.work_dir)
        self.work_dir.mkdir(parents=True, exist_ok=True)
        self.models: dict[str, Any] = {}
        self.build_models()

    def build_models(self) -> None:
        """Build every module of the configuration, untrained."""
        for name, module in self.config.modules.items():
            self.models[name] = build_model(module=name, **module["model"]).to(self.device).eval()

    def load(self, filepath: str | Path) -> None:
        """Load the generators from `filepath`, the others from `<stem>_<name>` beside it."""
        path = Path(filepath)
        for name, model in self.models.items():
            if name.startswith("generator"):
                load_weights(model, path)
            else:
                load_weights(model, path.with_stem(f"{path.stem}_{name}"))

    @property
    def generator(self) -> nn.Module:
        """The generator to test with: the moving average where there is one."""
        return self.models.get("generator_smooth", self.models["generator"])
