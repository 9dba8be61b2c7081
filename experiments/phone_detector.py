#!/usr/bin/env python3
"""Detection of a phrase by its phones alone, without any recording, on the test data of `noise_bench`.

    pip install numpy numba jax optax
    noise_bench --data DIR --out runs/noise --samples 20           # fills runs/noise/cache
    phone_streams --train DIR/manifest/train.jsonl --noise DIR/manifest/noise-train.jsonl --out runs/phones
    wakeling check-phrase WORD --language LANGUAGE --json >> runs/words.jsonl
    phone_detector.py train --base base-m.safetensors --streams runs/phones --out runs/phones.npz
    phone_detector.py test --base base-m.safetensors --cache runs/noise/cache --words runs/words.jsonl \\
      [--network runs/phones.npz]

A network turns the embeddings of each step of 40 ms into log-probabilities of phones and of CTC's blank.
Without --network it is the linear CTC head that the base was pretrained with. The score of a phrase is
that of the best path through its phones, with optional blanks between them, which may start at any step
(Viterbi). A step costs at most 10. Nothing normalizes the length: a phrase has a fixed number of phones,
and each gets a threshold of its own, the lowest with at most 0.5 false accepts an hour.

`train` fits two causal convolutions of 128 channels and three taps to the embeddings: by CTC, then by
the task itself. There, in a batch of 48 streams, one to four words of each transcript are searched in
all of them, and the loss is the cross entropy of the stream that contains them.
"""
import argparse
import functools
import json
import pathlib
import queue
import random
import struct
import threading

import numpy as np
from numba import njit, prange

CHANNELS = 192
STEPS_PER_S = 25
RATE_PER_HOUR = 0.5
FLOOR, NEVER = -10.0, -1e4
# A detection is the highest score within this many steps.
REFRACTORY_STEPS = 25
CONDITIONS = ["quiet", "noise 10 dB", "babble 10 dB"]
# Sizes of a batch: streams, steps, phones of a transcript, states of a path (phones and blanks).
STREAMS, STEPS, LABELS, STATES = 48, 160, 90, 27
DISTINCT = 112
LONGEST = (STATES + 1) // 2


