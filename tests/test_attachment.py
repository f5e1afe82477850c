"""What happens to a generator between attach and detach, in its copies and in other processes."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy
import pytest
import torch
from generators import dcgan, hooks, images, latents, numbered, recorded
from torch import Tensor, nn

from ganfix_plugin import GanfixError, attach
from ganfix_plugin.hooks.attachment import Attachment, attached
from ganfix_plugin.hooks.counts import uncounted

pytestmark = pytest.mark.filterwarnings("ignore:seqabl")

SPEC = "seqabl:lowest=30%,samples=200"


@pytest.fixture
def third_party(install: Any) -> Any:
    """Install a corrector that turns a context into edits by an expression."""

    def add(name: str, expression: str) -> None:
        source = (
            "from ganfix_plugin.hooks.layer import Layer\n"
            "from ganfix_plugin.correctors.corrector import Corrector\n"
            "from ganfix_plugin.spec import LayerOptions\n"
            "from edits import Bias\n"
            f"def edits(options, context):\n    return {expression}\n"
            f"IT = Corrector({name!r}, 'for a test', LayerOptions, edits)\n"
        )
        install(name, f"{name} = {name}_corrector:IT", source)

    return add


# --- nothing but the correction ------------------------------------------------------------------


@pytest.mark.parametrize("noise_mode", ["const", "random"])
def test_none_is_bit_identical_to_no_plugin(stylegan2: nn.Module, noise_mode: str) -> None:
    z = latents(stylegan2, 4)
    before = images(stylegan2, z, noise_mode)
    with attach(stylegan2, "none"):
        assert torch.equal(images(stylegan2, z, noise_mode), before)


def test_attaching_and_measuring_draw_nothing_from_any_random_stream(
    own_cache: object, G: nn.Module
) -> None:
    for spec in ("none", "seqabl:lowest=30%,samples=20,gate=lr:50%"):
        states = torch.get_rng_state(), numpy.random.get_state()[1].tolist(), random.getstate()
        attach(G, spec).detach()
        assert torch.equal(torch.get_rng_state(), states[0])
        assert numpy.random.get_state()[1].tolist() == states[1]
        assert random.getstate() == states[2]


@pytest.mark.parametrize("spec", ["none", SPEC, f"{SPEC},gate=lr:70%"])
def test_a_call_leaves_the_random_stream_where_an_uncorrected_one_does(
    stylegan2: nn.Module, spec: str
) -> None:
    z = latents(stylegan2, 4)
    images(stylegan2, z, "random")
    expected = torch.get_rng_state()
    with attach(stylegan2, spec):
        images(stylegan2, z, "random")
        assert torch.equal(torch.get_rng_state(), expected)


def test_the_state_dict_and_the_modules_are_untouched(G: nn.Module) -> None:
    names = list(G.state_dict()), [name for name, _ in G.named_modules()]
    classes = [type(module) for module in G.modules()]
    with attach(G, SPEC):
        assert (list(G.state_dict()), [name for name, _ in G.named_modules()]) == names
        assert [type(module) for module in G.modules()] == classes


def test_layers_that_are_not_corrected_compute_the_same_until_the_first_that_is(
    face: nn.Module,
) -> None:
    z, layers = latents(face, 3), numbered(face)
    with recorded(face, layers) as before:
        images(face, z)
    with attach(face, "random:layers=1"), recorded(face, layers) as after:
        images(face, z)
    same = [torch.equal(before[each.name], after[each.name]) for each in layers]
    assert same == [True, False, False, False]


# --- on and off ----------------------------------------------------------------------------------


def test_detaching_takes_every_hook_off_and_the_images_back(G: nn.Module) -> None:
    z = latents(G, 4)
    before = images(G, z)
    attachment = attach(G, f"{SPEC},gate=lr:10%", "random")
    assert hooks(G) and not torch.equal(images(G, z), before)
    attachment.detach()
    assert not hooks(G) and torch.equal(images(G, z), before)


def test_detaching_twice_does_no_harm_to_who_came_meanwhile(face: nn.Module) -> None:
    first = attach(face, "random")
    first.detach()
    with attach(face, "random:seed=1"):
        placed = hooks(face)
        first.detach()
        assert hooks(face) == placed


def test_the_end_of_a_with_block_detaches_also_after_an_error(face: nn.Module) -> None:
    with pytest.raises(ZeroDivisionError), attach(face, "random"):
        raise ZeroDivisionError
    assert not hooks(face)


def test_attachments_can_end_in_any_order(face: nn.Module) -> None:
    z = latents(face, 2)
    second_alone = None
    with attach(face, "random:seed=1"):
        second_alone = images(face, z)
    first, second = attach(face, "random"), attach(face, "random:seed=1")
    first.detach()
    assert torch.equal(images(face, z), second_alone)
    second.detach()
    assert not hooks(face)


def test_hooks_of_others_stay(face: nn.Module) -> None:
    ran: list[int] = []
    handle = face.main[2].register_forward_hook(lambda *_: ran.append(1))
    placed = hooks(face)
    attach(face, "random").detach()
    assert hooks(face) == placed
    images(face, latents(face, 1))
    handle.remove()
    assert ran


def test_the_same_correction_twice_is_refused(face: nn.Module) -> None:
    with attach(face, "random:portion=30%"):
        placed = hooks(face)
        with pytest.raises(GanfixError, match=r"Generator already carries random:.*; detach it"):
            attach(face, "random:portion=0.3")
        assert hooks(face) == placed
    with pytest.raises(GanfixError, match="already carries"):
        attach(face, "random", "random")


def test_a_copy_knows_what_it_carries(face: nn.Module) -> None:
    with attach(face, "random:seed=4"):
        twin = copy.deepcopy(face)
    assert attached(twin) == ["random:layers=auto,of=neurons,portion=30%,seed=4"]
    with pytest.raises(GanfixError, match="already carries"):
        attach(twin, "random:seed=4")
    assert attached(face) == []


def test_several_corrections_are_applied_in_the_order_given(
    face: nn.Module, third_party: Any
) -> None:
    third_party("double", "{each: Bias(2, 0) for each in context.layers}")
    third_party("shift", "{each: Bias(1, 3) for each in context.layers}")
    layer = numbered(face)[:1]
    z = latents(face, 2)
    with recorded(face, layer) as plain:
        images(face, z)
    expected = {"double shift": lambda x: 2 * x + 3, "shift double": lambda x: 2 * (x + 3)}
    for order, result in expected.items():
        specs = [f"{name}:layers=0" for name in order.split()]
        with attach(face, *specs), recorded(face, layer) as found:
            images(face, z)
        assert torch.equal(found["main.2"], result(plain["main.2"])), order
        with attach(face, specs[0]), attach(face, specs[1]), recorded(face, layer) as found:
            images(face, z)
        assert torch.equal(found["main.2"], result(plain["main.2"])), order


# --- what is refused -----------------------------------------------------------------------------


def test_nothing_to_attach_is_refused(face: nn.Module) -> None:
    with pytest.raises(GanfixError, match="at least one correction"):
        attach(face)


def test_a_generator_in_training_is_refused() -> None:
    with pytest.raises(GanfixError, match=r"Sequential is in training mode; .*G.eval\(\)"):
        attach(dcgan().train(), "random")


def test_a_corrected_generator_cannot_be_trained() -> None:
    G = dcgan()
    with attach(G, "random:layers=0"):
        G.train()
        with pytest.raises(GanfixError, match="random:.*: a corrected generator cannot be trained"):
            G(latents(dcgan(), 2))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_corrected_generator_cannot_be_traced(face: nn.Module) -> None:
    with attach(face, "random"), pytest.raises(GanfixError, match="cannot be traced; detach"):
        torch.jit.trace(face, latents(face, 1))


@pytest.mark.parametrize("spec", ["frq", "random:portion=2", "random:layers=64x64", "random:x=1"])
def test_a_bad_spec_after_a_good_one_leaves_the_generator_as_it_was(
    face: nn.Module, spec: str
) -> None:
    with pytest.raises(GanfixError):
        attach(face, "random", spec)
    assert not hooks(face)


def test_a_corrector_that_fails_leaves_the_generator_as_it_was(
    face: nn.Module,
    third_party: Any,
) -> None:
    third_party("crash", "1 / 0")
    third_party("astray", "{context.layers[0]: Bias(1, 0), Layer(7, 'no', (4, 4), 9): Bias(1, 0)}")
    for name, error in (("crash", ZeroDivisionError), ("astray", AttributeError)):
        with pytest.raises(error):
            attach(face, "random", name)
        assert not hooks(face)


# --- failures while it runs ----------------------------------------------------------------------


@pytest.mark.parametrize("spec", [SPEC, f"{SPEC},gate=lr:50%"])
def test_an_error_inside_a_pass_leaves_later_passes_right(G: nn.Module, spec: str) -> None:
    z = latents(G, 4)
    with attach(G, spec):
        expected = images(G, z)
        with pytest.raises(Exception):  # noqa: B017  (each host complains in its own way)
            images(G, torch.zeros(4, 3))
        deepest = G.get_submodule(numbered(G)[-1].name)
        handle = deepest.register_forward_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            images(G, z)
        handle.remove()
        assert torch.equal(images(G, z), expected)


# --- copies, pickles, processes, threads ---------------------------------------------------------


@pytest.mark.parametrize("spec", [SPEC, f"{SPEC},gate=lr:50%"])
@pytest.mark.parametrize("travel", [copy.deepcopy, lambda G: pickle.loads(pickle.dumps(G))])
def test_copies_and_pickles_are_corrected_and_counted(G: nn.Module, spec: str, travel: Any) -> None:
    z = latents(G, 4)
    with attach(G, spec) as attachment:
        expected = images(G, z)
        twin = travel(travel(G))
    assert torch.equal(images(twin, z), expected)
    assert attachment.counts[0].samples == 8


def test_a_deep_copy_shares_the_correction(face: nn.Module) -> None:
    with attach(face, SPEC):
        twin = copy.deepcopy(face)
        shared = [next(iter(g.main[2]._forward_hooks.values())).correction for g in (face, twin)]
    assert shared[0] is shared[1]


def run_in_child(G: nn.Module, z: Tensor, attachment: Attachment) -> tuple[Any, ...]:
    """In a spawned process: correct, then add a hook as a host would, and correct again."""
    try:
        attachment.check()
        unused = ""
    except GanfixError as error:
        unused = str(error)
    once = images(G, z)
    G.get_submodule(attachment.corrections[0].layers[0].name).register_forward_hook(id3)
    attachment.check()
    return unused, once, images(G, z), attachment.counts[0], attached(G)


def id3(module: nn.Module, args: Any, output: Any) -> None:
    """A host's hook that changes nothing."""


