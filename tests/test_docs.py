"""The documentation: every block of code on its pages and in the README runs, and the site builds.

How blocks are found and run: `pages`.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE

import pages
import pytest
from markdown_it import MarkdownIt
from pages import Block, blocks

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks(page)]
CODE = [block for block in BLOCKS if block.language not in pages.SHOWN]
RUN = [
    page
    for page in PAGES
    if any(block.not_run is None and block.language not in pages.SHOWN for block in blocks(page))
]
SHELL = [block for block in CODE if block.language in pages.SHELL]

GIVEN = '''
"""What pages take for granted: the generator of ffhq.pkl, latents, and no classes."""
import legacy, torch
with open("ffhq.pkl", "rb") as file:
    G = legacy.load_network_pkl(file)["G_ema"]
z, c = torch.randn(4, G.z_dim), None
'''

MORE_METRICS = '''

@register_metric
def fid50k_full(opts: MetricOptions) -> dict[str, float]:
    """As NVIDIA's by name, of fewer images."""
    return {"fid50k_full": _fid(opts, num_gen=40)}
'''

MORE_MODELS = '\nMODEL_ZOO["pggan_celebahq1024"] = MODEL_ZOO["pggan_footwear32"]\n'

# X is the small StyleGAN2 untrained, and as wide in its last layers as the README's units ask for.
MADE_IN_IT = """
import copy, pickle
from pathlib import Path
import torch
from given import G
from make_network import SHAPE, build_networks
from ganfix_plugin.artifacts.prepare import auto_labels
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.labels import write

found = auto_labels(Generator.of(G), 64, 32, samples=200)
for name in ("labels.csv", "mine.csv", "yours.csv"):
    write(found, Path(name))

torch.manual_seed(0)
trained, D = build_networks()
options = {"channel_base": 4096, "channel_max": 64, "num_fp16_res": 0}
wide = type(trained)(z_dim=16, w_dim=16, synthesis_kwargs=options, **SHAPE)
networks = {"G": copy.deepcopy(wide), "D": D, "G_ema": wide.eval()}
with open("X", "wb") as file:
    pickle.dump(networks | {"augment_pipe": None, "training_set_kwargs": None}, file)
"""


@pytest.fixture(scope="session")
def workplace(network_pickle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the codebases that the pages speak of, each with the networks, images and
    labels that they name: the examples, whose shape is the same."""
    folder = tmp_path_factory.mktemp("workplace")
    ada = folder / "stylegan2-ada-pytorch"
    shutil.copytree(EXAMPLES / "stylegan2_small", ada)
    with (ada / "metrics" / "metric_main.py").open("a") as file:
        file.write(MORE_METRICS)
    with (
        zipfile.ZipFile(EXAMPLES / "stylegan2_small" / "data" / "footwear32_test.zip") as all_real,
        zipfile.ZipFile(ada / "real.zip", "w") as real,
    ):
        for name in [name for name in all_real.namelist() if name.endswith(".png")][:60]:
            real.writestr(name, all_real.read(name))
    shutil.copy(ada / "real.zip", ada / "R.zip")
    shutil.copy(network_pickle, ada / "ffhq.pkl")
    shutil.copy(network_pickle, ada / "net.pkl")
    shutil.copy(network_pickle.with_name("detector.pt"), ada)
    (ada / "given.py").write_text(GIVEN)
    subprocess.run([sys.executable, "-c", MADE_IN_IT], cwd=ada, check=True)

    genforce = folder / "genforce"
    shutil.copytree(EXAMPLES / "pggan_small", genforce)
    with (genforce / "models" / "model_zoo.py").open("a") as file:
        file.write(MORE_MODELS)
    for kind in ("", "_discriminator"):
        weights = genforce / "checkpoints" / f"pggan_footwear32{kind}.safetensors"
        shutil.copy(weights, weights.with_stem(f"pggan_celebahq1024{kind}"))
    shutil.copytree(EXAMPLES / "corrector_package", folder / "corrector_package")
    return folder


def extras() -> set[str]:
    """The extras that setup.py declares."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    (declared,) = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "extras_require"
    )
    assert isinstance(declared, ast.Dict)
    return {ast.literal_eval(key) for key in declared.keys if key}


Reader = Callable[[Path], tuple[int, str]]


@pytest.fixture(scope="session")
def reader(workplace: Path) -> Iterator[Reader]:
    """Runs a page in the workplace: its status, and what it said."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "GANFIX_DEVICE": "cpu", "MPLBACKEND": "agg"}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]])
    command = [sys.executable, pages.__file__, str(workplace)]
    with subprocess.Popen(command, env=env, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdin and process.stdout
        asked, answers = process.stdin, process.stdout

        def read(page: Path) -> tuple[int, str]:
            print(page, file=asked, flush=True)
            status, said = json.loads(answers.readline())
            return status, said

        yield read


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_a_page_runs(page: Path, reader: Reader) -> None:
    status, said = reader(page)
    assert not status, said[-6000:]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_blocks_are_of_a_known_language(block: Block) -> None:
    assert block.language in (*pages.SHELL, *pages.PYTHON, *pages.SHOWN)


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.place)
def test_commands_name_what_exists(block: Block) -> None:
    """Also where a block is not run."""
    known = extras()
    assert not [fault for words in block.commands for fault in pages.wrong(words, known)]


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("ganfix detekt", "no command detekt"),
        ("ganfix plot rates --outt a.png", "rates has no option --outt"),
        ("torchrun -m ganfix_plugin score --lables a.csv", "score has no option --lables"),
        ("pip install 'ganfix[plots]'", "no extra plots"),
    ],
)
def test_commands_that_do_not_exist_are_found(command: str, fault: str) -> None:
    (words,) = Block("", "sh", "", command, None).commands
    assert fault in list(pages.wrong(words, extras()))


@pytest.mark.parametrize("code", ["sh\nganfix layers --network nothing.pkl", "python\n1 / 0"])
def test_a_block_that_fails_is_found(code: str, reader: Reader, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"```{code}\n```\n")
    status, said = reader(page)
    assert status == 1 and ("nothing.pkl" in said or "ZeroDivisionError" in said)


def test_a_block_that_is_not_run_says_why() -> None:
    for block in CODE:
        assert block.not_run is None or len(block.not_run.split()) >= 3, block.place


def test_most_blocks_are_run() -> None:
    left_out = [block for block in CODE if block.not_run is not None]
    assert len(left_out) <= 0.2 * len(CODE), [block.place for block in left_out]


def test_commands_in_running_text_name_what_exists() -> None:
    known = extras()
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
        for code in re.findall(r"`(ganfix [^`]+)`", text):
            words = next(Block("", "sh", "", " ".join(code.split()), None).commands)
            if not {"…"} & set(words):
                assert not list(pages.wrong(words, known)), f"{page.name}: {code}"


def test_no_command_hides_in_an_indented_block() -> None:
    for page in PAGES:
        kinds = {token.type for token in MarkdownIt().parse(page.read_text())}
        assert "code_block" not in kinds, page


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.stem)
def test_files_targets_and_options_of_this_repository_that_a_page_names_exist(page: Path) -> None:
    """Those of comments, too, which say what runs a block that this test does not."""
    text = page.read_text()
    if page.stem != "tried-on":  # where they are other projects'
        for name in re.findall(r"\b(?:benchmarks|examples|scripts|tests)/[\w/.]*\w", text):
            assert (ROOT / name).exists(), name
    for target in re.findall(r"`make (\w+)", text):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text(), target
    for script, arguments in re.findall(r"`python\s+(\w+/[\w/]+\.py)([^`]*)`", text):
        sources = [file.read_text() for file in (ROOT / script).parent.glob("*.py")]
        for option in re.findall(r"--[\w-]+", arguments):
            name = re.compile(f'"(--)?{option[2:]}"')  # or made of a key, as reproduce.py's
            assert any(map(name.search, sources)), f"{script} {option}"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built documentation."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "zensical.toml", folder)
    for part in ("docs", "scripts"):
        shutil.copytree(ROOT / part, folder / part)
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("python", "What a corrector needs to know about the generator is measured first"),
        ("commands", "--show"),
        ("correctors", "instead of rate: this share of a layer"),
        ("extending", "Multiply units by a factor"),
    ],
)
def test_the_reference_comes_from_the_code(site: Path, page: str, text: str) -> None:
    assert text in (site / "reference" / page / "index.html").read_text()


def test_the_reference_of_commands_holds_no_internals_of_click(site: Path) -> None:
    assert "Sentinel" not in (site / "reference" / "commands" / "index.html").read_text()


def test_the_site_asks_no_other_server_for_anything(site: Path) -> None:
    asked = re.compile(r"<(?:script|img|link|iframe)[^>]*?(?:src|href)=.?https?:")
    assert not [page for page in site.rglob("*.html") if asked.search(page.read_text())]
