"""The receiver's HTTP/2: answers, delays and hanging; the broken kinds of behaviour are HTTP/1.1's."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events

from tests.receiver_behaviours import Answer, Behaviour, Delay, Received, Stall, client_of

if TYPE_CHECKING:
    from tests.receiver import Receiver


async def converse(receiver: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
    http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="latin-1"))
    http.initiate_connection()
    writer.write(http.data_to_send())
    streams: dict[int, tuple[dict[str, str], bytearray]] = {}
    async with asyncio.TaskGroup() as answers:
        while data := await reader.read(65536):
            for event in http.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    streams[event.stream_id] = dict(event.headers), bytearray()
                elif isinstance(event, h2.events.DataReceived):
                    streams[event.stream_id][1].extend(event.data)
                    http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    received = _received(*streams.pop(event.stream_id), number)
                    behaviour = receiver.take(replace(received, client=client_of(writer)))
                    answers.create_task(_answer(http, writer, event.stream_id, behaviour))
            writer.write(http.data_to_send())
            await writer.drain()


def _received(headers: dict[str, str], body: bytearray, number: int) -> Received:
    plain = {name: value for name, value in headers.items() if not name.startswith(":")}
    return Received(headers[":method"], headers[":path"], plain, bytes(body), time.monotonic(), number, "2")


async def _answer(
    http: h2.connection.H2Connection, writer: asyncio.StreamWriter, stream: int, behaviour: Behaviour
) -> None:
    if isinstance(behaviour, Delay):
        await asyncio.sleep(behaviour.seconds)
        behaviour = behaviour.then
    if not isinstance(behaviour, (Answer, Stall)):
        await asyncio.sleep(3600)
        return
    headers = behaviour.headers if isinstance(behaviour, Answer) else {}
    http.send_headers(
        stream, [(":status", str(behaviour.status)), *((name.lower(), value) for name, value in headers.items())]
    )
    for start in range(0, len(behaviour.body), 16_000):  # a frame's size; the client's window must have room for all
        http.send_data(stream, behaviour.body[start : start + 16_000])
    if isinstance(behaviour, Answer):
        http.end_stream(stream)
    writer.write(http.data_to_send())
