"""Detectors of the user's own, in the place of those that hosts download."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from detectors import CPU, IMAGES, Fails, Pooled, Whole, by_name, saved
from torch import Tensor, nn

from ganfix_plugin import GanfixError
from ganfix_plugin.features.detector import Detector


def test_a_torchscript_file_computes_features(tmp_path: Path) -> None:
    detector = Detector.named(saved(Pooled(), tmp_path / "d.pt")).load(CPU)
    assert torch.equal(detector(IMAGES, return_features=True), Pooled()(IMAGES))


class Weighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        return self.first(img.float()).mean(dim=[2, 3])


def test_features_carry_no_gradients_whose_numpy_arrays_hosts_take(tmp_path: Path) -> None:
    detector = Detector.named(saved(Weighted(), tmp_path / "d.pt")).load(CPU)
    assert detector(IMAGES, return_features=True).numpy().shape == (5, 4)


def test_a_copy_can_be_frozen_which_hosts_do_for_path_lengths(tmp_path: Path) -> None:
    detector = Detector.named(saved(Weighted(), tmp_path / "d.pt")).load(CPU)
    again = copy.deepcopy(detector).requires_grad_(False)
    assert torch.equal(again(IMAGES), detector(IMAGES))


def test_a_callable_need_not_know_what_hosts_say_to_theirs() -> None:
    detector = Detector.named("detectors:by_name").load(CPU)
    assert torch.equal(detector(IMAGES, return_features=True), by_name(IMAGES))


def test_an_extractor_of_the_registry_will_do() -> None:
    detector = Detector.named("efficientnet-lite0").load(CPU)
    assert detector(IMAGES, return_features=True).shape == (5, 1280)


def test_the_digest_is_of_the_content_and_not_of_the_name(tmp_path: Path) -> None:
    first, same = (saved(Pooled(), tmp_path / name) for name in ("a.pt", "b.pt"))
    digests = [
        Detector.named(source).digest for source in (first, saved(Whole(), tmp_path / "c.pt"))
    ]
    Path(same).write_bytes(Path(first).read_bytes())
    assert Detector.named(same).digest == digests[0] != digests[1]
    Path(first).write_bytes((tmp_path / "c.pt").read_bytes())
    assert Detector.named(first).digest == digests[1]


def test_different_callables_have_different_digests() -> None:
    names = ("by_name", "list_of")
    assert len({Detector.named(f"detectors:{name}").digest for name in names}) == 2


def test_it_goes_along_to_other_processes(tmp_path: Path) -> None:
    detector = Detector.named(saved(Pooled(), tmp_path / "d.pt"))
    assert pickle.loads(pickle.dumps(detector)) == detector


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Whole(), r"returned \[5, 3, 16, 16\], expected features \[5, D\]"),
        (Fails(), r"failed on images uint8 \[5, 3, 16, 16\]: .*shapes cannot"),
    ],
)
def test_what_returns_no_features_is_refused_in_one_line(
    module: nn.Module, message: str, tmp_path: Path
) -> None:
    detector = Detector.named(saved(module, tmp_path / "d.pt")).load(CPU)
    with pytest.raises(GanfixError, match=message) as error:
        detector(IMAGES, return_features=True)
    assert "\n" not in str(error.value)


def test_what_returns_no_tensor_is_refused() -> None:
    detector = Detector.named("detectors:list_of").load(CPU)
    with pytest.raises(GanfixError, match="returned list, expected features"):
        detector(IMAGES)


def test_metrics_that_want_more_than_features_say_so(tmp_path: Path) -> None:
    detector = Detector.named(saved(Pooled(), tmp_path / "d.pt")).load(CPU)
    with pytest.raises(GanfixError, match="takes no no_output_bias=, which this metric needs"):
        detector(IMAGES, no_output_bias=True)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.pt", "no such file; expected a TorchScript file"),
        ("text.pt", "no TorchScript file"),
        ("inception.pkl", "a pickle can run anything"),
        ("nowhere:f", "cannot be imported"),
        ("detectors:CPU", "is device, expected a callable"),
    ],
)
def test_what_is_no_detector_is_refused(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.pt").write_text("x")
    with pytest.raises(GanfixError, match=message):
        Detector.named(source)
