"""The artifact classifier: a linear head on a frozen extractor, its report, its masks, its file."""

from __future__ import annotations

import math
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ganfix_plugin.errors import GanfixError, GanfixWarning
from ganfix_plugin.features.classifier import Classifier, auc, auc_interval, fit
from ganfix_plugin.features.extractors import load_extractor

CLASSES = ("artifact", "normal")


def features(n: int, shift: float, seed: int = 0, d: int = 6) -> Tensor:
    """Clouds one apart per unit of shift, of very different spreads by dimension."""
    chance = torch.Generator().manual_seed(seed)
    spread = torch.logspace(-2, 2, d)
    return (torch.randn(n, d, generator=chance) + shift) * spread + 5


def head(sizes: tuple[int, ...] = (60, 90), apart: float = 2.0, seed: int = 0) -> Classifier:
    groups = [features(n, apart * i, seed=i) for i, n in enumerate(sizes)]
    return fit(groups, (*CLASSES, "real")[: len(sizes)], "prepared:look", "f" * 64, seed=seed)


def test_classes_that_are_apart_are_learned() -> None:
    trained = head()
    assert trained.held_out.accuracy > 0.95 and trained.held_out.auc > 0.98
    assert trained.is_artifact(features(200, 0, seed=7)).float().mean() > 0.95
    assert trained.is_artifact(features(200, 2, seed=8)).float().mean() < 0.05


def test_classes_that_are_the_same_are_not() -> None:
    trained = head((400, 400), apart=0)
    assert 0.35 < trained.held_out.auc < 0.65


def test_a_third_class_is_told_apart_too() -> None:
    trained = head((60, 60, 60), apart=3)
    assert trained.classes == ("artifact", "normal", "real") and trained.held_out.accuracy > 0.95
    assert not trained.is_artifact(features(50, 6, seed=9)).any()


def test_a_rare_class_weighs_as_much_as_a_common_one() -> None:
    trained = head((25, 2500), apart=1)
    caught = trained.is_artifact(features(500, 0, seed=7)).float().mean()
    missed = 1 - trained.is_artifact(features(500, 1, seed=8)).float().mean()
    assert caught > 0.7 and missed > 0.7


def test_probabilities_are_the_softmax_of_the_logits() -> None:
    trained, x = head(), features(10, 1, seed=3)
    logits = (x - trained.mean) / trained.deviation @ trained.weight.T + trained.bias
    torch.testing.assert_close(trained.logits(x), logits)
    torch.testing.assert_close(trained.artifact_probability(x), logits.softmax(1)[:, 0])
    assert torch.equal(trained.is_artifact(x), trained.artifact_probability(x) > 0.5)


def test_a_feature_that_never_varied_decides_nothing() -> None:
    groups = [features(60, shift, seed=i) for i, shift in enumerate((0.0, 2.0))]
    for group in groups:
        group[:, 2] = 0.1
    trained = fit(groups, CLASSES, "x", "y")
    x = features(20, 1, seed=3)
    x[:, 2] = 0.1
    woken = x.clone()
    woken[:, 2] = 0.3
    before, after = trained.artifact_probability(x), trained.artifact_probability(woken)
    torch.testing.assert_close(before, after, rtol=0, atol=1e-3)


@pytest.mark.parametrize("ties", [False, True])
def test_auc_counts_how_often_a_positive_scores_above_a_negative(ties: bool) -> None:
    chance = torch.Generator().manual_seed(0)
    positive, negative = torch.randn(37, generator=chance) + 0.5, torch.randn(53, generator=chance)
    if ties:
        positive, negative = positive.round(), negative.round()
    wins = [
        1.0 if p > n else 0.5 if p == n else 0.0
        for p in positive.tolist()
        for n in negative.tolist()
    ]
    assert auc(positive, negative) == pytest.approx(sum(wins) / len(wins), abs=1e-12)
    assert (0.5 in wins) == ties


@pytest.mark.parametrize(("positive", "expected"), [(1.0, 1.0), (-1.0, 0.0), (0.0, 0.5)])
def test_auc_of_all_above_all_below_and_all_equal(positive: float, expected: float) -> None:
    assert auc(torch.full((4,), positive), torch.zeros(3)) == expected


