"""Text to ids to batches: vocabulary, streams and windows, as the PTB scripts have them.

The vocabulary comes from the training text, by falling count, then by word; a newline is the word <eos>.

    row b of the batch is    ids[b * batch_len : (b + 1) * batch_len]         batch_len = len(ids) // B
    window k is              columns kT .. (k + 1)T, its targets the columns one later

so row b of window k + 1 goes on where row b of window k stopped, and the state can be carried over.
"""

import hashlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilstm.errors import UserError
from minilstm.files import open_regular

EOS, UNK = "<eos>", "<unk>"
SPLITS = "train", "valid", "test"
FILE_NAMES = "ptb.{}.txt", "{}.txt", "wiki.{}.tokens"
SHARES = 0.90, 0.95  # where a single file is cut into train, valid and test
PIECE = 2**16  # characters of a line that are read at once: a whole text may be one line


class Corpus(NamedTuple):
    """A text as ids.

    Attributes
    ----------
    vocabulary : list of str
        The word of each id.
    splits : dict
        "train", "valid", "test" -> int32 array (tokens,).
    name : str
        Where the text is, for people.
    grammar : Path or None
        The grammar that wrote the text, where it lies beside it.
    """

    vocabulary: list
    splits: dict
    name: str
    grammar: Path | None


def toy_directory():
    """The embedded toy corpus: inside an installed package, or beside it in a clone."""
    package = Path(__file__).parents[1]
    return next(path for path in (package / "data/toy", package.parent / "data/toy") if path.is_dir())


def load_corpus(path=None, min_count=1):
    """Read a corpus.

    Parameters
    ----------
    path : path, optional
        A directory with ``ptb.train.txt``, ``ptb.valid.txt`` and ``ptb.test.txt`` (or ``train.txt`` ..., or
        ``wiki.train.tokens`` ...), or one text file, cut 90/5/5 by lines. By default the embedded toy corpus.
    min_count : int
        Training words seen less often become <unk>, and so do unknown words. With 1 every training word has its id,
        and an unknown word is <unk> only where the training text itself has that word.

    Returns
    -------
    Corpus

    Raises
    ------
    UserError
        If something is missing, empty, not UTF-8 text, no regular file, or holds a word that has no id.

    Examples
    --------
    >>> load_corpus().vocabulary[:3]
    ['the', '.', '<eos>']
    """
    name = "toy (embedded)" if path is None else str(path)
    path = toy_directory() if path is None else Path(path)
    parts = find_parts(path)
    vocabulary = build_vocabulary(parts["train"], min_count)
    splits = {split: encode(part, vocabulary) for split, part in parts.items()}
    grammar = path / "grammar.txt"
    return Corpus(vocabulary, splits, name, grammar if grammar.exists() else None)


class Part(NamedTuple):
    """Lines first .. last of a file; last None is the end."""

    path: Path
    first: int = 0
    last: int | None = None

    def pieces(self):
        """Each line's number, from 1, and its words, <eos> in the newline's place; a long line comes in pieces."""
        number, cut = 1, ""
        try:
            with open(self.path, encoding="utf-8-sig", opener=open_regular) as file:
                while (piece := file.readline(PIECE)) and (self.last is None or number <= self.last):
                    ends = piece.endswith("\n")
                    if number > self.first:
                        words = (cut + piece).split()
                        # the last word may go on in the next piece
                        cut = words.pop() if words and len(piece) == PIECE and not piece[-1].isspace() else ""
                        if "\0" in piece or len(cut) > PIECE:
                            what = "a NUL byte" if "\0" in piece else f"a word of over {PIECE:,} characters"
                            raise UserError(f"{self.path} line {number} has {what}; give UTF-8 text, not a binary file")
                        yield number, [*words, EOS] if ends else words
                    number += ends
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path} is not UTF-8 text ({error.reason}); convert it first") from None
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror}; give a text file") from None
        if cut:
            yield number, [cut]

    def words(self):
        """All words."""
        return (word for _, words in self.pieces() for word in words)


def find_parts(path):
    """Where the three splits are: split -> Part."""
    if path.is_dir():
        for names in FILE_NAMES:
            files = {split: path / names.format(split) for split in SPLITS}
            if files["train"].exists():
                missing = [file.name for file in files.values() if not file.exists()]
                if missing:
                    raise UserError(
                        f"{path} has {files['train'].name} but not {' and '.join(missing)}; add what is missing"
                    )
                return {split: Part(file) for split, file in files.items()}
        wanted = ", ".join(names.format("train") for names in FILE_NAMES)
        raise UserError(f"{path} holds no corpus: looked for {wanted}; give a directory with one, or a text file")
    if not path.exists():
        raise UserError(f"{path} does not exist; give --data a text or directory ('minilstm download ptb' fetches one)")
    num_lines = max((number for number, _ in Part(path).pieces()), default=0)
    train_end, valid_end = (int(share * num_lines) for share in SHARES)
    if not 0 < train_end < valid_end < num_lines:
        raise UserError(
            f"{path} has {num_lines} lines, too few to cut 90/5/5; give at least 20, or a directory of three files"
        )
    return {"train": Part(path, 0, train_end), "valid": Part(path, train_end, valid_end), "test": Part(path, valid_end)}


def build_vocabulary(part, min_count=1):
    """The words of the training text, by falling count, then by word."""
    counts = Counter(part.words())
    if not counts:
        raise UserError(f"{part.path} is empty; a corpus needs text to train on")
    if min_count > 1:
        rare = [word for word, count in counts.items() if count < min_count and word not in (EOS, UNK)]
        counts[UNK] += sum(counts.pop(word) for word in rare)
    return sorted(counts, key=lambda word: (-counts[word], word))


def encode(part, vocabulary):
    """The ids of a text, int32 array (tokens,).

    Raises
    ------
    UserError
        If the text is empty, or has a word that is not in the vocabulary while <unk> is not either.
    """
    index = {word: id for id, word in enumerate(vocabulary)}
    unk = index.get(UNK)

    def ids():
        for number, words in part.pieces():
            for word in words:
                id = index.get(word, unk)
                if id is None:
                    raise UserError(
                        f"{part.path} line {number}: {word!r} is not in the training vocabulary, which has no {UNK}; "
                        "--min-count 2 turns words seen once, and unknown ones, into it"
                    )
                yield id

    ids = np.fromiter(ids(), dtype=np.int32)
    if not len(ids):
        raise UserError(f"{part.path} is empty; every split needs text")
    return ids


def fingerprint(vocabulary):
    """A digest that is equal only for the same words in the same order: 64 hexadecimal digits."""
    return hashlib.sha256("\n".join(vocabulary).encode()).hexdigest()


def fingerprint_of_text(ids):
    """A digest that is equal only for the same ids in the same order: 64 hexadecimal digits."""
    return hashlib.sha256(ids.tobytes()).hexdigest()
