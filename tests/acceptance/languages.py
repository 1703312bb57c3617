"""The programs that run what customers write in other languages."""

from __future__ import annotations

import os
import shutil

import pytest

#: Program → the package that has it, on Debian and Ubuntu.
PACKAGES = {"node": "nodejs", "php": "php-cli", "go": "golang-go", "ruby": "ruby"}


def program(name: str) -> str:
    """The path of that program. Without it the test is skipped, except in CI, where it must be there."""
    path = shutil.which(name)
    if path is None:
        missing = f"{name} is not installed. On Debian and Ubuntu: apt-get install {PACKAGES[name]}"
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs it: {missing}")
        pytest.skip(missing)
    return path
