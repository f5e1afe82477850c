"""Each workaround: when it is needed, what it does, and that it is undone afterwards."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from ganfix_plugin import registry
from ganfix_plugin.hosts.host import Host, Situation, Workaround, known_hosts
from ganfix_plugin.hosts.loading import importable


def workaround(host_name: str, name: str) -> Workaround:
    host: Host = registry.load(registry.HOSTS, host_name)
    return next(workaround for workaround in host.workarounds if workaround.name == name)


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
        names = [workaround.name for workaround in host.workarounds]
        assert len(set(names)) == len(names)
        assert all(workaround.symptom and workaround.remedy for workaround in host.workarounds)


def test_code_that_needs_no_workaround_gets_none(tmp_path: Path) -> None:
    for host in known_hosts():
        assert host.active(Situation(tmp_path, "cuda")) == []


def test_percentile_takes_the_old_name_of_its_argument(checkout: Path) -> None:
    write(checkout, "metrics/ppl.py", "percentile(x, 1, interpolation='lower')")
    situation, needed = Situation(checkout, "cuda"), workaround("nvidia", "percentile")
    before = np.percentile
    assert "metrics/ppl.py" in needed.reason(situation)
    with needed.apply(situation):
        old: Any = np.percentile
        assert old([1.0, 2.0], 60, interpolation="lower") == 1
        assert old([1.0, 2.0], 60, method="higher") == 2
    assert np.percentile is before


def test_pkg_resources_can_compare_versions_of_pytorch(checkout: Path) -> None:
    write(checkout, "torch_utils/ops/conv.py", "from pkg_resources import parse_version")
    situation, needed = Situation(checkout, "cuda"), workaround("nvidia", "pkg_resources")
    if not needed.reason(situation):
        pytest.skip("the real pkg_resources is installed")
    with needed.apply(situation):
        parse = importlib.import_module("pkg_resources").parse_version
        assert parse(torch.__version__) >= parse("1.12.0a")
        assert not parse("1.9.1+cu111") >= parse("1.11.0a")
    assert "pkg_resources" not in sys.modules


def test_images_encoded_by_opencv_keep_tostring(checkout: Path) -> None:
    opencv = "class cv2:\n    def imencode(kind, x): return True, x\n"
    write(checkout, "utils/visualizer.py", f"{opencv}# .tostring()")
    write(checkout, "utils/__init__.py", "")
    situation, needed = Situation(checkout, "cuda"), workaround("genforce", "tostring")
    assert "utils/visualizer.py" in needed.reason(situation)
    with needed.apply(situation):
        visualizer = importlib.import_module("utils.visualizer")
        _, encoded = visualizer.cv2.imencode(".jpg", np.arange(3, dtype=np.uint8))
        assert encoded.tostring() == b"\0\1\2"
    assert not isinstance(visualizer.cv2.imencode(".jpg", 0)[1], np.ndarray)


def test_torchvision_s_old_downloader_is_torch_hub_s(checkout: Path) -> None:
    write(checkout, "metrics/inception.py", "from torchvision.models.utils import x")
    situation, needed = Situation(checkout, "cuda"), workaround("genforce", "torchvision-utils")
    assert "metrics/inception.py" in needed.reason(situation)
    with needed.apply(situation):
        utils = importlib.import_module("torchvision.models.utils")
        assert utils.load_state_dict_from_url is torch.hub.load_state_dict_from_url


def test_pillow_has_antialias_again(checkout: Path) -> None:
    write(checkout, "datasets/transforms.py", "PIL.Image.ANTIALIAS")
    situation, needed = Situation(checkout, "cuda"), workaround("genforce", "antialias")
    assert "datasets/transforms.py" in needed.reason(situation)
    with needed.apply(situation):
        assert PIL.Image.ANTIALIAS == PIL.Image.Resampling.LANCZOS  # type: ignore[attr-defined]
    assert not hasattr(PIL.Image, "ANTIALIAS")


def test_samplers_may_pass_their_data_on(checkout: Path) -> None:
    write(checkout, "datasets/sampler.py", "class S(Sampler): pass")
    situation, needed = Situation(checkout, "cuda"), workaround("genforce", "sampler")

    class Sampler(torch.utils.data.Sampler[int]):
        def __init__(self) -> None:
            super().__init__(None)  # type: ignore[call-arg]

    assert "datasets/sampler.py" in needed.reason(situation)
    with needed.apply(situation):
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
    situation, needed = Situation(checkout, "cuda"), workaround("genforce", "inception-path")
    assert "metrics/inception.py" in needed.reason(situation)
    with needed.apply(situation):
        inception = importlib.import_module("metrics.inception")
        assert inception.prebuild_inception_model(False) == ("built", False)


def test_the_launcher_s_local_rank_reaches_the_script_as_it_expects(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(checkout, "test.py", "parser.add_argument('--local_rank')")
    situation, needed = Situation(checkout, "cuda"), workaround("genforce", "local-rank")
    assert needed.reason(situation)
    monkeypatch.setattr(sys, "argv", ["test.py", "--local-rank=1", "config.py"])
    with needed.apply(situation):
        assert sys.argv == ["test.py", "--local_rank=1", "config.py"]
    assert sys.argv[1] == "--local-rank=1"
