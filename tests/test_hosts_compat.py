"""Each workaround: when it is needed, what it does, and that it is undone afterwards."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from ganfix_plugin import registry
from ganfix_plugin.hosts.compat import COMMON, needed
from ganfix_plugin.hosts.generic import GENERIC
from ganfix_plugin.hosts.host import (
    Host,
    Situation,
    Workaround,
    code_of,
    known_hosts,
    project_of,
)
from ganfix_plugin.hosts.loading import importable


def workaround(name: str, host_name: str = "genforce") -> Workaround:
    host: Host = registry.load(registry.HOSTS, host_name)
    everything = (*COMMON, *host.workarounds)
    return next(workaround for workaround in everything if workaround.name == name)


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """An empty checkout, importable; what is imported from it is forgotten afterwards."""
    with importable(tmp_path):
        yield tmp_path


def write(checkout: Path, name: str, source: str) -> None:
    file = checkout / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)


def test_every_workaround_says_what_it_is_for_under_a_name_of_its_own() -> None:
    for host in known_hosts():
        everything = (*COMMON, *host.workarounds)
        assert len({workaround.name for workaround in everything}) == len(everything)
        assert all(workaround.symptom and workaround.remedy for workaround in everything)


def test_code_that_needs_no_workaround_gets_none(tmp_path: Path) -> None:
    for host in known_hosts():
        assert needed(host, Situation(tmp_path, "cuda")) == []


@pytest.mark.skipif(
    "interpolation" in inspect.signature(np.percentile).parameters,
    reason="this NumPy takes the old name by itself",
)
def test_percentile_takes_the_old_name_of_its_argument(checkout: Path) -> None:
    write(checkout, "metrics/ppl.py", "percentile(x, 1, interpolation='lower')")
    situation, mended = Situation(checkout, "cuda"), workaround("percentile")
    before = np.percentile
    assert "metrics/ppl.py" in mended.reason(situation)
    with mended.apply(situation):
        old: Any = np.percentile
        assert old([1.0, 2.0], 60, interpolation="lower") == 1
        assert old([1.0, 2.0], 60, method="higher") == 2
    assert np.percentile is before


def test_pkg_resources_can_compare_versions_of_pytorch(checkout: Path) -> None:
    write(checkout, "torch_utils/ops/conv.py", "from pkg_resources import parse_version")
    situation, mended = Situation(checkout, "cuda"), workaround("pkg_resources")
    if not mended.reason(situation):
        pytest.skip("the real pkg_resources is installed")
    with mended.apply(situation):
        parse = importlib.import_module("pkg_resources").parse_version
        assert parse(torch.__version__) >= parse("1.12.0a")
        assert not parse("1.9.1+cu111") >= parse("1.11.0a")
    assert "pkg_resources" not in sys.modules


@pytest.mark.skipif(hasattr(np.ndarray, "tostring"), reason="this NumPy has tostring by itself")
def test_images_encoded_by_opencv_keep_tostring(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    write(checkout, "cv2.py", "def imencode(kind, x): return True, x")
    write(checkout, "pages/html.py", "_, x = cv2.imencode(kind, x)\nbase64(x.tostring())")
    situation, mended = Situation(checkout, "cuda"), workaround("tostring")
    assert "pages/html.py" in mended.reason(situation)
    with mended.apply(situation):
        cv2 = importlib.import_module("cv2")
        _, encoded = cv2.imencode(".jpg", np.arange(3, dtype=np.uint8))
        assert encoded.tostring() == b"\0\1\2"
    assert not isinstance(cv2.imencode(".jpg", 0)[1], np.ndarray)


def test_torchvision_s_old_downloader_is_torch_hub_s(checkout: Path) -> None:
    write(checkout, "metrics/inception.py", "from torchvision.models.utils import x")
    situation, mended = Situation(checkout, "cuda"), workaround("torchvision-utils")
    assert "metrics/inception.py" in mended.reason(situation)
    with mended.apply(situation):
        utils = importlib.import_module("torchvision.models.utils")
        assert utils.load_state_dict_from_url is torch.hub.load_state_dict_from_url


def test_pillow_has_antialias_again(checkout: Path) -> None:
    write(checkout, "datasets/transforms.py", "PIL.Image.ANTIALIAS")
    situation, mended = Situation(checkout, "cuda"), workaround("antialias")
    assert "datasets/transforms.py" in mended.reason(situation)
    with mended.apply(situation):
        assert PIL.Image.ANTIALIAS == PIL.Image.Resampling.LANCZOS  # type: ignore[attr-defined]
    assert not hasattr(PIL.Image, "ANTIALIAS")


@pytest.mark.skipif(
    "__init__" in vars(torch.utils.data.Sampler),
    reason="the samplers of this PyTorch take their data by themselves",
)
def test_samplers_may_pass_their_data_on(checkout: Path) -> None:
    write(checkout, "datasets/sampler.py", "class S(Sampler): pass")
    situation, mended = Situation(checkout, "cuda"), workaround("sampler")

    class Sampler(torch.utils.data.Sampler[int]):
        def __init__(self) -> None:
            super().__init__(None)  # type: ignore[call-arg]

    assert "datasets/sampler.py" in mended.reason(situation)
    with mended.apply(situation):
        Sampler()
    with pytest.raises(TypeError):
        Sampler()


def test_an_inception_file_of_the_author_s_own_is_downloaded_instead(checkout: Path) -> None:
    write(
        checkout,
        "metrics/inception.py",
        "def build_inception_model(align_tf=True): return 'built', align_tf\n"
        "def prebuild_inception_model(align_tf=True): open('/no/such/file')\n",
    )
    situation, mended = Situation(checkout, "cuda"), workaround("inception-path")
    assert "metrics/inception.py" in mended.reason(situation)
    with mended.apply(situation):
        inception = importlib.import_module("metrics.inception")
        assert inception.prebuild_inception_model(False) == ("built", False)


def test_the_launcher_s_local_rank_reaches_the_script_as_it_expects(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(checkout, "test.py", "parser.add_argument('--local_rank')")
    situation, mended = Situation(checkout, "cuda"), workaround("local-rank")
    assert mended.reason(situation)
    monkeypatch.setattr(sys, "argv", ["test.py", "--local-rank=1", "config.py"])
    with mended.apply(situation):
        assert sys.argv == ["test.py", "--local_rank=1", "config.py"]
    assert sys.argv[1] == "--local-rank=1"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("make-grid", "utils.save_image(\n    x, f'{i}.png', nrow=1, range=(-1, 1)\n)"),
        ("checkpoint", "weights = torch.load(path)['g_ema']"),
        ("half-distances", "torch.cdist(a.half(), b.half())"),
        ("antialias", "from PIL.Image import ANTIALIAS"),
    ],
)
def test_what_code_uses_is_found_however_deep_it_lies_and_whoever_it_is(
    name: str, code: str, tmp_path: Path
) -> None:
    situation = Situation(tmp_path, "cpu")
    for file in ("data/.hidden/a.py", "environment/lib/b.py", "1/2/3/4/5/6/c.py"):
        write(tmp_path, file, code)
    write(tmp_path, "environment/pyvenv.cfg", "")
    assert not workaround(name).reason(situation)
    code_of.cache_clear()
    write(tmp_path, "src/deep/inside.py", code)
    assert workaround(name).reason(situation).startswith("src/deep/inside.py ")


def test_the_words_of_other_code_start_no_workaround(tmp_path: Path) -> None:
    write(tmp_path, "plots.py", "make_grid(x)\nfor i in range(9): plt.hist(x, range=(0, 1))\n")
    write(tmp_path, "text.py", "# pkg_resources is gone\nx.tostring(); np.percentile(x, 3)\n")
    names = [workaround.name for workaround, _ in needed(GENERIC, Situation(tmp_path, "cuda"))]
    assert names == []


def test_weights_are_loaded_onto_the_device_of_the_run_where_nothing_else_is_asked(
    tmp_path: Path,
) -> None:
    file = tmp_path / "weights.pt"
    torch.save(torch.ones(2), file)
    with workaround("checkpoint").apply(Situation(tmp_path, "meta")):
        assert torch.load(file).is_meta
        assert torch.load(file, None).device == torch.load(file, "cpu").device
        assert not torch.load(file, map_location="cpu").is_meta


def test_the_project_of_a_script_is_the_nearest_folder_above_with_a_readme(tmp_path: Path) -> None:
    scripts = tmp_path / "project" / "src" / "scripts"
    scripts.mkdir(parents=True)
    assert project_of(scripts) == scripts
    (tmp_path / "project" / "README.md").touch()
    assert project_of(scripts) == project_of(tmp_path / "project") == tmp_path / "project"


def test_only_a_line_that_insists_on_cuda_is_told_that_there_is_some(checkout: Path) -> None:
    write(checkout, "insisting.py", "import torch\nassert torch.cuda.is_available(), 'no GPU'\n")
    write(checkout, "asking.py", "import torch\nanswer = torch.cuda.is_available()\n")
    before = torch.cuda.is_available
    with workaround("cuda-elsewhere").apply(Situation(checkout, "cpu")):
        importlib.import_module("insisting")
        assert importlib.import_module("asking").answer is before()
    assert torch.cuda.is_available is before
