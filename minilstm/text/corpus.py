"""Text to ids: finding the splits of a corpus, reading them, and the vocabulary.

Tokens are separated by whitespace, and each newline is the token <eos>. The vocabulary is that of the training split,
by decreasing frequency, ties alphabetically. Words of the other splits that the training split lacks become <unk>,
provided the vocabulary has it: from the training text, or because min_count is above 1.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilstm.errors import UserError
from minilstm.files import open_regular
from minilstm.types import Array

EOS, UNK = "<eos>", "<unk>"
SPLITS = "train", "valid", "test"
FILE_NAMES = "ptb.{}.txt", "{}.txt", "wiki.{}.tokens"
SPLIT_POINTS = 0.90, 0.95  # where a single file is divided into train, valid and test
CHUNK_SIZE = 2**16  # characters read at a time: a whole text may be a single line


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


class TextSlice(NamedTuple):
    """Lines start to stop - 1 of a text file, counted from 0; a stop of None is the end of the file."""

    path: Path
    start: int = 0
    stop: int | None = None

    def iter_chunks(self) -> Iterator[tuple[int, list[str]]]:
        """Read the lines in bounded memory: a line longer than CHUNK_SIZE arrives in several chunks.

        Yields
        ------
        line_number : int
            From 1.
        words : list of str
            The last one is <eos> where the line ends.
        """
        line_number, partial_word = 1, ""
        try:
            with open(self.path, encoding="utf-8-sig", opener=open_regular) as file:
                while (chunk := file.readline(CHUNK_SIZE)) and (self.stop is None or line_number <= self.stop):
                    line_ends = chunk.endswith("\n")
                    if line_number > self.start:
                        words = (partial_word + chunk).split()
                        # the last word may continue in the next chunk
                        continues = words and len(chunk) == CHUNK_SIZE and not chunk[-1].isspace()
                        partial_word = words.pop() if continues else ""
                        if "\0" in chunk or len(partial_word) > CHUNK_SIZE:
                            what = "a NUL byte" if "\0" in chunk else f"a word of over {CHUNK_SIZE:,} characters"
                            raise UserError(
                                f"{self.path} line {line_number} has {what}; give UTF-8 text, not a binary file"
                            )
                        yield line_number, [*words, EOS] if line_ends else words
                    line_number += line_ends
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path} is not UTF-8 text ({error.reason}); convert it first") from None
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror}; give a text file") from None
        if partial_word:
            yield line_number, [partial_word]

    def words(self) -> Iterator[str]:
        """All tokens in order."""
        return (word for _, words in self.iter_chunks() for word in words)


def toy_directory() -> Path:
    """The directory of the embedded toy corpus, in an installed package or in a clone."""
    package = Path(__file__).parents[1]
    return next(path for path in (package / "data/toy", package.parent / "data/toy") if path.is_dir())


def load_corpus(path: str | os.PathLike[str] | None = None, min_count: int = 1) -> Corpus:
    """Read a corpus.

    Parameters
    ----------
    path : path, optional
        A directory with ``ptb.train.txt``, ``ptb.valid.txt`` and ``ptb.test.txt`` (or ``train.txt`` ..., or
        ``wiki.train.tokens`` ...), or a single text file, which is split 90/5/5 by lines. By default the embedded toy
        corpus.
    min_count : int
        Training words that occur less often become <unk>, and so do unknown words. With 1 every training word keeps its
        own id, and unknown words become <unk> only if the training text contains that word.

    Returns
    -------
    Corpus

    Raises
    ------
    UserError
        If a file is missing, empty, not a regular file or not UTF-8 text, or contains a word that has no id.

    Examples
    --------
    >>> corpus = load_corpus()
    >>> corpus.vocabulary[:3]
    ['the', '.', '<eos>']
    >>> " ".join(corpus.vocabulary[id] for id in corpus.splits["valid"][:8])
    'the sailor sang : " every tired tailor'
    """
    name = "toy (embedded)" if path is None else str(path)
    path = toy_directory() if path is None else Path(path)
    slices = find_splits(path)
    vocabulary = build_vocabulary(slices["train"], min_count)
    splits = {split: encode(text, vocabulary) for split, text in slices.items()}
    grammar = path / "grammar.txt"
    return Corpus(vocabulary, splits, name, grammar if grammar.exists() else None)


def find_splits(path: Path) -> dict[str, TextSlice]:
    """Locate the three splits: "train", "valid", "test" -> TextSlice."""
    if path.is_dir():
        for names in FILE_NAMES:
            files = {split: path / names.format(split) for split in SPLITS}
            if files["train"].exists():
                missing = [file.name for file in files.values() if not file.exists()]
                if missing:
                    raise UserError(
                        f"{path} has {files['train'].name} but not {' and '.join(missing)}; add the missing files"
                    )
                return {split: TextSlice(file) for split, file in files.items()}
        expected = ", ".join(names.format("train") for names in FILE_NAMES)
        raise UserError(f"{path} contains no corpus: expected one of {expected}; give its directory, or a text file")
    if not path.exists():
        raise UserError(
            f"{path} does not exist; give a text file or a corpus directory ('minilstm download ptb' fetches one)"
        )
    num_lines = max((line_number for line_number, _ in TextSlice(path).iter_chunks()), default=0)
    train_end, valid_end = (int(fraction * num_lines) for fraction in SPLIT_POINTS)
    if not 0 < train_end < valid_end < num_lines:
        raise UserError(
            f"{path} has {num_lines} lines, too few to split 90/5/5; give at least 20, or a directory of three files"
        )
    return {
        "train": TextSlice(path, 0, train_end),
        "valid": TextSlice(path, train_end, valid_end),
        "test": TextSlice(path, valid_end),
    }


def build_vocabulary(text: TextSlice, min_count: int = 1) -> list[str]:
    """The words of the training text by decreasing frequency, ties alphabetically."""
    counts = Counter(text.words())
    if not counts:
        raise UserError(f"{text.path} is empty; a corpus needs training text")
    if min_count > 1:
        rare = [word for word, count in counts.items() if count < min_count and word not in (EOS, UNK)]
        counts[UNK] += sum(counts.pop(word) for word in rare)
    return sorted(counts, key=lambda word: (-counts[word], word))


def encode(text: TextSlice, vocabulary: list[str]) -> Array:
    """The ids of a text, int32 array (tokens,).

    Raises
    ------
    UserError
        If the text is empty, or contains an unknown word and the vocabulary has no <unk>.
    """
    word_to_id = {word: id for id, word in enumerate(vocabulary)}
    unk = word_to_id.get(UNK)

    def iter_ids() -> Iterator[int]:
        for line_number, words in text.iter_chunks():
            for word in words:
                id = word_to_id.get(word, unk)
                if id is None:
                    raise UserError(
                        f"{text.path} line {line_number}: {word!r} is not in the training vocabulary, "
                        f"which has no {UNK}; min_count 2 maps unknown words, and those seen only once, to {UNK}"
                    )
                yield id

    ids = np.fromiter(iter_ids(), dtype=np.int32)
    if not len(ids):
        raise UserError(f"{text.path} is empty; every split needs text")
    return ids


def fingerprint(vocabulary: Sequence[str]) -> str:
    """SHA-256 of the words in order, 64 hexadecimal digits."""
    return hashlib.sha256("\n".join(vocabulary).encode()).hexdigest()


def fingerprints_of_text(splits: dict[str, Array]) -> dict[str, str]:
    """SHA-256 of the ids of each split in order, 64 hexadecimal digits."""
    return {split: hashlib.sha256(ids.tobytes()).hexdigest() for split, ids in splits.items()}
