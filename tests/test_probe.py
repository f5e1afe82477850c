"""The probe: unit means of early-exit passes, and the linear reading of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from generators import (
    BigGANShaped,
    RosinalityShaped,
    StyleGAN2Generator,
    StyleGAN2TorchShaped,
    latents,
    recorded,
)
from torch import Tensor, nn

from ganfix_plugin import GanfixError
from ganfix_plugin.artifacts.heatmap import probe_heatmap
from ganfix_plugin.artifacts.probe_fit import Plan, Sorted, fit
from ganfix_plugin.errors import GanfixWarning
from ganfix_plugin.features.classifier import auc
from ganfix_plugin.features.kinds import explained
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hooks.forward import called_with
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.partial import Partial
from ganfix_plugin.profiling.probe import Probe, by_class, calibrated, cross_validated, fit_probe
from ganfix_plugin.profiling.profile import Settings
from ganfix_plugin.profiling.store import ensure
from ganfix_plugin.profiling.unit_means import Reader, Readings, read_batches


def samples(n: int, seed: int, shift: float = 0.0) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(n, 12, generator=chance) * torch.arange(1.0, 13) + 5 + shift


def test_unit_means_are_those_of_the_whole_pass(G: nn.Module) -> None:
    generator, z = Generator.of(G), latents(G, 5)
    layers = generator.layers[:3]
    means = read_batches(generator, Reader.of(generator, layers), [(z, None)]).means
    with recorded(G, layers) as maps, torch.no_grad():
        generator.synthesize(z, None)
    expected = [maps[layer.name].clamp(min=0).mean(dim=(2, 3)) for layer in layers]
    torch.testing.assert_close(means, torch.cat(expected, dim=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [RosinalityShaped, StyleGAN2TorchShaped, StyleGAN2Generator])
def test_noise_is_constant_and_the_random_state_kept(build: type[nn.Module]) -> None:
    generator = Generator.of(build())
    reader, z = Reader.of(generator, generator.layers[:3]), latents(generator.G, 3)
    before = torch.get_rng_state()
    first = read_batches(generator, reader, [(z, None)]).means
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert torch.equal(read_batches(generator, reader, [(z, None)]).means, first)


def test_the_latents_are_those_of_the_entry(stylegan2: nn.Module, face: nn.Module) -> None:
    for G in (stylegan2, face):
        generator, z = Generator.of(G), latents(G, 4)
        found = read_batches(generator, Reader.of(generator, ()), [(z, None)])
        styled = hasattr(G, "mapping")
        expected = G.mapping(z, None).mean(dim=1) if styled else z.flatten(1)
        torch.testing.assert_close(found.means, expected)
        scale = (expected - expected.mean(dim=0)).norm(dim=1).mean() if styled else 0
        assert found.scale == pytest.approx(float(scale), rel=1e-5)
        if not styled:
            assert found.root is None
            continue
        assert found.root is not None
        torch.testing.assert_close(found.root @ found.root, expected.T.cov(), rtol=1e-3, atol=1e-5)


def test_a_conditional_generator_is_read_with_its_classes() -> None:
    generator = Generator.of(BigGANShaped())
    z, c = latents(generator.G, 3), torch.eye(3)
    reader = Reader.of(generator, generator.layers[:2])
    one_by_one = [read_batches(generator, reader, [(z[i : i + 1], c[i : i + 1])]) for i in range(3)]
    together = read_batches(generator, reader, [(z, c)]).means
    torch.testing.assert_close(together, torch.cat([each.means for each in one_by_one]))


def test_interrupted_it_reads_on_where_it_was(
    stylegan2: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = Generator.of(stylegan2)
    reader, z = Reader.of(generator, generator.layers[:3]), latents(stylegan2, 12)
    batches = [(rows, None) for rows in z.split(4)]
    expected, read, calls = read_batches(generator, reader, batches), Reader.read, []

    def read_twice(*arguments: Any) -> Tensor:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read(*arguments)

    monkeypatch.setattr("ganfix_plugin.partial.EVERY", 0)
    monkeypatch.setattr("ganfix_plugin.partial._SHARE", 0)
    monkeypatch.setattr(Reader, "read", read_twice)
    with pytest.raises(KeyboardInterrupt):
        read_batches(generator, reader, batches, Partial(tmp_path / "kept"))
    found = read_batches(generator, reader, batches, Partial(tmp_path / "kept"))
    assert len(calls) == 4 and torch.equal(found.means, expected.means)
    assert found.scale == expected.scale and torch.equal(found.root, expected.root)


def test_nan_in_units_is_said(face: nn.Module) -> None:
    generator = Generator.of(face)
    z = latents(face, 2)
    z[0] = torch.nan
    with pytest.raises(GanfixError, match="found NaN or infinity in the units of its layers"):
        read_batches(generator, Reader.of(generator, generator.layers[:1]), [(z, None)])


def test_what_an_entry_is_called_with(stylegan2: nn.Module) -> None:
    z = latents(stylegan2, 2)
    args, kwargs = called_with(
        stylegan2, "synthesis", lambda G: G(z, None, truncation_psi=0.5, noise_mode="const")
    )
    torch.testing.assert_close(args[0], stylegan2.mapping(z, None, truncation_psi=0.5))
    assert kwargs == {"noise_mode": "const"}


def test_the_probe_is_the_logistic_regression_it_says() -> None:
    artifacts, normals = samples(60, 0, shift=2), samples(200, 1)
    probe = fit_probe(artifacts, normals, samples(500, 2))
    # The gradient of sum of balanced losses times C plus half the squared norm is zero there.
    x = torch.cat([normals, artifacts]).double()
    y = torch.cat([-torch.ones(200), torch.ones(60)]).double()
    weight = torch.cat([torch.full((200,), 260 / 400), torch.full((60,), 260 / 120)]).double()
    x = (x - probe.mean) / probe.deviation
    w = probe.weight.double().requires_grad_()
    b = torch.zeros((), dtype=torch.float64, requires_grad=True)
    descent = torch.optim.LBFGS([b], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        descent.zero_grad()
        losses = nn.functional.softplus(-y * (x @ w + b))
        value = 0.01 * (weight * losses).sum() + 0.5 * w.square().sum()
        value.backward(inputs=[b])
        return value

    descent.step(loss)
    (gradient,) = torch.autograd.grad(loss_without_side_effects(x, y, weight, w, b), w)
    assert gradient.abs().max() < 1e-3 * w.abs().max()


def loss_without_side_effects(x: Tensor, y: Tensor, weight: Tensor, w: Tensor, b: Tensor) -> Tensor:
    losses = nn.functional.softplus(-y * (x @ w + b.detach()))
    return 0.01 * (weight * losses).sum() + 0.5 * w.square().sum()


def test_thresholds_are_quantiles_of_the_population() -> None:
    population = samples(4001, 3)
    probe = fit_probe(samples(50, 0, shift=2), samples(50, 1), population)
    scores = probe.score(population)
    shares = torch.tensor([0.0, 0.3, 0.7005, 1.0])
    expected = torch.quantile(scores, shares)
    torch.testing.assert_close(probe.threshold(shares), expected, rtol=0, atol=1e-3)
    assert auc(probe.score(samples(99, 4, shift=2)), probe.score(samples(99, 5))) > 0.6


def test_the_area_is_of_samples_that_were_not_seen() -> None:
    chance = torch.Generator().manual_seed(0)
    noise = [torch.randn(40, 300, generator=chance) for _ in range(2)]
    assert abs(cross_validated(*noise, torch.cat(noise)) - 0.5) < 0.15


def test_does_not_depend_on_the_default_dtype() -> None:
    groups = samples(50, 0, shift=2), samples(50, 1), samples(100, 2)
    expected = fit_probe(*groups)
    torch.set_default_dtype(torch.float64)
    try:
        found = fit_probe(*groups)
        thresholds = found.threshold(torch.tensor([0.5], dtype=torch.float32))
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found.weight, expected.weight) and thresholds.dtype == torch.float32


def test_a_probe_can_be_told_what_not_to_read() -> None:
    artifacts, normals = samples(80, 0, shift=2), samples(80, 1)
    apart = torch.eye(12)[:2] * torch.tensor([[3.0], [0.5]]) + 0.1
    probe = fit_probe(artifacts, normals, samples(100, 2), apart=apart)
    along = (apart / probe.deviation) @ probe.weight
    assert along.abs().max() < 1e-4 * probe.weight.norm()
    assert fit_probe(artifacts, normals, samples(100, 2)).weight[0].abs() > 1e-2


PLAN = Plan("labels", (), Settings(100))


def by_kind(defect: float) -> tuple[Sorted, Tensor, Tensor]:
    """Most artifacts are of one kind, which is a place on one axis; a defect shifts others."""
    chance = torch.Generator().manual_seed(0)

    def drawn(n: int, of_kind: float, shift: float) -> tuple[Tensor, Tensor]:
        kinds = (torch.rand(n, generator=chance) < of_kind).long()
        x = torch.randn(n, 12, generator=chance)
        x[:, 0] += 6 * kinds
        x[:, 4:] += shift
        return x, kinds

    (artifacts, _), (normals, _) = drawn(300, 0.9, defect), drawn(300, 0.1, 0)
    x, kinds = drawn(200, 0.5, 0)
    return Sorted(artifacts, normals, "samples", (x, kinds)), x, kinds


def test_what_tells_kinds_apart_is_left_out_of_what_a_score_teaches() -> None:
    in_order, x, kinds = by_kind(defect=0.7)
    probe = fit(replace(PLAN, source="discriminator"), in_order, Readings(x, 0.0))
    plain = fit_probe(in_order.artifacts, in_order.normals, x)
    assert explained(plain.score(x), kinds) > 0.5 > 0.05 > explained(probe.score(x), kinds)
    assert "apart from 2 kinds of content, which explained" in probe.text
    same_kind = torch.randn(2, 500, 12, generator=torch.Generator().manual_seed(1))
    same_kind[0, :, 4:] += 0.7
    areas = [auc(*(each.score(x) for x in same_kind)) for each in (probe, plain)]
    assert areas[0] > areas[1] + 0.01


def test_kinds_that_are_the_defect_stay() -> None:
    in_order, x, _ = by_kind(defect=0)
    probe = fit(replace(PLAN, source="discriminator"), in_order, Readings(x, 0.0))
    assert torch.equal(probe.weight, fit_probe(in_order.artifacts, in_order.normals, x).weight)


def test_labels_of_people_are_believed_and_a_warning_says_that_they_go_with_kinds() -> None:
    in_order, x, _ = by_kind(defect=0.7)
    with pytest.warns(GanfixWarning, match="kinds of content explain .*label the worst of each"):
        probe = fit(PLAN, in_order, Readings(x, 0.0))
    assert torch.equal(probe.weight, fit_probe(in_order.artifacts, in_order.normals, x).weight)


def test_labels_within_kinds_have_thresholds_by_kind() -> None:
    """A defect of each kind by itself, and a probe of few labels that reads the kind as well."""
    chance = torch.Generator().manual_seed(0)

    def drawn(n: int, shift: float = 0) -> tuple[Tensor, Tensor]:
        kinds = torch.arange(n) % 2
        x = torch.randn(n, 12, generator=chance) + shift * (torch.arange(12) > 3)
        x[:, 0] += 6 * kinds
        return x + 0.5 * x[:, :1], kinds

    (artifacts, _), (normals, _), (x, kinds) = drawn(60, 0.7), drawn(60), drawn(1000)
    plan = replace(PLAN, layers=(Layer(0, "main", (4, 4), 12),))
    plain, by_kind = (
        fit(plan, Sorted(artifacts, normals, "samples", shown), Readings(x, 0.0))
        for shown in (None, (x, kinds))
    )
    assert "with thresholds by 2 kinds of content" in by_kind.text
    assert explained(plain.score(x), kinds) > 0.1 > 0.01 > explained(by_kind.score(x), kinds)
    above = by_kind.score(x) > by_kind.threshold(torch.tensor([0.8]))
    for kind in range(2):
        assert float(above[kinds == kind].float().mean()) == pytest.approx(0.2, abs=0.03)
    unseen = [drawn(500, 0.7)[0], drawn(500)[0]]
    assert auc(*map(by_kind.score, unseen)) > auc(*map(plain.score, unseen)) + 0.01
    again = Probe.of(by_kind.tensors(), by_kind.note())
    assert torch.equal(again.score(x), by_kind.score(x))


def test_scores_are_made_comparable_within_classes() -> None:
    chance = torch.Generator().manual_seed(0)
    classes = torch.arange(600) % 3
    means = torch.randn(600, 12, generator=chance) * (1 + classes[:, None]) + 5 * classes[:, None]
    conditions = torch.eye(4)[classes] + 0.1 * torch.randn(600, 4, generator=chance)
    probe = fit_probe(samples(50, 0, shift=2), samples(50, 1), means)
    probe = by_class(probe, means, conditions, classes)
    features = torch.cat([means, torch.eye(3)[classes]], dim=1)
    above = probe.score(features) > probe.threshold(torch.tensor([0.8]))
    shares = torch.stack([above[classes == number].float().mean() for number in range(3)])
    assert (shares - 0.2).abs().max() < 0.06
    again = Probe.of(probe.tensors(), probe.note())
    assert torch.equal(again.score(features), probe.score(features))


def test_too_few_labels_are_refused() -> None:
    with pytest.raises(GanfixError, match="found 3 artifacts and 50 normals, expected at least 5"):
        fit_probe(samples(3, 0), samples(50, 1), samples(100, 2))


def test_is_data_and_comes_back() -> None:
    groups = samples(50, 0, shift=2), samples(50, 1), samples(100, 2)
    probe = fit_probe(*groups, scale=2.5, made="50 labels", request="abc")
    again = Probe.of(probe.tensors(), probe.note())
    assert again.note() == probe.note() and again.scale == 2.5
    assert all(torch.equal(again.tensors()[name], x) for name, x in probe.tensors().items())
    assert json.loads(probe.note())["made"] == "50 labels"
    assert probe.text.startswith("50 labels, cross-validated AUC 0.")


def test_a_profile_keeps_nothing_of_an_earlier_probe_of_that_name(G: nn.Module) -> None:
    groups = samples(50, 0, shift=2), samples(50, 1), samples(100, 2)
    plain = fit_probe(*groups)
    by_kind = fit_probe(*groups, shown=(groups[2], torch.arange(100) % 2))
    profile, _ = ensure(Generator.of(G), Settings(100), ())
    both = profile.with_probe("labels:0", by_kind).with_probe("labels:0", plain)
    kept = both.probe("labels:0")
    assert kept is not None and kept.kinds is None and kept.offsets is None


def test_a_heat_map_shows_where_the_loudest_units_add_to_the_score(G: nn.Module) -> None:
    generator, z = Generator.of(G), latents(G, 12)
    layers = generator.layers[:3]
    reader = Reader.of(generator, layers)
    means = read_batches(generator, reader, [(z, None)]).means
    weight = torch.randn(means.shape[1], generator=torch.Generator().manual_seed(3))
    probe = calibrated(weight, means)
    probe = replace(probe, mean=means.mean(dim=0), deviation=means.std(dim=0) + 1e-3)
    probe = replace(probe, quantiles=torch.quantile(probe.score(means), torch.linspace(0, 1, 1001)))
    heat = probe_heatmap(generator, reader, probe, z, size=16)
    with recorded(G, layers) as maps, torch.no_grad():
        generator.synthesize(z, None)
    slope = weight / probe.deviation
    gate = probe.score(means).quantile(0.7)
    for row, score in enumerate(probe.score(means)):
        if score <= gate:
            assert not heat[row].any()
            continue
        added = slope * (means[row] - probe.mean)
        loudest = set(added.argsort(descending=True)[:20].tolist())
        total, unit = torch.zeros(16, 16), 0
        for layer in layers:
            for x in maps[layer.name][row].clamp(min=0):
                if unit in loudest:
                    term = slope[unit] * (x - probe.mean[unit])
                    total += nn.functional.interpolate(term[None, None], (16, 16), mode="bilinear")[
                        0, 0
                    ]
                unit += 1
        torch.testing.assert_close(heat[row], total.clamp(min=0), rtol=1e-2, atol=1e-2)
