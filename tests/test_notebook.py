"""The notebook for Colab runs from top to bottom, and is kept without what it shows."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

pytestmark = pytest.mark.slow

NOTEBOOK = Path(__file__).parents[1] / "docs" / "ganfix.ipynb"


def read() -> NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def is_install(cell: NotebookNode) -> bool:
    return "install" in cell.metadata.get("tags", ())


@pytest.fixture(scope="module")
def executed(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> NotebookNode:
    """The notebook after a run in an empty folder, without its install cell."""
    notebook, folder = read(), tmp_path_factory.mktemp("notebook")
    notebook.cells = [cell for cell in notebook.cells if not is_install(cell)]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "GANFIX_CACHE": str(folder / "cache")}
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}}
    )
    return client.execute(env=env)


def test_it_runs_from_top_to_bottom(executed: NotebookNode) -> None:
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))


def test_it_shows_pictures(executed: NotebookNode) -> None:
    pictures = [
        output
        for cell in executed.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", ())
    ]
    assert len(pictures) >= 6


def test_its_commands_succeed(executed: NotebookNode) -> None:
    """An exclamation mark hides a failure from the notebook."""
    said = "".join(
        output.get("text", "") for cell in executed.cells for output in cell.get("outputs", ())
    )
    assert "ready for --correct seqc" in said and "written to sheet.png" in said
    assert "Error" not in said


def test_only_the_install_cell_installs() -> None:
    installing = [cell for cell in read().cells if "%pip" in cell.source]
    assert installing == [cell for cell in read().cells if is_install(cell)]
    assert len(installing) == 1


def test_it_is_kept_without_outputs() -> None:
    for cell in read().cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None