class Postcard:
    """Reader of the part of postcard's format that the caches use."""

    def __init__(self, path):
        self.bytes, self.at = memoryview(pathlib.Path(path).read_bytes()), 0

    def number(self):
        value = shift = 0
        while True:
            byte = self.bytes[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def raw(self):
        size = self.number()
        self.at += size
        return self.bytes[self.at - size:self.at]

    def streams(self):
        """Streams of int8 embeddings, each (steps, channels)."""
        return [np.frombuffer(self.raw(), np.int8).reshape(-1, CHANNELS) for _ in range(self.number())]


class Base:
    """What is needed of a pretrained model: tokens, CTC head, range of the embeddings."""

    def __init__(self, path):
        with open(path, "rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
            data = file.read()
        info = json.loads(header.pop("__metadata__")["base"])
        tensor = lambda name: np.frombuffer(
            data[slice(*header[name]["data_offsets"])], np.float32).reshape(header[name]["shape"])
        self.weight, self.bias = tensor("ctc.weight"), tensor("ctc.bias")
        self.names = info["tokens"]["names"]
        self.number = {name: i + 1 for i, name in enumerate(self.names)}
        last = [r for r in info["ranges"] if r[0].endswith(".sum")][-1]
        self.scale = last[2] / 255

    def log_probabilities(self, embeddings):
        x = (embeddings.astype(np.float32) + 128) * self.scale
        return log_softmax(x @ self.weight + self.bias)

    def encode(self, tokens):
        return [self.number[t] for t in tokens if t in self.number]


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


class Network:
    """The trained network, in numpy."""

    def __init__(self, path):
        self.params = dict(np.load(path))

    def log_probabilities(self, embeddings):
        p = self.params
        x = (embeddings.astype(np.float32) + 128) * p["unit"]

        def convolution(x, weight):
            y = np.zeros((len(x), weight.shape[2]), np.float32)
            for tap, w in enumerate(weight):
                late = len(weight) - 1 - tap
                y[late:] += x[:len(x) - late] @ w
            return y
        hidden = np.maximum(convolution(x, p["w1"]) + p["b1"], 0)
        hidden = np.maximum(convolution(hidden, p["w2"]) + p["b2"], 0) + hidden
        return log_softmax(hidden @ p["w3"] + p["b3"])


def states(phones):
    """Token of each state of a path, and whether the blank before it may be left out."""
    ids, skip = [], []
    for i, phone in enumerate(phones):
        if i:
            ids.append(0)
            skip.append(False)
        ids.append(phone)
        skip.append(i > 0 and phone != phones[i - 1])
    return np.array(ids), np.array(skip)


@njit(parallel=True, cache=True)
def best_paths(emissions, starts, lengths, ids, skip, out):
    count = len(ids)
    for s in prange(len(starts)):
        before = np.full(count, NEVER, np.float32)
        after = before.copy()
        for t in range(starts[s], starts[s] + lengths[s]):
            for j in range(count):
                best = before[j] if j else max(before[0], np.float32(0))
                if j > 0:
                    best = max(best, before[j - 1])
                if j > 1 and skip[j]:
                    best = max(best, before[j - 2])
                after[j] = best + emissions[t, ids[j]]
            before[:] = after
            out[t] = after[-1]


@njit(cache=True)
def detections(scores, starts, lengths, refractory):
    """Highest scores of all detections at any threshold."""
    found = []
    for i in range(len(starts)):
        start = starts[i]
        best, at = scores[start], start
        for t in range(start, start + lengths[i]):
            if t - at > refractory:
                found.append(best)
                best, at = scores[t], t
            elif scores[t] > best:
                best = scores[t]
        found.append(best)
    return found


def contains(text, word):
    return word in text if ord(word[0]) > 0x2000 else f" {word} " in f" {text} "


def test(args):
    base = Base(args.base)
    network = Network(args.network) if args.network else base
    cache = {}
    for path in sorted(pathlib.Path(args.cache).glob("*.bin"), key=lambda path: path.stat().st_mtime):
        cache.setdefault(path.stem.rsplit(" ", 1)[0], path)
    speech = Postcard(cache["speech"])
    streams = speech.streams()
    assert speech.number() == 0, "negatives have no recordings"
    texts = [bytes(speech.raw()).decode() for _ in range(speech.number())]
    share = struct.unpack("<d", speech.bytes[speech.at:speech.at + 8])[0]
    lengths = np.array([len(s) for s in streams])
    emit = lambda x: np.maximum(network.log_probabilities(x), FLOOR).astype(np.float32)
    emissions = np.concatenate([emit(s) for s in streams])
    starts = np.r_[0, np.cumsum(lengths)[:-1]]
    print("| word | phones | " + " | ".join(CONDITIONS) + " |\n|---|---|" + "---|" * len(CONDITIONS))
    table = []
    for line in pathlib.Path(args.words).read_text().splitlines():
        check = json.loads(line)
        word, tokens = check["phrase"], check["tokens"]
        ids, skip = states(base.encode(tokens))
        kept = np.array([not contains(text, word) for text in texts])
        scores = np.full(len(emissions), NEVER, np.float32)
        best_paths(emissions, starts[kept], lengths[kept], ids, skip, scores)
        hours = lengths[kept].sum() / STEPS_PER_S / 3600 * share
        peaks = sorted(detections(scores, starts[kept], lengths[kept], REFRACTORY_STEPS), reverse=True)
        threshold = peaks[int(RATE_PER_HOUR * hours)]
        missed = []
        for condition in CONDITIONS:
            clips = Postcard(cache[f"{word} {condition}"])
            embeddings = clips.streams()
            spans = [(clips.number(), clips.number()) for _ in range(clips.number())]
            hits = []
            for x, (start, end) in zip(embeddings, spans):
                out = np.full(len(x), NEVER, np.float32)
                best_paths(emit(x), np.array([0]), np.array([len(x)]), ids, skip, out)
                hits.append(out[start:end].max() > threshold)
            missed.append(100 - 100 * np.mean(hits))
        table.append(missed)
        print(f"| {word} | {' '.join(tokens)} | " + " | ".join(f"{m:.1f}" for m in missed) + " |", flush=True)
    print("| **mean** | | " + " | ".join(f"{m:.1f}" for m in np.mean(table, 0)) + " |")


class Speech:
    """Transcribed streams of `phone_streams`."""

    def __init__(self, folder, base, seed):
        folder = pathlib.Path(folder)
        self.streams = Postcard(folder / "streams.bin").streams()
        lexicon = json.loads((folder / "lexicon.json").read_text())
        self.clips = []
        for line in (folder / "clips.jsonl").read_text().splitlines():
            clip = json.loads(line)
            words = [clip["text"]] if clip["lang"] == "zh" else clip["text"].split()
            phones = [base.encode(lexicon[clip["lang"]][word]) for word in words]
            self.clips.append(phones)
        self.names, self.rng = base.names, random.Random(seed)

    def phrase(self, words):
        """Phones of one to four words that follow each other; of syllables where a text is one word."""
        if len(words) == 1 and any(self.names[t - 1].startswith("zh:") for t in words[0]):
            # A syllable of Mandarin ends with its tone.
            ends = [i + 1 for i, t in enumerate(words[0]) if self.names[t - 1][-1].isdigit()]
            words = [words[0][a:b] for a, b in zip([0, *ends], ends)]
        choices = [(a, b) for a in range(len(words)) for b in range(a + 1, min(len(words), a + 4) + 1)
                   if 4 <= sum(map(len, words[a:b])) <= LONGEST]
        if not choices:
            return None
        first, last = self.rng.choice(choices)
        return [t for word in words[first:last] for t in word]

    def batch(self):
        x = np.full((STREAMS, STEPS, CHANNELS), -128, np.int8)
        mask, absent = np.zeros((STREAMS, STEPS), np.float32), np.ones((STREAMS, LABELS), np.float32)
        labels, fits = np.zeros((STREAMS, LABELS), np.int32), np.zeros(STREAMS, bool)
        ids, skip = np.zeros((STREAMS, STATES), np.int32), np.zeros((STREAMS, STATES), bool)
        last, texts, phrases = np.zeros(STREAMS, np.int32), [], []
        while len(phrases) < STREAMS:
            i = self.rng.randrange(len(self.streams))
            stream, words = self.streams[i], self.clips[i]
            text = [t for word in words for t in word]
            phrase = self.phrase(words)
            if phrase is None or len(stream) > STEPS or len(text) > LABELS:
                continue
            b = len(phrases)
            x[b, :len(stream)], mask[b, :len(stream)] = stream, 1
            labels[b, :len(text)], absent[b, :len(text)] = text, 0
            repeated = sum(a == b for a, b in zip(text, text[1:]))
            fits[b] = len(text) + repeated <= len(stream)
            path, may_skip = states(phrase)
            ids[b, :len(path)], skip[b, :len(path)], last[b] = path, may_skip, len(path) - 1
            texts.append(text)
            phrases.append(phrase)
        within = lambda text, phrase: any(
            text[i:i + len(phrase)] == phrase for i in range(len(text) - len(phrase) + 1))
        same = np.array([[within(t, p) for p in phrases] for t in texts]) | np.eye(STREAMS, dtype=bool)
        distinct = np.full(DISTINCT, -1, np.int32)
        used = np.unique(ids)[:DISTINCT]
        distinct[:len(used)] = used
        return x, mask, labels, absent, fits, ids, skip, last, same, distinct


def train(args):
    import jax
    import jax.numpy as jnp
    import optax

    base = Base(args.base)
    speech = Speech(args.streams, base, args.seed)
    outputs, hidden, taps = len(base.names) + 1, args.hidden, 3
    part = np.concatenate([s.astype(np.float32) + 128 for s in speech.streams[::700]])
    unit = 1 / (part.std(0) + 1)
    keys = jax.random.split(jax.random.PRNGKey(args.seed), 3)
    normal = lambda key, shape: jax.random.normal(key, shape) / np.sqrt(np.prod(shape[:-1]))
    params = {
        "w1": normal(keys[0], (taps, CHANNELS, hidden)), "b1": jnp.zeros(hidden),
        "w2": normal(keys[1], (taps, hidden, hidden)), "b2": jnp.zeros(hidden),
        "w3": normal(keys[2], (hidden, outputs)), "b3": jnp.zeros(outputs),
        "sharpness": jnp.array(0.5),
    }

    def log_probabilities(p, x, key):
        x = (x.astype(jnp.float32) + 128) * unit
        x = x * jax.random.bernoulli(key, 0.9, (x.shape[0], 1, CHANNELS)) / 0.9
        convolution = lambda x, w: jax.lax.conv_general_dilated(
            x, w, (1,), [(taps - 1, 0)], dimension_numbers=("NTC", "TIO", "NTC"))
        h = jax.nn.relu(convolution(x, p["w1"]) + p["b1"])
        h = jax.nn.relu(convolution(h, p["w2"]) + p["b2"]) + h
        return jax.nn.log_softmax(h @ p["w3"] + p["b3"])

    def best_scores(emissions, mask, ids, skip, last, distinct):
        """Highest score of each phrase in each stream, (streams, phrases)."""
        chosen = (ids.reshape(-1)[:, None] == distinct[None]).astype(jnp.float32)
        emissions = jnp.maximum(emissions, FLOOR)[:, :, distinct]
        shape = (emissions.shape[0], *ids.shape)
        late = lambda v, by: jnp.pad(v, ((0, 0), (0, 0), (by, 0)), constant_values=NEVER)[:, :, :STATES]

        def step(carried, given):
            value, best = carried
            emission, is_audio = given
            emission = (emission @ chosen.T).reshape(shape)
            skipped = late(value, 2) + jnp.where(skip, 0, NEVER)[None]
            value = jnp.maximum(jnp.maximum(value, late(value, 1)), skipped).at[:, :, 0].max(0.0)
            value = jnp.maximum(value + emission, NEVER)
            end = jnp.take_along_axis(value, jnp.broadcast_to(last[None, :, None], (*shape[:2], 1)), 2)
            best = jnp.maximum(best, jnp.where(is_audio[:, None] > 0, end[:, :, 0], NEVER))
            return (value, best), None
        start = (jnp.full(shape, NEVER), jnp.full(shape[:2], NEVER))
        steps = (emissions.swapaxes(0, 1), mask.swapaxes(0, 1))
        return jax.lax.scan(jax.checkpoint(step), start, steps)[0][1]

    def loss(p, batch, key, searches):
        x, mask, labels, absent, fits, ids, skip, last, same, distinct = batch
        emissions = log_probabilities(p, x, key)
        ctc = optax.ctc_loss(emissions, 1 - mask, labels, absent) / jnp.maximum(1, (1 - absent).sum(1))
        ctc = jnp.where(fits, ctc, 0).sum() / jnp.maximum(1, fits.sum())
        if not searches:
            return ctc, (ctc, 0.0, 0.0)
        scores = best_scores(emissions, mask, ids, skip, last, distinct) * jnp.abs(p["sharpness"])
        own, others = jnp.diagonal(scores), jnp.where(same, -1e9, scores)
        search = jnp.mean(jnp.logaddexp(own, jax.nn.logsumexp(others, axis=0)) - own)
        return 0.3 * ctc + search, (ctc, search, jnp.mean(own > others.max(0)))

    rate = optax.warmup_cosine_decay_schedule(0, args.rate, args.steps // 20, args.steps, args.rate * 0.02)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=1e-3))
    state = optimizer.init(params)

    @functools.partial(jax.jit, static_argnums=4)
    def update(params, state, batch, key, searches):
        (_, shown), gradients = jax.value_and_grad(loss, has_aux=True)(params, batch, key, searches)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, shown

    batches = queue.Queue(4)

    def feed():
        while True:
            batches.put(speech.batch())
    threading.Thread(target=feed, daemon=True).start()
    recent = []
    for step in range(1, args.steps + 1):
        key = jax.random.PRNGKey(step)
        params, state, shown = update(params, state, batches.get(), key, step > args.ctc_steps)
        recent.append([float(v) for v in shown])
        if step % 100 == 0 or step == args.steps:
            ctc, search, found = np.mean(recent, 0)
            print(f"step {step}: ctc {ctc:.3f} a phone, search {search:.3f}, found {found:.3f}", flush=True)
            recent = []
            np.savez(args.out, unit=unit, **{name: np.asarray(value) for name, value in params.items()})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train")
    command.set_defaults(run=train)
    command.add_argument("--base", required=True)
    command.add_argument("--streams", required=True, help="folder that phone_streams wrote")
    command.add_argument("--steps", type=int, default=4500)
    command.add_argument("--ctc-steps", type=int, default=2000)
    command.add_argument("--hidden", type=int, default=128)
    command.add_argument("--rate", type=float, default=2e-3)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--out", required=True)
    command = commands.add_parser("test")
    command.set_defaults(run=test)
    command.add_argument("--base", required=True)
    command.add_argument("--cache", required=True, help="embeddings that noise_bench cached")
    command.add_argument("--words", required=True, help="lines of check-phrase --json")
    command.add_argument("--network", help="what train wrote; without it, the CTC head of the base")
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