@pytest.mark.slow
def test_a_spawned_process_corrects_and_counts_by_itself(stylegan2: nn.Module) -> None:
    z = latents(stylegan2, 4)
    with attach(stylegan2, f"{SPEC},gate=lr:50%") as attachment:
        expected = images(stylegan2, z)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(run_in_child, (stylegan2, z, attachment))
        unused, once, again, count, carried = found
        assert "nothing was corrected" in unused
        assert torch.equal(once, expected) and torch.equal(again, expected)
        assert count.samples == 8 and attachment.counts[0].samples == 4
        assert carried == [attachment.corrections[0].text]


def run_as_rank(rank: int, G: nn.Module, z: Tensor) -> None:
    """One of the processes that a host spawns for its GPUs."""
    assert rank in (0, 1) and torch.isfinite(images(G, z)).all()


@pytest.mark.slow
def test_a_corrected_generator_is_handed_to_spawned_ranks(stylegan2: nn.Module) -> None:
    with attach(stylegan2, SPEC):
        torch.multiprocessing.spawn(run_as_rank, (stylegan2, latents(stylegan2, 1)), nprocs=2)


def test_hook_ids_are_out_of_reach_of_torchs_counter(G: nn.Module) -> None:
    with attach(G, f"{SPEC},gate=lr:50%", "random"):
        assert min(key for ids in hooks(G).values() for key in ids) >= 1 << 62
        twin = pickle.loads(pickle.dumps(G))
        assert hooks(twin) == hooks(G)


