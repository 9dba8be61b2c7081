"""Features of the established fixed-point front end, for tests/tests/frontend.rs.

Usage: python pymicro.py FILE.wav... > features
Needs: pip install pymicro-features  (TensorFlow Lite's micro front end as a package)

For each file (16 kHz, mono, 16 bits) it writes, little-endian: the number of samples as u32, the
samples as i16, the number of frames as u32, and 40 u16 per frame, as the C code returns them.
"""

import array
import sys
import wave

from pymicro_features import MicroFrontend

CHUNK_BYTES = 2 * 160
PACKAGE_SCALE = 0.0390625  # factor by which the package multiplies the integers


def read(path):
    with wave.open(path, "rb") as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2), path
        return file.readframes(file.getnframes())


def features(pcm):
    frontend = MicroFrontend()
    offset = 0
    while offset + CHUNK_BYTES <= len(pcm):
        output = frontend.process_samples(pcm[offset : offset + CHUNK_BYTES])
        offset += 2 * output.samples_read
        if output.features:
            yield [round(value / PACKAGE_SCALE) for value in output.features]


def write(out, code, values):
    data = array.array(code, values)
    if sys.byteorder == "big":
        data.byteswap()
    out.write(data.tobytes())


for path in sys.argv[1:]:
    pcm = read(path)
    frames = list(features(pcm))
    write(sys.stdout.buffer, "I", [len(pcm) // 2])
    sys.stdout.buffer.write(pcm)
    write(sys.stdout.buffer, "I", [len(frames)])
    for frame in frames:
        write(sys.stdout.buffer, "H", frame)
