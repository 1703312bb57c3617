"""What is public is listed in docs/reference/public-api.md, and the project and the documents use nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from webhooks_app.exceptions import WebhooksError

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/reference/public-api.md").read_text()
SECTIONS = dict(re.findall(r"^## `([\w.]+)`.*?\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
LISTED = {module: set(re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE)) for module, rows in SECTIONS.items()}
#: Modules that are public as a whole.
WHOLE = {"webhooks_app.models", "webhooks_app.admin"}
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def exported(module: str) -> set[str]:
    found = import_module(module)
    if module == "webhooks_app.exceptions":
        return {
            name for name, value in vars(found).items() if isinstance(value, type) and issubclass(value, WebhooksError)
        }
    return set(found.__all__)


@pytest.mark.parametrize("module", LISTED)
def test_the_page_lists_what_a_module_exports(module: str) -> None:
    assert LISTED[module] == exported(module)


@pytest.mark.parametrize("module", LISTED)
def test_what_is_listed_can_be_imported_and_says_what_it_does(module: str) -> None:
    for name in LISTED[module]:
        value = getattr(import_module(module), name)
        assert not callable(value) or value.__doc__, name


def imports(source: str) -> Iterator[tuple[str, str]]:
    """The module and name of each import from this app."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "webhooks_app":
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] == "webhooks_app")


def sources() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "project").rglob("*.py")):
        yield str(path.relative_to(ROOT)), path.read_text()
    contrib = (ROOT / "webhooks_app/contrib").glob("*/README.md")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(contrib)]:
        for number, block in enumerate(BLOCK.findall(path.read_text()), start=1):
            yield f"{path.relative_to(ROOT)}#{number}", block


def is_public(module: str, name: str) -> bool:
    if module in WHOLE or f"{module}.{name}" in {*LISTED, *WHOLE, "webhooks_app.telemetry"}:
        return True
    return name in LISTED.get(module, ())


def test_the_project_and_the_documents_import_nothing_else() -> None:
    private = {
        (where, module, name)
        for where, source in sources()
        if "webhooks_app" in source
        for module, name in imports(source)
        if not is_public(module, name)
    }
    assert private == set()
