"""The table at the end of `make faults`: one row a case, collected through files, since several processes run the cases."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

ROWS = "WEBHOOKS_FAULTS_ROWS"


@dataclass(slots=True, kw_only=True)
class Row:
    case: str
    events: int = 0
    lost: int = 0
    after_rollback: int = 0
    duplicates: int = 0
    allowed: int = 0
    unrecorded: int = 0
    #: Seconds; None where the case says nothing about it.
    stall: float | None = None
    by_nature: bool = False
    memory: int = 0  # MiB
    seconds: float = 0.0
    verdict: str = "FAIL"
    note: str = ""


def prepare() -> None:
    """Make the folder of the rows, in the process that starts all others; that one removes it at its end."""
    if ROWS not in os.environ:
        os.environ[ROWS] = tempfile.mkdtemp(prefix="webhooks-faults-rows-")
        atexit.register(shutil.rmtree, os.environ[ROWS], ignore_errors=True)


def save(row: Row) -> None:
    folder = os.environ.get(ROWS)
    if folder:
        Path(folder, f"{os.getpid()}-{abs(hash(row.case))}.json").write_text(json.dumps(asdict(row)))


def load() -> list[Row]:
    folder = Path(os.environ.get(ROWS, "/nonexistent"))
    return sorted((Row(**json.loads(path.read_text())) for path in folder.glob("*.json")), key=lambda row: row.case)


COLUMNS = ("case", "events", "lost", "rolled back, sent", "dup / allowed", "unrec.", "stall s", "MiB", "s", "verdict")


def render(rows: list[Row]) -> str:
    lines = [COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    texts = ["  ".join(_aligned(line, widths)).rstrip() for line in lines]
    texts.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(texts)


def _cells(row: Row) -> tuple[str, ...]:
    stall = "–" if row.stall is None else f"{row.stall:.1f}" + (" by nature" if row.by_nature else "")
    duplicates = f"{row.duplicates} / {row.allowed}"
    verdict = f"{row.verdict} {row.note}".strip()
    numbers = (
        row.events,
        row.lost,
        row.after_rollback,
        duplicates,
        row.unrecorded,
        stall,
        row.memory,
        round(row.seconds),
    )
    return (row.case, *(str(number) for number in numbers), verdict)


def _aligned(line: tuple[str, ...], widths: list[int]) -> list[str]:
    last = len(line) - 1
    return [
        text.ljust(width) if column in (0, last) else text.rjust(width)
        for column, (text, width) in enumerate(zip(line, widths, strict=True))
    ]
