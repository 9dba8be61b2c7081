"""Clients of the `wyoming` package: `clients.py HOST PORT [NAME=]WAV…`.

Describes the service, then sends every file at once, each by a client of its own, which detects NAME or
all wake words. Prints one JSON object: `models` by name, and for each file its `detections` and whether
the service sent `not-detected`.
"""

import asyncio
import json
import sys
import wave

from wyoming.audio import AudioStop, wav_to_chunks
from wyoming.client import AsyncTcpClient
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.wake import Detect, Detection, NotDetected

SECONDS = 120


async def models(host, port):
    async with AsyncTcpClient(host, port) as client:
        await client.write_event(Describe().event())
        info = Info.from_event(await client.read_event())
    (program,) = info.wake
    assert program.name == "wakeling" and program.installed and program.version
    for model in program.models:
        assert model.installed and model.version and model.attribution.name
    return {model.name: model.phrase for model in program.models}


async def detect(host, port, name, path):
    """Sends a file, reading answers meanwhile. The answer to a ping comes after all others."""
    detections, was_not_detected = [], False
    async with AsyncTcpClient(host, port) as client:
        await client.write_event(Detect(names=[name] if name else None).event())

        async def read():
            nonlocal was_not_detected
            while True:
                event = await client.read_event()
                assert event is not None, "the service closed the connection"
                if Detection.is_type(event.type):
                    detection = Detection.from_event(event)
                    detections.append({"name": detection.name, "timestamp": detection.timestamp})
                elif NotDetected.is_type(event.type):
                    was_not_detected = True
                elif Pong.is_type(event.type):
                    return
                else:
                    raise ValueError(f"{event.type}: {event.data}")

        reading = asyncio.create_task(read())
        with wave.open(path, "rb") as wav:
            for chunk in wav_to_chunks(wav, samples_per_chunk=1024, start_event=True):
                await client.write_event(chunk.event())
        await client.write_event(AudioStop().event())
        await client.write_event(Ping(text="end").event())
        await reading
    return {"detections": detections, "not_detected": was_not_detected}


async def main():
    host, port, files = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    pairs = [file.rpartition("=")[::2] for file in files]
    known = await models(host, port)
    results = await asyncio.gather(*(detect(host, port, name, path) for name, path in pairs))
    print(json.dumps({"models": known, "files": results}))


asyncio.run(asyncio.wait_for(main(), SECONDS))
