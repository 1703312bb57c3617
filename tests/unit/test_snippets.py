"""What the snippets are made of. That they verify is shown in acceptance/test_snippets.py."""

from __future__ import annotations

import ast
from dataclasses import replace

import pytest

from webhooks_app.core.profile import Profile
from webhooks_app.core.signing import HexScheme
from webhooks_app.profiles import BUILT_IN
from webhooks_app.snippets import LANGUAGES, Language, has_snippets, snippet

EVERY_PROFILE = pytest.mark.parametrize("profile", BUILT_IN.values(), ids=lambda profile: profile.name)
EVERY_LANGUAGE = pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)


class OwnScheme(HexScheme):
    """A host's own: whatever it does differently, a snippet would not know."""


def test_languages_come_in_the_order_in_which_people_are_shown_them() -> None:
    assert [(language.name, language.title, language.ending) for language in LANGUAGES] == [
        ("python", "Python", "py"),
        ("node", "Node.js", "mjs"),
        ("php", "PHP", "php"),
        ("go", "Go", "go"),
        ("ruby", "Ruby", "rb"),
    ]


@EVERY_PROFILE
@EVERY_LANGUAGE
def test_a_snippet_is_complete_and_fits_on_a_page(profile: Profile, language: Language) -> None:
    assert has_snippets(profile)
    text = snippet(profile, language)
    assert not {"«", "»"} & {*text}
    assert "WEBHOOK_SECRET" in text
    assert len(text.splitlines()) <= (60 if language.name == "go" else 40)  # Go's imports take a dozen
    assert max(map(len, text.splitlines())) <= 110


@EVERY_PROFILE
def test_the_snippet_in_python_is_for_python_3_9_too(profile: Profile) -> None:
    ast.parse(snippet(profile, LANGUAGES[0]), feature_version=(3, 9))


def test_there_are_none_for_a_scheme_of_the_hosts_own() -> None:
    profile = replace(BUILT_IN["msgflash"], name="mine", scheme=OwnScheme("X-Mine"))
    assert not has_snippets(profile)
    with pytest.raises(ValueError, match=r"'mine'.*OwnScheme"):
        snippet(profile, LANGUAGES[0])
