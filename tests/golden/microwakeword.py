"""Scores of the runtimes of microWakeWord models, for tests/tests/microwakeword.rs.

Usage: python microwakeword.py models
       python microwakeword.py scores MODEL.tflite FEATURES > scores
       python microwakeword.py detections CONFIG.json PCM > steps
       python microwakeword.py features PCM > features
Needs: pip install tflite-micro pymicro-wakeword

`models` prints the folder of the models that ship with pymicro-wakeword. `scores` runs TensorFlow
Lite Micro's reference kernels on i8 features, 40 a frame, and writes the u8 output of each step.
`detections` runs pymicro-wakeword on i16 samples, and writes two bytes a step: the u8 output of its
network, and 1 where it detects.
`features` writes the i8 features that it computes.
"""

import ctypes
import pathlib
import sys

import numpy


def models(_):
    import pymicro_wakeword

    print(pathlib.Path(pymicro_wakeword.__file__).parent / "models")


def scores(arguments):
    from tflite_micro import runtime

    model, features = arguments
    interpreter = runtime.Interpreter.from_file(model, arena_size=1 << 20)
    shape = interpreter.get_input_details(0)["shape"]
    data = numpy.fromfile(features, dtype=numpy.int8)
    count = int(numpy.prod(shape))
    steps = data[: len(data) // count * count].reshape(-1, *shape)
    output = numpy.empty(len(steps), numpy.uint8)
    for at, step in enumerate(steps):
        interpreter.set_input(step, 0)
        interpreter.invoke()
        output[at] = numpy.asarray(interpreter.get_output(0)).view(numpy.uint8).ravel()[0]
    sys.stdout.buffer.write(output.tobytes())


def frames(pcm):
    from pymicro_wakeword import MicroWakeWordFeatures

    return MicroWakeWordFeatures().process_streaming(pathlib.Path(pcm).read_bytes())


def features(arguments):
    (pcm,) = arguments
    for frame in frames(pcm):
        quantized = numpy.round(frame / numpy.float32(26 / 255) - 128)
        sys.stdout.buffer.write(quantized.astype(numpy.int8).tobytes())


def detections(arguments):
    from pymicro_wakeword import MicroWakeWord

    config, pcm = arguments
    word = MicroWakeWord.from_config(config)
    output = numpy.empty(1, numpy.uint8)
    for at, frame in enumerate(frames(pcm), 1):
        detected = word.process_streaming(frame)
        if at % word.stride == 0:
            pointer = output.ctypes.data_as(ctypes.c_void_p)
            word.lib.TfLiteTensorCopyToBuffer(word.output_tensor, pointer, 1)
            sys.stdout.buffer.write(bytes([output[0], bool(detected)]))


{"models": models, "scores": scores, "features": features, "detections": detections}[sys.argv[1]](
    sys.argv[2:]
)
