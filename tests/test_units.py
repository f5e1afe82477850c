"""`units`, `ds` and `fid-units`: zero ablation of whole units."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from generators import images, latents, numbered, recorded
from prepared import SAMPLES, prepare
from torch import Tensor, nn

from ganfix_plugin import GanfixError, attach
from ganfix_plugin.correctors.bind import parse_spec
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.store import update


def zeroed(G: nn.Module, spec: str, index: int) -> tuple[list[int], bool]:
    """The units that are zero in a corrected pass only, and whether the others are as before."""
    place = numbered(G)[index]
    z = latents(G, 4)
    with recorded(G, (place,)) as found:
        images(G, z)
        before = found[place.name]
    with attach(G, spec), recorded(G, (place,)) as found:
        images(G, z)
        after = found[place.name]
    units = after.eq(0).all(dim=3).all(dim=2).all(dim=0) & before.ne(0).any(3).any(2).any(0)
    return units.nonzero()[:, 0].tolist(), torch.equal(after[:, ~units], before[:, ~units])


def test_units_are_zeroed_and_no_others(G: nn.Module) -> None:
    assert zeroed(G, "units:units=1:5+12+3", 1) == ([3, 5, 12], True)


def test_units_of_several_layers_are_zeroed(G: nn.Module) -> None:
    spec = "units:units=2:7;0:1+2"
    assert zeroed(G, spec, 0) == ([1, 2], True)
    assert zeroed(G, spec, 2)[0] == [7]


def test_units_of_one_layer_may_be_listed_in_parts(pggan: nn.Module) -> None:
    assert zeroed(pggan, "units:units=1:5;1:12", 1) == ([5, 12], True)


def test_the_list_is_its_own_canonical_text() -> None:
    assert str(parse_spec("units:units=6:12+40;7:3")) == "units:units=6:12+40;7:3"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("units", "units= is missing; write units=LAYER:UNIT+UNIT"),
        ("units:units=12", "units is '12', expected LAYER:UNIT+UNIT, such as 6:12+40+133"),
        ("units:units=1:", "expected LAYER:UNIT+UNIT"),
        ("units:units=1:a", "expected LAYER:UNIT+UNIT"),
        ("units:units=1:64", "units: no unit 64 in layer 1 (layer1, 64×4×4)"),
        ("units:units=99:1", "layer=99: no such layer; there are 0, 1, 2, 3, 4, 5, 6, 7"),
        (f"ds:layer=8,samples={SAMPLES}", "layer=8: no such layer"),
        (f"ds:layer=1,units=65,samples={SAMPLES}", "units=65: layer 1 (layer1, 64×4×4) has 64"),
        ("ds:units=0", "units is '0', expected a whole number of at least 1"),
    ],
)
def test_units_and_layers_that_are_not_there_are_refused(
    pggan: nn.Module, spec: str, says: str
) -> None:
    prepare(pggan)
    with pytest.raises(GanfixError) as caught:
        attach(pggan, spec)
    assert says in str(caught.value)


def ranked(G: nn.Module, what: str, scores: dict[int, Tensor]) -> Path:
    """Put scores of layers into the stored profile, whose file is returned."""
    by_name = {numbered(G)[index].name: each for index, each in scores.items()}

    def change(profile: Profile) -> Profile:
        return replace(profile, **{what: by_name})

    return update(Generator.of(G), Settings(SAMPLES), change)[1]


@pytest.mark.parametrize(("name", "what"), [("ds", "defective"), ("fid-units", "unit_fid")])
def test_the_units_of_highest_score_in_one_layer_are_zeroed(
    own_cache: Path, pggan: nn.Module, name: str, what: str
) -> None:
    scores = torch.rand(64, generator=torch.Generator().manual_seed(0)).double()
    six = torch.rand(32, generator=torch.Generator().manual_seed(1)).double()
    ranked(pggan, what, {3: scores, 6: six})
    expected = sorted(range(64), key=lambda u: -scores[u])[:5]
    spec = f"{name}:layer=3,units=5,samples={SAMPLES}"
    assert zeroed(pggan, spec, 3) == (sorted(expected), True)
    twenty = sorted(range(32), key=lambda u: -six[u])[:20]
    with attach(pggan, f"{name}:samples={SAMPLES}") as attachment:  # layer 6, 20 units
        ((layer, edit),) = attachment.corrections[0].edits.items()  # type: ignore[union-attr]
    assert layer.index == 6
    assert edit.factor.eq(0).nonzero()[:, 0].tolist() == sorted(twenty)  # type: ignore[attr-defined]


def test_units_that_overlap_with_no_artifact_stay_and_are_told(
    own_cache: Path, pggan: nn.Module
) -> None:
    scores = torch.zeros(64).double()
    scores[[7, 40]] = torch.tensor([0.2, 0.1]).double()
    ranked(pggan, "defective", {1: scores})
    with pytest.warns(UserWarning, match="only 2 units of layer 1 .* overlap with artifacts"):
        assert zeroed(pggan, f"ds:layer=1,units=5,samples={SAMPLES}", 1) == ([7, 40], True)


def test_unit_fids_may_be_negative_zero_or_tiny_and_still_rank(
    own_cache: Path, pggan: nn.Module
) -> None:
    ranked(pggan, "unit_fid", {1: torch.linspace(-1e-9, 1e-9, 64).double()})
    assert zeroed(pggan, f"fid-units:layer=1,units=2,samples={SAMPLES}", 1)[0] == [62, 63]


def test_missing_unit_fids_name_their_command(own_cache: Path, pggan: nn.Module) -> None:
    says = "run ganfix units --layers 6 --real IMAGES --samples 200 --network MODULE:FUNC"
    with pytest.raises(GanfixError, match=f"FIDs of the units of layer 6 were not .*{says}"):
        attach(pggan, f"fid-units:samples={SAMPLES}")


def test_a_layer_without_scores_is_named_beside_those_that_have_some(
    own_cache: Path, pggan: nn.Module
) -> None:
    path = ranked(pggan, "defective", {3: torch.zeros(64).double()})
    says = r"holds no defective scores of layer 6 \(layer6, 32×32×32\), only of layer3; leave"
    with pytest.raises(GanfixError, match=says):
        attach(pggan, f"ds:profile={path}")


def test_random_units_are_whole_units(pggan: nn.Module) -> None:
    units, others_stay = zeroed(pggan, "random:of=units,portion=25%,layers=1", 1)
    assert len(units) == 16 and others_stay