def test_threads_that_share_a_corrected_generator_get_each_the_right_images(
    stylegan2: nn.Module,
) -> None:
    batches = [latents(stylegan2, 1 + n % 3, seed=n) for n in range(8)]
    together = Barrier(4)

    def generate(z: Tensor) -> Tensor:
        together.wait()
        with torch.no_grad():
            return stylegan2(z, None, noise_mode="const")

    with attach(stylegan2, f"{SPEC},gate=lr:50%") as attachment:
        expected = [images(stylegan2, z) for z in batches]
        once = attachment.counts[0]
        alone = copy.deepcopy(once)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(generate, batches))
        assert all(torch.equal(a, b) for a, b in zip(found, expected))
        assert (once.runs, once.samples) == (2 * alone.runs, 2 * alone.samples)
        assert once.corrected == 2 * alone.corrected
    assert 0 < alone.corrected < alone.samples


# --- counting ------------------------------------------------------------------------------------


def test_the_summary_says_what_where_and_how_many(face: nn.Module) -> None:
    with attach(face, "random:layers=0+2", "none") as attachment:
        images(face, latents(face, 3))
        images(face, latents(face, 2))
        assert attachment.summary() == (
            "random:layers=0+2,of=neurons,portion=30%,seed=0 · layers 0+2 · "
            "5 of 5 samples corrected; none · layers none · 0 of 0 samples corrected"
        )


