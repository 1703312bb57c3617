"""The tests on other versions of Python and Django (`make matrix`, or `nox -s newest`), and an audit of the packages.

requirements-dev.txt pins everything, Django's LTS among it; a session puts the Django that it is for in its place.
"""

import os
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False  # a Python that is not installed is skipped, and named

# pyenv keeps every Python in a folder of its own; the `python3.x` that it puts on the path answers only when chosen.
_pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
for _folder in sorted(_pyenv.glob("versions/3.*/bin")):
    os.environ["PATH"] = os.pathsep.join((str(_folder), os.environ["PATH"]))


@nox.session(python="3.11")
def oldest(session: nox.Session) -> None:
    """The oldest that is supported: Django 5.2 LTS on Python 3.11."""
    _test(session, "django~=5.2.0")


@nox.session(python="3.13")
def newest(session: nox.Session) -> None:
    """The newest: Django 6.1 on Python 3.13."""
    _test(session, "django~=6.1.0")


@nox.session(default=False)
def audit(session: nox.Session) -> None:
    """Known vulnerabilities of the pinned packages (`make audit`). Fails if one cannot be looked up, as without the internet."""
    session.install("-qq", "pip-audit")
    session.run("pip-audit", "--strict", "--disable-pip", "--no-deps", "--requirement", "requirements.txt")


def _test(session: nox.Session, django: str) -> None:
    session.install("-qq", "-r", "requirements-dev.txt")
    # Not asking the other packages for consent: django-celery-beat 2.9 declares Django<6.1, though it works there.
    # These tests are what shows it, since they write its tables and read its schedule.
    session.install("-qq", "--no-deps", django)
    session.run(
        "python",
        "-m",
        "pytest",
        f"--numprocesses={((os.cpu_count() or 1) * 3 + 1) // 2}",  # as `make test`
        "--dist=worksteal",
        *session.posargs,
        env={"PYTHONDEVMODE": "1"},
    )
