"""The corrected model's figures in a codebase's own calc_metrics.py, shaped like NVIDIA's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from detectors import Pooled, Whole, saved
from torch import Tensor, nn

import ganfix_plugin as ganfix
from ganfix_plugin import GanfixError
from ganfix_plugin.correctors.bind import parse_spec
from ganfix_plugin.features.images import read_images, to_pixels
from ganfix_plugin.generators.generator import Generator, fingerprint
from ganfix_plugin.generators.latents import latents_of
from ganfix_plugin.hooks.standalone import bare
from ganfix_plugin.hosts.flags import MetricOptions
from ganfix_plugin.hosts.host import Situation
from ganfix_plugin.hosts.metrics import _generator, check_metric
from ganfix_plugin.hosts.nvidia import _report_apart, give_detector
from ganfix_plugin.hosts.session import Run, Session
from ganfix_plugin.labels import Label, Labels, write

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[1] / "examples" / "stylegan2_small"
DATA = EXAMPLE / "data" / "footwear32_test.zip"
SPEC = "seqabl:samples=200,rate=0.3"
SEEDS = range(0, 120, 2)
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def folder(network_pickle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of training in it, and detectors beside it."""
    folder = tmp_path_factory.mktemp("metrics")
    shutil.copytree(network_pickle.parent, folder / "run")
    (folder / "run" / "training_options.json").write_text("{}")
    saved(Pooled(), folder / "pooled.pt")
    saved(Whole(), folder / "whole.pt")
    return folder


@pytest.fixture(scope="module")
def labels(folder: Path, _stylegan2: nn.Module) -> Path:
    """Of the even seeds, which are artifacts, and of odd ones, which are not."""
    items = [Label(seed, "artifact") for seed in SEEDS] + [Label(1, "normal"), Label(3, "normal")]
    write(Labels(fingerprint(_stylegan2), tuple(items)), folder / "labels.csv")
    return folder / "labels.csv"


