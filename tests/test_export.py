"""`ganfix export`: a corrected network pickle that needs no ganfix, and bundles for the others."""

from __future__ import annotations

import ast
import copy
import os
import pickle
import subprocess
import sys
import threading
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edits import Dim
from generators import hooks, images, latents
from prepared import error, judged, judged_within_kinds, run
from torch import Tensor, nn

import ganfix_plugin as ganfix
from examples import EXAMPLES
from ganfix_plugin import GanfixError, attach
from ganfix_plugin.correctors.corrector import Corrector, CorrectorContext
from ganfix_plugin.errors import GanfixWarning
from ganfix_plugin.exports import contents
from ganfix_plugin.hooks import crossing, layer, standalone
from ganfix_plugin.hooks.layer import Layer
from ganfix_plugin.labels import keep
from ganfix_plugin.spec import Options

pytestmark = pytest.mark.filterwarnings("ignore:seqabl")

SEQABL = "seqabl:samples=200"
GATED = f"{SEQABL},gate=lr:50%"
SPECS = [
    (SEQABL,),
    (GATED,),
    ("random:of=units,portion=10%",),
    ("truncation:psi=0.7",),
    (f"{SEQABL},strength=40%,gate=lr:20%..70%",),
    ("random:of=units,strength=50%", "truncation:psi=0.5,strength=30%"),
    ("units:units=2:1+5+7", GATED, "truncation:psi=0.9,gate=lr:40%,samples=200"),
]
STYLEGAN2 = EXAMPLES / "stylegan2_small"
Export = Callable[..., nn.Module]


def networks(G: nn.Module) -> dict[str, Any]:
    """What the network pickle of a generator holds."""
    return {"G": G, "D": nn.Linear(1, 1), "G_ema": G, "augment_pipe": None}


@pytest.fixture
def exported(tmp_path: Path) -> Export:
    """Export a generator and load what comes out."""

    def export(G: nn.Module, *specs: str) -> nn.Module:
        out = ganfix.export({**networks(G), "G": None}, *specs, out=tmp_path / "out.pkl")
        found: nn.Module = pickle.loads(out.read_bytes())["G_ema"]
        return found

    return export


PROBE = """
import copy, importlib.util, sys
import torch
import legacy

if importlib.util.find_spec("ganfix_plugin"):
    sys.exit(77)
with open(sys.argv[1], "rb") as file:
    G = legacy.load_network_pkl(file)["G_ema"]
z = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
torch.manual_seed(0)
images = copy.deepcopy(G)(z, None, noise_mode="random")
torch.save(images, sys.argv[2])
"""


@pytest.mark.slow
def test_equal_pixels_in_a_checkout_where_ganfix_is_not_installed(
    network_pickle: Path, stylegan2: nn.Module, tmp_path: Path
) -> None:
    specs = (GATED, "truncation:psi=0.9")
    out, found = tmp_path / "new folder" / "corrected.pkl", tmp_path / "images.pt"
    line = [f"--network={network_pickle}", f"--host={STYLEGAN2}", "--device=cpu", f"--out={out}"]
    done = run("export", *line, *(f"--correct={spec}" for spec in specs))
    assert done.exit_code == 0, done.output

    venv.create(tmp_path / "env", symlinks=True)
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    # From a folder that is added like this, links of editable installations are not followed.
    (site / "packages.pth").write_text("\n".join(each for each in sys.path if "-packages" in each))
    python = tmp_path / "env" / "bin" / "python"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(STYLEGAN2)}
    alone = subprocess.run([python, "-c", PROBE, out, found], cwd=tmp_path, env=env)
    if alone.returncode == 77:
        pytest.skip("ganfix is installed beside torch, so that there is no Python without it")
    assert alone.returncode == 0
    with attach(stylegan2, *specs):
        wanted = images(stylegan2, latents(stylegan2, 8), "random")
    assert torch.equal(torch.load(found), wanted)


