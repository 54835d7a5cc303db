"""Score the sentences of the front page: ``python -m site_build.surprise runs/toy-...``, a run of `minilstm train`.

Writes site/surprise.json: how surprised the model is by each word of two sentences, and the probabilities that the
model and the grammar of the toy language give to the words a visitor can choose. Building the site trains nothing.
"""

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from minilstm.device import select_device
from minilstm.runs.session import open_run
from minilstm.runs.surprise import COLOURS
from minilstm.score import score
from minilstm.text.corpus import load_corpus
from minilstm.text.grammar import read_grammar

OUTPUT = Path(__file__).parents[1] / "site/surprise.json"
TOP = 16  # bits at the top of the scale of colours

SENTENCES = (
    "the sailor whom the hungry cats watch steers the ship .",
    "the sailor whom the hungry cats watch steer the ship .",
)
ROUNDS = (
    ("seven ghosts whom the curious octopus ignores never haunt the castle but", "haunt dreams dream hum"),
    ("gustav hid the lamp in the attic , but nobody in the attic wanted the", "attic lamp spoons violin"),
    ("theo said : \" the ghost rattles the staircase .", '" and <eos> on'),
    ("the old", "tailor baker ghost doctor"),
    ("the sailor whom the hungry cats watch", "steer steers haunts cats"),
)  # fmt: skip


def round_to(p):
    """Three digits of a probability."""
    return float(f"{p:.3g}")


def main(run):
    """Write site/surprise.json from the checkpoint of a run."""
    xp, _ = select_device("cpu")
    state, vocabulary, _ = open_run(Path(run), xp, "last")
    grammar = read_grammar(load_corpus().grammar)

    def bits_of(text):
        ids = [vocabulary.index(word) for word in text.split()]
        return -score(state.params, state.config, vocabulary, ids) / np.log(2)

    def coloured(text):
        shades = [(word, bits, min(bits / TOP, 1)) for word, bits in zip(text.split(), bits_of(text), strict=True)]
        colours = colormaps[COLOURS]
        return [
            {"word": word, "bits": round(bits, 1), "colour": to_hex(colours(shade)), "dark": bool(shade > 0.6)}
            for word, bits, shade in shades
        ]

    def probabilities(context, words):
        place = grammar.start()
        for word in context.split():
            _, place = grammar.advance(place, word)
        exact = grammar.next_words(place)
        model = {word: 2 ** -bits_of(f"{context} {word}")[-1] for word in words.split()}
        return [
            {"word": word, "model": round_to(p), "grammar": round_to(exact.get(word, 0))} for word, p in model.items()
        ]

    data = {
        "sentences": [coloured(sentence) for sentence in SENTENCES],
        "rounds": [{"context": context, "words": probabilities(context, words)} for context, words in ROUNDS],
    }
    OUTPUT.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m site_build.surprise RUN")
    main(sys.argv[1])
