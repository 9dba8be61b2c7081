"""Microphone of a satellite: writes the samples of a 16 kHz WAV again and again, at four times its speed."""

import sys
import time
import wave

FRAMES = 1024

while True:
    with wave.open(sys.argv[1], "rb") as wav:
        while pcm := wav.readframes(FRAMES):
            sys.stdout.buffer.write(pcm)
            sys.stdout.buffer.flush()
            time.sleep(FRAMES / 16_000 / 4)
