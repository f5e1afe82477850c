"""The runner for PGGAN."""

from __future__ import annotations

from copy import deepcopy

import torch
import torch.distributed as dist
from utils.visualizer import load_image, save_image, save_page, to_uint8

from .base_runner import BaseRunner


class PGGANRunner(BaseRunner):
    """Tests a PGGAN; `generator_smooth` stands for the moving average of its weights."""

    def build_models(self) -> None:
        super().build_models()
        generator = self.models["generator"]
        self.models["generator_smooth"] = deepcopy(generator)

    def synthesize(self, num: int, html_name: str) -> None:
        """Write `synthesize_results/<index>.png`, shared out among the ranks, and one page.

        All latents come from one random stream, so that the images do not depend on how many
        ranks there are.
        """
        folder = self.work_dir / "synthesize_results"
        folder.mkdir(exist_ok=True)
        stream = torch.Generator().manual_seed(self.config.seed)
        latents = torch.randn(num, self.models["generator"].z_space_dim, generator=stream)
        kwargs = self.config.modules["generator"].get("kwargs_val", {})
        own = torch.arange(self.rank, num, self.world_size)
        for indices in own.split(self.config.batch_size):
            with torch.no_grad():
                images = self.generator(latents[indices].to(self.device), **kwargs)["image"]
            for index, image in zip(indices.tolist(), to_uint8(images), strict=True):
                save_image(folder / f"{index:06d}.png", image)
        dist.barrier()
        if self.rank == 0:
            pictures = [load_image(folder / f"{index:06d}.png") for index in range(num)]
            save_page(self.work_dir / html_name, pictures, title=f"{num} images")