def calc_metrics(folder: Path, *more: str | Path) -> Done:
    env = {**os.environ, "DNNLIB_CACHE_DIR": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    line = [sys.executable, "-m", "ganfix_plugin", "run", "--device=cpu", "calc_metrics.py"]
    line += [f"--network={folder / 'run' / 'footwear32.pkl'}", f"--data={DATA}", *map(str, more)]
    return subprocess.run(line, cwd=EXAMPLE, env=env, capture_output=True, text=True)


def records(done: Done) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"results')]


@pytest.fixture(scope="module")
def corrected(folder: Path, labels: Path) -> dict[int, list[dict[str, Any]]]:
    """What one rank and what two say about the labelled artifacts, corrected."""
    metrics = "--metrics=fid_artifacts,pr_artifacts,realism_artifacts,fid200"
    line = [metrics, f"--latents={labels}", "--num-real=400", f"--correct={SPEC}"]
    return {ranks: records(calc_metrics(folder, *line, f"--gpus={ranks}")) for ranks in (1, 2)}


def scipy_distance(a: Tensor, b: Tensor) -> float:
    x, y = a.double().numpy(), b.double().numpy()
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.real(scipy.linalg.sqrtm(first @ second))
    between = np.square(x.mean(0) - y.mean(0)).sum()
    return float(between + np.trace(first) + np.trace(second) - 2 * np.trace(root))


def test_fid_artifacts_equals_an_independent_computation(
    folder: Path, corrected: dict[int, list[dict[str, Any]]], stylegan2: nn.Module
) -> None:
    detector = torch.jit.load(folder / "run" / "detector.pt")
    adapter, z = Generator.of(stylegan2).adapter, latents_of(SEEDS, (64,))
    images = torch.cat(list(read_images(DATA)))
    chosen = np.random.RandomState(0).permutation(len(images))[:400]  # as the host's data set
    real = detector(to_pixels(images[np.sort(chosen)]))
    with ganfix.attach(stylegan2, SPEC), torch.no_grad():
        for key, G in (
            ("fid_artifacts", stylegan2),
            ("fid_artifacts_uncorrected", bare(stylegan2)),
        ):
            features = detector(to_pixels(adapter.synthesize(G, z, None)))
            distance = corrected[1][0]["results"][key]
            assert distance == pytest.approx(scipy_distance(real, features), rel=1e-3)


def test_ranks_share_the_work_and_the_result_is_that_of_one(
    corrected: dict[int, list[dict[str, Any]]],
) -> None:
    for one, two in zip(corrected[1], corrected[2]):
        assert (one["num_gpus"], two["num_gpus"]) == (1, 2)
        tolerance = 0.1 if one["metric"] == "fid200" else 1e-9  # random latents differ by rank
        assert two["results"] == pytest.approx(one["results"], rel=tolerance)


def test_both_sides_their_difference_and_its_interval_are_recorded(
    corrected: dict[int, list[dict[str, Any]]],
) -> None:
    for record in corrected[1][:3]:
        results = record["results"]
        for name in [key for key in results if f"{key}_difference" in results]:
            difference = results[f"{name}_difference"]
            assert difference == pytest.approx(results[name] - results[f"{name}_uncorrected"])
            low, high = results[f"{name}_difference_low"], results[f"{name}_difference_high"]
            assert low <= difference <= high or name.endswith("recall")
        assert (record["num_gen"], record["num_real"]) == (len(SEEDS), 400)


def test_a_record_says_what_was_corrected_from_which_measurements_by_which_version(
    corrected: dict[int, list[dict[str, Any]]], stylegan2: nn.Module
) -> None:
    for record in (*corrected[1], *corrected[2]):
        assert record["correct"] == "seqabl:samples=200,layers=auto,rate=0.3,side=low,dead=with"
        assert record["profile"].startswith(f"{fingerprint(stylegan2)}:samples=200,seed=0")
        assert record["ganfix"] == ganfix.__version__


def test_corrected_records_lie_in_files_of_their_own(
    folder: Path, corrected: dict[int, list[dict[str, Any]]]
) -> None:
    assert not list((folder / "run").glob("metric-*"))
    lines = (folder / "run" / "corrected" / "metric-fid_artifacts.jsonl").read_text().splitlines()
    assert [json.loads(line)["num_gpus"] for line in lines] == [1, 2]


def test_another_detector_reaches_ranks_without_correct_and_keeps_its_own_records_and_cache(
    folder: Path, corrected: dict[int, list[dict[str, Any]]], stylegan2: nn.Module
) -> None:
    cache = folder / "cache" / "gan-metrics"
    before = set(cache.iterdir())
    line = ["--metrics=fid,fid200", "--num-gen=30", "--gpus=2", f"--detector={folder}/pooled.pt"]
    first, second = records(calc_metrics(folder, *line))
    assert set(first["results"]) == {"fid"} and "correct" not in first
    assert first["detector"] == second["detector"] and "pooled.pt" in first["detector"]
    assert len(set(cache.iterdir()) - before) == 1  # mean and covariance, for both metrics
    (apart,) = (folder / "run").glob("detector-*")
    assert {path.name for path in apart.iterdir()} == {"metric-fid.jsonl", "metric-fid200.jsonl"}
    pooled = torch.cat([Pooled()(to_pixels(images)) for images in read_images(DATA)])
    with torch.no_grad():
        images = Generator.of(stylegan2).synthesize(latents_of(range(30), (64,)), None)
    expected = scipy_distance(pooled, Pooled()(to_pixels(images)))
    assert first["results"]["fid"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            ["--metrics=fid", "--gpus=2", "--detector={}/whole.pt"],
            "returned [64, 3, 32, 32], expec",
        ),
        (["--metrics=fid_artifacts", "--latents={}/wide.npy"], "found float32 [3, 65], expected"),
    ],
)
def test_errors_end_all_ranks_with_one_line(folder: Path, line: list[str], message: str) -> None:
    np.save(folder / "wide.npy", np.zeros((3, 65), dtype=np.float32))
    done = calc_metrics(folder, *(part.format(folder) for part in line))
    assert done.returncode == 1
    errors = [text for text in done.stderr.splitlines() if text.startswith("Error: ")]
    assert len(errors) == 1 and message in errors[0], done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--detector", "none.pt", "none.pt: no such file"),
        ("--latents", "none.csv", "none.csv: no such file"),
        ("--num-gen", "x", "--num-gen x: expected a whole number of at least 2"),
        ("--num-real", "1", "--num-real 1: expected a whole number of at least 2"),
        ("--resamples", "-1", "--resamples -1: expected a whole number of at least 0"),
    ],
)
def test_bad_values_are_found_before_the_script_runs(flag: str, value: str, message: str) -> None:
    with pytest.raises(GanfixError, match=message):
        MetricOptions.parse({flag: value})