@pytest.mark.parametrize("specs", SPECS, ids=" ".join)
def test_an_exported_generator_gives_the_pixels_of_an_attached_one(
    stylegan2: nn.Module, exported: Export, specs: tuple[str, ...]
) -> None:
    z, noise_mode = latents(stylegan2, 12), "random"
    before = images(stylegan2, z, noise_mode)
    with attach(stylegan2, *specs):
        wanted = images(stylegan2, z, noise_mode)
    alone = exported(stylegan2, *specs)
    assert torch.equal(images(alone, z, noise_mode), wanted)
    assert not torch.equal(wanted, before)
    assert torch.equal(images(stylegan2, z, noise_mode), before)


def test_rows_below_the_gate_are_bit_identical_to_uncorrected_ones(
    stylegan2: nn.Module, exported: Export
) -> None:
    z = latents(stylegan2, 12)
    before = images(stylegan2, z, "random")
    gated = images(exported(stylegan2, GATED), z, "random")
    changed = (gated != before).flatten(1).any(1)
    assert 0 < changed.sum() < 12
    assert torch.equal(gated[~changed], before[~changed])


def test_copies_and_pickles_of_an_exported_generator_are_corrected(
    stylegan2: nn.Module, exported: Export
) -> None:
    z = latents(stylegan2, 8)
    alone = exported(stylegan2, GATED, "truncation:psi=0.9")
    wanted = images(alone, z)
    assert torch.equal(images(copy.deepcopy(alone), z), wanted)
    again = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(alone))))
    assert torch.equal(images(again, z), wanted)
    assert len(pickle.dumps(again)) == len(pickle.dumps(alone))


def test_parameters_and_buffers_keep_their_names(stylegan2: nn.Module, exported: Export) -> None:
    alone = exported(stylegan2, GATED)
    assert list(alone.state_dict()) == list(stylegan2.state_dict())
    stylegan2.load_state_dict(alone.state_dict())


def test_a_host_that_builds_it_anew_fails_rather_than_lose_the_correction(
    stylegan2: Any, exported: Export
) -> None:
    before = stylegan2.init_kwargs
    G: Any = exported(stylegan2, "truncation:psi=0.5")
    with pytest.raises(TypeError, match="a_network_corrected_by_ganfix_cannot_be_rebuilt"):
        type(G)(*G.init_args, **G.init_kwargs)
    assert stylegan2.init_kwargs == before
    type(stylegan2)(*stylegan2.init_args, **stylegan2.init_kwargs)


@pytest.mark.parametrize("specs", [SPECS[0], SPECS[-1]], ids=" ".join)
def test_synthesis_called_directly_is_corrected_and_gradients_are_those_of_attach(
    stylegan2: nn.Module, exported: Export, specs: tuple[str, ...]
) -> None:
    def gradient(G: Any) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            w = G.mapping(latents(G, 4), None)
        w = w.detach().requires_grad_()
        image = G.synthesis(ws=w, noise_mode="const")
        image.square().sum().backward()
        assert w.grad is not None
        return image.detach(), w.grad

    alone = exported(stylegan2, *specs)
    with torch.inference_mode():  # what is made now must serve autograd later
        images(alone, latents(alone, 4))
    with attach(stylegan2, *specs):
        wanted = gradient(stylegan2)
    for one, other in zip(gradient(alone), wanted):
        assert torch.equal(one, other)


def test_half_precision_blocks_keep_their_type(build_stylegan2: Any, exported: Export) -> None:
    G = build_stylegan2(num_fp16_res=3, conv_clamp=256)
    spec = "random:portion=40%,layers=0+1+2+3+4"
    with attach(G, spec):
        wanted = images(G, latents(G, 4))
    alone = exported(G, spec)
    seen = []
    alone.get_submodule("synthesis.b32.conv0").register_forward_hook(
        lambda module, args, output: seen.append(output.dtype)
    )
    assert torch.equal(images(alone, latents(G, 4)), wanted)
    assert seen == [torch.float16]


