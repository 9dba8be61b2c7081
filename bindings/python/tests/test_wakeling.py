"""Tests of the wheel against the program.

WAKELING_PROGRAM is the program, WAKELING_MODELS a folder with models, recordings and damaged models, which the test
`python` of the program writes.
"""

import json
import os
import pathlib
import subprocess
import threading

import numpy as np
import pytest

import wakeling

FOLDER = pathlib.Path(os.environ["WAKELING_MODELS"])
PROGRAM = os.environ["WAKELING_PROGRAM"]
MODELS = sorted(FOLDER.glob("*.wkl"))
LOUD = FOLDER / "loud.wkl"
SOUND = FOLDER / "sound.wav"


def simulate(model, *arguments, file=SOUND):
    """Returns the lines of `wakeling simulate --json --scores`: steps and detections."""
    command = [PROGRAM, "simulate", file, "--model", model, "--json", "--scores", *arguments]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout.splitlines()
    lines = [json.loads(line) for line in lines]
    return [line for line in lines if "scores" in line], [line for line in lines if "word" in line]


def loud(seconds=1.0):
    """Silence, then a sawtooth that the model `loud` detects."""
    silence = np.zeros(16_000, dtype=np.int16)
    sound = (np.arange(int(16_000 * seconds)) % 40) * 400 - 8_000
    return np.concatenate([silence, sound.astype(np.int16)])


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
@pytest.mark.parametrize("sensitivity", ["strict", "normal", "eager"])
def test_scores_and_detections_are_those_of_the_program(path, sensitivity):
    steps, detections = simulate(path, "--tail-s", "0", "--sensitivity", sensitivity)
    model = wakeling.Model(path, sensitivity=sensitivity)
    scores = model.scores(wakeling.read_audio(SOUND))
    assert scores.dtype == np.float64 and scores.shape == (len(steps), len(model.keywords))
    expected = [[step["scores"][label] for label in model.keywords] for step in steps]
    # The program rounds, ties away from zero.
    np.testing.assert_array_equal(np.floor(scores * 10_000 + 0.5) / 10_000, expected)
    np.testing.assert_array_equal(model.scores(SOUND), scores)
    np.testing.assert_array_equal(model.scores(str(SOUND)), scores)
    # Push in blocks of any length, of either type.
    pcm = wakeling.read_audio(SOUND)
    for samples in [pcm, pcm.astype(np.float32) / 32_768]:
        found = [found for block in np.array_split(samples, 37) for found in model.push(block)]
        assert [(d.label, d.time) for d in found] == [(d["word"], d["time_s"]) for d in detections]
        assert [np.floor(d.score * 10_000 + 0.5) / 10_000 for d in found] == [d["score"] for d in detections]
        assert all(d.level >= 50 and d.end_samples == round(16_000 * d.time) for d in found)
        model.reset()
    if sensitivity == "normal" and path != LOUD:
        assert detections, "a test of nothing"


def test_model_has_the_texts_of_its_file():
    model = wakeling.Model(LOUD)
    assert (model.keywords, model.name, model.steps_per_second) == (["loud"], "example", 25.0)
    assert repr(model) == 'Model(name="example", keywords=["loud"])'
    for source in [str(LOUD), LOUD.read_bytes(), bytearray(LOUD.read_bytes())]:
        assert wakeling.Model(source).keywords == ["loud"]
    with pytest.raises(TypeError, match="the path or the bytes"):
        wakeling.Model(7)


def test_a_stream_goes_on_until_it_is_reset():
    model = wakeling.Model(LOUD)
    first, last = np.split(loud(), [17_000])
    assert model.push(first) == []
    (found,) = model.push(last)
    assert (found.label, found.end_samples, found.time) == ("loud", 18_240, 1.14)
    assert repr(found).startswith('Detection(label="loud", time=1.14, score=0.')
    # `scores` leaves the stream alone, and so does an empty block.
    model.scores(loud())
    assert model.push(np.zeros(0, dtype=np.int16)) == []
    assert model.scores(np.zeros(0, dtype=np.int16)).shape == (0, 1)
    model.reset()
    assert [d.end_samples for d in model.push(loud())] == [18_240]


