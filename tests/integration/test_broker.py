"""The broker of folders: what one process sends another one reads, whole and once, however closely it looks."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from django.conf import settings as django_settings
from kombu import Connection, Exchange, Queue
from kombu.exceptions import ChannelError

from project import broker, celery_app

MESSAGES = 4000
WAIT = 60.0


def connect(folder: Path, scheme: str = broker.ALIAS) -> Connection:
    options = {
        "data_folder_in": str(folder / "messages"),
        "data_folder_out": str(folder / "messages"),
        "control_folder": str(folder / "control"),
    }
    return Connection(f"{scheme}://localhost", transport_options=options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("messages", "control"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def channel(folder: Path) -> Iterator[Any]:
    with connect(folder) as connection:
        yield connection.default_channel


def _produce(folder: Path, messages: int) -> None:
    with connect(folder) as connection:
        for number in range(messages):
            connection.default_channel._put("hints", {"body": "x" * 500, "number": number})


def _bind(folder: Path, worker: int) -> None:
    with connect(folder) as connection:
        for number in range(30):
            Queue(f"queue-{worker}-{number}", Exchange("shared"), f"key-{worker}-{number}")(
                connection.default_channel
            ).declare()


def _start(*calls: tuple[Any, ...]) -> list[Any]:
    processes = [multiprocessing.get_context("spawn").Process(target=call, args=args) for call, *args in calls]
    for process in processes:
        process.start()
    return processes


def _take(channel: Any, taken: list[int], until: threading.Event) -> None:
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        ended = until.is_set()
        try:
            taken.append(channel._get("hints")["number"])
        except Empty:
            if ended:
                return


def test_a_reader_that_never_rests_gets_every_message_whole_and_once(folder, channel):
    (producer,) = _start((_produce, folder, MESSAGES))
    produced, taken = threading.Event(), []
    reader = threading.Thread(target=_take, args=(channel, taken, produced))
    reader.start()
    producer.join(WAIT)
    produced.set()
    reader.join(WAIT)
    assert sorted(taken) == list(range(MESSAGES))
    assert list((folder / "messages").iterdir()) == []


def test_of_several_readers_one_gets_a_message(folder):
    _produce(folder, 500)
    ended, taken = threading.Event(), []
    ended.set()
    with connect(folder) as connection:
        threads = [threading.Thread(target=_take, args=(connection.channel(), taken, ended)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
    assert sorted(taken) == list(range(500))


def test_processes_that_declare_queues_at_once_lose_none(folder, channel):
    processes = _start(*[(_bind, folder, worker) for worker in range(3)])
    for process in processes:
        process.join(WAIT)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert {row.queue for row in channel.get_table("shared")} == {
        f"queue-{worker}-{number}" for worker in range(3) for number in range(30)
    }


@pytest.mark.parametrize("text", ["", '{"body":', "\x00\xff"])
def test_what_is_not_readable_is_dropped_and_the_next_one_taken(folder, channel, caplog, text):
    (folder / "messages" / "0000_0.hints.msg").write_text(text)
    channel._put("hints", {"number": 1})
    assert channel._get("hints") == {"number": 1}
    assert "0000_0.hints.msg was dropped" in caplog.text


def test_a_draft_and_other_queues_messages_are_left_alone(folder, channel):
    for name in ("draft-0", "0_0.other.msg"):
        (folder / "messages" / name).write_text("{}")
    with pytest.raises(Empty):
        channel._get("hints")
    assert len(list((folder / "messages").iterdir())) == 2


def test_a_folder_that_is_not_there_is_said(folder, channel):
    (folder / "messages").rmdir()
    with pytest.raises(ChannelError, match="Cannot add file"):
        channel._put("hints", {})


def test_a_table_that_was_cut_off_is_made_anew(folder, channel):
    (folder / "control" / "shared.exchange").write_text("")
    queue = Queue("hints", Exchange("shared"), "key")(channel)
    queue.declare()
    assert [row.queue for row in channel.get_table("shared")] == ["hints"]
    queue.delete()
    assert channel.get_table("shared") == []


def test_messages_travel_through_exchanges_as_they_do_elsewhere(folder):
    with connect(folder) as connection:
        queue = Queue("hints", Exchange("webhooks", type="direct"), "hint")
        connection.Producer().publish({"n": 1}, exchange=queue.exchange, routing_key="hint", declare=[queue])
        got = queue(connection.default_channel).get(no_ack=True)
        assert got.payload == {"n": 1}


def test_what_kombus_own_transport_left_is_read(folder, channel):
    with connect(folder, "filesystem") as old:
        old.default_channel._put("hints", {"n": 1})
    assert channel._get("hints") == {"n": 1}


@pytest.mark.skipif("CELERY_BROKER_URL" in os.environ, reason="another broker was chosen")
def test_it_is_what_the_project_uses_by_default():
    assert django_settings.CELERY_BROKER_URL == "folders://localhost"
    assert isinstance(celery_app.connection_for_write().transport, broker.Transport)
