"""Text to ids: finding the splits of a corpus, and the vocabulary.

Tokens are words or characters, and each newline is the token <eos>; reading.py reads them. The vocabulary is that of
the training split, by decreasing frequency, ties alphabetically. Tokens of the other splits that the training split
lacks become <unk>, provided the vocabulary has it: from the training text, or because min_count is above 1.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilstm.errors import UserError
from minilstm.files import StrPath, read_text
from minilstm.text.reading import EOS, STANDARD_INPUT, STREAM, UNK, TextSlice, as_file
from minilstm.types import Array

SPLITS = "train", "valid", "test"
FILE_NAMES = "ptb.{}.txt", "{}.txt", "wiki.{}.tokens", "wiki.{}.raw"
ADVICE_GIVEN = "give a text of its words; training with min_count 2 makes a model that reads any text"
SPLIT_POINTS = 0.90, 0.95  # where a single file is divided into train, valid and test


class Corpus(NamedTuple):
    """A text as ids.

    Attributes
    ----------
    vocabulary : list of str
        The word of each id.
    splits : dict
        "train", "valid", "test" -> int32 array (tokens,).
    name : str
        The location of the text, for display.
    grammar : Path or None
        The grammar that generated the text, if there is one in the same directory.
    """

    vocabulary: list[str]
    splits: dict[str, Array]
    name: str
    grammar: Path | None


def toy_directory() -> Path:
    """The directory of the embedded toy corpus, in an installed package or in a clone."""
    package = Path(__file__).parents[1]
    return next(path for path in (package / "data/toy", package.parent / "data/toy") if path.is_dir())


def load_corpus(
    path: StrPath | None = None, min_count: int = 1, unit: str = "word", vocabulary: list[str] | None = None
) -> Corpus:
    """Read a corpus.

    Parameters
    ----------
    path : path, optional
        A directory with ``ptb.train.txt``, ``ptb.valid.txt`` and ``ptb.test.txt`` (or ``train.txt`` ..., or
        ``wiki.train.tokens`` ..., or ``wiki.train.raw`` ...), or a single text file, which is split 90/5/5: by lines,
        or by tokens if it has only a few lines (of a single one, without the newline at its end). "-" is standard
        input. Files may be compressed by gzip. By default the embedded toy corpus.
    min_count : int
        Training tokens that occur less often become <unk>, and so do unknown tokens. With 1 every training token keeps
        its own id, and unknown tokens become <unk> only if the training text contains that word.
    unit : {"word", "char"}
        What a token is.
    vocabulary : list of str, optional
        The words to use, in place of those of the training text.

    Returns
    -------
    Corpus

    Raises
    ------
    UserError
        If a file is missing, empty, not a regular file or not UTF-8 text, or contains a token that has no id.

    Examples
    --------
    >>> corpus = load_corpus()
    >>> corpus.vocabulary[:3]
    ['the', '.', '<eos>']
    >>> " ".join(corpus.vocabulary[id] for id in corpus.splits["valid"][:8])
    'the sailor sang : " every tired tailor'
    """
    name = "toy (embedded)" if path is None else STANDARD_INPUT if STREAM.fullmatch(str(path)) else str(path)
    with as_file(toy_directory() if path is None else path) as path:
        slices = find_splits(path, unit)
        words = vocabulary or build_vocabulary(slices["train"], min_count)
        splits = {split: encode(text, words, given=vocabulary is not None) for split, text in slices.items()}
        return Corpus(words, splits, name, find_grammar(path))


def load_text(path: StrPath, vocabulary: list[str], unit: str = "word") -> Array:
    """The ids of a whole text file, int32 array (tokens,), with a given vocabulary; raises as `load_corpus` does."""
    with as_file(path) as path:
        return encode(TextSlice(path, unit), vocabulary, given=True)


def find_grammar(directory: Path) -> Path | None:
    """The grammar.txt of a directory, if it is a grammar of ours: if it has a rule for a sentence."""
    path = directory / "grammar.txt"
    try:
        return path if re.search(r"^\d+\s+Sentence -> ", read_text(path), re.MULTILINE) else None
    except (OSError, UnicodeDecodeError):
        return None


def find_splits(path: Path, unit: str = "word") -> dict[str, TextSlice]:
    """Locate the three splits: "train", "valid", "test" -> TextSlice."""
    if path.is_dir():
        for names in FILE_NAMES:
            files = {split: compressed(path / names.format(split)) for split in SPLITS}
            if files["train"].exists():
                missing = [file.name for file in files.values() if not file.exists()]
                if missing:
                    raise UserError(
                        f"{path} has {files['train'].name} but not {' and '.join(missing)}; add the missing files"
                    )
                return {split: TextSlice(file, unit) for split, file in files.items()}
        expected = ", ".join(names.format("train") for names in FILE_NAMES)
        raise UserError(f"{path} contains no corpus: expected one of {expected}; give its directory, or a text file")
    if not path.exists():
        raise UserError(
            f"{path} does not exist; give a text file or a corpus directory ('minilstm download ptb' fetches one)"
        )
    num_lines = num_tokens = 0
    tokens: list[str] = []
    for num_lines, tokens in TextSlice(path, unit).iter_chunks():  # noqa: B007, the last line's number remains
        num_tokens += len(tokens)
    if num_lines == 1:
        num_tokens -= tokens[-1] == EOS  # the newline at the end of the only line: nothing to learn
    for by, size in (("line", num_lines), ("token", num_tokens)):  # by tokens where there are too few lines
        train_end, valid_end = (int(fraction * size) for fraction in SPLIT_POINTS)
        if 0 < train_end < valid_end < size:
            return {
                "train": TextSlice(path, unit, 0, train_end, by),
                "valid": TextSlice(path, unit, train_end, valid_end, by),
                "test": TextSlice(path, unit, valid_end, size, by),
            }
    hint = "; if it has no blanks, unit char reads its characters" * (unit == "word")
    raise UserError(f"{path} has {num_tokens} tokens, too few to split 90/5/5; give at least 40{hint}")


def compressed(path: Path) -> Path:
    """The path of a file, or that of its compressed form if only that is there."""
    packed = path.with_name(path.name + ".gz")
    return packed if packed.exists() and not path.exists() else path


def build_vocabulary(text: TextSlice, min_count: int = 1) -> list[str]:
    """The tokens of the training text by decreasing frequency, ties alphabetically."""
    counts = Counter(text.tokens())
    if not counts:
        raise UserError(f"{text.path} is empty; a corpus needs training text")
    counts[EOS] += 0  # also of a text of one line: generation begins with it, and other texts may have it
    if min_count > 1:
        rare = [word for word, count in counts.items() if count < min_count and word not in (EOS, UNK)]
        counts[UNK] += sum(counts.pop(word) for word in rare)
    return sorted(counts, key=lambda word: (-counts[word], word))


def encode(text: TextSlice, vocabulary: list[str], given: bool) -> Array:
    """The ids of a text, int32 array (tokens,); `given` vocabularies are not those of the corpus, but of a model.

    Raises
    ------
    UserError
        If the text is empty, or contains an unknown token and the vocabulary has no <unk>.
    """
    word_to_id = {word: id for id, word in enumerate(vocabulary)}
    unk = word_to_id.get(UNK)

    def iter_ids() -> Iterator[int]:
        for line_number, tokens in text.iter_chunks():
            for token in tokens:
                id = word_to_id.get(token, unk)
                if id is None:
                    raise UserError(
                        f"{text.path} line {line_number}: {token!r} is not in the training vocabulary, "
                        f"which has no {UNK}; {ADVICE_GIVEN if given else advice(text)}"
                    )
                yield id

    ids = np.fromiter(iter_ids(), dtype=np.int32)
    if not len(ids):
        raise UserError(f"{text.path} is empty; every split needs text")
    return ids


def advice(text: TextSlice) -> str:
    """What to do about the unknown tokens of a text."""
    counts = Counter(text.tokens())
    lines, words = counts[EOS], [word for word in counts.elements() if word != EOS]
    no_blanks = len(words) < 3 * lines or sum(map(len, words)) > 12 * len(words)
    if text.unit == "word" and no_blanks and len(counts) > 0.3 * counts.total():
        return "hardly any of its words occurs twice (a list, or text without blanks?): unit char reads its characters"
    tokens = "words" if text.unit == "word" else "characters"
    return f"min_count 2 maps unknown {tokens}, and those seen only once, to {UNK}"


def lacks_blanks(corpus: Corpus, unit: str) -> bool:
    """Whether the words of a text are probably none: most lines are one word, or the words are very long."""
    ids = corpus.splits["train"]
    lengths = np.array([len(word) for word in corpus.vocabulary])
    ends = ids == corpus.vocabulary.index(EOS)
    return unit == "word" and bool(ends.mean() > 0.3 or lengths[ids[~ends]].mean() > 12)


def unknown_share(ids: Array, vocabulary: list[str]) -> float:
    """The share of <unk> in a text, from 0 to 1."""
    return float((ids == vocabulary.index(UNK)).mean()) if UNK in vocabulary else 0.0


def fingerprint(vocabulary: Sequence[str]) -> str:
    """SHA-256 of the words in order, 64 hexadecimal digits."""
    return hashlib.sha256("\n".join(vocabulary).encode()).hexdigest()


def fingerprints_of_text(corpus: Corpus) -> dict[str, str]:
    """SHA-256 of the ids of each split in order, and of the grammar if there is one, 64 hexadecimal digits each."""
    contents = {split: ids.tobytes() for split, ids in corpus.splits.items()}
    if corpus.grammar is not None:
        contents["grammar"] = read_text(corpus.grammar).encode()
    return {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
