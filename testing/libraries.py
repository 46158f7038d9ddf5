"""The reference libraries: heavy, untyped and talkative, so imported when first needed and kept quiet."""

import functools
import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet() -> Iterator[None]:
    """NeMo, Lightning and transformers warn about themselves; only our own warnings are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@functools.cache
def nemo_models() -> Any:
    """NeMo's module of ASR models. Importing it takes many seconds, so it happens when first needed."""
    with quiet():
        models = importlib.import_module("nemo.collections.asr.models")
        importlib.import_module("nemo.collections.asr.models.rnnt_bpe_models_prompt")
        importlib.import_module("nemo.utils").logging.setLevel(50)
    return models
