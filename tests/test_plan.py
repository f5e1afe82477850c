"""What a spec is on one generator."""

from __future__ import annotations

from pathlib import Path

import pytest
from generators import dcgan
from torch import nn

import ganfix_plugin as ganfix
from ganfix_plugin.generators import generator
from ganfix_plugin.generators.plain import DCGAN


def test_one_attach_looks_for_layers_and_hashes_weights_once(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, hashed = list[nn.Module](), list[nn.Module]()
    layers, fingerprint = DCGAN.layers, generator.fingerprint
    monkeypatch.setattr(DCGAN, "layers", lambda self, G: looked.append(G) or layers(self, G))
    monkeypatch.setattr(generator, "fingerprint", lambda G: hashed.append(G) or fingerprint(G))
    G = dcgan()
    with ganfix.attach(G, "seqabl:samples=20,gate=lr:50%", "random:portion=10%", "units:units=0:1"):
        assert looked == hashed == [G]
