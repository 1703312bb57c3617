"""Local data of the runnable project: the `var/` folder and the encryption key in it."""

import base64
import os
import secrets
from pathlib import Path


def folder(path: Path) -> Path:
    """Return the folder; create it if it does not exist. Only this user may read it: it contains messages and keys."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def encryption_keys(given: str, path: Path) -> list[str]:
    """Return the keys from the environment (comma-separated, newest first), or this machine's own, created on first use."""
    if given:
        return [key.strip() for key in given.split(",") if key.strip()]
    if not path.exists():
        _make_key(path)
    return path.read_text().split()


def _make_key(path: Path) -> None:
    # Written to a draft and linked: if two processes start together, one wins, and neither reads half a key.
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(key + "\n")
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