def test_hooks_registered_later_do_not_push_a_correction_out(
    stylegan2: nn.Module, exported: Export
) -> None:
    alone = exported(stylegan2, SEQABL)
    wanted = images(alone, latents(alone, 4))
    for module in alone.modules():
        for _ in range(20):
            module.register_forward_hook(lambda module, args, output: None)
    assert torch.equal(images(alone, latents(alone, 4)), wanted)


def test_a_gate_runs_nobody_elses_hooks(stylegan2: nn.Module, exported: Export) -> None:
    alone = exported(stylegan2, GATED)
    runs: list[str] = []
    for name, module in alone.named_modules():
        module.register_forward_hook(lambda module, args, output, name=name: runs.append(name))
    images(alone, latents(alone, 4))
    assert len(runs) == len(set(runs)) and "synthesis.b32.conv1" in runs


def test_threads_do_not_see_each_others_gates(stylegan2: nn.Module, exported: Export) -> None:
    alone = exported(stylegan2, GATED)
    batches = [latents(alone, 6, seed) for seed in range(4)]
    wanted = [images(alone, z) for z in batches]
    found: dict[int, Tensor] = {}

    def draw(index: int) -> None:
        for _ in range(3):
            found[index] = images(alone, batches[index])

    threads = [threading.Thread(target=draw, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[index], wanted[index]) for index in range(4))


def test_a_gated_layer_outside_a_call_of_its_generator_is_an_error(
    stylegan2: nn.Module, exported: Export
) -> None:
    alone: Any = exported(stylegan2, GATED)
    w = alone.mapping(latents(alone, 2), None)
    with pytest.raises(RuntimeError, match="outside a call that the correction has seen"):
        alone.synthesis.b4(None, None, w[:, :2])


def test_neurons_are_packed_eight_to_a_byte() -> None:
    neurons = torch.rand(5, 3, 7, generator=torch.Generator().manual_seed(0)) < 0.4
    packed, shape = standalone.pack(neurons)
    assert packed.dtype == torch.uint8 and len(packed) == 14
    assert torch.equal(standalone.unpack(packed, shape), neurons)


def test_an_export_is_hardly_larger_than_the_network(stylegan2: nn.Module, tmp_path: Path) -> None:
    content = networks(stylegan2)
    before = len(pickle.dumps(content))
    for number, specs in enumerate(SPECS):
        out = ganfix.export(content, *specs, out=tmp_path / f"{number}.pkl")
        assert out.stat().st_size - before < 0.01 * before + 65536


@pytest.mark.parametrize("module", [standalone, layer, crossing])
def test_what_a_pickle_carries_imports_nothing_but_torch(module: Any) -> None:
    tree = ast.parse(Path(module.__file__).read_text(), feature_version=(3, 8))
    names = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [])
        + [alias.name for alias in node.names if isinstance(node, ast.Import)]
        if name
    }
    assert names - {"torch"} <= sys.stdlib_module_names


# --- probes and boundaries


PROBED = [
    "boundary:samples=300",
    "boundary:samples=300,gate=off,target=30%",
    "boundary:samples=300,gate=lr:50%",
    "boundary:samples=300,strength=60%,gate=probe:40%..90%",
    "seqabl:samples=300,gate=probe:60%",
]


@pytest.mark.parametrize("spec", PROBED)
def test_what_a_probe_flags_is_corrected_as_by_attach(
    stylegan2: nn.Module, exported: Export, own_cache: Path, spec: str
) -> None:
    keep(judged(stylegan2))
    z = latents(stylegan2, 40)
    alone = images(exported(stylegan2, spec), z)
    plain = images(stylegan2, z)
    with attach(stylegan2, spec):
        expected = images(stylegan2, z)
    torch.testing.assert_close(alone, expected, atol=1e-4, rtol=1e-4)
    untouched = [
        (a == b).flatten(1).all(dim=1).tolist() for a, b in ((alone, plain), (expected, plain))
    ]
    assert untouched[0] == untouched[1] and any(untouched[0]) and not all(untouched[0])