def test_thresholds_follow_sensitivity_and_choice():
    model = wakeling.Model(LOUD)
    assert model.sensitivity == "normal" and model.thresholds == pytest.approx([0.5], abs=1e-4)
    model.sensitivity = "strict"
    assert model.thresholds[0] > 0.7
    model.set_threshold(0.999_999, "loud")
    assert model.sensitivity == "chosen"
    assert model.push(loud()) == []
    model.reset()
    assert model.push(loud()) == []
    for score in [0.0, 1.0, -1.0, float("nan"), 2.0]:
        with pytest.raises(ValueError, match="above 0 and below 1"):
            model.set_threshold(score)
    with pytest.raises(ValueError, match='no keyword "quiet"; there are: loud'):
        model.set_threshold(0.5, "quiet")
    with pytest.raises(ValueError, match="strict, normal or eager"):
        model.sensitivity = "loud"
    with pytest.raises(ValueError, match="strict, normal or eager"):
        wakeling.Model(LOUD, sensitivity="")


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(9),
        np.zeros(9, dtype=np.int32),
        np.zeros((9, 2), dtype=np.int16),
        np.zeros(9, dtype=np.uint8),
        np.zeros(9, dtype=">i2"),
        [1, 2, 3],
        None,
        b"abc",
    ],
    ids=repr,
)
def test_samples_of_another_kind_are_rejected(samples):
    with pytest.raises(TypeError, match="one-dimensional numpy array of int16"):
        wakeling.Model(LOUD).push(samples)


def test_samples_in_any_layout_are_accepted():
    expected = wakeling.Model(LOUD).scores(loud())
    stereo = np.stack([loud(), loud()], axis=1)
    np.testing.assert_array_equal(wakeling.Model(LOUD).scores(stereo[:, 0]), expected)
    reversed_twice = loud()[::-1].copy()[::-1]
    np.testing.assert_array_equal(wakeling.Model(LOUD).scores(reversed_twice), expected)
    read_only = loud()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(wakeling.Model(LOUD).scores(read_only), expected)


def test_floats_saturate_and_nan_is_silence():
    model = wakeling.Model(LOUD)
    pattern = np.tile(np.repeat([1, -1], 4), 1_000)
    full = model.scores(np.where(pattern > 0, 32_767, -32_768).astype(np.int16))
    np.testing.assert_array_equal(model.scores(pattern.astype(np.float32)), full)
    np.testing.assert_array_equal(model.scores(pattern.astype(np.float32) * np.inf), full)
    silence = model.scores(np.zeros(8_000, dtype=np.int16))
    np.testing.assert_array_equal(model.scores(np.full(8_000, np.nan, dtype=np.float32)), silence)


def test_damaged_models_raise_and_never_panic():
    files = sorted((FOLDER / "damaged").iterdir())
    assert len(files) > 500
    accepted = 0
    for path in files:
        for source in [path, path.read_bytes()]:
            try:
                model = wakeling.Model(source)
                accepted += 1
            except wakeling.ModelError as error:
                assert isinstance(error, ValueError) and str(error)
                assert not isinstance(source, pathlib.Path) or str(path) in str(error)
                continue
            if path.suffix != ".slow":
                model.push(loud(0.2))
    assert 0 < accepted < len(files)


