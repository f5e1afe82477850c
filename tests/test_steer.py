"""`steer` and `boundary`: latents of flagged samples are moved, all others stay as they are."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generators import BigGANShaped, RosinalityShaped, StyleGAN2Generator, images, latents, recorded
from prepared import judged
from torch import Tensor, nn

import ganfix_plugin as ganfix
from examples import importing
from ganfix_plugin import GanfixError, attach
from ganfix_plugin.correctors.moving import portions
from ganfix_plugin.errors import GanfixWarning
from ganfix_plugin.features.classifier import auc
from ganfix_plugin.generators.generator import Generator, fingerprint
from ganfix_plugin.labels import keep, write
from ganfix_plugin.profiling.probe import Probe
from ganfix_plugin.spec import Gate, Portion

pytestmark = pytest.mark.slow

SAMPLES = "samples=300"


@pytest.fixture
def labelled(tmp_path: Path) -> Callable[[nn.Module], str]:
    """A maker of specs' keys: labels of a generator, and how much to measure."""

    def keys(G: nn.Module) -> str:
        path = tmp_path / "labels.csv"
        if not path.exists():
            write(judged(G), path)
        return f"labels={path},{SAMPLES}"

    return keys


def fitted(G: nn.Module | Generator, spec: str) -> tuple[Any, Probe]:
    """What a spec moves latents by."""
    with attach(G, spec) as attachment:
        move = attachment.corrections[0].edits
    return move, move.scorer.probe


def unit_means(G: nn.Module, call: Callable[[], Any]) -> Tensor:
    """Of the early layers in a whole pass, with the graph that gradients need."""
    layers = Generator.of(G).early
    with recorded(G, layers) as maps:
        call()
    return torch.cat([maps[layer.name].clamp(min=0).mean(dim=(2, 3)) for layer in layers], dim=1)


def steered(
    call: Callable[[Tensor], Tensor],
    probe: Probe,
    x: Tensor,
    styled: bool,
    share: float | None,
    gate: float = 0.7,
) -> Tensor:
    """The algorithm, one latent [1, …] after the other and as plainly as it can be written."""
    vector = x.mean(dim=1) if styled and x.dim() > 2 else x.flatten(1)
    shares = torch.tensor([share if share is not None else gate])
    if share is None:
        shares = shares * portions(vector, probe.scale)
    stop = float(np.interp(float(shares) * 1000, range(1001), probe.quantiles.numpy()))
    limit = float(np.interp(gate * 1000, range(1001), probe.quantiles.numpy()))
    length = x.norm()
    scale = probe.scale if styled else float(length)
    for _ in range(3):
        shift = torch.zeros_like(x[:, :1] if styled and x.dim() > 2 else x).requires_grad_()
        score = (((call(x + shift) - probe.mean) / probe.deviation) * probe.weight).sum()
        if float(score) <= limit:
            break
        limit = stop
        (gradient,) = torch.autograd.grad(score, shift)
        if styled:
            assert probe.root is not None
            way = gradient @ probe.root
        else:
            way = gradient - x * (gradient * x).sum() / (x * x).sum()
        way = way / way.norm()
        slope = float((gradient * way).sum())
        size = min(max(1.2 * (float(score) - stop) / slope, 0.005 * scale), 0.3 * scale)
        x = x - size * way
        if not styled:
            x = x * length / x.norm()
    return x