def test_thresholds_by_kind_are_baked_in(
    stylegan2: nn.Module, exported: Export, own_cache: Path
) -> None:
    keep(judged_within_kinds(stylegan2, 160))
    z, spec = latents(stylegan2, 40), "seqabl:samples=300,gate=probe:60%"
    with attach(stylegan2, spec) as attachment:
        expected = images(stylegan2, z)
        gate = attachment.corrections[0].gate
        assert gate is not None and gate.scorer.probe.kinds is not None
    alone = images(exported(stylegan2, spec), z)
    torch.testing.assert_close(alone, expected, atol=1e-4, rtol=1e-4)
    changed = (expected != images(stylegan2, z)).flatten(1).any(dim=1)
    assert 0 < changed.sum() < 40


def test_a_published_boundary_is_baked_in_with_style_mixing(
    stylegan2: nn.Module, exported: Export, tmp_path: Path, own_cache: Path
) -> None:
    direction = torch.randn(1, 64, generator=torch.Generator().manual_seed(1))
    np.save(tmp_path / "age.npy", direction.numpy())
    spec = f"boundary:direction={tmp_path / 'age.npy'},samples=300,gate=probe:50%"
    alone: Any = exported(stylegan2, spec)
    ws = stylegan2.mapping(latents(stylegan2, 20), None)
    ws[:, 4:] = ws.flip(0)[:, 4:]
    with attach(stylegan2, spec), torch.no_grad():
        expected = stylegan2.synthesis(ws, noise_mode="const")
    with torch.no_grad():
        rendered = alone.synthesis(ws, noise_mode="const")
    torch.testing.assert_close(rendered, expected, atol=1e-4, rtol=1e-4)


def test_latents_moved_by_gradients_fit_into_no_pickle(
    stylegan2: nn.Module, out: Path, own_cache: Path
) -> None:
    keep(judged(stylegan2))
    message = refused(networks(stylegan2), out, "steer:samples=300")
    assert "write the corrected latents by ganfix latents, or a bundle" in message


# --- what is baked in


def test_check_says_what_is_baked_in_without_opening_the_network(
    stylegan2: nn.Module, tmp_path: Path
) -> None:
    out = ganfix.export(networks(stylegan2), GATED, "truncation", out=tmp_path / "out.pkl")
    (about,) = contents(out)
    assert about.version == ganfix.__version__
    assert about.generator == ganfix.profile(stylegan2, samples=200).fingerprint
    shown = run("export", "--check", out)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.splitlines() == [
        "seqabl:gate=lr:50%,samples=200,layers=auto,lowest=30%,side=low,dead=with · layers 0+1+3",
        "truncation:psi=0.7 · layers -1",
        f"generator {about.generator}, ganfix {about.version}",
    ]


def test_check_of_an_uncorrected_network_says_so_with_status_1(network_pickle: Path) -> None:
    shown = run("export", "--check", network_pickle)
    assert (shown.exit_code, shown.stdout) == (1, f"{network_pickle}: nothing is baked in\n")


def test_check_of_something_else_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"hello")
    assert "no network pickle" in error(run("export", "--check", tmp_path / "x.pkl"))


def test_attaching_to_an_exported_generator_warns(stylegan2: nn.Module, exported: Export) -> None:
    alone = exported(stylegan2, GATED)
    with (
        pytest.warns(GanfixWarning, match="carries corrections already"),
        attach(alone, "units:units=1:2"),
    ):
        both = images(alone, latents(alone, 8))
    with attach(stylegan2, GATED, "units:units=1:2"):
        assert torch.equal(both, images(stylegan2, latents(alone, 8)))