def test_check_fails_if_no_corrected_layer_ever_ran(face: nn.Module) -> None:
    with attach(face, "random:layers=0") as attachment:
        with pytest.raises(GanfixError, match=r"none of its layers \(main.2\) ever ran") as error:
            attachment.check()
        assert "\n" not in str(error.value)
        images(face, latents(face, 1))
        attachment.check()


def test_check_fails_if_one_of_several_corrections_did_not_run(face: nn.Module) -> None:
    with attach(face, "random:layers=0", "random:layers=3") as attachment:
        face.main[:3](latents(face, 1))
        with pytest.raises(GanfixError, match=r"layers=3.*none of its layers \(main.11\) ever ran"):
            attachment.check()
        images(face, latents(face, 1))
        attachment.check()


def test_none_never_fails(face: nn.Module) -> None:
    with attach(face, "none") as attachment:
        attachment.check()


def test_uncounted_passes_are_corrected_but_do_not_count(face: nn.Module) -> None:
    z = latents(face, 2)
    with attach(face, "random") as attachment:
        expected = images(face, z)
        with uncounted():
            assert torch.equal(images(face, z), expected)
        assert attachment.counts[0].samples == 2
        images(face, z)
        assert attachment.counts[0].samples == 4


def test_passes_that_were_not_counted_do_not_satisfy_the_check(face: nn.Module) -> None:
    with attach(face, "random") as attachment:
        with uncounted():
            images(face, latents(face, 2))
        with pytest.raises(GanfixError):
            attachment.check()


# --- gradients, half floats ----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("spec", [SPEC, f"{SPEC},gate=lr:20%"])
def test_a_projector_finds_its_way_through_a_corrected_synthesis(
    stylegan2: nn.Module, spec: str
) -> None:
    z = latents(stylegan2, 2)
    with attach(stylegan2, spec) as attachment:
        ws = stylegan2.mapping(z, None)
        target = stylegan2.synthesis(ws, noise_mode="const")
        w = (ws + 0.3 * torch.randn_like(ws)).requires_grad_()
        optimizer = torch.optim.Adam([w], lr=0.02)
        losses = []
        for _ in range(30):
            loss = (stylegan2.synthesis(w, noise_mode="const") - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert w.grad is not None and w.grad.flatten(1).any(1).all()
        assert losses[-1] < 0.5 * losses[0]
        assert attachment.counts[0].corrected > 0


def test_the_gradient_is_that_of_the_corrected_images() -> None:
    G = dcgan().double()
    with attach(G, "random:portion=50%"):
        z = torch.randn(1, 8, 1, 1, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda z: G(z).mean(dim=(2, 3)), z)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("gate", ["off", "lr:50%"])
def test_half_float_blocks_keep_dtype_and_memory_format(
    build_stylegan2: Any, channels_last: bool, gate: str
) -> None:
    G = build_stylegan2(num_fp16_res=2, conv_clamp=256, fp16_channels_last=channels_last)
    layers, z = numbered(G), latents(G, 16)

    def formats(found: Mapping[str, Tensor]) -> list[tuple[Any, ...]]:
        return [(x.dtype, x.stride()) for x in found.values()]

    with recorded(G, layers) as plain:
        before = images(G, z)
    numbers = "+".join(str(each.index) for each in layers)
    with attach(G, f"seqabl:lowest=50%,samples=64,layers={numbers},gate={gate}") as attachment:
        with recorded(G, layers) as found:
            after = images(G, z)
        assert attachment.counts[0].corrected > 0
    assert formats(found) == formats(plain)
    assert {x.dtype for x in found.values()} == {torch.float16, torch.float32}
    assert after.isfinite().all() and not torch.equal(after, before)
