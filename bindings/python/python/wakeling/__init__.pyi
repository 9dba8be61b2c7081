"""Wake words by models of Wakeling: detections, scores, and evaluation."""

import os
from typing import Iterable, Literal, Optional, Union, final

import numpy as np
import numpy.typing as npt

__all__ = [
    "SAMPLE_RATE",
    "AudioError",
    "Detection",
    "Evaluation",
    "Model",
    "ModelError",
    "__version__",
    "evaluate",
    "read_audio",
]

__version__: str

SAMPLE_RATE: int
"""Sample rate of every array of samples: 16,000 Hz."""

_Samples = Union[npt.NDArray[np.int16], npt.NDArray[np.float32]]
_Sensitivity = Literal["strict", "normal", "eager"]
_Path = Union[str, os.PathLike[str]]

class ModelError(ValueError):
    """Model file that is damaged, of another version, or no model at all."""

class AudioError(ValueError):
    """Recording that cannot be used: no audio, damaged, or without a sample."""

@final
class Detection:
    """Keyword that was detected."""

    @property
    def label(self) -> str:
        """Label of the keyword."""
    @property
    def end_samples(self) -> int:
        """Samples from the start of the stream to the decision."""
    @property
    def time(self) -> float:
        """The same in seconds."""
    @property
    def score(self) -> float:
        """Smoothed score, 0 to 1."""
    @property
    def level(self) -> float:
        """Score on a scale of 0 to 100 with the threshold at 50."""

@final
class Model:
    """Model file with the state of one stream. Methods of several threads take turns."""

    def __new__(cls, source: Union[_Path, bytes, bytearray], /, *, sensitivity: _Sensitivity = "normal") -> Model:
        """Loads a model from the path or the bytes of its file.

        Raises ModelError if the bytes are no valid model, and OSError if the file cannot be read.
        """
    @property
    def keywords(self) -> list[str]:
        """Labels of the keywords."""
    @property
    def name(self) -> str:
        """Name of the model."""
    @property
    def pretrained(self) -> str:
        """Name of the pretrained model that it was fine-tuned from."""
    @property
    def provenance(self) -> str:
        """Origin of the model and of its data."""
    @property
    def licence(self) -> str:
        """Licence of the model."""
    @property
    def steps_per_second(self) -> float:
        """Rows of `scores` per second of sound."""
    @property
    def sensitivity(self) -> Literal["strict", "normal", "eager", "chosen"]:
        """Name of the thresholds in force; "chosen" after `set_threshold`."""
    @sensitivity.setter
    def sensitivity(self, sensitivity: _Sensitivity) -> None: ...
    @property
    def thresholds(self) -> list[float]:
        """Score of each keyword from which on it is detected."""
    def set_threshold(self, score: float, /, keyword: Optional[str] = None) -> None:
        """Sets the score, above 0 and below 1, from which on a keyword (the first) is detected."""
    def push(self, samples: _Samples, /) -> list[Detection]:
        """Processes samples of the stream, 16 kHz mono, and returns the detections in them.

        Blocks may have any length; the result does not depend on it. Floating-point samples lie between -1 and 1,
        and are rounded to 16 bits.
        """
    def reset(self) -> None:
        """Starts a new stream, in the initial state. Thresholds stay."""
    def scores(self, samples: Union[_Samples, _Path], /) -> npt.NDArray[np.float64]:
        """Returns the smoothed scores of a recording, from the initial state: (steps, keywords).

        The stream of `push` is not affected. Raises AudioError or OSError if a file cannot be used.
        """

@final
class Evaluation:
    """Misses and false accepts of one keyword."""

    @property
    def keyword(self) -> str:
        """Label of the keyword."""
    @property
    def positives(self) -> int:
        """Number of recordings of the keyword."""
    @property
    def misses(self) -> int:
        """Number of them in which it was not detected."""
    @property
    def missed(self) -> list[int]:
        """Their positions, counted from 0."""
    @property
    def miss_rate(self) -> Optional[float]:
        """Share of misses; None without recordings."""
    @property
    def miss_interval(self) -> tuple[float, float]:
        """Exact 95 % interval of this share (Clopper and Pearson 1934)."""
    @property
    def false_accepts(self) -> int:
        """Number of detections in sound without the keyword."""
    @property
    def false_accept_times(self) -> list[tuple[int, float]]:
        """Position of the recording, and second in it, of each of them."""
    @property
    def hours(self) -> float:
        """Hours of this sound."""
    @property
    def false_accepts_per_hour(self) -> Optional[float]:
        """False accepts per hour; None below half an hour of sound."""
    @property
    def at_most_per_hour(self) -> Optional[float]:
        """Upper 95 % bound of this rate; None below half an hour of sound."""

def evaluate(
    model: Model,
    positives: Union[_Path, Iterable[Union[_Samples, _Path]]],
    negatives: Union[_Path, Iterable[Union[_Samples, _Path]]],
    *,
    keyword: Optional[str] = None,
    lead_s: float = 2.0,
    tail_s: float = 1.2,
) -> Evaluation:
    """Counts misses in recordings of a keyword (the first), and false accepts in sound without it.

    Recordings are arrays or files, or all files in a folder and below it. Each starts in the initial state, with the
    thresholds of the model. Silence of `lead_s` and `tail_s` seconds surrounds a positive recording; it is missed
    unless the keyword is detected in it or within a second after it. Files are read block by block.
    """

def read_audio(path: _Path, /) -> npt.NDArray[np.int16]:
    """Reads a recording of any supported format as 16 kHz mono.

    Raises AudioError if it is no audio or damaged, and OSError if the file cannot be read.
    """
