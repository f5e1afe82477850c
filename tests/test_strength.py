"""`strength=`: how much of a correction, and soft gates, by which it differs from row to row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from edits import bits
from generators import images, latents, numbered
from prepared import SAMPLES, prepare
from torch import Tensor, nn

import ganfix_plugin as ganfix
from ganfix_plugin import GanfixError, attach, registry
from ganfix_plugin.correctors.bind import parse_spec
from ganfix_plugin.correctors.corrector import load
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.standalone import Cap, Gated, Scale, edited
from ganfix_plugin.profiling.profile import Settings
from ganfix_plugin.profiling.store import update
from ganfix_plugin.spec import Gate

pytestmark = pytest.mark.filterwarnings("ignore::ganfix_plugin.errors.GanfixWarning")

MEASURED = f"samples={SAMPLES}"
SPECS = {  # of all that come with ganfix, by corrector
    "boundary": [f"gate=off,{MEASURED},from=lr"],
    "ds": [f"layer=1,units=5,{MEASURED}"],
    "fid-units": [f"layer=1,units=5,{MEASURED}"],
    "none": ["gate=off"],
    "random": ["seed=3", "of=activated", "of=units"],
    "seqabl": [MEASURED, f"gate=lr:50%,{MEASURED}"],
    "seqc": [MEASURED, f"mode=global,{MEASURED}", f"local=yes,rows=all,{MEASURED}"],
    "steer": [f"gate=probe:30%,{MEASURED},from=lr"],
    "truncation": ["psi=0.5"],
    "units": ["units=1:3+4;2:7"],
}
TEXTS = [f"{name}:{keys}" for name, specs in SPECS.items() for keys in specs]


@pytest.fixture
def ready(stylegan2: nn.Module) -> Iterator[nn.Module]:
    """A generator of which all is measured that any corrector reads."""
    prepare(stylegan2)
    fids = {layer.name: torch.arange(layer.channels).double() for layer in numbered(stylegan2)}
    update(Generator.of(stylegan2), Settings(SAMPLES), lambda p: replace(p, unit_fid=fids))
    yield stylegan2


def corrected(G: nn.Module, spec: str) -> tuple[Tensor, int]:
    """Images of twelve latents with noise, and how many were corrected."""
    with attach(G, spec) as attachment:
        found = images(G, latents(G, 12), "random")
        return found, attachment.counts[0].corrected


def test_every_corrector_is_among_those_tried_here() -> None:
    names = registry.names(registry.CORRECTORS)
    ours = [
        name
        for name in names
        if registry.entry(registry.CORRECTORS, name).value.startswith("ganfix_plugin")
    ]
    assert ours == sorted(SPECS)


@pytest.mark.parametrize("spec", TEXTS)
def test_nothing_of_a_correction_is_none_bit_for_bit_and_all_of_it_is_the_correction(
    ready: nn.Module, spec: str
) -> None:
    before = bits(images(ready, latents(ready, 12), "random"))
    everything, number = corrected(ready, spec)
    nothing, none = corrected(ready, f"{spec},strength=0%")
    assert torch.equal(bits(nothing), before) and none == 0
    again, same = corrected(ready, f"{spec},strength=100%")
    assert torch.equal(bits(again), bits(everything)) and same == number
    half, part = corrected(ready, f"{spec},strength=50%")
    assert part == number
    changed = (bits(everything) != before).flatten(1).any(dim=1)
    assert torch.equal((bits(half) != before).flatten(1).any(dim=1), changed)
    assert torch.equal((bits(half) != bits(everything)).flatten(1).any(dim=1), changed)
    assert changed.any() or spec.startswith("none")


@pytest.mark.parametrize("strength", [0.25, 0.8])
def test_caps_and_factors_go_part_of_their_way(strength: float) -> None:
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    neurons = x[1] > 0.3
    capped = edited(Cap(neurons), x, strength, None)
    expected = torch.where(neurons & (x > 0), (1 - strength) * x, x)
    torch.testing.assert_close(capped, expected)
    scaled = edited(Scale(torch.tensor([0.0, 0.5, 1.0])), x, strength, None)
    factors = 1 - strength * torch.tensor([1.0, 0.5, 0.0])
    torch.testing.assert_close(scaled, x * factors[:, None, None])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_rows_are_blended_by_their_weights(
    dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    x = torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(1)).to(dtype)
    x = x.contiguous(memory_format=memory_format)
    edit = Scale(torch.tensor([0.0, 0.5, 1.0]))
    weights = torch.tensor([0, 0.25, 0.5, 1])
    y = edited(edit, x, 1.0, weights)
    assert y is not None and y.dtype == dtype and y.stride() == x.stride()
    assert torch.equal(bits(y[0]), bits(x[0])) and torch.equal(bits(y[3]), bits(edit(x)[3]))
    factors = 1 - weights[:, None] * torch.tensor([1.0, 0.5, 0.0])
    torch.testing.assert_close(
        y.float(), x.float() * factors[:, :, None, None], rtol=0.02, atol=0.01
    )
    halved = edited(edit, x, 0.5, weights)
    assert torch.equal(bits(halved), bits(edited(edit, x, 1.0, weights / 2)))


def test_the_whole_strength_goes_without_saying() -> None:
    assert str(parse_spec("truncation:strength=100%")) == "truncation:psi=0.7"
    assert str(parse_spec("truncation:strength=0.5")) == "truncation:strength=50%,psi=0.7"
    assert load("none").options().strength == 1
    with pytest.raises(GanfixError, match="strength is '120%', expected a share from 0% to 100%"):
        parse_spec("seqabl:strength=120%")


# --- soft gates


@pytest.mark.parametrize(
    "text", ["lr:60%..80%", "lr:100..250.5", "probe:0%..100%", "artifact:0.3..0.7"]
)
def test_a_range_of_a_gate_is_written_as_it_is_read(text: str) -> None:
    assert str(Gate.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "lr:60%..80",
        "lr:80%..60%",
        "lr:60%..60%",
        "lr:60%..",
        "probe:1..2",
        "artifact:0.5..2",
        "lr:1..2..3",
    ],
)
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(GanfixError, match=f"gate is '{text}', expected"):
        parse_spec(f"seqabl:gate={text}")


def test_weights_rise_over_the_range() -> None:
    gate = Gated(lambda *call: torch.empty(0), 10.0, 20.0)
    scores = torch.tensor([3, 10, 11, 15, 20, 99], dtype=torch.int32)
    torch.testing.assert_close(gate.weights(scores), torch.tensor([0, 0, 0.1, 0.5, 1, 1]))
    assert gate.weights(torch.tensor([float("nan")])).tolist() == [0]


@pytest.mark.parametrize(
    "keys",
    [
        f"seqabl:{MEASURED},gate=lr",
        f"seqc:{MEASURED},gate=lr",
        f"truncation:{MEASURED},psi=0.5,gate=lr",
        f"steer:{MEASURED},from=lr,target=10%,gate=probe",
        f"boundary:{MEASURED},from=lr,target=10%,gate=probe",
    ],
)
def test_below_the_range_is_nothing_above_it_everything_and_between_some(
    ready: nn.Module, keys: str
) -> None:
    before = images(ready, latents(ready, 12), "random")
    everything = corrected(ready, f"{keys}:20%")[0]
    strict = corrected(ready, f"{keys}:50%")[0]
    soft, number = corrected(ready, f"{keys}:20%..50%")

    def equal(x: Tensor, y: Tensor) -> Tensor:
        return (bits(x) == bits(y)).flatten(1).all(dim=1)

    below, above = equal(everything, before), ~equal(strict, before)
    assert below.any() and above.any() and not (below | above).all()
    assert equal(soft, before)[below].all()
    between = ~(below | above)
    assert not (equal(soft, before) | equal(soft, everything))[between].any()
    assert equal(soft, everything)[above].all()
    assert number == (~equal(soft, before)).sum()


def test_a_soft_gate_follows_the_score(ready: nn.Module) -> None:
    z = latents(ready, 12)
    scores = ganfix.detect(ready, z, samples=SAMPLES)
    low, high = int(scores.min()), int(scores.max())
    with attach(ready, f"truncation:psi=0,{MEASURED},gate=lr:{low}..{high}"):
        soft = images(ready, z)
    weights = (scores - low) / (high - low)
    with torch.no_grad():
        ws = ready.mapping(z, None)
        mean = ready.mapping.w_avg
        expected = ready.synthesis(mean.lerp(ws, 1 - weights[:, None, None]), noise_mode="const")
    torch.testing.assert_close(soft, expected)