def test_metrics_of_given_latents_want_some_before_anything_is_loaded(tmp_path: Path) -> None:
    is_valid = check_metric(Session(Run(Situation(tmp_path, "cpu"))), lambda name: True)
    assert is_valid("fid") and is_valid("fid50k_full")
    with pytest.raises(GanfixError, match="--metrics fid_artifacts: give the latents by --latents"):
        is_valid("fid_artifacts")


def test_the_host_s_own_list_knows_our_metrics(folder: Path) -> None:
    done = calc_metrics(folder, "--metrics=bogus")
    assert "fid200, fid, pr, realism, fid_artifacts, pr_artifacts, realism_artifacts" in done.stderr


def test_a_detector_that_cannot_be_downloaded_says_what_to_do_instead(tmp_path: Path) -> None:
    def get(url: str) -> None:
        raise ConnectionError("no network")

    explained = give_detector(Session(Run(Situation(tmp_path, "cpu"))), get)
    with pytest.raises(GanfixError, match="inception.pt: cannot be downloaded .* --detector FILE"):
        explained("https://example.com/inception.pt")


def test_the_path_length_of_a_corrected_model_carries_a_note(tmp_path: Path) -> None:
    kept: list[dict[str, Any]] = []
    session = Session(Run(Situation(tmp_path, "cpu"), specs=(parse_spec(SPEC),)))
    report = _report_apart(session, lambda record, run_dir: kept.append(record))
    for metric in ("ppl2_wend", "fid50k_full"):
        report({"metric": metric}, None)
    assert "hard threshold" in kept[0]["note"] and "note" not in kept[1]


class _Posed(nn.Module):
    """z [N, 8] and a camera [N, 4], as `c_dim` says, to an image."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.z_dim, self.c_dim = 8, 4
        self.dense = nn.Linear(12, 8 * 4 * 4)
        self.first, self.second = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.image = nn.Conv2d(8, 3, 1)
        self.eval()

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        x = self.dense(torch.cat([z, c], dim=1)).view(-1, 8, 4, 4)
        for layer in (self.first, self.second):
            x = layer(nn.functional.interpolate(x, scale_factor=2)).relu()
        images: Tensor = self.image(x)
        return images


def test_cameras_of_a_metric_are_those_of_the_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    cameras = torch.randn(5, 4, generator=torch.Generator().manual_seed(3)).numpy()

    class Posed(list[Any]):
        def get_label(self, i: int) -> Any:
            return cameras[i]

    util = ModuleType("dnnlib.util")
    vars(util)["construct_class_by_name"] = lambda **kwargs: Posed(range(5))
    monkeypatch.setitem(sys.modules, "dnnlib", ModuleType("dnnlib"))
    monkeypatch.setitem(sys.modules, "dnnlib.util", util)
    opts = SimpleNamespace(G=_Posed(), dataset_kwargs={}, G_kwargs={})
    generator, z = _generator(opts), latents_of(range(6), (8,))
    with torch.no_grad():
        images = generator.synthesize(z, None)
        by_camera = torch.stack(
            [opts.G(z, torch.from_numpy(camera).expand(6, -1)) for camera in cameras]
        )
    away = (by_camera - images).abs().amax(dim=(2, 3, 4))
    assert (away.amin(dim=0) < 1e-6).all() and len(away.argmin(dim=0).unique()) > 1


def test_a_script_keeps_a_flag_that_it_has_itself(tmp_path: Path) -> None:
    (tmp_path / "legacy.py").write_text("def load_network_pkl(f): ...")
    (tmp_path / "calc_metrics.py").write_text(
        "import sys\nassert '--detector'\nprint(sys.argv[1:])\n"
    )
    line = [sys.executable, "-m", "ganfix_plugin", "run", "calc_metrics.py", "--detector", "own.pt"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "['--detector', 'own.pt']", done.stderr
