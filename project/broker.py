"""A broker made of folders, for one machine: kombu's `filesystem` transport, made safe for processes that run at once.

kombu's own creates a message's file under its final name, and locks and fills it afterwards, while readers take no lock: one
that looks at the wrong moment takes an empty file, loses the message and ends its worker. Here whatever another process can
see is complete: messages and tables are written under a temporary name and moved into place.

Importing this module registers it as `folders://`. The options are those of `filesystem://` (but nothing that was processed is
stored), and so are the files: what lies in the folders is read by either.
"""

import contextlib
import logging
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import TRANSPORT_ALIASES, filesystem, virtual
from kombu.transport.filesystem import exchange_queue_t as Binding  # noqa: N812 - a class, whatever its name looks like
from kombu.utils.json import dumps, loads

logger = logging.getLogger(__name__)

ALIAS = "folders"


class Channel(filesystem.Channel):
    """One message is one file `<time>_<random>.<queue>.msg`."""

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]  # as kombu's own
        # Names begin with the time, so that sorting them gives the order. Digits are always as many.
        path = Path(self.data_folder_out, f"{time.time_ns():020d}_{uuid.uuid4().hex}.{queue}.msg")
        try:
            _write(path, dumps(payload))
        except OSError as error:
            raise ChannelError(f"Cannot add file {path.name!r} to directory") from error

    def _get(self, queue: str) -> Any:  # type: ignore[override]  # as kombu's own
        for name in sorted(os.listdir(self.data_folder_in)):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            path = Path(self.data_folder_in, name)
            try:
                text = path.read_bytes()
                path.unlink()  # of several readers one succeeds, and the message is that one's
            except OSError:
                continue
            try:
                return loads(text)
            except ValueError:
                logger.warning("The message %s was dropped: it is not readable.", name)
        raise Empty

    def get_table(self, exchange: str) -> list[Binding]:  # type: ignore[override]  # as kombu's own
        try:
            return list(super().get_table(exchange))
        except ValueError:  # empty or cut off: left behind by a process that was killed
            return []

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str | None, queue: str) -> None:
        binding = Binding(routing_key or "", pattern or "", queue or "")
        with self._changed_table(exchange) as table:
            if binding not in table:
                table.insert(0, binding)

    def _delete(self, queue: str, exchange: str, routing_key: str, pattern: str, *args: Any, **kwargs: Any) -> None:
        virtual.Channel._delete(self, queue)  # not kombu's own, which writes the table in place
        binding = Binding(routing_key or "", pattern or "", queue or "")
        with self._changed_table(exchange) as table:
            if binding in table:
                table.remove(binding)

    @contextlib.contextmanager
    def _changed_table(self, exchange: str) -> Iterator[list[Binding]]:
        """Which queues an exchange has, to be changed in place; written at the end. One process at a time."""
        if "/" in exchange or "\\" in exchange:
            raise ChannelError(f"Invalid exchange name: {exchange!r}")
        file = self.control_folder / f"{exchange}.exchange"
        try:
            with (self.control_folder / f"{exchange}.lock").open("w") as lock:
                filesystem.lock(lock, filesystem.LOCK_EX)  # type: ignore[attr-defined]  # closing releases it
                table = self.get_table(exchange)
                before = list(table)
                yield table
                if table != before:
                    _write(file, dumps(table))
        except OSError as error:
            raise ChannelError(f"Cannot change {file}") from error


class Transport(filesystem.Transport):
    """`folders://localhost`"""

    Channel = Channel
    # Bindings are in files, and what this process remembers of them is not kombu's own transport's to see.
    global_state = virtual.BrokerState()
    driver_type = driver_name = ALIAS


def _write(path: Path, text: str) -> None:
    """All of it or nothing. The draft's name has no dot, so that no reader takes it for a message."""
    draft = path.with_name(f"draft-{uuid.uuid4().hex}")
    try:
        draft.write_bytes(text.encode())
        os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


TRANSPORT_ALIASES[ALIAS] = f"{__name__}:Transport"
