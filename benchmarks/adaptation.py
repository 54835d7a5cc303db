"""What a cache and dynamic evaluation give a trained model, with values chosen at the beginning of the validation text.

    python -m benchmarks.adaptation runs/hour --data data/ptb

The values are chosen one after another, each where the perplexity of the first words of the validation text is lowest:
the cache's theta, lambda and size, and the rate of dynamic evaluation. Then the test text is read once with each. All
trials are kept, with their seconds, in adaptation-RUN.json. With `--threads 1`, on a core of an AMD EPYC, `hour` takes
seven minutes.
"""

import sys
import time
from pathlib import Path

from benchmarks.machine import describe, make_parser, write
from minilstm.arguments import positive
from minilstm.blocks import use_threads
from minilstm.cache import evaluate_with_cache
from minilstm.dynamic import evaluate_dynamically
from minilstm.errors import UserError
from minilstm.evaluate import evaluate
from minilstm.runs.checkpoint import load_checkpoint
from minilstm.runs.directory import read_vocabulary
from minilstm.text.corpus import load_corpus

FIRST = {"size": 500, "theta": 0.3, "weight": 0.1}  # the cache to begin with; weight is lambda
TRIALS = {"theta": (0.3, 0.5, 0.7, 1.0), "weight": (0.05, 0.1, 0.15, 0.2), "size": (500, 1500)}
RATES = 0.05, 0.1, 0.2


def timed(function, *args, **options):
    """(result, seconds) of a call."""
    begin = time.perf_counter()
    return function(*args, **options), round(time.perf_counter() - begin, 1)


def choose(measure):
    """The best values for the cache and the best rate, and all trials. `measure(values)` is (perplexity, seconds)."""
    trials, best = [], dict(FIRST)

    def tried(values):
        for trial in trials:
            if trial["values"] == values:
                return trial["perplexity"]
        value, seconds = measure(values)
        trials.append({"values": values, "perplexity": value, "seconds": seconds})
        print(f"  {values}: {value:.3f}, {seconds} s", flush=True)
        return value

    for name, values in TRIALS.items():
        best[name] = min(values, key=lambda value, name=name: tried(best | {name: value}))
    rate = min(RATES, key=lambda rate: tried({"rate": rate}))
    return best, {"rate": rate}, trials


def adapt(run, data, first, out):
    """Choose, read the test text, and write the result."""
    out.mkdir(parents=True, exist_ok=True)
    state = load_checkpoint(run / "checkpoint.safetensors", with_moments=False)
    vocabulary = read_vocabulary(run, len(state.params["decoder.bias"]))
    texts = load_corpus(data, unit=state.config.unit, vocabulary=vocabulary).splits
    beginning = texts["valid"][:first]

    def measure(values, text=beginning):
        if not values:  # the model by itself, on one stream as well
            return timed(evaluate, state.params, state.config, "test", text)
        function = evaluate_dynamically if "rate" in values else evaluate_with_cache
        return timed(function, state.params, state.config, text, **values)

    alone = measure({})[0]
    print(f"the first {len(beginning):,} words of the validation text, by the model: {alone:.3f}", flush=True)
    cache, dynamic, trials = choose(measure)
    rows = []
    for values in ({}, cache, dynamic):
        value, seconds = measure(values, texts["test"])
        chosen_with = next((trial["perplexity"] for trial in trials if trial["values"] == values), alone)
        rows.append({"values": values, "valid": chosen_with, "test": value, "seconds": seconds})
        print(f"test, {values or 'the model'}: {value:.3f}, {seconds} s", flush=True)
    path = out / f"adaptation-{run.absolute().name}.json"
    write({"machine": describe("cpu"), "words": len(beginning), "trials": trials, "rows": rows}, path)
    print(f"written: {path}")


def main():
    parser = make_parser("adaptation", __doc__)
    parser.add_argument("run", type=Path, help="directory of a run")
    parser.add_argument("--data", type=Path, required=True, help="folder of the text that it was trained on")
    parser.add_argument(
        "--first", type=positive, default=20_000, help="words of the validation text to choose with (20000)"
    )
    parser.add_argument("--threads", type=positive, help="threads (all processors)")
    args = parser.parse_args()
    if args.threads:
        use_threads(args.threads)
    try:
        adapt(args.run, args.data, args.first, args.out)
    except (UserError, OSError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