def test_files_that_cannot_be_read_raise_what_python_raises(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        wakeling.Model(tmp_path / "no.wkl")
    assert caught.value.filename == str(tmp_path / "no.wkl")
    with pytest.raises(FileNotFoundError):
        wakeling.read_audio(tmp_path / "no.wav")
    with pytest.raises(OSError):
        wakeling.Model(tmp_path)
    text = tmp_path / "text.wav"
    text.write_text("no sound at all")
    for call in [wakeling.read_audio, wakeling.Model(LOUD).scores]:
        with pytest.raises(wakeling.AudioError, match="text.wav"):
            call(text)
    with pytest.raises(wakeling.AudioError):
        wakeling.read_audio(LOUD)


def test_read_audio_gives_16_khz_mono():
    pcm = wakeling.read_audio(SOUND)
    assert pcm.dtype == np.int16 and pcm.ndim == 1 and wakeling.SAMPLE_RATE == 16_000


def test_evaluate_counts_what_the_program_detects(tmp_path):
    model = wakeling.Model(LOUD)
    result = wakeling.evaluate(model, [loud(), np.zeros(16_000, dtype=np.int16)], [])
    assert (result.keyword, result.positives, result.misses, result.missed) == ("loud", 2, 1, [1])
    assert result.miss_rate == 0.5 and result.miss_interval[0] < 0.02 and result.miss_interval[1] > 0.98
    assert (result.hours, result.false_accepts_per_hour, result.at_most_per_hour) == (0.0, None, None)
    # Files, and a folder of files.
    folder = tmp_path / "negatives" / "inner"
    folder.mkdir(parents=True)
    (folder / "a.wav").write_bytes(SOUND.read_bytes())
    (folder / "notes.txt").write_text("no recording")
    model = wakeling.Model(MODELS[-1])
    _, detections = simulate(MODELS[-1], "--tail-s", "0")
    expected = [(0, d["time_s"]) for d in detections if d["word"] == model.keywords[0]]
    assert expected
    for negatives in [[SOUND], [wakeling.read_audio(SOUND)], str(tmp_path / "negatives"), iter([str(SOUND)])]:
        result = wakeling.evaluate(model, [], negatives)
        assert result.false_accept_times == expected and result.false_accepts == len(expected)
        assert result.miss_rate is None and result.false_accepts_per_hour is None
    # Of silence, 35 minutes are enough for a rate.
    result = wakeling.evaluate(wakeling.Model(LOUD), [], [np.zeros(16_000 * 60 * 35, dtype=np.int16)])
    assert result.false_accepts_per_hour == 0.0 and 5.0 < result.at_most_per_hour < 5.3
    assert "none in 0.6 h (at most 5.2/h)" in repr(result)


def test_evaluate_of_a_positive_equals_the_program(tmp_path):
    path = MODELS[-1]
    model = wakeling.Model(path)
    _, detections = simulate(path, "--tail-s", "0.5")
    result = wakeling.evaluate(model, [SOUND], [], keyword=model.keywords[-1], lead_s=0, tail_s=0.5)
    assert (result.misses == 0) == any(d["word"] == model.keywords[-1] for d in detections)
    # A detection more than a second after the end of the recording does not count: here it follows 1.5 s after.
    short, late = loud()[:8_000], loud()
    model = wakeling.Model(LOUD)
    assert wakeling.evaluate(model, [late], []).misses == 0
    assert wakeling.evaluate(model, [short], []).misses == 1


def test_evaluate_rejects_what_makes_no_sense(tmp_path):
    model = wakeling.Model(LOUD)
    for keywords in [{"lead_s": -1.0}, {"tail_s": float("nan")}, {"lead_s": 1e9}]:
        with pytest.raises(ValueError, match="must be from 0 to 60 seconds"):
            wakeling.evaluate(model, [], [], **keywords)
    with pytest.raises(ValueError, match="no keyword"):
        wakeling.evaluate(model, [], [], keyword="quiet")
    with pytest.raises(ValueError, match="no recordings in this folder"):
        wakeling.evaluate(model, tmp_path, [])
    with pytest.raises(FileNotFoundError):
        wakeling.evaluate(model, tmp_path / "no", [])
    with pytest.raises(TypeError):
        wakeling.evaluate(model, 7, [])
    with pytest.raises(TypeError):
        wakeling.evaluate(model, [7], [])


def test_other_threads_run_meanwhile():
    model = wakeling.Model(FOLDER / "m.wkl")
    sound = np.zeros(16_000 * 300, dtype=np.int16)
    count, done = 0, threading.Event()

    def compute():
        model.push(sound)
        done.set()

    thread = threading.Thread(target=compute)
    thread.start()
    while not done.wait(0.001):
        count += 1
    thread.join()
    assert count > 20, f"this thread ran {count} times"


def test_threads_share_a_model():
    model = wakeling.Model(LOUD)
    found = []
    blocks = np.array_split(np.tile(loud(), 20), 200)
    lock = threading.Lock()

    def push():
        while True:
            with lock:
                if not blocks:
                    return
                block = blocks.pop(0)
            found.extend(model.push(block))

    threads = [threading.Thread(target=push) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert found
