#!/usr/bin/env python3
"""The line to beat: a logistic regression on Google's speech_embedding, on the test data of `noise_bench`.

    pip install numpy onnx onnxruntime soundfile scikit-learn
    noise_bench --data DIR --out runs/noise --samples 5 20 --seeds 3 --dump runs/dump
    embedding_baseline.py --models openwakeword/resources/models --dump runs/dump \\
      --negatives DIR/manifest/train.jsonl --noise DIR/manifest/noise-train.jsonl --out runs/baseline.csv

A score is the regression's logit on the last 16 embeddings (1.28 s), flattened and standardized. Each
recording is trained on in many copies with noise, babble, rooms, gain and shift; the negatives are the
training split, then once more its windows that scored highest. The network is the one of `teach.py`,
with silence at a fixed level, as a stream has it. Trials that are already in --out are not repeated.

The regularization is strong: 1536 inputs against twenty recordings. With C = 0.01 a few outliers among
the negatives set the threshold, and a quarter of the phrases are missed in quiet.
"""
import argparse
import collections
import csv
import json
import pathlib

import numpy as np
import onnxruntime
import scipy.signal
import soundfile
from sklearn.linear_model import LogisticRegression

from teach import RATE, Teacher, manifest

ROWS = 16
HOP_S, FIRST_S = 0.08, 0.775
COPIES = 40
C = 1e-4
# One window in EVERY is a negative of the first fit; HARD windows of each minute join for the second.
EVERY, HARD = 16, 20
# Mel powers below this many dB count as silence: less than one step of an i16 sample.
FLOOR_DB = 0.0
RATE_PER_HOUR = 0.5
# A detection is the highest score within this many rows; as long a pause follows it.
REFRACTORY_ROWS = 12
# Rows after the end of a recording that still count as a hit: 0.5 s.
LATE_ROWS = 6


def read(path):
    """Samples at 16 kHz, of the first channel."""
    pcm, rate = soundfile.read(path, dtype="int16", always_2d=True)
    if rate == RATE:
        return pcm[:, 0]
    resampled = scipy.signal.resample_poly(pcm[:, 0].astype(float), RATE, rate)
    return np.clip(resampled, -32768, 32767).astype(np.int16)


def rows_of(seconds):
    return int(np.ceil((seconds - FIRST_S) / HOP_S))


def windows(embeddings):
    """(rows, 96) to (rows - 15, 16 * 96)."""
    view = np.lib.stride_tricks.sliding_window_view(embeddings, ROWS, axis=0)
    return view.transpose(0, 2, 1).reshape(len(view), -1)


def room(pcm, generator):
    """A decaying tail of noise, as a room has."""
    decay = generator.uniform(0.1, 0.6)
    tail = generator.standard_normal(int(decay * RATE))
    tail *= 10 ** (-3 * np.arange(len(tail)) / len(tail))
    tail *= 10 ** (-generator.uniform(0, 12) / 20) / np.sqrt((tail**2).sum())
    size = 1 << int(np.ceil(np.log2(len(pcm) + len(tail))))
    wet = np.fft.irfft(np.fft.rfft(pcm, size) * np.fft.rfft(tail, size), size)
    return pcm + wet[: len(pcm)]


def level(pcm):
    """Energy of the loudest 32 ms, as in the test."""
    sums = np.cumsum(np.concatenate([[0], pcm.astype(np.float64) ** 2]))
    return (sums[512:] - sums[:-512]).max() if len(pcm) > 512 else sums[-1]


class Augmenter:
    def __init__(self, noise, talk, seed):
        self.noise, self.talk = noise, talk
        self.generator = np.random.default_rng(seed)

    def background(self, samples):
        draw = self.generator
        if draw.random() < 0.35:
            total = np.zeros(samples)
            for _ in range(draw.integers(1, 7)):
                part = loop(self.talk[draw.integers(len(self.talk))], samples, draw)
                # Loud enough that the ones under the roots below do not count.
                total += 1e4 * part * 10 ** (draw.uniform(-6, 6) / 20) / np.sqrt(level(part) + 1)
            return total
        return loop(self.noise[draw.integers(len(self.noise))], samples, draw)

    def copy(self, pcm):
        """Two seconds that end from 0.04 s before to 0.2 s after the phrase does."""
        draw = self.generator
        speed = draw.uniform(0.9, 1.1)
        sound = np.interp(np.arange(0, len(pcm) - 1, speed), np.arange(len(pcm)), pcm)
        if draw.random() < 0.3:
            sound = room(sound, draw)
        # What the recording has around the phrase stays, as in the test.
        end = int(phrase_end(sound) + RATE * draw.uniform(-0.04, 0.2))
        length = int(RATE * (FIRST_S + HOP_S * ROWS))
        sound = np.concatenate([np.zeros(length), sound, np.zeros(RATE)])[: length + end][-length:]
        if draw.random() < 0.8:
            noise = self.background(length)
            ratio_db = draw.uniform(0, 30)
            sound = sound + noise * np.sqrt((level(sound) + 1) / (level(noise) + 1)) * 10 ** (-ratio_db / 20)
        gain = 10 ** (draw.uniform(-10, 10) / 20)
        return np.clip(sound * min(gain, 30_000 / (np.abs(sound).max() + 1)), -32768, 32767).astype(np.int16)


