"""Weights to start a new run from: another run's, or a state dict of PyTorch's word-language-model example.

A state dict does not contain the words: they are in a file vocab.txt beside it, one word per line in the order of the
ids, or they must be those of the corpus.
"""

import math
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minilstm.config import PRESETS, Config
from minilstm.errors import UserError
from minilstm.evaluate import evaluate
from minilstm.files import StrPath, read_bytes
from minilstm.model import weights_dtype
from minilstm.runs.checkpoint import parse_checkpoint
from minilstm.runs.directory import CHECKPOINT, read_description, read_vocabulary
from minilstm.runs.state_dict import by_name, params_of, require_state_dict
from minilstm.runs.tensors import DAMAGE, MAX_FILE_BYTES, parse_header, parse_tensors
from minilstm.text.corpus import Corpus, fingerprint
from minilstm.types import Params

SAMPLE = 1000  # words of the validation text
HOW = "in PyTorch, safetensors.torch.save_model(model, 'model.safetensors') writes one"


class Source(NamedTuple):
    """Weights to start from.

    Attributes
    ----------
    path : Path
        The file.
    digest : str
        Its sha256.
    params : dict of array
        On the host, of any floating-point dtype.
    config : Config
        That of the run; for a state dict, the sizes are the model's and the rest has no meaning.
    of_run : bool
    words : list of str or None
        The vocabulary, if it is known.
    """

    path: Path
    digest: str
    params: Params
    config: Config
    of_run: bool
    words: list[str] | None

    def identity(self) -> dict[str, str]:
        """The file and its contents, as in config.json."""
        return {"path": str(self.path), "sha256": self.digest}

    def describe(self) -> list[str]:
        """Lines that say where weights and words are from."""
        words = self.path.with_name("vocab.txt")
        if self.words is None:
            order = "in our order, by decreasing frequency, ties alphabetically"
            return [f"Weights: {self.path}", f"Vocabulary: that of the corpus, {order}, because {words} does not exist"]
        return [f"Weights: {self.path}", f"Vocabulary: {words}"]


def open_source(path: StrPath) -> Source:
    """Read weights to start from.

    Parameters
    ----------
    path : path
        The directory of a run, or one of its checkpoints, or a state dict.

    Raises
    ------
    UserError
        If it does not exist, or is not a model of this kind.
    """
    path = Path(path)
    if path.is_dir():
        read_description(path)
        path /= CHECKPOINT
    path = path.absolute()
    try:
        contents = read_bytes(path, MAX_FILE_BYTES)
        header = parse_header(contents)
        metadata = header.pop("__metadata__", {})
        ours = "minilstm" in metadata
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give the directory of a run, or a .safetensors file") from None
    except (OSError, *DAMAGE) as error:
        raise UserError(f"{path} is not a safetensors file ({error}); {HOW}") from None
    if ours:
        state, _ = parse_checkpoint(path, contents)
        words = known_words(path, len(state.params["decoder.bias"]))
        if words is None or fingerprint(words) != state.vocabulary:
            what = "does not exist" if words is None else "is not that of the model"
            raise UserError(f"{path.with_name('vocab.txt')} {what}; restore the one that the run has written")
        return Source(path, sha256(contents).hexdigest(), state.params, state.config, True, words)
    try:
        config = require_state_dict(by_name(header, metadata))
        params, config = params_of(by_name(parse_tensors(contents)[0], metadata), config)
    except DAMAGE as error:
        raise UserError(f"{path} cannot be used: {error}") from None
    words = known_words(path, len(params["decoder.bias"]))
    return Source(path, sha256(contents).hexdigest(), params, config, False, words)


def known_words(path: Path, num_words: int) -> list[str] | None:
    """The words in a vocab.txt beside a file, if there is one."""
    vocabulary = path.with_name("vocab.txt")
    if not vocabulary.exists():
        return None
    words = read_vocabulary(path.parent, num_words)
    if len({*words}) != num_words or any(word.endswith("\r") for word in words):
        why = "the same word twice" if len({*words}) != num_words else "a carriage return at the end of a line"
        raise UserError(f"{vocabulary} has {why}; write one word per line, in the order of the ids")
    return words


def config_from(source: Source, overrides: dict[str, Any]) -> Config:
    """The config of the new run: what is given, then the values of the run or preset to start from.

    Raises
    ------
    UserError
        If a value that is given does not fit the weights, or their words.
    """
    fixed = ["hidden_size", "num_layers", "embedding_size", "tie_weights", *(["unit"] if source.of_run else [])]
    for name in fixed:
        there = getattr(source.config, name)
        given = overrides.get(name, there)
        if name == "embedding_size":  # where 0 is hidden_size
            there, given = there or source.config.hidden_size, given or source.config.hidden_size
        if given != there:
            raise UserError(f"{name} is {there} in {source.path}, not {given}; omit it, or use other weights")
    if source.words is not None and "min_count" in overrides:
        raise UserError("min_count has no effect on the words of weights to start from; omit it")
    base = PRESETS[overrides.get("model", "toy")] if "model" in overrides or not source.of_run else source.config
    return replace(base, **{name: getattr(source.config, name) for name in fixed})


def fit_params(source: Source, config: Config) -> Params:
    """The parameters in the dtype of a config, so that the model computes the same with that config's forget_bias."""
    dtype = weights_dtype(config)
    params = {}
    for name, values in source.params.items():
        if name.startswith("rnn.bias") and config.forget_bias != source.config.forget_bias:
            H, values = len(values) // 4, values.astype(np.float64)
            values[H : 2 * H] += source.config.forget_bias - config.forget_bias
        with np.errstate(over="ignore"):
            params[name] = values.astype(dtype, copy=False)
        if not np.isfinite(params[name]).all():
            raise UserError(f"{source.path}: {name} contains a value that is not finite in {dtype}; use other weights")
    return params


def initial_params(source: Source, config: Config, corpus: Corpus) -> Params:
    """The parameters of a new run on a corpus; raises as `fit_params` and `require_words` do."""
    params = fit_params(source, config)
    require_words(source, params, config, corpus)
    return params


def reopen_source(init_from: dict[str, str]) -> Source:
    """The source that a run's config.json names.

    Raises
    ------
    UserError
        If it has changed since the run was started.
    """
    source = open_source(init_from["path"])
    if source.digest != init_from["sha256"]:
        raise UserError(f"{source.path} has changed since the run was started from it; start again with --overwrite")
    return source


def require_words(source: Source, params: Params, config: Config, corpus: Corpus) -> None:
    """Refuse weights whose words are not known and cannot be those of a corpus.

    Raises
    ------
    UserError
        If their number is another, or a sample of the text is far less probable than random guessing would make it.
    """
    if source.words is not None:
        return
    num_words, vocabulary = len(params["decoder.bias"]), source.path.with_name("vocab.txt")
    what = f"write its words, one per line in the order of the ids, to {vocabulary}"
    if num_words != len(corpus.vocabulary):
        raise UserError(f"{source.path} has {num_words:,} words, the corpus {len(corpus.vocabulary):,}; {what}")
    sample, found = corpus.splits["valid"][:SAMPLE], math.inf
    with suppress(UserError):  # not finite
        found = evaluate(params, replace(config, dtype=weights_dtype(config)), "test", sample)
    if found > 2 * num_words:
        raise UserError(f"{source.path} has its words in another order than the corpus, or does not fit it; {what}")