@pytest.mark.parametrize("target, share", [("spread", None), ("30%", 0.3)])
def test_z_goes_where_the_algorithm_says(
    labelled: Callable[[nn.Module], str],
    pggan: nn.Module,
    face: nn.Module,
    target: str,
    share: float | None,
) -> None:
    for G in (pggan, face):
        z = latents(G, 12)
        spec = f"steer:target={target},{labelled(G) if G is pggan else f'from=lr,{SAMPLES}'}"
        with pytest.warns(GanfixWarning) if G is face else _nothing():
            _, probe = fitted(G, spec)

        def call(x: Tensor) -> Tensor:
            return unit_means(G, lambda: G(x))

        moved = torch.cat([steered(call, probe, row, False, share) for row in z.split(1)])
        rows = (moved != z).flatten(1).any(dim=1)
        assert 0 < rows.sum() < 12
        expected, before = images(G, moved), images(G, z)
        with attach(G, spec) as attachment:
            found = images(G, z)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
        assert torch.equal((found != before).flatten(1).any(dim=1), rows)
        assert torch.equal(found[~rows], before[~rows])
        assert (attachment.counts[0].samples, attachment.counts[0].corrected) == (12, rows.sum())


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *exception: object) -> None: ...


@pytest.mark.parametrize("mixed", [False, True])
def test_all_ws_of_a_sample_get_one_shift(
    labelled: Callable[[nn.Module], str], stylegan2: nn.Module, mixed: bool
) -> None:
    spec = f"steer:{labelled(stylegan2)}"
    _, probe = fitted(stylegan2, spec)
    with torch.no_grad():
        ws = stylegan2.mapping(latents(stylegan2, 16), None, truncation_psi=0.9)
    if mixed:
        ws = torch.cat([ws[:, :3], ws.flip(0)[:, 3:]], dim=1)

    def call(x: Tensor) -> Tensor:
        return unit_means(stylegan2, lambda: stylegan2.synthesis(x, noise_mode="const"))

    moved = torch.cat([steered(call, probe, row, True, None) for row in ws.split(1)])
    rows = (moved != ws).flatten(1).any(dim=1)
    assert 0 < rows.sum() < 16
    with torch.no_grad():
        expected = stylegan2.synthesis(moved, noise_mode="const")
        before = stylegan2.synthesis(ws, noise_mode="const")
        with attach(stylegan2, spec):
            by_place = stylegan2.synthesis(ws, noise_mode="const")
            by_name = stylegan2.synthesis(noise_mode="const", ws=ws)
    torch.testing.assert_close(by_place, expected, rtol=1e-3, atol=2e-3)
    assert torch.equal(by_place, by_name)
    assert torch.equal(by_place[~rows], before[~rows])
    assert torch.equal((by_place != before).flatten(1).any(dim=1), rows)


def test_flagged_samples_end_below_the_gate(
    labelled: Callable[[nn.Module], str], G: nn.Module
) -> None:
    spec = f"steer:steps=6,{labelled(G)}"
    move, probe = fitted(G, spec)
    z = latents(G, 24)
    args: Any = (z,)
    entry = G
    if hasattr(G, "mapping"):
        entry, args = G.synthesis, (G.mapping(z, None),)
    limit = float(probe.threshold(torch.tensor([0.7])))
    rows = move.scorer(entry, args, {}) > limit
    assert 0 < rows.sum() < 24
    moved, _ = move(entry, args, {}, rows)
    after = move.scorer(entry, moved, {})
    assert (after[rows] <= limit).float().mean() > 0.9
    if entry is G:
        norms = moved[0].flatten(1).norm(dim=1)
        torch.testing.assert_close(norms, z.flatten(1).norm(dim=1))
    assert torch.equal(moved[0][~rows], args[0][~rows])


def test_where_a_row_goes_depends_on_nothing_else(
    labelled: Callable[[nn.Module], str], G: nn.Module
) -> None:
    spec, z = f"steer:{labelled(G)}", latents(G, 12)
    with attach(G, spec) as attachment:
        together = images(G, z)
        corrected = attachment.counts[0].corrected
        one_by_one = torch.cat([images(G, row, seed=n) for n, row in enumerate(z.split(1))])
        assert attachment.counts[0].corrected == 2 * corrected > 0
        torch.set_default_dtype(torch.float64)
        try:
            in_double = images(G, z)
        finally:
            torch.set_default_dtype(torch.float32)
        with torch.inference_mode():
            inferred = images(G, z.clone())
    torch.testing.assert_close(one_by_one, together, rtol=1e-3, atol=2e-3)
    torch.testing.assert_close(in_double, together, rtol=0, atol=0)
    torch.testing.assert_close(inferred, together, rtol=0, atol=0)


