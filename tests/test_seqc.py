"""`seqc`: sequential correction, for all samples alike and for each by itself ([T21])."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generators import BigGANShaped, images, latents, numbered, recorded
from prepared import EXTRACTOR, SAMPLES, look, prepare, uncorrected
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ganfix_plugin import GanfixError, attach
from ganfix_plugin.correctors.seqc import (
    ArtifactPass,
    SeqcOptions,
    corrected_units,
    factors,
    stopping_layer,
)
from ganfix_plugin.generators.generator import Generator, fingerprint
from ganfix_plugin.hooks.attachment import Attachment
from ganfix_plugin.hooks.fade import Fade
from ganfix_plugin.hooks.forward import observe
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.hooks.standalone import Scale, bare
from ganfix_plugin.profiling.profile import Profile, Settings
from ganfix_plugin.profiling.store import classifier_path, profile_path
from ganfix_plugin.spec import Portion

SPEC = f"seqc:samples={SAMPLES}"
NOISE = pytest.mark.parametrize("noise_mode", ["const", "random"])


def edits_of(attachment: Attachment) -> Any:
    return attachment.corrections[0].edits


def artifacts(G: nn.Module, z: Tensor, noise_mode: str = "const") -> Tensor:
    """Which rows the classifier calls artifacts when nothing corrects them: bool [N]."""
    head, _, _ = prepare(G)
    return head.is_artifact(look(images(G, z, noise_mode)).mean(dim=(2, 3)))


def algorithm_1(
    G: nn.Module, z: Tensor, scores: Mapping[str, Tensor], stop: int, n: float, scale: float
) -> Tensor:
    """The images of a generator whose layers are corrected by plain hooks, unit after unit."""

    def corrected(layer: Layer) -> Any:
        ds = (scores[layer.name] / scores[layer.name].max()).tolist()
        count = round(n * len(ds))
        top = sorted(range(len(ds)), key=lambda u: ds[u], reverse=True)[:count]
        top = [u for u in top if ds[u] > 0]

        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            h = layer.read(output).clone()
            for u in top:
                h[:, u] = scale * (1 - ds[u]) * h[:, u]
            return layer.write(output, h)

        return G.get_submodule(layer.name).register_forward_hook(hook)

    handles = [corrected(layer) for layer in numbered(G) if 1 <= layer.index <= stop]
    try:
        return images(G, z)
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "stop", "n", "scale"),
    [
        ("", 3, 0.2, 0.9),
        (",stop=6", 6, 0.2, 0.9),
        (",stop=2,top=50%,scale=0.5", 2, 0.5, 0.5),
        (",top=0.05,scale=1", 3, 0.05, 1),
    ],
)
def test_global_correction_equals_algorithm_1_by_plain_hooks(
    pggan: nn.Module, options: str, stop: int, n: float, scale: float
) -> None:
    _, profile, _ = prepare(pggan)
    z = latents(pggan, 6)
    expected = algorithm_1(pggan, z, profile.defective, stop, n, scale)
    with attach(pggan, SPEC + options) as attachment:
        found = images(pggan, z)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found, images(pggan, z), atol=1e-3)
    assert attachment.counts[0].corrected == 6


def test_a_scale_of_0_is_zero_ablation_of_the_top_units(pggan: nn.Module) -> None:
    _, profile, _ = prepare(pggan)
    z = latents(pggan, 6)
    top = {
        each.index: sorted(range(64), key=lambda u: -profile.defective[each.name][u])[:13]
        for each in numbered(pggan)[1:4]
    }
    listed = ";".join(f"{index}:{'+'.join(map(str, units))}" for index, units in top.items())
    with attach(pggan, f"units:units={listed}"):
        expected = images(pggan, z)
    with attach(pggan, f"{SPEC},scale=0"):
        assert torch.equal(images(pggan, z), expected)


def test_rank_spreads_the_factors_of_the_top_units_evenly(pggan: nn.Module) -> None:
    with attach(pggan, f"{SPEC},normalize=rank,top=10%,stop=1,scale=1") as attachment:
        (edit,) = edits_of(attachment).values()
    assert isinstance(edit, Scale)
    below = sorted(edit.factor[edit.factor < 1].tolist())
    assert below == pytest.approx([i / 63 for i in range(6)], abs=1e-6)


def layer(index: int, modulated: bool = False) -> Layer:
    return Layer(index, f"layer{index}", (4, 4), 8, modulated=modulated)


@pytest.mark.parametrize(
    ("count", "stop"), [(2, 1), (3, 1), (4, 2), (7, 3), (8, 3), (9, 3), (10, 6), (17, 6)]
)
def test_the_stopping_layer_is_6_or_a_third_of_fewer_than_10(count: int, stop: int) -> None:
    assert stopping_layer(SeqcOptions(), [layer(i) for i in range(count)]) == stop
    assert stopping_layer(SeqcOptions(stop=1), [layer(i) for i in range(count)]) == 1


@pytest.mark.parametrize("options", ["stop=99", "start=9", "start=3,stop=2"])
def test_layers_that_are_not_there_are_refused(pggan: nn.Module, options: str) -> None:
    prepare(pggan)
    with pytest.raises(GanfixError, match="expected a layer from start="):
        attach(pggan, f"{SPEC},{options}")


@pytest.mark.slow
def test_layers_from_the_first_to_the_stopping_layer_are_corrected(G: nn.Module) -> None:
    prepare(G)
    default = 2 if len(numbered(G)) == 4 else 3
    for options, first, last in (("", 1, default), (",stop=2", 1, 2), (",start=0,stop=1", 0, 1)):
        with attach(G, SPEC + options) as attachment:
            layers = [each.index for each in attachment.corrections[0].layers]
        assert layers == list(range(first, last + 1))


def test_the_paper_s_values_are_the_defaults() -> None:
    options = SeqcOptions()
    assert (options.top, options.scale, options.normalize) == (0.2, 0.9, "max")
    assert (options.mode, options.local, options.cam) == ("auto", False, 0.5)
    assert (options.mask, options.rows) == ("soft", "auto")


@pytest.mark.slow
def test_style_based_generators_are_corrected_by_sample_and_others_globally(
    G: nn.Module, stylegan2: nn.Module
) -> None:
    prepare(G)
    with attach(G, SPEC) as attachment:
        assert isinstance(edits_of(attachment), ArtifactPass) == (G is stylegan2)
    with attach(G, f"{SPEC},mode=global") as attachment:
        assert isinstance(edits_of(attachment), Mapping)
    with attach(G, f"{SPEC},mode=sample") as attachment:
        assert edits_of(attachment).by_sample
    with attach(G, f"{SPEC},mode=global,local=yes") as attachment:
        assert not edits_of(attachment).by_sample


@pytest.mark.parametrize("name", ["biggan", "unet-gan"])
def test_generators_of_biggan_s_type_are_corrected_by_sample(name: str) -> None:
    G = BigGANShaped(unconditional=name == "unet-gan")
    prepare(G)
    adapter, z = Generator.of(G).adapter, latents(G, 12)
    with torch.no_grad():
        before = adapter.synthesize(G, z, None)
        with attach(G, SPEC) as attachment:
            after = adapter.synthesize(G, z, None)
    assert edits_of(attachment).by_sample
    head, _, _ = prepare(G)
    rows = head.is_artifact(look(before).mean(dim=(2, 3)))
    assert 0 < rows.sum() < 12
    assert torch.equal((after != before).flatten(1).any(1), rows)


@pytest.mark.parametrize("top", [0.0, 0.01, 0.2, 0.5, 1.0])
def test_the_units_of_highest_score_are_corrected_and_at_least_one(top: float) -> None:
    scores = torch.rand(3, 64, generator=torch.Generator().manual_seed(0)).double()
    chosen = corrected_units(scores, top)
    assert chosen.sum(1).tolist() == [max(1, round(top * 64))] * 3
    for row, units in zip(scores, chosen):
        assert not (~units).any() or row[units].min() > row[~units].max()


def test_units_that_do_not_overlap_are_never_corrected() -> None:
    scores = np.array([[0, 0.3, 0, 0, 0.1], [0, 0, 0, 0, 0], [0.1, 0.2, 0.3, 0.4, 0.5]])
    expected = np.ones_like(scores)
    for row, units in enumerate(([1, 4], [], [2, 3, 4])):  # the top 60 %, of those above 0
        for unit in units:
            expected[row, unit] = 0.9 * (1 - scores[row, unit] / scores[row].max())
    options = SeqcOptions(top=Portion(0.6))
    assert factors(torch.tensor(scores), options).numpy() == pytest.approx(expected)
    for row in range(3):  # the global scores are one row
        found = factors(torch.tensor(scores[row]), options).numpy()
        assert found == pytest.approx(expected[row])


def test_a_layer_without_any_overlap_is_named(pggan: nn.Module, tmp_path: Path) -> None:
    _, profile, _ = prepare(pggan)
    layer = numbered(pggan)[2]
    scores = profile.defective | {layer.name: torch.zeros(layer.channels).double()}
    path = tmp_path / "zero.safetensors"
    replace(profile, defective=scores).save(path)
    with pytest.warns(UserWarning, match="seqc: no unit of layer 2 .* overlaps with artifacts"):
        attachment = attach(pggan, f"seqc:profile={path}")
    edits = {each.index: edit for each, edit in edits_of(attachment).items()}
    attachment.detach()
    assert (edits[2].factor == 1).all() and (edits[1].factor < 1).any()


def test_the_unit_of_highest_score_vanishes_and_those_not_chosen_stay() -> None:
    scores = torch.tensor([0.1, 0.4, 0.0, 0.2, 0.3]).double()
    found = factors(scores, SeqcOptions(top=Portion(0.6), scale=0.8))
    assert found.tolist() == pytest.approx([1, 0, 1, 0.8 * 0.5, 0.8 * 0.25])
    assert found.dtype == torch.float32


@pytest.mark.slow
@NOISE
@pytest.mark.parametrize("options", ["", ",local=yes", ",normalize=rank,scale=0"])
def test_only_rows_that_the_classifier_calls_artifacts_change(
    stylegan2: nn.Module, noise_mode: str, options: str
) -> None:
    z = latents(stylegan2, 12)
    rows = artifacts(stylegan2, z, noise_mode)
    before = images(stylegan2, z, noise_mode)
    after_one_pass = torch.get_rng_state()
    with attach(stylegan2, SPEC + options) as attachment:
        found = images(stylegan2, z, noise_mode)
        assert torch.equal(torch.get_rng_state(), after_one_pass)
    changed = (found != before).flatten(1).any(1)
    assert 0 < rows.sum() < 12 and changed.any()
    assert not changed[~rows].any()  # and of the artifacts those with units that overlap
    count = attachment.counts[0]
    assert (count.samples, count.corrected) == (12, changed.sum())


def by_plain_hooks(
    G: nn.Module, z: Tensor, factor: Mapping[str, Tensor], noise_mode: str
) -> Tensor:
    """The images of a pass in which layers are scaled by sample and unit [N, C]."""

    def scaled(layer: Layer) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            x = layer.read(output)
            return layer.write(output, x * factor[layer.name][:, :, None, None])

        return G.get_submodule(layer.name).register_forward_hook(hook)

    handles = [scaled(layer) for layer in numbered(G) if layer.name in factor]
    try:
        return images(G, z, noise_mode)
    finally:
        for handle in handles:
            handle.remove()


@NOISE
def test_each_sample_is_corrected_by_scores_of_its_own(
    stylegan2: nn.Module, noise_mode: str
) -> None:
    head, profile, _ = prepare(stylegan2)
    z = latents(stylegan2, 8)
    rows = artifacts(stylegan2, z, noise_mode)
    layers = numbered(stylegan2)[1:4]
    maps: dict[str, Tensor] = {}
    adapter = Generator.of(stylegan2).adapter
    torch.manual_seed(0)
    first = observe(
        stylegan2,
        layers,
        lambda layer, x: maps.update({layer.name: x.clone()}),
        lambda view: view(z, None, noise_mode=noise_mode),
        to_end=True,
    )
    assert adapter.image_item is None
    cams = interpolate(head.cam(look(first))[:, None], (32, 32), mode="bilinear")[:, 0] >= 0.5
    factor = {}
    for each in layers:
        limits = profile.thresholds[each.name].float().view(-1, 1, 1)
        on = interpolate((maps[each.name] > limits).float(), (32, 32), mode="bilinear") >= 0.5
        both = (on & cams[:, None]).sum((2, 3)).double()
        either = (on | cams[:, None]).sum((2, 3)).clamp(min=1)
        ds = both / either
        factor[each.name] = torch.ones(8, each.channels)
        for row in rows.nonzero()[:, 0].tolist():
            largest = max(float(ds[row].max()), 1e-300)
            order = ds[row].argsort(descending=True, stable=True)[: round(0.2 * each.channels)]
            for u in [u for u in order.tolist() if ds[row, u] > 0]:
                factor[each.name][row, u] = 0.9 * (1 - float(ds[row, u]) / largest)
    expected = by_plain_hooks(stylegan2, z, factor, noise_mode)
    with attach(stylegan2, SPEC):
        found = images(stylegan2, z, noise_mode)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture
def without_overlap(stylegan2: nn.Module, tmp_path: Path) -> Path:
    """A profile by which no unit is ever on, so that no sample has units of any score."""
    _, profile, _ = prepare(stylegan2)
    never = {name: torch.full_like(each, torch.inf) for name, each in profile.thresholds.items()}
    path = tmp_path / "never.safetensors"
    replace(profile, thresholds=never).save(path)
    return path


@NOISE
@pytest.mark.parametrize("rows", ["artifacts", "all"])
def test_samples_none_of_whose_units_overlap_stay_and_do_not_count_as_corrected(
    stylegan2: nn.Module, without_overlap: Path, noise_mode: str, rows: str
) -> None:
    z = latents(stylegan2, 12)
    before = images(stylegan2, z, noise_mode)
    with attach(stylegan2, f"seqc:rows={rows},profile={without_overlap}") as attachment:
        assert torch.equal(images(stylegan2, z, noise_mode), before)
    assert (attachment.counts[0].samples, attachment.counts[0].corrected) == (12, 0)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sample", "global"])
def test_local_correction_leaves_positions_out_of_the_mask_bit_identical(
    G: nn.Module, mode: str
) -> None:
    head, profile, _ = prepare(G)
    z = latents(G, 8, seed=1)
    with attach(G, f"{SPEC},mode={mode},local=yes,mask=binary,stop=3") as attachment:
        passes = edits_of(attachment)
    maps: dict[str, Tensor] = {}
    adapter = Generator.of(G).adapter
    first = observe(
        G,
        passes.layers,
        lambda layer, x: maps.update({layer.name: x.clone()}),
        lambda view: adapter.synthesize(view, z, None),
        to_end=True,
    )
    kept = {each.name: passes.keep(each, maps[each.name]) for each in passes.layers}
    rows, edits = passes.decide(first, kept)
    assert 0 < rows.sum() < 8
    side = first.shape[-1]
    cams = interpolate(head.cam(look(first))[:, None], (side, side), mode="bilinear")[:, 0]
    masks = (cams >= 0.5) & rows.view(-1, 1, 1)
    faded = 0
    for each, edit in edits.items():
        assert isinstance(edit, Fade)
        x = maps[each.name]
        y = edit(x)
        size = each.resolution[0]
        cells = masks.view(8, size, side // size, size, side // size).float()
        inside = cells.amax(dim=(2, 4)).bool()[:, None].expand_as(x)
        assert torch.equal(y[~inside], x[~inside])
        units = (y != x).flatten(2).any(2)
        assert not units[~rows].any() and units.sum(1).max() <= round(0.2 * each.channels)
        share = cells.mean(dim=(2, 4))
        chosen = edit.units & (x != 0).flatten(2).any(2)
        for row, unit in chosen.nonzero().tolist():
            torch.testing.assert_close(y[row, unit], (1 - share[row]) * x[row, unit])
            faded += 1
        if mode == "global":
            top = corrected_units(profile.defective[each.name], 0.2)
            assert torch.equal(edit.units[rows], top.expand(int(rows.sum()), -1))
    assert faded


def enlarged(cam: np.ndarray, side: int) -> np.ndarray:
    """Bilinear interpolation of a square map to ``side`` pixels, without aligned corners."""
    size = len(cam)
    places = np.clip((np.arange(side) + 0.5) * size / side - 0.5, 0, size - 1)
    left = places.astype(int)
    right, part = np.minimum(left + 1, size - 1), places - left
    rows = cam[left] * (1 - part)[:, None] + cam[right] * part[:, None]
    return rows[:, left] * (1 - part) + rows[:, right] * part


@pytest.mark.slow
@pytest.mark.parametrize("rows", ["artifacts", "all"])
def test_soft_local_correction_is_1_minus_the_grad_cam_at_each_place(
    G: nn.Module, rows: str
) -> None:
    head, profile, _ = prepare(G)
    z = latents(G, 6, seed=1)
    spec = f"{SPEC},mode=global,local=yes,rows={rows},stop=3"
    with attach(G, spec) as attachment:
        passes = edits_of(attachment)
    first = images(G, z)
    side = first.shape[-1]
    chosen, edits = passes.decide(first, {})
    called = artifacts(G, z) if rows == "artifacts" else torch.ones(6, dtype=torch.bool)
    cams = [enlarged(cam, side) for cam in head.cam(look(first)).double().numpy()]
    assert chosen.tolist() == [bool(one) and cam.any() for one, cam in zip(called, cams)]
    assert chosen.any() and (rows == "all") == bool((chosen & ~artifacts(G, z)).any())
    for each, edit in edits.items():
        x = torch.randn(6, each.channels, *each.resolution)
        expected, size = x.double().numpy(), each.resolution[0]
        count = round(0.2 * each.channels)
        ds = profile.defective[each.name].numpy()
        top = [u for u in np.argsort(-ds, kind="stable")[:count] if ds[u] > 0]
        for row in np.flatnonzero(called.numpy()):
            cells = cams[row].reshape(size, side // size, size, side // size).mean(axis=(1, 3))
            expected[row, top] *= 1 - cells
        assert edit(x).numpy() == pytest.approx(expected, abs=1e-5)


def test_with_one_score_per_unit_only_the_artifacts_can_be_corrected_too(pggan: nn.Module) -> None:
    z = latents(pggan, 12)
    rows, before = artifacts(pggan, z), images(pggan, z)
    with attach(pggan, SPEC):
        everything = images(pggan, z)
    with attach(pggan, f"{SPEC},rows=artifacts"):
        found = images(pggan, z)
    assert 0 < rows.sum() < 12 and torch.equal(found[~rows], before[~rows])
    torch.testing.assert_close(found[rows], everything[rows])


def test_nothing_is_run_again_where_no_row_is_an_artifact(
    stylegan2: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    z = latents(stylegan2, 16)
    normal = z[~artifacts(stylegan2, z)]
    before = images(stylegan2, normal)
    with attach(stylegan2, SPEC) as attachment:
        rows, edits = edits_of(attachment).decide(before, {})
        assert not rows.any() and edits == {}
        with monkeypatch.context() as patch:
            patch.setattr("ganfix_plugin.hooks.standalone.bare", None)  # what a second pass runs
            assert torch.equal(images(stylegan2, normal), before)
    assert attachment.counts[0].corrected == 0


def test_a_smaller_cam_widens_the_mask(stylegan2: nn.Module) -> None:
    z = latents(stylegan2, 8)
    faded = []
    for cam in (0.9, 0.5, 0.1):
        with attach(stylegan2, f"{SPEC},local=yes,mask=binary,cam={cam}") as attachment:
            found = edits_of(attachment)
            on = {each.name: torch.ones(8, 64, *each.resolution) > 0 for each in found.layers}
            _, edits = found.decide(images(bare(stylegan2), z), on)
            faded.append(sum(float(edit.mask.sum()) for edit in edits.values()))
    assert faded[0] < faded[1] < faded[2]


def test_the_gate_by_count_and_the_classifier_combine(stylegan2: nn.Module) -> None:
    z = latents(stylegan2, 16)
    rows, before = artifacts(stylegan2, z), images(stylegan2, z)
    with attach(stylegan2, f"random:samples={SAMPLES},gate=lr:50%"):
        passing = (images(stylegan2, z) != before).flatten(1).any(1)
    with attach(stylegan2, f"{SPEC},gate=lr:50%") as attachment:
        changed = (images(stylegan2, z) != before).flatten(1).any(1)
    assert torch.equal(changed, rows & passing)
    assert not torch.equal(changed, rows) and not torch.equal(changed, passing)
    assert attachment.counts[0].corrected == (rows & passing).sum()


@pytest.mark.slow
@NOISE
@pytest.mark.parametrize("probability", [0.2, 0.9])
def test_the_gate_by_classifier_lets_pass_whose_probability_exceeds_it(
    G: nn.Module, noise_mode: str, probability: float
) -> None:
    head, _, _ = prepare(G)
    z = latents(G, 16)
    before = images(G, z, noise_mode)
    expected = head.artifact_probability(look(before).mean(dim=(2, 3))) > probability
    gate = f"gate=artifact:{probability}"
    with attach(G, f"{SPEC},mode=global,{gate}"):
        found = images(G, z, noise_mode)
    assert 0 < expected.sum() < 16
    assert torch.equal((found != before).flatten(1).any(1), expected)
    with attach(G, f"random:{gate}"):
        found = images(G, z, noise_mode)
    assert torch.equal((found != before).flatten(1).any(1), expected)


@pytest.mark.parametrize("mode", ["sample", "global"])
def test_images_are_the_same_under_gradients_and_gradients_pass(
    stylegan2: nn.Module, mode: str
) -> None:
    prepare(stylegan2)
    ws = stylegan2.mapping(latents(stylegan2, 8), None)
    with attach(stylegan2, f"{SPEC},mode={mode}") as attachment:
        with torch.no_grad():
            expected = stylegan2.synthesis(ws, noise_mode="const")
        found = stylegan2.synthesis(ws.requires_grad_(), noise_mode="const")
    assert torch.equal(found, expected) and attachment.counts[0].corrected
    assert (torch.autograd.grad(found.sum(), ws)[0].flatten(1) != 0).any(dim=1).all()


@pytest.mark.parametrize("travel", [copy.deepcopy, lambda G: pickle.loads(pickle.dumps(G))])
def test_copies_and_pickles_are_corrected_by_sample_too(stylegan2: nn.Module, travel: Any) -> None:
    z = latents(stylegan2, 8)
    prepare(stylegan2)
    before = images(stylegan2, z)
    with attach(stylegan2, SPEC):
        twin, expected = travel(stylegan2), images(stylegan2, z)
    assert not torch.equal(expected, before)
    assert torch.equal(images(stylegan2, z), before)
    assert torch.equal(images(twin, z), expected)


def in_a_child(G: nn.Module, z: Tensor) -> Tensor:
    return images(G, z)


@pytest.mark.slow
def test_a_spawned_process_corrects_by_sample(stylegan2: nn.Module) -> None:
    z = latents(stylegan2, 4)
    prepare(stylegan2)
    with attach(stylegan2, SPEC):
        expected = images(stylegan2, z)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert torch.equal(pool.apply(in_a_child, (stylegan2, z)), expected)


def test_a_classifier_of_another_generator_on_the_subject_may_be_used(
    stylegan2: nn.Module, pggan: nn.Module
) -> None:
    prepare(stylegan2)
    other, _, _ = prepare(pggan)
    path = classifier_path(fingerprint(pggan))
    z = latents(stylegan2, 16)
    before = images(stylegan2, z)
    expected = other.is_artifact(look(before).mean(dim=(2, 3)))
    with attach(stylegan2, f"{SPEC},classifier={path}"):
        changed = (images(stylegan2, z) != before).flatten(1).any(1)
    assert changed.any() and not changed[~expected].any() and not expected.all()
    assert not torch.equal(expected, artifacts(stylegan2, z))


@pytest.mark.parametrize("spec", [SPEC, f"{SPEC},gate=artifact:0.5", "seqc:profile={profile}"])
def test_a_classifier_on_the_discriminator_of_another_generator_is_refused_before_measuring(
    own_cache: Path, stylegan2: nn.Module, pggan: nn.Module, tmp_path: Path, spec: str
) -> None:
    head, _, _ = prepare(pggan)
    path, profile = tmp_path / "another.safetensors", tmp_path / "profile.safetensors"
    replace(head, extractor="discriminator").save(path)
    Profile.of(Generator.of(stylegan2), Settings(SAMPLES)).save(profile)
    says = "sees by the discriminator of another generator; make one .* ganfix fit --extractor"
    with pytest.raises(GanfixError, match=says):
        attach(stylegan2, f"{spec.format(profile=profile)},classifier={path}")
    assert not profile_path(Generator.of(stylegan2), Settings(SAMPLES)).exists()


def test_a_classifier_of_another_generator_needs_neither_labels_nor_scores_of_this_one(
    own_cache: Path, stylegan2: nn.Module, pggan: nn.Module, tmp_path: Path
) -> None:
    head, _, _ = prepare(pggan)
    path = tmp_path / "another.safetensors"
    head.save(path)
    z = latents(stylegan2, 16)
    before = images(stylegan2, z)
    with attach(stylegan2, f"{SPEC},classifier={path}") as attachment:
        changed = (images(stylegan2, z) != before).flatten(1).any(1)
        of_units = edits_of(attachment).of_units
    expected = head.is_artifact(look(before).mean(dim=(2, 3)))
    assert changed.any() and not changed[~expected].any()
    assert not classifier_path(fingerprint(stylegan2)).exists()
    profile = Profile.load(profile_path(Generator.of(stylegan2), Settings(SAMPLES)))
    assert not profile.defective and profile.thresholds.keys() == of_units.keys()
    chosen = numbered(stylegan2)[1:4]
    assert [each.name for each in chosen] == list(of_units)
    with recorded(stylegan2, chosen) as maps:
        images(stylegan2, latents(stylegan2, 200, seed=5))
    for each in chosen:
        values = np.moveaxis(maps[each.name].numpy(), 1, 0).reshape(each.channels, -1)
        shares = (values > of_units[each.name].numpy()[:, None]).mean(axis=1)
        assert shares.mean() == pytest.approx(0.005, abs=0.002)  # tau, on other latents


def test_a_named_profile_without_thresholds_is_refused(
    tmp_path: Path, stylegan2: nn.Module
) -> None:
    path = tmp_path / "empty.safetensors"
    prepare(stylegan2)
    Profile.of(Generator.of(stylegan2), Settings(SAMPLES)).save(path)
    says = r"holds no unit thresholds of layer 1 .*, only of none; leave profile= out"
    with pytest.raises(GanfixError, match=says):
        attach(stylegan2, f"seqc:profile={path}")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("stop=-1", "stop is '-1', expected a whole number of at least 0"),
        ("top=0%", "top is '0%', expected a share above 0%"),
        ("top=120%", "top is '120%', expected a share"),
        ("scale=1.5", "scale is '1.5', expected a number from 0 to 1"),
        ("normalize=min", "normalize is 'min', expected max or rank"),
        ("mode=both", "mode is 'both', expected auto or global or sample"),
        ("local=maybe", "local is 'maybe', expected yes or no"),
        ("mask=hard", "mask is 'hard', expected soft or binary"),
        ("mask=binary", "mask=binary says how local=yes fades; give both, or neither"),
        ("rows=some", "rows is 'some', expected auto or artifacts or all"),
        ("cam=2", "cam is '2', expected a number"),
        ("layers=1", "seqc has no key layers"),
        ("gate=artifact:1.5", "gate is 'artifact:1.5', expected artifact:PROBABILITY from 0 to 1"),
        ("gate=artifact:50%", "gate is 'artifact:50%', expected off, "),
    ],
)
def test_options_out_of_range_are_refused(pggan: nn.Module, options: str, says: str) -> None:
    with pytest.raises(GanfixError) as caught:
        attach(pggan, f"seqc:{options}")
    assert says in str(caught.value)


def test_the_extractor_of_these_tests_is_the_one_in_the_classifier(pggan: nn.Module) -> None:
    head, _, _ = prepare(pggan)
    x = uncorrected(pggan, range(3))
    assert head.extractor == EXTRACTOR
    assert torch.equal(head.load_extractor().maps(x), look(x))
