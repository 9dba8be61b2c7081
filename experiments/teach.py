#!/usr/bin/env python3
"""Streams for `wakeling pretrain --teacher`: clips joined into minutes, and what a teacher says of them.

The teacher is Google's speech_embedding (Lin et al. 2020, Apache-2.0), as the ONNX files of the
package openwakeword 0.4.0 carry it: 96 numbers every 80 ms from the last 775 ms of sound. It is a
stack of convolutions without padding in time, so it is run over a whole minute at once.

    pip install numpy onnx onnxruntime soundfile
    pip download --no-deps openwakeword==0.4.0 && unzip openwakeword-*.whl 'openwakeword/resources/models/*'
    teach.py --models openwakeword/resources/models --train train.jsonl --noise noise.jsonl --out taught/

Manifests are JSON lines with `audio_filepath` (16 kHz mono WAV or FLAC), `duration`, `text`, `lang`,
`kind`. Clips without `text` teach as well, through the teacher alone.
Only pretraining the bases that ship needs this; users of Wakeling need no Python.
"""
import argparse
import collections
import json
import pathlib
import random
import wave

import numpy as np
import onnx
import onnxruntime
import soundfile

RATE = 16_000
STREAM_SAMPLES = 60 * RATE
LONGEST_SAMPLES = 15 * RATE


class Teacher:
    """`embed`: int16 samples to `(rows, 96)`; row k has heard `775 + 80 k` ms.

    The network of the mel spectrogram clamps at 80 dB below the loudest value of all that it is
    given at once, so pauses look different beside a loud sound a minute away. With `floor_db` it
    clamps at this level instead: then a row depends on its 775 ms alone, as in a stream.
    """

    def __init__(self, folder, floor_db=None):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.floor_db = floor_db
        mel = f"{folder}/melspectrogram.onnx"
        mel = mel if floor_db is None else unclamped(mel)
        self.mel = onnxruntime.InferenceSession(mel, options)
        self.net = onnxruntime.InferenceSession(unrolled(f"{folder}/embedding_model.onnx"), options)

    def embed(self, pcm):
        mel = self.mel.run(None, {"input": pcm.astype(np.float32)[None]})[0].squeeze()
        if self.floor_db is not None:
            mel = np.maximum(mel, self.floor_db)
        mel = mel / 10 + 2
        rows = self.net.run(None, {"input_1": mel[None, :, :, None].astype(np.float32)})[0]
        return np.ascontiguousarray(rows[0, :, :, 0].T, dtype=np.float32)


def unclamped(path):
    """The mel spectrogram without its last node, which clamps."""
    model = onnx.load(path)
    last = model.graph.node[-1]
    assert last.op_type == "Clip", "another version of the mel spectrogram"
    source, result = last.input[0], last.output[0]
    model.graph.node.remove(last)
    model.graph.node.append(onnx.helper.make_node("Identity", [source], [result]))
    return model.SerializeToString()


def unrolled(path):
    """The network for any number of frames instead of 76: its two reshapes fix that number."""
    model = onnx.load(path)
    graph = model.graph
    for constant in graph.initializer:
        if list(onnx.numpy_helper.to_array(constant).ravel()) == [-1, 1, 76, 34]:
            shape = np.array([1, 1, -1, 34], dtype=np.int64)
            constant.CopyFrom(onnx.numpy_helper.from_array(shape, constant.name))
    last = graph.node[-1]
    assert last.op_type == "Reshape", "another version of the teacher"
    source, result = last.input[0], last.output[0]
    graph.node.remove(last)
    graph.node.append(onnx.helper.make_node("Identity", [source], [result]))
    graph.input[0].type.tensor_type.shape.dim[1].dim_param = "frames"
    del graph.output[:], graph.value_info[:]
    graph.output.append(onnx.helper.make_tensor_value_info(result, 1, None))
    return model.SerializeToString()


