"""Session of `wyoming-satellite` with a wake word service: `satellite.py WAKE_PORT NAME WAV`.

Takes the part of Home Assistant: starts the satellite, lets it run, and expects that a wake word in
the microphone's sound starts a pipeline and streams sound. Ends the pipeline with a transcript, and
expects the next wake word. Prints the names that the satellite's detection command got, one a line.
"""

import asyncio
import os
import shlex
import socket
import sys
import tempfile

from wyoming.asr import Transcript
from wyoming.audio import AudioChunk
from wyoming.client import AsyncTcpClient
from wyoming.pipeline import PipelineStage, RunPipeline
from wyoming.satellite import RunSatellite

SECONDS = 90
ROUNDS = 2


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


async def connected(port):
    for _ in range(300):
        client = AsyncTcpClient("127.0.0.1", port)
        try:
            await client.connect()
            return client
        except OSError:
            await asyncio.sleep(0.1)
    raise TimeoutError("the satellite does not open its port")


async def session(port):
    client = await connected(port)
    await client.write_event(RunSatellite().event())
    for number in range(ROUNDS):
        pipeline, chunks = None, 0
        while pipeline is None or chunks < 5:
            event = await client.read_event()
            assert event is not None, "the satellite closed the connection"
            if RunPipeline.is_type(event.type):
                pipeline = RunPipeline.from_event(event)
                # The wake word was detected already: the pipeline starts with speech to text.
                assert pipeline.start_stage == PipelineStage.ASR, pipeline
            elif AudioChunk.is_type(event.type) and pipeline is not None:
                chunks += 1
            elif AudioChunk.is_type(event.type):
                # After a transcript, some sound is still on its way.
                assert number > 0, "sound before the wake word"
        await client.write_event(Transcript(text="lights on").event())
    await client.disconnect()


async def main():
    wake_port, name, wav = sys.argv[1:]
    port = free_port()
    here = os.path.dirname(os.path.abspath(__file__))
    microphone = shlex.join([sys.executable, os.path.join(here, "microphone.py"), wav])
    with tempfile.TemporaryDirectory() as folder:
        detections = os.path.join(folder, "detections")
        save = f"(cat; echo) >> {shlex.quote(detections)}"
        satellite = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wyoming_satellite",
            "--uri", f"tcp://127.0.0.1:{port}", "--name", "test", "--no-zeroconf",
            "--mic-command", microphone,
            "--wake-uri", f"tcp://127.0.0.1:{wake_port}", "--wake-word-name", name,
            "--detection-command", shlex.join(["sh", "-c", save]),
        )
        try:
            await asyncio.wait_for(session(port), SECONDS)
            await asyncio.sleep(0.5)
            with open(detections, encoding="utf-8") as names:
                print(names.read(), end="")
        finally:
            # It may have ended by itself, with an error of its own.
            if satellite.returncode is None:
                satellite.terminate()
                await satellite.wait()


asyncio.run(main())
