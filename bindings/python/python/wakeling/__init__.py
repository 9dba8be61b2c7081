"""Wake words by models of Wakeling: detections, scores, and evaluation."""

from ._wakeling import (
    SAMPLE_RATE,
    AudioError,
    Detection,
    Evaluation,
    Model,
    ModelError,
    __version__,
    evaluate,
    read_audio,
)

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