def test_the_hosts_random_stream_goes_on_as_before(
    labelled: Callable[[nn.Module], str], stylegan2: nn.Module
) -> None:
    z = latents(stylegan2, 12)
    before = images(stylegan2, z, noise_mode="random", seed=3)
    state = torch.get_rng_state()
    with attach(stylegan2, f"steer:{labelled(stylegan2)}"):
        found = images(stylegan2, z, noise_mode="random", seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    rows = (found != before).flatten(1).any(dim=1)
    assert 0 < rows.sum() < 12 and torch.equal(found[~rows], before[~rows])


def test_copies_and_pickles_move_alike(labelled: Callable[[nn.Module], str], G: nn.Module) -> None:
    z = latents(G, 12)
    with attach(G, f"steer:{labelled(G)}"):
        expected = images(G, z)
        copied = copy.deepcopy(G)
        unpickled = pickle.loads(pickle.dumps(G))
    assert torch.equal(images(copied, z), expected)
    assert torch.equal(images(unpickled, z), expected)


def test_to_gradients_a_latent_was_moved_by_a_constant(
    labelled: Callable[[nn.Module], str], stylegan2: nn.Module
) -> None:
    ws = stylegan2.mapping(latents(stylegan2, 8), None)
    with attach(stylegan2, f"steer:{labelled(stylegan2)}") as attachment:
        with torch.no_grad():
            expected = stylegan2.synthesis(ws, noise_mode="const")
        called: list[Tensor] = []
        handle = stylegan2.synthesis.register_forward_pre_hook(
            lambda _, args: called.append(args[0])
        )
        found = stylegan2.synthesis(ws.requires_grad_(), noise_mode="const")
        handle.remove()
    assert torch.equal(found, expected) and attachment.counts[0].corrected
    (gradient,) = torch.autograd.grad(found.sum(), ws)
    there = called[0].detach().requires_grad_()
    plain = stylegan2.synthesis(there, noise_mode="const")
    assert torch.equal(gradient, torch.autograd.grad(plain.sum(), there)[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_its_type(
    labelled: Callable[[nn.Module], str], face: nn.Module, dtype: torch.dtype
) -> None:
    labels, z = labelled(face), latents(face, 12)
    with attach(face, f"steer:{labels}"):
        expected = images(face, z)
    G = copy.deepcopy(face).to(dtype)
    path = Path(labels.split(",")[0].partition("=")[2])
    write(replace(judged(face), generator=fingerprint(G)), path)
    with attach(G, f"steer:{labels}"):
        found = images(G, z.to(dtype))
    before = images(copy.deepcopy(face).to(dtype), z.to(dtype))
    assert found.dtype == dtype and torch.isfinite(found).all()
    assert 0 < (found != before).flatten(1).any(dim=1).sum() < 12
    assert (found.float() - expected).abs().mean() < 0.1


def test_strength_says_how_much_of_the_way_is_gone(
    labelled: Callable[[nn.Module], str], G: nn.Module
) -> None:
    z, keys = latents(G, 16), labelled(G)
    entry, args = G, (z,)
    if hasattr(G, "mapping"):
        entry, args = G.synthesis, (G.mapping(z, None),)
    rows = torch.arange(16) % 2 == 0
    move, _ = fitted(G, f"steer:gate=off,{keys}")
    whole, half = (move(entry, args, {}, share * rows)[0][0] for share in (1.0, 0.5))
    assert torch.equal(half[~rows], args[0][~rows])
    middle = (args[0] + whole) / 2
    if entry is G:
        norms = [x.flatten(1).norm(dim=1).view(-1, *(1,) * (z.dim() - 1)) for x in (z, middle)]
        middle = middle * norms[0] / norms[1]
    torch.testing.assert_close(half[rows], middle[rows])


def test_any_gate_goes_with_it(labelled: Callable[[nn.Module], str], face: nn.Module) -> None:
    z, keys = latents(face, 12), labelled(face)
    before = images(face, z)
    changed = {}
    for gate in ("off", "lr:50%", "probe:50%", "probe:90%"):
        with attach(face, f"steer:gate={gate},target=30%,{keys}"):
            changed[gate] = (images(face, z) != before).flatten(1).any(dim=1)
    assert changed["probe:90%"].sum() < changed["probe:50%"].sum() < changed["off"].sum()
    assert (changed["off"] | ~changed["lr:50%"]).all()


def test_spreads_evenly_and_without_jumps() -> None:
    vectors = torch.randn(20_000, 64, generator=torch.Generator().manual_seed(0))
    shares = portions(vectors, 0)
    assert np.histogram(shares, 10, (0, 1))[0].min() > 1800
    nearly = portions(vectors * (1 + 1e-6) + 1e-7, 0)
    assert (nearly - shares).abs().max() < 1e-3


def test_rosinality_is_moved_in_w(labelled: Callable[[nn.Module], str]) -> None:
    G = RosinalityShaped().requires_grad_(False)
    z = latents(G, 16)
    before = G([z], randomize_noise=False)[0]
    spec = f"steer:{SAMPLES},from=lr"
    with pytest.warns(GanfixWarning, match="LR count"), attach(G, spec):
        found = G([z], randomize_noise=False)[0]
        from_w = G([G.style(z)], input_is_latent=True, randomize_noise=False)[0]
    rows = (found != before).flatten(1).any(dim=1)
    assert 0 < rows.sum() < 16 and torch.equal(found[~rows], before[~rows])
    torch.testing.assert_close(from_w, found)


def test_classes_stay_with_their_samples() -> None:
    G = BigGANShaped().requires_grad_(False)
    z, y = latents(G, 16), G.shared(torch.arange(16) % 3)
    before = G(z, y)
    with pytest.warns(GanfixWarning), attach(G, f"steer:{SAMPLES},from=lr"):
        found = G(z, y)
        alone = torch.cat([G(z[n : n + 1], y[n : n + 1]) for n in range(16)])
    rows = (found != before).flatten(1).any(dim=1)
    assert 0 < rows.sum() < 16 and torch.equal(found[~rows], before[~rows])
    torch.testing.assert_close(alone, found, rtol=1e-3, atol=1e-4)


def test_each_class_has_thresholds_of_its_own() -> None:
    G, call = conditional()
    classes, z = torch.arange(300) % 3, latents(G, 300, seed=5)
    with pytest.warns(GanfixWarning), attach(G, "steer:samples=900,from=lr") as attachment:
        move = attachment.corrections[0].edits
        found = call(z, classes)
        alone = torch.cat([call(z[n : n + 1], classes[n : n + 1]) for n in range(6)])
    changed = (found != call(z, classes)).flatten(1).any(dim=1)
    shares = [float(changed[classes == number].float().mean()) for number in range(3)]
    assert all(0.17 < share < 0.43 for share in shares), shares
    torch.testing.assert_close(alone, found[:6], rtol=1e-3, atol=1e-3)
    # What is usual for a class differs by more than that: one threshold would not do.
    units = move.scorer.reader.units(G.synthesis, (G.mapping(z, one_hot(classes)),), {})
    raw = replace(move.scorer.probe, offsets=None).score(units)
    high = raw > raw.quantile(0.7)
    pooled = [float(high[classes == number].float().mean()) for number in range(3)]
    assert max(pooled) - min(pooled) > max(shares) - min(shares)


def test_classes_are_told_by_their_embeddings() -> None:
    G = BigGANShaped().requires_grad_(False)
    z, classes = latents(G, 16), torch.arange(16) % 3
    with pytest.warns(GanfixWarning):
        move, _ = fitted(G, "steer:samples=900,from=lr")
    latent = move.scorer.reader.adapter.latent(G, (z, G.shared(classes)), {})
    assert torch.equal(move.scorer.reader.classes(latent), one_hot(classes))


def one_hot(classes: Tensor) -> Tensor:
    return nn.functional.one_hot(classes, 3).float()


def conditional() -> tuple[nn.Module, Callable[[Tensor, Tensor], Tensor]]:
    """NVIDIA's StyleGAN2 with three classes, which its synthesis knows by their ws only."""
    with importing("stylegan2_small"):
        from training.networks import Generator as StyleGAN2

        torch.manual_seed(0)
        widths = {"channel_base": 256, "channel_max": 16}
        G = StyleGAN2(8, 3, 16, 32, 3, mapping_kwargs={"num_layers": 2}, synthesis_kwargs=widths)
    G = G.eval().requires_grad_(False)
    return G, lambda z, classes: G(z, one_hot(classes), noise_mode="const")


def test_thresholds_by_class_cannot_be_exported(tmp_path: Path) -> None:
    G, _ = conditional()
    with importing("stylegan2_small"):
        message = "has thresholds by class, which an export cannot carry"
        with pytest.warns(GanfixWarning), pytest.raises(GanfixError, match=message):
            ganfix.export(G, "seqabl:samples=900,gate=probe:70%", out=tmp_path / "out.pkl")


def test_w_of_genforce_is_moved() -> None:
    G = StyleGAN2Generator().requires_grad_(False)
    z = latents(G, 16)
    before = images(G, z)
    with pytest.warns(GanfixWarning), attach(G, f"steer:{SAMPLES},from=lr"):
        found = images(G, z)
    rows = (found != before).flatten(1).any(dim=1)
    assert 0 < rows.sum() < 16 and torch.equal(found[~rows], before[~rows])


# --- boundary


def test_the_boundary_is_crossed_in_one_step(
    labelled: Callable[[nn.Module], str], G: nn.Module
) -> None:
    move, probe = fitted(G, f"boundary:target=40%,{labelled(G)}")
    z = latents(G, 24)
    entry, args = G, (z,)
    if hasattr(G, "mapping"):
        entry, args = G.synthesis, (G.mapping(z, None),)
    limit, goal = probe.threshold(torch.tensor([0.7, 0.4]))
    rows = move.scorer(entry, args, {}) > limit
    moved, _ = move(entry, args, {}, rows)
    after = move.scorer(entry, moved, {})[rows]
    torch.testing.assert_close(after, goal.expand(len(after)), rtol=1e-3, atol=1e-3)
    assert torch.equal(moved[0][~rows], args[0][~rows])
    if entry is G:
        torch.testing.assert_close(moved[0].flatten(1).norm(dim=1), z.flatten(1).norm(dim=1))
    else:
        shift = moved[0] - args[0]
        torch.testing.assert_close(shift, shift[:, :1].expand_as(shift), rtol=1e-4, atol=1e-5)


def test_a_published_direction_is_followed(tmp_path: Path, face: nn.Module) -> None:
    direction = np.random.RandomState(0).randn(1, 100)
    np.save(tmp_path / "artifact.npy", direction)
    move, probe = fitted(face, f"boundary:{SAMPLES},direction={tmp_path / 'artifact.npy'}")
    assert probe.auc is None and "artifact.npy" in probe.text
    z = latents(face, 30)
    scores = z.flatten(1) @ torch.from_numpy(direction).float().flatten()
    torch.testing.assert_close(move.scorer(face, (z,), {}), scores, rtol=1e-4, atol=1e-4)
    before = images(face, z)
    with attach(face, f"boundary:{SAMPLES},direction={tmp_path / 'artifact.npy'}"):
        changed = (images(face, z) != before).flatten(1).any(dim=1)
    assert torch.equal(changed, scores > probe.threshold(torch.tensor([0.7])))


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros(100), "finite and not all zero"),
        (np.ones(7), "found 7 values, expected 100 for this Generator"),
        (None, "cannot be read as numbers"),
    ],
)
def test_a_bad_direction_is_refused(
    tmp_path: Path, face: nn.Module, array: Any, message: str
) -> None:
    path = tmp_path / "d.npy"
    path.write_text("x") if array is None else np.save(path, array)
    with pytest.raises(GanfixError, match=message):
        attach(face, f"boundary:{SAMPLES},direction={path}")