def test_a_fifth_of_each_class_is_held_out_and_counted_in_the_confusion() -> None:
    trained = head((50, 100), apart=0.7)
    confusion = torch.tensor(trained.held_out.confusion)
    assert confusion.sum(1).tolist() == [10, 20]
    assert float(confusion.trace()) / 30 == pytest.approx(trained.held_out.accuracy)
    assert trained.counts == {
        "artifact/train": 40,
        "normal/train": 80,
        "artifact/held out": 10,
        "normal/held out": 20,
    }


def test_held_out_samples_are_not_learned_from() -> None:
    # Labels by chance in many dimensions: what was learned is known by heart, the rest is not.
    groups = [torch.randn(40, 200, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    trained = fit(groups, CLASSES, "x", "y")
    right = torch.cat([trained.is_artifact(groups[0]), ~trained.is_artifact(groups[1])])
    assert trained.held_out.accuracy < 0.85 < float(right.float().mean())


def test_training_is_reproducible_by_its_seed() -> None:
    one, same, other = head(apart=1), head(apart=1), head(apart=1, seed=1)
    assert torch.equal(one.weight, same.weight) and one.digest() == same.digest()
    assert one.held_out == same.held_out
    assert one.digest() != other.digest()


@pytest.mark.parametrize("n", [0, 1, 19])
def test_too_few_samples_of_a_class_are_refused_with_how_many_are_needed(n: int) -> None:
    with pytest.raises(GanfixError, match=f"class normal: found {n} samples, expected at least 20"):
        head((60, n))


def test_20_samples_of_each_class_are_enough() -> None:
    assert head((20, 20)).counts["artifact/held out"] == 4


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_that_are_no_numbers_are_refused(value: float) -> None:
    groups = [features(30, 0), features(30, 2)]
    groups[1][4, 3] = value
    with pytest.raises(GanfixError, match="class normal: found NaN or infinite features"):
        fit(groups, CLASSES, "x", "y")


class Linear(nn.Module):
    """The head as an ordinary network: global average pooling and one linear layer."""

    def __init__(self, trained: Classifier) -> None:
        super().__init__()
        self.trained = trained

    def forward(self, maps: Tensor) -> Tensor:
        standard = (maps.mean(dim=(2, 3)) - self.trained.mean) / self.trained.deviation
        return standard @ self.trained.weight.T + self.trained.bias


def grad_cam(network: nn.Module, maps: Tensor, of: int) -> Tensor:
    """Selvaraju et al., equations 1 and 2, by autograd."""
    maps = maps.clone().requires_grad_()
    network(maps)[:, of].sum().backward()
    assert maps.grad is not None
    weights = maps.grad.mean(dim=(2, 3), keepdim=True)
    return (weights * maps).sum(dim=1).relu().detach()


def test_the_mask_is_grad_cam_of_the_artifact_class_up_to_its_scale() -> None:
    trained = head((60, 60, 60), apart=1)
    maps = (
        torch.randn(8, 6, 7, 5, generator=torch.Generator().manual_seed(0))
        * trained.deviation[:, None, None]
    )
    expected = grad_cam(Linear(trained), maps, of=0)
    cams = trained.cam(maps)
    largest = expected.amax(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(cams, expected / largest)
    assert cams.amax(dim=(1, 2)).eq(1).all() and cams.min() == 0


def test_a_map_without_evidence_stays_all_zero() -> None:
    trained = head()
    against = -trained.weight[0].sign()[:, None, None].expand(6, 4, 4)
    maps = torch.stack([torch.zeros(6, 4, 4), against])
    assert trained.cam(maps).eq(0).all()


def test_masks_of_tiny_activations_are_masks_as_others() -> None:
    trained = head()
    maps = torch.randn(2, 6, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(trained.cam(maps * 1e-20), trained.cam(maps), rtol=1e-3, atol=1e-5)


def test_what_was_saved_is_loaded_again(tmp_path: Path) -> None:
    trained, path = head(), tmp_path / "some" / "head.safetensors"
    trained.save(path)
    again = Classifier.load(path)
    x = features(10, 1)
    assert torch.equal(again.logits(x), trained.logits(x)) and again.digest() == trained.digest()
    assert (again.classes, again.extractor, again.generator) == (
        CLASSES,
        "prepared:look",
        "f" * 64,
    )
    assert (again.held_out, again.counts) == (trained.held_out, trained.counts)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_missing_classifier_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(GanfixError, match="gone: no such file; make it by ganfix fit"):
        Classifier.load(tmp_path / "gone")


@pytest.mark.parametrize("kind", ["cut short", "empty", "a folder", "other tensors", "no classes"])
def test_what_is_no_classifier_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "head.safetensors"
    head().save(path)
    if kind == "a folder":
        path = tmp_path
    elif kind == "other tensors":
        save_file({"x": torch.zeros(3)}, path)
    elif kind == "no classes":
        save_file({"x": torch.zeros(3)}, path, metadata={"ganfix-classifier-1": "{}"})
    else:
        path.write_bytes(path.read_bytes()[: 300 if kind == "cut short" else 0])
    with pytest.raises(GanfixError, match="damaged or no ganfix classifier") as caught:
        Classifier.load(path)
    assert "\n" not in str(caught.value)


def test_a_classifier_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GanfixError, match="cannot be written"):
        head().save(tmp_path / "file" / "head.safetensors")


def test_logits_are_finite_for_any_features() -> None:
    assert math.isfinite(float(head().logits(torch.full((1, 6), 1e6)).sum()))


def test_the_interval_of_an_auc_is_hanley_and_mcneils() -> None:
    # Worked by hand: Q1 = 9/11, Q2 = 81/95, standard error 0.021328.
    low, high = auc_interval(0.9, 100, 300)
    assert (low, high) == pytest.approx((0.9 - 1.96 * 0.021328, 0.9 + 1.96 * 0.021328), abs=1e-5)
    assert auc_interval(1.0, 5, 5) == (1.0, 1.0)


def test_a_head_keeps_its_held_out_auc_with_the_interval(tmp_path: Path) -> None:
    trained = head((100, 100), apart=0.7)
    report = trained.held_out
    assert report.interval == auc_interval(report.auc, 20, 20)
    trained.save(tmp_path / "head.safetensors")
    assert Classifier.load(tmp_path / "head.safetensors").held_out == report
    assert f"AUC {report.auc:.3f}" in report.text and "95 % interval" in report.text


@pytest.mark.parametrize(
    ("area", "interval", "doubtful"),
    [
        (0.375, (0.21, 0.54), True),
        (0.69, (0.6, 0.78), True),
        (0.75, (0.5, 1.0), True),
        (0.75, (0.65, 0.85), False),
    ],
)
def test_a_head_that_may_be_no_better_than_chance_is_warned_of(
    area: float, interval: tuple[float, float], doubtful: bool
) -> None:
    report = replace(head().held_out, auc=area, interval=interval)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        replace(head(), held_out=report).warn("ganfix label --network net.pkl")
    said = [str(each.message) for each in caught]
    assert bool(said) is doubtful
    if doubtful:
        assert f"AUC {area:.3f}" in said[0] and said[0].endswith("ganfix label --network net.pkl")
        assert "--real" in said[0] and caught[0].category is GanfixWarning


def test_a_callable_in_a_classifier_s_file_is_not_imported(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    replace(head(), extractor="this:s").save(path)
    sys.modules.pop("this", None)
    with pytest.raises(GanfixError, match="extractor this:s: a file names it, and only you"):
        Classifier.load(path).load_extractor()
    assert "this" not in sys.modules


def test_a_callable_that_the_user_has_named_may_be_named_by_files_then() -> None:
    trained = replace(head(), extractor="torch:relu")
    with pytest.raises(GanfixError, match="extractor torch:relu: a file names it"):
        trained.load_extractor()
    load_extractor("torch:relu")
    assert trained.load_extractor().name == "torch:relu"
