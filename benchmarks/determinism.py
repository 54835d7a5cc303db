"""Is training on a GPU deterministic? The same steps in two processes must end in the same checkpoint, byte for byte.

    python -m benchmarks.determinism                 # needs a GPU

Writes determinism.json after each case. `small` trains as on the command line, with the fused set in a CUDA graph, on
random words in the frequencies of a text. The exit status is 1 if the bytes of a case differ; then the first step with
another loss is printed. --resume keeps the cases that are there.
"""

import hashlib
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.machine import begin, describe, make_parser, require_gpu, write
from benchmarks.workers import VOCAB_SIZE, alone, random_ids
from minilstm.config import PRESETS
from minilstm.device import select_device, use_precision
from minilstm.gpu import fused
from minilstm.runs.checkpoint import save_checkpoint
from minilstm.step import init_train_state
from minilstm.text.batches import get_batch
from minilstm.train import MAX_PENDING, compile_step

CASES = {"float32": {}, "tf32": {"precision": "tf32"}, "float16": {"dtype": "float16"}}


def train_once(config, steps):
    """The losses of all steps, and the hash of the checkpoint at the end; in a fresh process."""
    cupy, _ = select_device("cuda")
    use_precision(cupy, config.precision)
    state = init_train_state(config, [str(n) for n in range(VOCAB_SIZE)], cupy)
    ids = cupy.asarray(random_ids((steps * config.num_steps + 1, config.batch_size))[0])
    step, losses = compile_step(state, fused), []
    for k in range(steps):
        losses.append(step(*get_batch(ids, k, config.num_steps), config.learning_rate)[0])
        if k % MAX_PENDING == 0:
            float(losses[-1])  # as in training, the host waits for the device now and then
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder, "checkpoint"), state)
        checksum = hashlib.sha256(Path(folder, "checkpoint").read_bytes()).hexdigest()
    return [float(loss) for loss in losses], checksum


def compare(case, steps, preset):
    """One row: two processes, one after the other."""
    config = replace(PRESETS[preset], **CASES[case])
    (losses, one), (others, two) = (alone(train_once, config, steps) for _ in range(2))
    differ = np.flatnonzero(np.array(losses) != np.array(others))
    return {
        "case": case,
        "preset": preset,
        "steps": steps,
        "checksums": [one, two],
        "same": one == two,
        "first_step_that_differs": int(differ[0]) + 1 if differ.size else None,
        "last_loss": losses[-1],
    }


def main():
    parser = make_parser("determinism", __doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="case")
    parser.add_argument("--preset", default="small", choices=PRESETS)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--resume", action="store_true", help="measure only the rows that the JSON file lacks")
    args = parser.parse_args()
    require_gpu(parser)
    path = args.out / "determinism.json"
    result = begin(path, {"machine": describe("cuda")}, args.resume)
    measured = {row["case"] for row in result["rows"]}
    for case in args.cases:
        if case not in measured:
            result["rows"].append(compare(case, args.steps, args.preset))
            write(result, path)
    for row in result["rows"]:
        first = row["first_step_that_differs"]
        told = "the same bytes" if row["same"] else f"OTHER BYTES, losses differ from step {first} on"
        print(f"{row['preset']}, {row['case']}, {row['steps']} steps in two processes: {told}")
    print(f"written: {path}")
    return 0 if all(row["same"] for row in result["rows"]) else 1


if __name__ == "__main__":
    sys.exit(main())