def test_measuring_an_exported_generator_measures_the_uncorrected_one(
    stylegan2: nn.Module, exported: Export, own_cache: Path
) -> None:
    alone = exported(stylegan2, SEQABL)
    z = latents(alone, 8)
    assert torch.equal(
        ganfix.detect(alone, z, samples=100), ganfix.detect(stylegan2, z, samples=100)
    )


def test_exporting_twice_is_refused(stylegan2: nn.Module, exported: Export, tmp_path: Path) -> None:
    alone = exported(stylegan2, SEQABL)
    with pytest.raises(GanfixError, match=r"carries corrections already \(seqabl:samples=200"):
        ganfix.export(networks(alone), "truncation", out=tmp_path / "twice.pkl")


# --- what cannot be exported


def refused(G: Any, out: Path, *specs: str) -> str:
    with pytest.raises(GanfixError) as caught:
        ganfix.export(G, *specs, out=out)
    assert "\n" not in str(caught.value)
    assert not out.exists() and not list(out.parent.glob(".writing*"))
    return str(caught.value)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "corrected.pkl"


def test_a_gate_that_needs_the_classifier_is_refused(stylegan2: nn.Module, out: Path) -> None:
    message = refused(networks(stylegan2), out, f"{SEQABL},gate=artifact:0.5")
    assert "needs the artifact classifier (gate=artifact" in message