# --- where the probe comes from


def test_labels_of_the_store_come_first(own_cache: Path, face: nn.Module) -> None:
    with pytest.raises(GanfixError, match="from=labels: no labels of this Generator in the store"):
        attach(face, f"steer:from=labels,{SAMPLES}")
    keep(judged(face))
    move, probe = fitted(face, f"steer:{SAMPLES}")
    assert "40 artifacts and 40 normals" in probe.text
    assert (probe.source, str(move.target)) == ("labels", "spread")
    assert probe.auc is not None and probe.auc > 0.8


def test_the_lr_count_is_the_last_resort_and_says_so(own_cache: Path, face: nn.Module) -> None:
    with pytest.warns(
        GanfixWarning,
        match="100 to 200 labels over all kinds of content.*ganfix label --network MODULE",
    ):
        _, probe = fitted(face, f"steer:{SAMPLES}")
    assert "by LR count" in probe.text
    with attach(face, f"steer:{SAMPLES},gate=probe:20%") as attachment:
        move = attachment.corrections[0].edits
    assert (probe.source, str(move.target)) == ("lr", "20%")


def test_the_discriminator_that_came_with_it_comes_before_that(
    own_cache: Path, stylegan2: nn.Module, network_pickle: Path
) -> None:
    import legacy

    with network_pickle.open("rb") as file:
        D = legacy.load_network_pkl(file)["D"]
    _, probe = fitted(Generator.of(stylegan2, discriminator=D), f"steer:{SAMPLES}")
    assert "300 generations by the discriminator" in probe.text


