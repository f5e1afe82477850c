"""Commands in messages open the user's own network, ready to be copied."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from generators import dcgan
from torch import nn

from examples import EXAMPLES, importing
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.hosts import genforce, nvidia, rosinality
from ganfix_plugin.hosts.host import Situation, opening
from ganfix_plugin.hosts.loading import open_network
from ganfix_plugin.hosts.session import Run, Session


def test_a_command_names_what_the_user_named(tmp_path: Path) -> None:
    shown = opening("my nets/net.pkl", tmp_path, "cpu", "dcgan")
    expected = ["--network", "my nets/net.pkl", "--host", str(tmp_path), "--device", "cpu"]
    assert shlex.split(shown) == [*expected, "--adapter", "dcgan"]


def test_the_current_folder_and_defaults_are_left_out() -> None:
    assert opening("net.pkl", Path.cwd()) == opening("net.pkl", None) == "--network net.pkl"


def test_an_opened_network_is_opened_by_its_commands_again() -> None:
    tests = Path(__file__).parent
    with open_network("generators:dcgan", tests, "cpu") as generator:
        command = generator.command("label")
    options = f"--network generators:dcgan --host {tests} --device cpu"
    assert command == f"ganfix label {options}"


def test_in_python_the_user_fills_in_a_function() -> None:
    command = Generator.of(dcgan()).command("label")
    assert command == "ganfix label --network MODULE:FUNCTION_RETURNING_IT"


@pytest.mark.parametrize(
    ("line", "network"),
    [
        ("--network=net.pkl --seeds=0-7", "net.pkl"),
        ("--seeds 0-7 --network https://a.b/net.pkl", "https://a.b/net.pkl"),
        ("--seeds=0-7", ""),
    ],
)
def test_the_network_of_nvidia_s_scripts(line: str, network: str) -> None:
    assert nvidia.HOST.network(line.split()) == network


def test_the_network_of_rosinality_s_scripts() -> None:
    assert rosinality.HOST.network(["--ckpt", "net.pt"]) == "net.pt"


def test_the_network_of_genforce_s_scripts() -> None:
    with importing("pggan_small"):
        import models  # noqa: F401  (as the scripts do)

        network = genforce.HOST.network
        assert network(["--num", "8", "pggan_footwear32"]) == "pggan_footwear32"
        assert network(["config.py", "--checkpoint=a/x.pth"]) == "a/x.pth"
        assert network(["--num=8"]) == ""


def test_a_script_s_generator_is_opened_as_the_script_opened_it(
    stylegan2: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = EXAMPLES / "stylegan2_small"
    monkeypatch.setattr(sys, "argv", ["generate.py", "--network=net.pkl", "--seeds=0"])
    session = Session(Run(Situation(checkout, "cpu"), "nvidia"))
    assert session.opening() == f"--network net.pkl --host {shlex.quote(str(checkout))}"
    monkeypatch.chdir(checkout)
    assert session.opening() == "--network net.pkl"
