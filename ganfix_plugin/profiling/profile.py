"""`Profile`: everything measured about one generator, and its file."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ganfix_plugin.adapters import Layer
from ganfix_plugin.errors import GanfixError

FORMAT = "ganfix-profile-1"
GATE_RATE = 0.1  # The rate of the LR score; it separated best on hand labels (findings).


@dataclass(frozen=True)
class Settings:
    """How a profile was measured. Truncation psi is 1 and noise constant, always.

    Attributes:
        samples: the number of latents.
        seed: of the latents.
        class_index: the one class measured; None draws classes evenly (or there are none).
        source: "measured", or where the rates were imported from.
    """

    samples: int
    seed: int = 0
    class_index: int | None = None
    source: str = "measured"


@dataclass(frozen=True)
class Profile:
    """Measurements of one generator.

    Attributes:
        fingerprint: which generator (`profiling.fingerprint`).
        generator: its class name, for people.
        adapter: the adapter whose layers were measured.
        settings: how.
        version: the ganfix that measured.
        counts: by layer name, int32 [C, H, W]: in how many samples each neuron was activated.
        lr_scores: int32 [samples], sorted: LR counts of other latents than the counted ones, at
            rate ≤ `GATE_RATE` over the adapter's default layers. None until a gate needs them.
    """

    fingerprint: str
    generator: str
    adapter: str
    settings: Settings
    version: str
    counts: dict[str, Tensor] = field(default_factory=dict)
    lr_scores: Tensor | None = None

    def rates(self, layer: Layer) -> Tensor:
        """Activation rates R_n of a layer, float32 [C, H, W].

        Raises:
            GanfixError: if the layer was not measured.
        """
        if layer.name not in self.counts:
            raise GanfixError(
                f"profile of {self.generator}: layer {layer} was not measured; measured are "
                f"{', '.join(self.counts) or 'none'}; measure it by ganfix profile --layers"
            )
        return self.counts[layer.name].float() / self.settings.samples

    def low_rate(self, layer: Layer, rate: float, dead: bool = True) -> Tensor:
        """The LR-neurons of a layer, bool [C, H, W]: R_n ≤ rate ([C22], section 3).

        ``dead=False`` leaves out neurons never seen active, as the authors' released code does.
        """
        rates = self.rates(layer)
        return (rates <= rate) if dead else (rates <= rate) & (rates > 0)

    def score_at(self, quantile: float) -> float:
        """The LR score below which ``quantile`` of the generator's own samples lie."""
        if self.lr_scores is None:
            raise GanfixError(f"profile of {self.generator}: holds no LR scores for gate=lr:…%")
        return float(torch.quantile(self.lr_scores.double(), quantile))

    def save(self, path: Path) -> None:
        """Write the file whole or not at all.

        Raises:
            GanfixError: if the folder cannot be written.
        """
        meta = asdict(self)
        tensors = {f"counts/{name}": count for name, count in meta.pop("counts").items()}
        scores = meta.pop("lr_scores")
        if scores is not None:
            tensors["lr_scores"] = scores
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
        os.close(handle)
        try:
            save_file(tensors, temporary, metadata={FORMAT: json.dumps(meta)})
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path: Path) -> Profile:
        """Read a profile file.

        Raises:
            GanfixError: if it is missing, damaged, or no profile.
        """
        try:
            with safe_open(path, framework="pt") as file:
                meta = json.loads((file.metadata() or {})[FORMAT])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            settings = Settings(**meta.pop("settings"))
            counts = {
                name.removeprefix("counts/"): tensor
                for name, tensor in tensors.items()
                if name.startswith("counts/")
            }
            return cls(settings=settings, counts=counts, lr_scores=tensors.get("lr_scores"), **meta)
        except FileNotFoundError:
            raise GanfixError(f"profile {path}: no such file") from None
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise GanfixError(
                f"profile {path}: damaged or no ganfix profile ({_first_line(error)}); delete it "
                "and it will be measured again"
            ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