def loop(clip, samples, draw):
    start = draw.integers(len(clip))
    return np.resize(np.roll(clip, -start), samples).astype(float)


def phrase_end(pcm):
    """Sample after the last 20 ms within 30 dB of the loudest."""
    frames = pcm[: len(pcm) // 320 * 320].reshape(-1, 320).astype(float)
    power = (frames**2).mean(1)
    loud = np.flatnonzero(power > power.max(initial=0) / 1000)
    return (loud[-1] + 1) * 320 if len(loud) else len(pcm)


def streams(paths, most_s=60):
    """Joins clips into minutes with pauses of 0.3 s; yields the samples and the numbers of the clips."""
    parts, numbers, length = [], [], 0
    for number, path in enumerate(paths):
        pcm = read(path)
        parts += [pcm, np.zeros(RATE * 3 // 10, np.int16)]
        numbers.append(number)
        length += len(pcm) + RATE * 3 // 10
        if length >= most_s * RATE:
            yield np.concatenate(parts), numbers
            parts, numbers, length = [], [], 0
    if parts:
        yield np.concatenate(parts), numbers


def peaks(scores, threshold):
    """Number of detections of a stream of scores."""
    count, row = 0, 0
    while row < len(scores):
        if scores[row] >= threshold:
            count += 1
            row += REFRACTORY_ROWS
        row += 1
    return count


class Negatives:
    """Windows to train against, and their standardization."""

    def __init__(self, bank, seed):
        generator = np.random.default_rng(seed)
        self.bank = [rows for rows in bank if len(rows) >= ROWS]
        counts = [len(rows) - ROWS + 1 for rows in self.bank]
        some = [windows(r)[generator.integers(n, size=n // EVERY + 1)] for r, n in zip(self.bank, counts)]
        some = np.concatenate(some)
        self.mean, self.deviation = some.mean(0), some.std(0) + 1e-3
        self.some = self.standardized(some)

    def standardized(self, x):
        return ((x - self.mean) / self.deviation).astype(np.float32)

    def hard(self, fit):
        """The windows of each minute that score highest."""
        found = []
        for rows in self.bank:
            scores = fit.score(rows)
            best = np.argsort(scores)[-HARD:]
            found.append(self.standardized(windows(rows)[best[scores[best] > -2]]))
        return np.concatenate([self.some, *found])


class Fit:
    """The regression; `score` gives a logit for each row from the sixteenth on."""

    def __init__(self, positives, negatives, x):
        x = np.concatenate([negatives.standardized(positives), x])
        y = np.arange(len(x)) < len(positives)
        model = LogisticRegression(C=C, class_weight="balanced", max_iter=300).fit(x, y)
        weights = (model.coef_[0] / negatives.deviation).astype(np.float32)
        self.bias = float(model.intercept_[0] - negatives.mean @ weights)
        self.weights = weights.reshape(ROWS, -1)

    def score(self, embeddings):
        count = len(embeddings) - ROWS + 1
        if count < 1:
            return np.zeros(0, np.float32)
        products = embeddings @ self.weights.T
        return self.bias + sum(products[k : k + count, k] for k in range(ROWS))


def threshold_for(streams_of_scores, allowed):
    """Lowest threshold with at most `allowed` detections."""
    candidates = np.unique(np.concatenate(streams_of_scores))[-4000:]
    low, high = 0, len(candidates)
    while low < high:
        middle = (low + high) // 2
        if sum(peaks(s, candidates[middle]) for s in streams_of_scores) <= allowed:
            high = middle
        else:
            low = middle + 1
    return candidates[low] if low < len(candidates) else np.inf


def embedded(teacher, cache, name, make):
    """Embeddings of streams, kept in a file."""
    path = cache / f"{name}.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        arrays = [teacher.embed(pcm) for pcm in make()]
        # A run that is broken off leaves no half of a file behind.
        half = cache / f"{name}.part.npz"
        np.savez(half, **{f"{i:06}": a.astype(np.float16) for i, a in enumerate(arrays)})
        half.replace(path)
    with np.load(path) as file:
        return [file[key].astype(np.float32) for key in sorted(file.files)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", required=True, help="folder of the network's ONNX files")
    parser.add_argument("--dump", required=True, type=pathlib.Path, help="folder that noise_bench --dump wrote")
    parser.add_argument("--negatives", required=True, help="manifest of speech to train against")
    parser.add_argument("--noise", required=True, help="manifest of noise to train with")
    parser.add_argument("--without", nargs="*", default=["gcin"], help="sources to leave out")
    parser.add_argument("--keywords", nargs="*", help="keywords to run; all if none is named")
    parser.add_argument("--conditions", nargs="*", help="conditions to test in; all if none is named")
    parser.add_argument("--samples", nargs="*", type=int, help="numbers of recordings; all if none is named")
    parser.add_argument("--seeds", type=int, default=99, help="number of seeds; all by default")
    parser.add_argument("--cache", type=pathlib.Path, help="folder for embeddings; default DUMP/embedded")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    args = parser.parse_args()
    onnxruntime.set_default_logger_severity(3)
    teacher, cache = Teacher(args.models, FLOOR_DB), args.cache or args.dump / "embedded"
    dump = json.loads((args.dump / "dump.json").read_text(encoding="utf-8"))
    at = lambda path: str(args.dump / path)
    conditions = [c for c in dump["conditions"] if not args.conditions or c in args.conditions]

    train = [c for c in manifest(args.negatives) if c.get("source") not in args.without]
    talk = [read(c["audio_filepath"]) for c in train[::7] if c["duration"] > 1.5]
    noise = [read(c["audio_filepath"]) for c in manifest(args.noise) if c["duration"] > 0.2]
    bank = embedded(teacher, cache, "train", lambda: (s for s, _ in streams(c["audio_filepath"] for c in train)))
    noise_paths = [c["audio_filepath"] for c in manifest(args.noise)]
    bank += embedded(teacher, cache, "train-noise", lambda: (s for s, _ in streams(noise_paths)))
    negatives = Negatives(bank, seed=0)
    speech_paths = [s["path"] for s in dump["speech"]]
    members = [numbers for _, numbers in streams(speech_paths)]
    speech = embedded(teacher, cache, "speech", lambda: (s for s, _ in streams(speech_paths)))
    done = set()
    if args.out.exists():
        done = {(r["keyword"], int(r["samples"]), int(r["seed"])) for r in csv.DictReader(open(args.out, encoding="utf-8"))}
    else:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with open(args.out, "w", encoding="utf-8") as file:
            file.write("keyword,samples,seed,condition,misses,recordings,false_accepts,hours\n")

    for number, (name, keyword) in enumerate(sorted(dump["keywords"].items())):
        if args.keywords and name not in args.keywords:
            continue
        others = [
            row for row, numbers in zip(speech, members)
            if not any(name in dump["speech"][n]["text"].lower() for n in numbers)
        ]
        hours = sum(len(s) for s in others) * HOP_S / 3600
        clips = {
            condition: embedded(
                teacher, cache, f"{number:02}-{index}",
                lambda: (read(at(c["path"])) for c in keyword["clips"][condition]),
            )
            for index, condition in enumerate(dump["conditions"]) if condition in conditions
        }
        for trial in keyword["trials"]:
            key = (name, trial["samples"], trial["seed"])
            unwanted = trial["seed"] >= args.seeds or args.samples and trial["samples"] not in args.samples
            if unwanted or key in done:
                continue
            augmenter = Augmenter(noise, talk, trial["seed"])
            recordings = [read(path) for path in trial["train"]]
            copies = max(COPIES, 400 // len(recordings))
            positives = np.concatenate([
                windows(teacher.embed(augmenter.copy(pcm)))[-1:] for pcm in recordings for _ in range(copies)
            ])
            fit = Fit(positives, negatives, negatives.some)
            fit = Fit(positives, negatives, negatives.hard(fit))
            scores = [fit.score(s) for s in others]
            threshold = threshold_for([s for s in scores if len(s)], int(RATE_PER_HOUR * hours))
            false_accepts = sum(peaks(s, threshold) for s in scores)
            with open(args.out, "a", encoding="utf-8") as file:
                for condition in conditions:
                    misses = 0
                    for position in trial["test"]:
                        clip = keyword["clips"][condition][position]
                        scored = fit.score(clips[condition][position])
                        first = max(0, rows_of(clip["start"] / RATE) - (ROWS - 1))
                        last = rows_of(clip["end"] / RATE) - (ROWS - 1) + LATE_ROWS
                        misses += not (scored[first:last] >= threshold).any()
                    file.write(f"{name},{trial['samples']},{trial['seed']},{condition},{misses},{len(trial['test'])},{false_accepts},{hours:.2f}\n")
            print(key, f"threshold {threshold:.2f}, {len(positives)} positives, {len(negatives.some)} negatives", flush=True)
    report(args.out)


def report(path):
    """Mean misses of the keywords, in percent, by recordings and condition."""
    sums = collections.defaultdict(list)
    for row in csv.DictReader(open(path, encoding="utf-8")):
        sums[int(row["samples"]), row["condition"]].append(100 * int(row["misses"]) / max(1, int(row["recordings"])))
    for (samples, condition), misses in sorted(sums.items()):
        print(f"{samples:3} recordings, {condition:14}: {np.mean(misses):5.1f} % of {len(misses)} trials")


if __name__ == "__main__":
    main()