def test_a_corrector_that_decides_by_sample_is_refused(
    stylegan2: nn.Module, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def edits(options: Options, context: CorrectorContext) -> Any:
        return Dim(context.layers[0])

    by_sample = Corrector("dim", "", Options, edits)
    monkeypatch.setattr("ganfix_plugin.correctors.corrector.load", lambda name: by_sample)
    assert "it decides about each image" in refused(networks(stylegan2), out, "dim")
    assert "it decides about each image" in refused(
        stylegan2, out.with_suffix(".safetensors"), "dim"
    )


def test_an_edit_that_a_pickle_cannot_carry_is_refused(
    stylegan2: nn.Module, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edits(options: Options, context: CorrectorContext) -> dict[Layer, Any]:
        return {context.layers[0]: torch.sin}

    own = Corrector("sine", "", Options, edits)
    monkeypatch.setattr("ganfix_plugin.correctors.corrector.load", lambda name: own)
    message = refused(networks(stylegan2), out, "sine")
    assert "sine edits layer 0 by builtin_function_or_method" in message


def test_a_correction_that_edits_nothing_is_refused(stylegan2: nn.Module, out: Path) -> None:
    assert "edits nothing" in refused(networks(stylegan2), out, "none")


def test_a_generator_without_persistent_classes_gets_the_offer_of_a_bundle(
    pggan: nn.Module, out: Path
) -> None:
    message = refused({"G_ema": pggan}, out, "units:units=1:2")
    assert "carries no code; write a bundle" in message


def test_a_place_that_cannot_be_written_fails_before_anything_is_measured(
    stylegan2: nn.Module, tmp_path: Path, own_cache: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GanfixError, match="cannot be made"):
        ganfix.export(networks(stylegan2), SEQABL, out=tmp_path / "file" / "out.pkl")
    with pytest.raises(GanfixError, match="is a folder"):
        ganfix.export(networks(stylegan2), SEQABL, out=tmp_path)
    assert not own_cache.exists()


def test_a_failure_leaves_neither_a_file_nor_a_hook(stylegan2: nn.Module, out: Path) -> None:
    content = {**networks(stylegan2), "training_set_kwargs": lambda: None}  # cannot be pickled
    with pytest.raises(Exception, match="pickle|local"):
        ganfix.export(content, SEQABL, out=out)
    assert not list(out.parent.iterdir())
    assert not hooks(stylegan2)


def test_the_command_does_not_overwrite_the_network(network_pickle: Path) -> None:
    where = [f"--network={network_pickle}", f"--host={STYLEGAN2}", "--device=cpu"]
    message = error(run("export", *where, "--correct=truncation", f"--out={network_pickle}"))
    assert "is the network itself" in message


def test_a_generator_that_a_function_returns_gets_the_offer_of_a_bundle(out: Path) -> None:
    line = ["--network=legacy:generator", f"--host={EXAMPLES / 'face_gan'}", "--correct=truncation"]
    message = error(run("export", *line, f"--out={out}"))
    assert "no network pickle" in message and "bundle" in message


# --- bundles


def test_a_checkpoint_cannot_carry_code_and_the_error_offers_a_bundle(out: Path) -> None:
    where = ["--network=pggan_footwear32", f"--host={EXAMPLES / 'pggan_small'}", "--device=cpu"]
    message = error(run("export", *where, "--correct=units:units=1:2", f"--out={out}"))
    assert "holds weights only and cannot carry code" in message
    assert "--out NAME.safetensors" in message


def test_a_bundle_corrects_where_nothing_was_ever_measured(
    pggan: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.safetensors"
    where = ["--network=pggan_footwear32", f"--host={EXAMPLES / 'pggan_small'}", "--device=cpu"]
    specs = ["--correct=seqabl:samples=200,gate=lr:50%", "--correct=units:units=1:2"]
    assert run("export", *where, *specs, f"--out={bundle}").exit_code == 0
    z = latents(pggan, 8)
    with attach(pggan, "seqabl:samples=200,gate=lr:50%", "units:units=1:2"):
        wanted = images(pggan, z)
    monkeypatch.setenv("GANFIX_CACHE", str(tmp_path / "elsewhere"))
    with attach(pggan, str(bundle)) as attachment:
        assert torch.equal(images(pggan, z), wanted)
    assert [each.text.partition(":")[0] for each in attachment.corrections] == ["seqabl", "units"]
    assert not (tmp_path / "elsewhere").exists()
    shown = run("export", "--check", bundle)
    assert shown.exit_code == 0
    assert shown.stdout.startswith("seqabl:gate=lr:50%,samples=200") and "units" in shown.stdout


def test_commands_take_a_bundle_wherever_they_take_a_spec(pggan: nn.Module, tmp_path: Path) -> None:
    bundle = ganfix.export(pggan, SEQABL, out=tmp_path / "bundle.safetensors")
    where = ["--network=pggan_footwear32", f"--host={EXAMPLES / 'pggan_small'}", "--device=cpu"]
    line = ["plot", "corrections", *where, f"--correct={bundle}", "--seeds=0,1", "--samples=200"]
    done = run(*line, f"--out={tmp_path / 'a.png'}")
    assert done.exit_code == 0, done.output


def test_a_bundle_holds_the_rates_that_its_specs_read_and_no_others(
    pggan: nn.Module, tmp_path: Path
) -> None:
    ganfix.profile(pggan, layers="all", samples=200)
    bundle = ganfix.export(pggan, SEQABL + ",layers=1", out=tmp_path / "bundle.safetensors")
    from ganfix_plugin.profiling.profile import Profile

    assert list(Profile.load(bundle).counts) == ["layer1"]


def test_a_bundle_of_another_generator_is_refused(
    pggan: nn.Module, face: nn.Module, tmp_path: Path
) -> None:
    bundle = ganfix.export(pggan, SEQABL, out=tmp_path / "bundle.safetensors")
    with pytest.raises(GanfixError, match="is of another generator"):
        attach(face, str(bundle))


def test_a_profile_is_no_bundle(pggan: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "profile.safetensors"
    ganfix.profile(pggan, samples=200).save(path)
    with pytest.raises(GanfixError, match="no bundle; write NAME:profile="):
        attach(pggan, str(path))
    assert run("export", "--check", path).exit_code == 1


def test_corrections_that_read_different_profiles_do_not_fit_one_bundle(
    pggan: nn.Module, tmp_path: Path
) -> None:
    specs = ("seqabl:samples=100", "seqabl:samples=200")
    with pytest.raises(GanfixError, match="read different profiles"):
        ganfix.export(pggan, *specs, out=tmp_path / "bundle.safetensors")
