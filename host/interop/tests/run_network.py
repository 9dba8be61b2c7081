"""Runs a network in TensorFlow Lite Micro, or in the runtime of pymicro-wakeword.

Arguments: `micro` or `lite`, the network, a file of features (int8, one frame of 40 after another), and a
file for the scores (uint8, one per inference). Prints one JSON object with the memory in use.
"""

import ctypes
import json
import os
import re
import sys
import tempfile

import numpy as np


def stderr_of(function):
    """Returns what the function, written in C++, prints to standard error."""
    with tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            function()
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        file.seek(0)
        return file.read().decode()


def micro(path, arena_size):
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_file(path, arena_size=arena_size)
    shape = interpreter.get_input_details(0)["shape"]
    report = {"shape": [int(n) for n in shape]}

    def step(features):
        interpreter.set_input(features.reshape(shape), 0)
        interpreter.invoke()
        return int(interpreter.get_output(0)[0, 0])

    def memory():
        text = stderr_of(interpreter.print_allocations)
        for name in ("total", "head", "tail"):
            report[name] = int(re.search(rf"Arena allocation {name} (\d+) bytes", text).group(1))
        report["text"] = text

    return shape, step, report, memory


def lite(path, _):
    import pymicro_wakeword

    library = next(
        os.path.join(folder, name)
        for folder, _, names in os.walk(os.path.dirname(pymicro_wakeword.__file__))
        for name in names
        if "tensorflowlite_c." in name
    )
    word = pymicro_wakeword.MicroWakeWord(
        "id",
        wake_word="x",
        tflite_model=path,
        probability_cutoff=0.5,
        sliding_window_size=1,
        trained_languages=[],
        libtensorflowlite_c_path=library,
    )
    shape = [1, word.stride, 40]

    def step(features):
        # The package quantizes features of 0 to 26.
        values = (features.astype(np.float32) - word.input_zero_point) * word.input_scale
        for frame in values.reshape(word.stride, 1, 1, 40):
            score = word.process_streaming_prob(frame)
        return round(score / word.output_scale) + word.output_zero_point

    return shape, step, {"shape": shape}, lambda: None


def main():
    runtime, path, features_path, scores_path = sys.argv[1:5]
    arena_size = int(sys.argv[5]) if len(sys.argv) > 5 else None
    shape, step, report, memory = {"micro": micro, "lite": lite}[runtime](path, arena_size)
    features = np.fromfile(features_path, np.int8)
    width = int(shape[1]) * 40
    steps = features[: len(features) // width * width].reshape(-1, width)
    scores = bytes(step(column) for column in steps)
    memory()
    with open(scores_path, "wb") as file:
        file.write(scores)
    print(json.dumps(report))


main()
