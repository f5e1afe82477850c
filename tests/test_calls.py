"""However somebody calls a generator: its images are corrected, or the call is refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from prepared import prepare
from torch import Tensor, nn

from ganfix_plugin import GanfixError, attach

N = 4
SPECS = [
    "seqabl:rate=0.3,samples=200",
    "seqabl:rate=0.3,samples=200,gate=lr:50%",
    "truncation:psi=0.5",
    "seqc:mode=sample,rows=all,samples=200,extractor=prepared:look",
    "steer:from=lr,samples=200,gate=probe:50%",
]


def ws(G: Any) -> Tensor:
    z = torch.randn(N, G.z_dim, generator=torch.Generator().manual_seed(0))
    return G.mapping(z, torch.zeros(N, G.c_dim))


def blocks(G: Any, w: Tensor) -> Tensor:
    """Block by block, as scripts do that look at what is in between."""
    x = image = None
    place = 0
    for resolution in G.synthesis.block_resolutions:
        block = getattr(G.synthesis, f"b{resolution}")
        of_block = w[:, place : place + block.num_conv + block.num_torgb]
        x, image = block(x, image, of_block, noise_mode="const")
        place += block.num_conv
    assert image is not None
    return image


WAYS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "G.synthesis(ws)": lambda G, w: G.synthesis(w, noise_mode="const"),
    "G.synthesis(ws=ws)": lambda G, w: G.synthesis(ws=w, noise_mode="const"),
    "G.synthesis.forward(ws)": lambda G, w: G.synthesis.forward(w, noise_mode="const"),
    "block by block": blocks,
    "a deep copy": lambda G, w: copy.deepcopy(G).synthesis(w, noise_mode="const"),
    "a pickle": lambda G, w: pickle.loads(pickle.dumps(G)).synthesis(w, noise_mode="const"),
    "DataParallel": lambda G, w: nn.DataParallel(G.synthesis)(w, noise_mode="const"),
    "functional_call": lambda G, w: torch.func.functional_call(
        G.synthesis, dict(G.synthesis.named_parameters()), (w,), {"noise_mode": "const"}
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("spec", SPECS, ids=[spec.partition(":")[0] for spec in SPECS])
def test_a_call_is_corrected_or_refused(stylegan2: Any, spec: str, way: str) -> None:
    if spec.startswith("seqc"):
        prepare(stylegan2)
    with torch.no_grad():
        w = ws(stylegan2)
        plain = stylegan2.synthesis(w, noise_mode="const")
        with attach(stylegan2, spec):
            corrected = stylegan2.synthesis(w, noise_mode="const")
            assert not torch.equal(corrected, plain)
            try:
                images = WAYS[way](stylegan2, w)
            except GanfixError as error:
                assert "ran outside a call" in str(error) and "\n" not in str(error)
            else:
                assert torch.equal(images, corrected)
        assert torch.equal(WAYS[way](stylegan2, w), plain)


@pytest.mark.parametrize("spec", ["truncation:psi=0.5", "steer:from=lr,samples=200"])
def test_a_forward_called_directly_past_the_entry_is_refused(stylegan2: Any, spec: str) -> None:
    with torch.no_grad(), attach(stylegan2, spec):
        stylegan2.synthesis(ws(stylegan2), noise_mode="const")
        with pytest.raises(GanfixError, match="not its forward or its blocks"):
            stylegan2.synthesis.forward(ws(stylegan2), noise_mode="const")
