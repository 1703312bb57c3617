"""The documents agree with the code."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.security_table import GROUPS
from webhooks_app.conf import Settings
from webhooks_app.core.comparisons import OPERATORS
from webhooks_app.core.filters import MAX_CONDITIONS, MAX_SIZE
from webhooks_app.maintenance.schedule import PERIODIC

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "webhooks_app/contrib").glob("*/README.md")),
]
ROW = re.compile(r"^\| `([A-Z_]+)` \| `(.*?)` \| (.+) \|$", re.MULTILINE)


def test_every_setting_is_documented_with_its_default_and_no_other():
    page = (ROOT / "docs/reference/settings.md").read_text()
    documented = {}
    for section in re.split(r"^##+ ", page, flags=re.MULTILINE):
        group = re.match(r"`([A-Z]+)`", section)
        prefix = f"{group[1]}." if group else ""
        documented.update({prefix + name: default for name, default, _ in ROW.findall(section)})
    assert documented == _defaults(Settings())


def _defaults(settings: Any, prefix: str = "") -> dict[str, str]:
    """Return the defaults as the page writes them, by the setting's name; those of a group by "GROUP.NAME"."""
    found = {}
    for item in fields(settings):
        value = getattr(settings, item.name)
        found.update(
            _defaults(value, f"{item.name}.") if is_dataclass(value) else {prefix + item.name: _written(value)}
        )
    return found


def _written(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return repr(list(value) if isinstance(value, tuple) else value).replace("'", '"')


def test_every_periodic_task_is_documented():
    page = (ROOT / "docs/how-to/deliver-with-celery.md").read_text()
    assert re.findall(r'^        "(webhooks_app\.\w+)": (\d+),$', page, re.MULTILINE) == [
        (periodic.name, str(periodic.every_seconds)) for periodic in sorted(PERIODIC, key=lambda one: one.every_seconds)
    ]
    assert all(f"| `{periodic.name}` |" in page for periodic in PERIODIC)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_to_headings_lead_to_one(page):
    links = re.findall(r"\]\((?!https?:)([^)#]*\.md|)#([^)]+)\)", page.read_text())
    assert [link for link in links if link[1] not in _anchors((page.parent / link[0]) if link[0] else page)] == []


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page", sorted((ROOT / "webhooks_app/contrib").glob("*/README.md")), ids=lambda page: page.parent.name
)
def test_the_files_that_a_reference_system_names_stand_beside_its_page(page):
    named = set(re.findall(r"`(\w+\.py)`", page.read_text()))
    assert named
    assert not {name for name in named if not (page.parent / name).exists()}


def test_the_page_on_the_api_lists_the_operators_of_filters():
    page = (ROOT / "docs/how-to/rest-api.md").read_text()
    listed = re.findall(
        r"^\| `(\w+)` \| (.*) \|$", page.partition("| operator |")[2].partition("\n\n")[0], re.MULTILINE
    )
    assert dict(listed) == {each.name: each.help for each in OPERATORS.values()}
    assert f"at most {MAX_CONDITIONS} conditions and {MAX_SIZE // 1024} KiB" in page


def test_the_threat_model_names_tests_that_there_are():
    table = (ROOT / "docs/reference/threat-model.md").read_text()
    named = set(re.findall(r"`((?:\w+/)+test_\w+\.py)`", table))
    assert len(named) > 30
    assert sorted(name for name in named if not (ROOT / "tests" / name).exists()) == []


def test_the_security_tests_are_files_that_there_are():
    named = [file for files in GROUPS.values() for file in files]
    assert [name for name in named if not (ROOT / "tests" / name).exists()] == []
    assert {path.name for path in (ROOT / "tests/security").glob("test_*.py")} <= {Path(name).name for name in named}


def test_each_decision_has_its_number_and_the_title_of_the_index():
    folder = ROOT / "docs/decisions"
    rows = re.findall(
        r"^\| \[(\d{4})\]\((.+?)\) \| (.+?)(?: \(superseded by \d{4}\))? \|$",
        (folder / "README.md").read_text(),
        re.MULTILINE,
    )
    assert {file for _, file, _ in rows} == {path.name for path in folder.glob("[0-9]*.md")}
    for number, file, title in rows:
        assert (folder / file).read_text().splitlines()[0] == f"# {int(number)}. {title}"
        assert file.startswith(number)


def test_what_contributing_lists_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    floors = re.findall(r"^\| \d \|(.*)$", text, re.MULTILINE)
    names = [name for floor in floors for name in re.findall(r"`([\w/]+(?:/|\.py))`", floor.split("|")[0])]
    assert len(names) > 10
    assert [name for name in names if not (ROOT / "webhooks_app" / name).exists()] == []
    table = "\n".join(re.findall(r"^\|.*$", text.partition("## Where to look")[2].partition("\n## ")[0], re.MULTILINE))
    for name, attributes in re.findall(r"`([\w/-]+(?:/|\.py|\.md))`(?: \(([^)]*)\))?", table):
        path = ROOT / name if name.startswith(("docs/", "tests/", "CHANGELOG")) else ROOT / "webhooks_app" / name
        assert path.exists(), name
        for attribute in re.findall(r"`(\w+)`", attributes):
            assert attribute in path.read_text(), (name, attribute)
    listed = "\n".join(floor.split("|")[0] for floor in floors) + "`apps.py` `urls.py`"
    modules = {path.name for path in (ROOT / "webhooks_app").glob("*.py")} - {"__init__.py"}
    assert sorted(name for name in modules if f"`{name}`" not in listed) == []
    packages = {path.parent.name for path in (ROOT / "webhooks_app").glob("*/__init__.py")} - {"migrations"}
    assert sorted(name for name in packages if f"`{name}/`" not in text) == []
    engine = {path.name for path in (ROOT / "webhooks_app/engine").glob("*.py")} - {"__init__.py"}
    assert sorted(name for name in engine if f"`{name}`" not in text) == []
    for name in re.findall(r"`(\w+/)` \(", text):
        assert (ROOT / "tests" / name).is_dir(), name
