"""A message broker in folders, for one machine: kombu's `filesystem` transport, made safe for concurrent processes.

kombu's transport creates a message's file under its final name, and locks and fills it afterwards, while readers take no
lock. A reader that looks at the wrong moment takes an empty file, loses the message and terminates its worker. This transport
writes messages and tables under a temporary name and renames them, so other processes only see complete files.

Importing this module registers it as `folders://`. Options and files are those of `filesystem://`, and each transport can
read the other's files; processed messages are not stored.
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
from kombu.transport.filesystem import exchange_queue_t as Binding  # noqa: N812 - it is a class, despite its name
from kombu.utils.json import dumps, loads

logger = logging.getLogger(__name__)

ALIAS = "folders"


class Channel(filesystem.Channel):
    """A channel that stores each message as one file `<time>_<random>.<queue>.msg`."""

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]  # as kombu's own
        # Names begin with the time, in a fixed number of digits, so that sorting them gives the order.
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
                path.unlink()  # only one of several readers succeeds, and gets the message
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
        """Yield the queues of an exchange, to be changed in place; write them at the end. Only one process does this at a
        time."""
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
    """The transport of `folders://localhost`."""

    Channel = Channel
    # Bindings are in files; what this process caches must not be shared with kombu's own transport.
    global_state = virtual.BrokerState()
    driver_type = driver_name = ALIAS


def _write(path: Path, text: str) -> None:
    """Write the whole file or nothing. The temporary name has no dot, so that no reader takes it for a message."""
    draft = path.with_name(f"draft-{uuid.uuid4().hex}")
    try:
        draft.write_bytes(text.encode())
        os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


TRANSPORT_ALIASES[ALIAS] = f"{__name__}:Transport"