def test_is_fitted_once_and_again_for_other_labels(
    own_cache: Path,
    labelled: Callable[[nn.Module], str],
    face: nn.Module,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ganfix_plugin.artifacts import probe_fit

    spec = f"steer:{labelled(face)}"
    _, first = fitted(face, spec)
    fit = probe_fit.fit_probe
    monkeypatch.setattr(probe_fit, "fit_probe", lambda *_, **__: 1 / 0)
    _, again = fitted(face, spec)
    assert torch.equal(first.weight, again.weight) and first.text == again.text
    write(judged(face, 60), Path(labelled(face).split(",")[0].partition("=")[2]))
    with pytest.raises(ZeroDivisionError):
        fitted(face, spec)
    monkeypatch.setattr(probe_fit, "fit_probe", fit)
    assert "30 artifacts" in fitted(face, spec)[1].text


def test_a_profile_file_brings_its_probe(
    own_cache: Path, labelled: Callable[[nn.Module], str], face: nn.Module
) -> None:
    _, probe = fitted(face, f"steer:{labelled(face)}")
    (path,) = (own_cache / "profiles").glob("*.safetensors")
    _, again = fitted(face, f"steer:profile={path}")
    assert torch.equal(again.weight, probe.weight)
    with pytest.raises(GanfixError, match="holds no such probe, only labels:0.1.2"):
        attach(face, f"steer:layers=3,profile={path}")


def test_the_probe_gates_others_too(
    own_cache: Path, labelled: Callable[[nn.Module], str], face: nn.Module
) -> None:
    keep(judged(face))
    z = latents(face, 16)
    before = images(face, z)
    move, probe = fitted(face, f"steer:{SAMPLES}")
    rows = move.scorer(face, (z,), {}) > probe.threshold(torch.tensor([0.6]))
    with attach(face, f"seqabl:{SAMPLES},gate=probe:60%") as attachment:
        found = images(face, z)
    assert torch.equal((found != before).flatten(1).any(dim=1), rows)
    assert attachment.counts[0].corrected == rows.sum()


def test_the_probe_tells_what_was_labelled(own_cache: Path, face: nn.Module) -> None:
    keep(judged(face))
    move, _ = fitted(face, f"steer:{SAMPLES}")
    z = latents(face, 200, seed=9)
    bright = images(face, z).mean(dim=(1, 2, 3))
    scores = move.scorer(face, (z,), {})
    upper = bright > bright.median()
    assert auc(scores[upper], scores[~upper]) > 0.85


def test_labels_of_another_generator_are_refused(
    labelled: Callable[[nn.Module], str], face: nn.Module, pggan: nn.Module
) -> None:
    keys = labelled(face)
    with pytest.raises(GanfixError, match="labels: are of another generator"):
        attach(pggan, f"steer:{keys}")


def test_too_few_labels_are_refused_or_passed_over(own_cache: Path, face: nn.Module) -> None:
    keep(judged(face, 20))
    with pytest.raises(GanfixError, match="found 10 artifacts and 10 normals"):
        attach(face, f"steer:from=labels,{SAMPLES}")
    with pytest.warns(GanfixWarning):
        assert "LR count" in fitted(face, f"steer:{SAMPLES}")[1].text


@pytest.mark.parametrize(
    "spec, message",
    [
        ("steer:target=0%", "target is '0%', expected auto, spread, or a share"),
        ("steer:target=close", "target is 'close', expected auto, spread"),
        ("steer:target=80%", "target=80% lies above the gate, 70%"),
        ("steer:gate=probe:20%,target=30%", "target=30% lies above the gate, 20%"),
        ("steer:from=people", "from is 'people', expected auto or labels or discriminator or lr"),
        ("steer:from=lr,labels=a.csv", "labels= and from=lr exclude each other"),
        ("steer:steps=0", "steps is '0', expected a whole number of at least 1"),
        ("steer:cap=0%", "cap is '0%', expected a share above 0%"),
        ("steer:layers=x", "layers is 'x', expected auto"),
        ("steer:gate=probe:3", "gate is 'probe:3', expected off, probe:QUANTILE%"),
        ("boundary:direction=d.npy,from=lr", "direction= leaves nothing to fit"),
        ("boundary:steps=2", "boundary has no key steps"),
    ],
)
def test_bad_options_are_refused(face: nn.Module, spec: str, message: str) -> None:
    with pytest.raises(GanfixError, match=message):
        attach(face, spec)


def test_missing_files_are_named(face: nn.Module) -> None:
    with pytest.raises(GanfixError, match="labels no.csv: no such file"):
        attach(face, "steer:labels=no.csv")
    with pytest.raises(GanfixError, match="layer 9"):
        attach(face, f"steer:layers=9,from=lr,{SAMPLES}")


def test_what_it_is_called_by(labelled: Callable[[nn.Module], str], face: nn.Module) -> None:
    with attach(face, f"steer:{labelled(face)}") as attachment:
        assert attachment.corrections[0].text.startswith("steer:gate=probe:70%,samples=300,")
        assert "target=auto,from=auto,labels=" in attachment.corrections[0].text
        assert "layers latent" in attachment.summary()
        with pytest.raises(GanfixError, match="nothing was corrected"):
            attachment.check()
        images(face, latents(face, 1))
        attachment.check()
    assert Gate.parse("probe:70%") == Gate("probe", Portion(0.7))


def test_a_bundle_carries_the_probe(
    tmp_path: Path,
    labelled: Callable[[nn.Module], str],
    face: nn.Module,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for spec in (f"steer:{labelled(face)}", "seqabl:gate=probe:70%,samples=300"):
        with attach(face, spec):
            expected = images(face, latents(face, 20))
        bundle = ganfix.export(face, spec, out=tmp_path / "bundle.safetensors")
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("GANFIX_CACHE", str(tmp_path / "empty"))
            with attach(face, str(bundle)):
                assert torch.equal(images(face, latents(face, 20)), expected)
        assert not (tmp_path / "empty").exists()