def manifest(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def read(path):
    pcm, rate = soundfile.read(path, dtype="int16")
    if rate != RATE or pcm.ndim != 1:
        raise SystemExit(f"{path}: expected 16 kHz mono, found {rate} Hz, {pcm.shape}")
    return pcm


def drawing_weights(clips):
    """As in pretraining: a word spoken a thousand times teaches less a clip than a sentence once.
    A clip without a transcript counts as said once."""
    copies = collections.Counter(clip.get("text") for clip in clips)
    copies[None] = 1
    rarity = [min(1, max(0.05, 20 / copies[clip.get("text")])) for clip in clips]
    weights = np.array([(r * clip["duration"]) ** 0.5 for r, clip in zip(rarity, clips)])
    return weights / weights.sum()


def compose(clips, weights, noise, draw, generator):
    """A minute of clips with pauses, and the labels of those that are speech."""
    parts, labels, at = [], [], 0
    while at < STREAM_SAMPLES:
        pause = int(RATE * draw.uniform(0.03, 0.5))
        parts.append(generator.standard_normal(pause) * draw.choice([1, 3, 10]))
        at += pause
        if noise and draw.random() < 0.03:
            clip, speed = None, 1
            sound = read(draw.choice(noise)["audio_filepath"])[: 5 * RATE].astype(float)
        else:
            clip = clips[generator.choice(len(clips), p=weights)]
            sound = read(clip["audio_filepath"]).astype(float)
            speed = draw.choice([1, 1, draw.uniform(0.86, 1.16)])
        if len(sound) > LONGEST_SAMPLES:
            continue
        if speed != 1:
            sound = np.interp(np.arange(0, len(sound) - 1, speed), np.arange(len(sound)), sound)
        gain = 10 ** (draw.uniform(-10, 10) / 20)
        parts.append(sound * min(gain, 30_000 / (np.abs(sound).max() + 1)))
        if clip is not None:
            label = {key: clip.get(key) for key in ("text", "lang", "kind")}
            times = {"start_s": round(at / RATE, 3), "end_s": round((at + len(sound)) / RATE, 3)}
            if label["text"]:
                labels.append(times | label)
        at += len(sound)
    return np.clip(np.concatenate(parts), -32768, 32767).astype(np.int16), labels


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", required=True, help="folder of the teacher's ONNX files")
    parser.add_argument("--train", required=True, nargs="+", help="manifests of the speech")
    parser.add_argument("--noise", nargs="+", default=[], help="manifests of noise")
    parser.add_argument("--without", nargs="*", default=[], help="sources to leave out")
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--floor-db", type=float, help="level of silence, e.g. 0; default: 80 dB below each minute's loudest")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    args = parser.parse_args()
    draw, generator = random.Random(args.seed), np.random.default_rng(args.seed)
    clips = [clip for path in args.train for clip in manifest(path)]
    clips = [c for c in clips if c.get("source") not in args.without and c["duration"] > 0.15]
    noise = [clip for path in args.noise for clip in manifest(path)]
    weights, teacher = drawing_weights(clips), Teacher(args.models, args.floor_db)
    args.out.mkdir(parents=True, exist_ok=True)
    samples = number = 0
    with open(args.out / "streams.jsonl", "w", encoding="utf-8") as streams:
        while samples < args.hours * 3600 * RATE:
            pcm, labels = compose(clips, weights, noise, draw, generator)
            np.save(args.out / f"{number:04}.npy", teacher.embed(pcm))
            with wave.open(str(args.out / f"{number:04}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(RATE)
                file.writeframes(pcm.tobytes())
            line = {"audio": f"{number:04}.wav", "targets": f"{number:04}.npy", "clips": labels}
            streams.write(json.dumps(line, ensure_ascii=False) + "\n")
            samples += len(pcm)
            number += 1
    teacher = {"name": "speech_embedding", "hop_s": 0.08, "first_s": 0.775}
    (args.out / "teacher.json").write_text(json.dumps(teacher) + "\n")


if __name__ == "__main__":
    main()
