"""What `ganfix doctor` says of a folder of any code: what becomes of each script in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import EXAMPLES
from ganfix_plugin.hosts import requirements
from ganfix_plugin.hosts.doctor import examine

MAIN = "\nif __name__ == '__main__':\n    main()\n"
CORRECTED = "ganfix run corrects the generators that it runs"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Scripts below a project's folder, which they put on the path."""
    files = {
        "README.md": "",
        "models/__init__.py": "from .generator import Generator",
        "models/generator.py": "from torch import nn\nfrom ..utils import files",
        "utils/files.py": "import no_such_library\ntry:\n    import another\nexcept ImportError: 0",
        "scripts/sample.py": f"from models import Generator{MAIN}",
        "scripts/train.py": f"import torch{MAIN}",
        "scripts/fit.py": f"import torch\nnet.train(){MAIN}",
        "scripts/plain.py": "import torch\nopt = parser.parse_args()\nnet.train()\n",
        "scripts/convert.py": f"import os, tensorflow as tf{MAIN}",
        "scripts/measure.py": f"import torch, mxnet\nif 1:\n  G.eval()\nelse:\n  G.train(){MAIN}",
        "scripts/resize.py": f"import os{MAIN}",
        "scripts/broken.py": f"def (:{MAIN}",
        "scripts/versions.py": f"import torch\nfrom pkg_resources import parse_version{MAIN}",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def scripts(folder: Path) -> dict[str, str]:
    lines = list(examine(folder, "cpu"))
    start = lines.index("scripts") + 1
    rows = [line.split(maxsplit=1) for line in lines[start:] if line.startswith("  ")]
    return {name: fate for name, fate in rows if name.endswith(".py")}


def test_it_names_each_script_that_runs_networks_and_says_what_becomes_of_it(
    project: Path,
) -> None:
    training = "trains networks, which ganfix leaves alone; correct those that it writes"
    assert scripts(project) == {
        "scripts/convert.py": "runs networks of tensorflow, which ganfix does not know",
        "scripts/fit.py": training,
        "scripts/measure.py": f"{CORRECTED}, not those of mxnet; needs mxnet, not installed here",
        "scripts/plain.py": training,
        "scripts/sample.py": f"{CORRECTED}; needs no_such_library, not installed here",
        "scripts/train.py": training,
        "scripts/versions.py": CORRECTED,
    }


def test_a_folder_of_scripts_is_a_part_of_its_project(project: Path) -> None:
    assert scripts(project / "scripts") == scripts(project)


def test_it_says_what_is_mended_for_code_of_no_known_host(project: Path) -> None:
    (project / "models" / "op.py").write_text(
        "from torch.utils.cpp_extension import load\nload('fused', ['fused_bias_act.cpp'])\n"
    )
    lines = list(examine(project, "cpu"))
    assert lines[0] == "host       no known host"
    assert any("models/op.py compiles its op" in line for line in lines)


def test_a_folder_without_networks_is_said_to_have_none(tmp_path: Path) -> None:
    assert "scripts    none that runs networks of PyTorch's" in list(examine(tmp_path, "cpu"))


def test_what_the_scripts_of_a_host_lack_is_named_with_the_extra_that_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requirements, "find_spec", lambda name: None)
    lines = list(examine(EXAMPLES / "stylegan2_small", "cpu"))
    missing = [line for line in lines if line.startswith("missing")]
    assert len(missing) == 3
    assert all(line.endswith(": pip install 'ganfix[nvidia]'") for line in missing)
