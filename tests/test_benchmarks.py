"""The benchmarks without a GPU: the stages of gpu.sh, results that grow row by row, the families of kernels."""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import determinism, launches, machine, smoke, speed, workers
from minilstm.config import PRESETS

ROOT = Path(__file__).parents[1]
needs_bash = pytest.mark.skipif(
    not (shutil.which("bash") and shutil.which("timeout")), reason="bash and GNU timeout are needed"
)

STAGES = [  # of gpu.sh, in its order, with a folder for PTB
    "smoke", "launches", "gpu-tests", "speed", "speed-evaluate", "speed-tf32", "memcheck", "recurrence", "determinism",
    "train-small", "train-medium", "train-large",
]  # fmt: skip


def program(path, text):
    """Write an executable script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/usr/bin/env bash\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def place(tmp_path):
    """A folder with copies of gpu.sh and stages.sh, and stand-ins for programs in bin/, which are found first."""
    for name in ("gpu.sh", "stages.sh"):
        (tmp_path / "benchmarks").mkdir(exist_ok=True)
        shutil.copy(ROOT / "benchmarks" / name, tmp_path / "benchmarks")
    (tmp_path / "bin").mkdir()
    return tmp_path


def environment(place):
    """Environment variables with which the stand-ins are found."""
    return os.environ | {"PATH": f"{place / 'bin'}:{os.environ['PATH']}"}


def run(place, *command):
    """Run a command in the place; returns its status and output."""
    result = subprocess.run(command, cwd=place, env=environment(place), capture_output=True, text=True, timeout=120)
    print(result.stdout, result.stderr)
    return result.returncode, result.stdout


def archived(place):
    """The names of the files in the archive of the results, and the content of each."""
    with tarfile.open(place / "results.tgz") as archive:
        files = [member for member in archive.getmembers() if member.isfile()]
        return {file.name: archive.extractfile(file).read().decode() for file in files}


def wait_until(condition):
    """Wait until a condition is true, at most a minute."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def run_list(place, stages, limit=60):
    """Run a list of stages."""
    heading = f"results=results work=work limit={limit} ptb=ptb interval=1\nsource benchmarks/stages.sh\n"
    program(place / "list.sh", heading + stages + "\nfinish\n")
    return run(place, "bash", "list.sh")


@needs_bash
def test_a_stage_that_meets_its_limit_goes_on_in_the_next_call(place):
    program(place / "bin" / "slow", "echo row >>results/rows; [ $(wc -l <results/rows) -ge 2 ] || sleep 60")
    stages = "stage slow 1 1 slow\nstage other 1 9 printf measured"
    status, output = run_list(place, stages)
    assert status == 0
    assert output.endswith("not done yet, call again: slow\n")
    assert (place / "results/other.txt").read_text().startswith("measured\n-- other: ")
    status, output = run_list(place, stages)
    assert status == 0
    assert output.endswith("all done\n")
    assert run_list(place, stages) == (0, "all done\n")  # nothing is repeated
    assert (place / "results/rows").read_text() == "row\nrow\n"


@needs_bash
def test_a_process_of_a_stage_that_meets_its_limit_ends_with_it(place):
    program(place / "bin" / "parent", "child & wait")
    program(place / "bin" / "child", "trap 'echo ended >results/child; exit' TERM; sleep 60 & wait")
    run_list(place, "stage parent 1 2 parent")
    assert (place / "results/child").read_text() == "ended\n"


@needs_bash
def test_a_stage_that_cannot_resume_is_given_up_at_its_limit(place):
    program(place / "bin" / "slow", "echo begun; sleep 60")
    stages = "once long 41 slow\nonce slow 1 slow\nstage other 1 9 echo measured"
    status, output = run_list(place, stages)
    assert status == 1
    assert "FAILED: slow\n" in output
    assert output.endswith("not done yet, call again: long\n")  # it starts only if it can have all of its time
    assert re.search("begun\n-- slow: . s, took more than 1 s: given up; ", (place / "results/slow.txt").read_text())
    status, output = run_list(place, stages)
    assert status == 0
    assert "==" not in output


@needs_bash
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interrupted_call_ends_its_stage_and_keeps_what_it_has(place, number, status):
    program(
        place / "bin/python3",
        """case "$*" in *smoke*) exit; esac
        trap 'echo saved; exit' TERM; echo begun $$; sleep 60 & wait""",
    )
    output = place / f"results/{STAGES[1]}.txt"
    command = ["bash", "benchmarks/gpu.sh", "results", "ptb", "540"]
    process = subprocess.Popen(
        command, cwd=place, env=environment(place), start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background have it ignored
    )  # fmt: skip
    wait_until(lambda: output.exists() and "begun" in output.read_text())
    os.killpg(process.pid, number)  # the shell and its children, as a terminal does; the stage is in another group
    assert process.wait(timeout=60) == status
    begun, saved = output.read_text().splitlines()
    assert saved == "saved"
    with pytest.raises(ProcessLookupError):
        os.kill(int(begun.split()[1]), 0)
    assert archived(place)[f"results/{STAGES[1]}.txt"] == output.read_text()
    assert not (place / "results/done.txt").exists()


@needs_bash
def test_the_archive_has_everything_while_a_stage_runs_and_a_fresh_machine_unpacks_it(place):
    program(place / "bin/slow", "echo row; until tar tzf results.tgz results/slow.txt; do sleep 0.1; done")
    status, output = run_list(place, "stage slow 1 30 slow\nstage other 1 9 echo measured")
    assert status == 0
    assert output.endswith("all done\n")
    kept = {f"results/{path.name}": path.read_text() for path in (place / "results").iterdir()}
    assert {*kept} == {"results/slow.txt", "results/other.txt", "results/done.txt"}
    assert archived(place) == kept
    assert not [*place.glob("*.part")]
    shutil.rmtree(place / "results")
    assert run_list(place, "stage slow 1 30 slow\nstage other 1 9 echo measured") == (0, "all done\n")
    assert archived(place) == kept


@needs_bash
def test_after_a_failure_the_other_stages_still_run_and_the_next_call_repeats_it(place):
    stages = "stage broken 1 9 ls nothing\nstage other 1 9 echo measured"
    for ran in (True, False):
        status, output = run_list(place, stages)
        assert status == 1
        assert "FAILED: broken\n" in output
        assert ("== other" in output) == ran
    assert (place / "results/broken.txt").read_text().count("FAILED with status 2") == 2
    assert (place / "results/done.txt").read_text() == "other\n"


@needs_bash
def test_a_stage_waits_for_the_next_call_if_too_little_time_is_left(place):
    status, output = run_list(place, "stage long 9 99 touch results/a\nstage short 1 9 touch results/b", limit=25)
    assert status == 0
    assert output.endswith("not done yet, call again: long\n")
    assert not (place / "results/a").exists()
    assert (place / "results/b").exists()


@needs_bash
def test_a_fresh_machine_goes_on_with_the_results_of_an_earlier_one(place):
    run_list(place, "stage one 1 9 echo 1")
    shutil.rmtree(place / "work")
    output = run_list(place, "stage one 1 9 echo 1\nstage two 1 9 echo 2")[1]
    assert "== one" not in output
    assert "== two" in output


@needs_bash
def test_a_training_is_resumed_and_its_curve_is_kept_while_it_runs(place):
    program(  # on the CPU, and at first for more epochs than anyone has time for
        place / "bin/python3",
        f"""echo "$@" >>commands
        case "$*" in *--resume*) more="--max-steps 1" ;; *) more="--max-max-epoch 1000000" ;; esac
        PYTHONPATH={ROOT} exec {sys.executable} "${{@/cuda/cpu}}" $more""",
    )
    program(  # a limit that is met as soon as metrics are among the results
        place / "bin/timeout",
        """shift 2; "$@" &
        until [ -s results/ptb-toy-cuda/metrics.csv ]; do sleep 0.1; done
        kill $!; wait $!; exit 124""",
    )
    os.symlink(ROOT / "data/toy", place / "ptb")
    status, output = run_list(place, "training toy", limit=999)
    assert status == 0
    assert output.endswith("not done yet, call again: train-toy\n")
    assert (place / "work/toy/checkpoint.safetensors").exists()
    (place / "bin/timeout").unlink()
    status, output = run_list(place, "training toy", limit=999)
    assert status == 0
    assert "s in all calls" in output
    assert output.endswith("all done\n")
    first, second = (place / "commands").read_text().splitlines()
    assert first == "-m minilstm train --device cuda --out work/toy --model toy --data ptb"
    assert second == "-m minilstm train --device cuda --out work/toy --resume"
    kept = {path.name for path in (place / "results/ptb-toy-cuda").iterdir()}
    assert {"config.json", "machine.json", "metrics.csv", "seconds.txt"} <= kept
    assert "checkpoint.safetensors" not in kept


@needs_bash
def test_nothing_is_measured_after_a_failed_smoke_test(place):
    program(place / "bin/python3", 'echo "$2" >>commands; exit 1')
    for limit in ("300", "35"):
        status, output = run(place, "bash", "benchmarks/gpu.sh", "results", "ptb", limit)
        assert status == 1
        assert output.endswith("FAILED: smoke\n")
    assert (place / "commands").read_text() == "benchmarks.smoke\n" * 2
    assert [path.name for path in (place / "results").iterdir()] == ["smoke.txt"]


@needs_bash
def test_a_smoke_test_that_meets_its_limit_has_failed(place):
    program(place / "bin/timeout", "exit 124")
    status, output = run(place, "bash", "benchmarks/gpu.sh", "results", "ptb", "300")
    assert status == 1
    assert "took more than 120 s: FAILED; " in output
    assert output.endswith("FAILED: smoke\n")
    assert "next call" not in output


@needs_bash
def test_the_stages_of_gpu_sh_run_in_their_order_and_once(place):
    program(place / "bin/python3", 'echo "$@" >>commands; [ "$MINILSTM_REQUIRE_GPU" = 1 ]')
    program(place / "bin/compute-sanitizer", "exit 0")
    status, output = run(place, "bash", "benchmarks/gpu.sh", "results", "ptb", "540")
    assert status == 0
    assert output.endswith("all done\n")
    assert [line.split()[1].rstrip(":") for line in output.splitlines() if line.startswith("==")] == STAGES
    assert (place / "results/done.txt").read_text().split() == STAGES[1:]
    status, output = run(place, "bash", "benchmarks/gpu.sh", "results", "ptb", "540")
    assert status == 0
    assert [line.split()[1].rstrip(":") for line in output.splitlines() if line.startswith("==")] == ["smoke"]


@needs_bash
def test_gpu_sh_runs_chosen_stages_only(place):
    program(place / "bin/python3", 'echo "$@" >>commands')
    chosen = ["train-large", "speed-tf32"]
    status, output = run(place, "bash", "benchmarks/gpu.sh", "results", "ptb", "540", *chosen)
    assert status == 0
    assert output.endswith("all done\n")
    ran = [line.split()[1].rstrip(":") for line in output.splitlines() if line.startswith("==")]
    assert ran == ["smoke", "speed-tf32", "train-large"]
    assert "memory not checked" not in output
    assert [path.name for path in (place / "build/gpu").iterdir()] == ["large.seconds"]
    status, output = run(place, "bash", "benchmarks/gpu.sh", "results", "ptb", "35", "launches", *chosen)
    assert output.endswith("not done yet, call again: launches\n")


@needs_bash
@pytest.mark.parametrize(
    ("ptb", "stage", "message"),
    [
        ("ptb", "speed-fp64", f"no stage is called 'speed-fp64'; there are: {' '.join(STAGES[1:])}"),
        ("", "train-large", "train-large needs PTB, the folder of its texts"),
    ],
)
def test_gpu_sh_refuses_a_stage_that_it_cannot_run(place, ptb, stage, message):
    command = ["bash", "benchmarks/gpu.sh", "results", ptb, "540", "speed", stage]
    result = subprocess.run(command, cwd=place, env=environment(place), capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == f"gpu.sh: {message}\n"
    assert not (place / "results").exists()


@needs_bash
def test_a_short_call_of_gpu_sh_names_what_is_left(place):
    program(place / "bin/python3", "exit 0")
    program(place / "bin/compute-sanitizer", "exit 0")
    status, output = run(place, "bash", "benchmarks/gpu.sh", "results", "ptb", "35")
    assert status == 0
    assert output.endswith("not done yet, call again: " + " ".join(STAGES[1:]) + "\n")


def test_results_grow_row_by_row_and_a_second_run_measures_what_is_missing(tmp_path, monkeypatch, capsys):
    measured, failing = [], ["medium"]

    def compare(preset, config, task, device, rounds):
        if preset in failing:
            raise MemoryError
        measured.append(preset)
        sides = {"minilstm": 2.0, "pytorch": 1.0}
        ratios = dict.fromkeys(("ratio", "ratio_min", "ratio_max"), 2.0) | {"ratios": {"pytorch": 2.0}}
        limits = {"limit_words_per_second": 4.0, "fraction_of_limit": 0.5}
        return {"preset": preset, "task": task, "words_per_second": sides, "peak_memory_mb": sides} | ratios | limits

    monkeypatch.setattr(speed, "compare", compare)
    command = ["speed", "small", "medium", "--tasks", "train", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(MemoryError):
        speed.main()
    failing.clear()
    path = tmp_path / "speed-cpu.json"
    assert [row["preset"] for row in json.loads(path.read_text())["rows"]] == ["small"]
    assert (tmp_path / "speed-cpu.png").exists()
    monkeypatch.setattr(sys, "argv", [*command, "--resume"])
    speed.main()
    assert measured == ["small", "medium"]
    assert [row["preset"] for row in json.loads(path.read_text())["rows"]] == ["small", "medium"]
    monkeypatch.setattr(sys, "argv", command)  # without --resume everything is measured again
    speed.main()
    assert measured == ["small", "medium", "small", "medium"]
    assert capsys.readouterr().out.count("written") == 2


def test_rows_of_another_machine_are_not_kept(tmp_path):
    path = tmp_path / "result.json"
    machine.write({"machine": {"cpu": "one"}, "rows": [1]}, path)
    assert machine.begin(path, {"machine": {"cpu": "one"}}, True)["rows"] == [1]
    assert machine.begin(path, {"machine": {"cpu": "one"}}, False)["rows"] == []
    assert machine.begin(path, {"machine": {"cpu": "another"}}, True)["rows"] == []


def test_the_sides_on_a_gpu():
    assert workers.sides("train", "cpu") == workers.sides("evaluate, batch 1", "cuda") == ["minilstm", "pytorch"]
    assert workers.sides("train", "cuda") == list(workers.SIDES)


def test_the_side_with_pytorchs_defaults_leaves_them_alone():
    torch = pytest.importorskip("torch")
    config = replace(PRESETS["test"], hidden_size=4)
    before = torch.backends.cudnn.allow_tf32
    workers.pytorch_step(config, "train", "cpu", defaults=True)
    assert torch.backends.cudnn.allow_tf32 == before
    try:
        workers.pytorch_step(config, "train", "cpu")
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize(
    ("family", "names"),
    [
        (
            "matrix products",
            "nvjet_hsh_64x8_64x16_1x2_v_bz_TNT, nvjet_sm100_tst_64x32_64x16_2x1_2cta_h_bz_splitK_TNT, "
            "ampere_sgemm_32x128_nn, ampere_sgemm_64x32_sliced1x4_tn, volta_sgemm_128x64_nt, sm90_xmma_gemm_f32f32_"
            "tf32f32_f32_tn_n_tilesize64x64x32_warpgroupsize1x1x1_execute_segment_k_off_kernel__5x_cublas, "
            "void cutlass::Kernel2<cutlass_80_simt_sgemm_128x64_8x5_nn_align1>(cutlass_80_simt_sgemm_128x64_8x5_nn_"
            "align1::Params), void cublasLt::splitKreduce_kernel<32; 16; int; float; float>, splitKreduce_kernel, "
            "void gemv2T_kernel_val<int; int; float; float; float; float; 128; 16; 4; 4; false>, gemvNSP_kernel, "
            "std::enable_if<!(false); void>::type internal::gemvx::kernel<int; int; float>, gemmSN_TN_kernel, "
            "void gemmk1_kernel<int; float; 256; 5; true>, void dot_kernel<float; 128; 0>, "
            "void reduce_1Block_kernel<float; 128; 7>, void scal_kernel<double; 1>",
        ),
        (
            "LSTM steps",
            "lstm_step_forward, lstm_step_forward_with_gemm, lstm_step_backward, lstm_step_backward_with_gemm",
        ),
        ("softmax", "softmax_cross_entropy_forward, softmax_cross_entropy_backward"),
        ("embedding", "embedding_forward, embedding_backward"),
        ("dropout masks", "dropout_mask"),
        ("norm, clipping, update", "sum_of_squares, norm_and_factor, sgd_update, sparse_sgd_update, adam_update"),
        ("copies", "Memcpy DtoD (Device -> Device), Memset (Device), cupy_copy__float32_float32"),
        ("other", "cupy_add__float32_float32_float32, cupy_multiply__float32_float_float32"),
    ],
)
def test_every_kernel_has_its_family(family, names):
    assert {name: launches.family_of(name) for name in names.split(", ")} == dict.fromkeys(names.split(", "), family)


def test_every_kernel_of_the_package_has_a_family():
    sources = [path.read_text() for path in (ROOT / "minilstm/gpu/kernels").glob("*.cu")]
    names = [name for text in sources for name in re.findall(r"__global__ void (?:__launch\w+\(.*?\) )?(\w+)\(", text)]
    assert len(names) > 8
    assert "other" not in map(launches.family_of, names)


def test_a_difference_between_two_processes_is_found(monkeypatch):
    ends = [([3.0, 2.0, 1.0], "a"), ([3.0, 2.0, 1.5], "b")]
    monkeypatch.setattr(determinism, "alone", lambda *arguments: ends.pop(0))
    row = determinism.compare("tf32", 3, "small")
    assert not row["same"]
    assert row["first_step_that_differs"] == 3
    ends[:] = [([3.0], "a"), ([3.0], "a")]
    row = determinism.compare("float32", 1, "small")
    assert row["same"]
    assert row["first_step_that_differs"] is None


@pytest.fixture
def fake_step(monkeypatch):
    """launches.py with a step that takes 1 ms of a clock that only it moves, on a device without limits."""
    clock = SimpleNamespace(now=0.0, step=1e-3)

    def step():
        clock.now += clock.step
        return np.float32(1.0)

    monkeypatch.setattr(launches, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(launches, "minilstm_step", lambda *arguments: step)
    monkeypatch.setattr(launches, "gemm_rate", lambda *arguments: 1e12)
    monkeypatch.setattr(launches, "copy_rate", lambda *arguments: 1e12)
    return clock


def test_the_time_of_a_step_is_not_that_of_the_profiler(fake_step, monkeypatch):
    def profile(step, steps):
        fake_step.step = 5e-3  # under a profiler everything is slower
        for _ in range(steps):
            step()
        fake_step.step = 1e-3
        return [("lstm_step_forward", 70.0), ("nvjet_tst", 30.0)] * steps

    monkeypatch.setattr(launches, "profile_kernels", profile)
    row = launches.measure("small", "full", 4)
    assert row["step_microseconds"] == pytest.approx(1000)
    assert row["microseconds"]["LSTM steps"] == pytest.approx(70)
    assert row["kernels"]["matrix products"] == 1
    operations = machine.step_operations(PRESETS["small"], workers.VOCAB_SIZE, (20, 20), True)
    assert row["fraction_of_limits"]["products at the GEMM rate"] == pytest.approx(operations / 1e12 / 1e-3)


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_a_profile_without_kernels_is_not_a_result(fake_step, tmp_path, monkeypatch):
    pytest.importorskip("torch")  # its profiler finds no kernels in a step that has none
    monkeypatch.setattr(launches, "require_gpu", lambda parser: None)
    monkeypatch.setattr(launches, "describe", lambda device: {"device": "none"})
    monkeypatch.setattr(sys, "argv", ["launches", "small", "--steps", "1", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:  # with a line as its code: Python prints it, and the status is 1
        launches.main()
    assert ended.value.code == "small: the profiler has not seen a kernel"
    assert not [*tmp_path.iterdir()]


def test_the_memory_traffic_of_a_step():
    config = replace(PRESETS["test"], hidden_size=2, num_layers=2)  # with T = 3, B = 5, V = 7
    w_hh, w_ih, decoder, embedding, logits = 16, 16, 7 * 2, 15 * 2, 15 * 7  # elements; of the embedding, in 15 rows
    update = 1 + 1 + 1 + 2  # gradient written, read for the norm, read by the update; weight read and written
    elements = 2 * w_hh * (3 + 2 + update)  # two layers
    elements += 2 * w_ih * (1 + 1 + update) + decoder * (1 + 1 + update)
    elements += embedding * (1 + update)
    elements += logits * (1 + 2)  # product, bias
    elements += logits * (3 + 2)  # softmax forward, backward
    elements += logits * (2 + 1)  # products with ds, its sum
    assert elements == 2 * 16 * 10 + 2 * 16 * 7 + 14 * 7 + 30 * 6 + 105 * 11 == 1977
    assert machine.step_bytes(config, 7, (3, 5)) == 4 * 1977
    assert machine.step_bytes(replace(config, dtype="float64"), 7, (3, 5)) == 8 * 1977


def test_the_smoke_test_fails_on_a_wrong_number_and_on_an_error(tmp_path, monkeypatch, capsys):
    def broken(cupy):
        yield "kernel", 0.0, 1e-5
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(smoke, "require_gpu", lambda parser: np)
    monkeypatch.setattr(smoke, "describe", lambda device: {"device": "none"})
    monkeypatch.setattr(smoke, "registers", list)
    monkeypatch.setattr(smoke, "check_products", lambda cupy: [("product", np.nan, 1e-5), ("other", 2e-5, 1e-5)])
    monkeypatch.setattr(smoke, "check_kernels", broken)
    monkeypatch.setattr(smoke, "check_steps", lambda cupy: [("steps", 1e-5, 1e-4)])
    monkeypatch.setattr(smoke, "check_evaluation", lambda cupy: [])
    monkeypatch.setattr(smoke, "check_ids", lambda cupy: [])
    monkeypatch.setattr(sys, "argv", ["smoke", "--out", str(tmp_path)])
    assert smoke.main() == 1
    result = json.loads((tmp_path / "smoke.json").read_text())
    assert result["failed"] == ["product", "other", "broken: RuntimeError('no such kernel')"]
    assert [row["check"] for row in result["checks"] if row["passed"]] == ["kernel", "steps"]
    assert "WRONG: product" in capsys.readouterr().out
    monkeypatch.setattr(smoke, "check_products", lambda cupy: [])
    monkeypatch.setattr(smoke, "check_kernels", lambda cupy: [])
    assert smoke.main() == 0


def run_pretended(tmp_path, name, changes, *arguments):
    """Run a benchmark's `main` on the pretended GPU, after some changes to its module; returns its JSON."""
    pretended_gpu = pytest.importorskip("pretended_gpu")
    if reason := pretended_gpu.missing():
        pytest.skip(reason)
    code = f"""if True:
        import sys
        sys.path.insert(0, "tests")
        import pretended_gpu
        pretended_gpu.activate()
        import cupy
        from benchmarks import {name} as benchmark
        {changes}
        sys.exit(benchmark.main())
    """
    command = [sys.executable, "-c", code, *arguments, "--out", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(result.stdout, result.stderr)
    assert result.returncode == 0
    return json.loads((tmp_path / f"{name}.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--no-pool"]])
def test_the_smoke_test_passes_on_the_pretended_gpu(tmp_path, flags):
    cases = "benchmark.CASES = benchmark.CASES[:1]" if flags else ""
    result = run_pretended(tmp_path, "smoke", cases, *flags)
    assert result["failed"] == []
    assert len(result["checks"]) == (14 if flags else 23)
    assert len(result["kernels"]) == 6


@pytest.mark.slow
def test_all_variants_of_the_recurrence_run_on_the_pretended_gpu(tmp_path):
    changes = "benchmark.WINDOWS = 1; cupy.cuda.get_elapsed_time = lambda begin, end: 1.0"
    result = run_pretended(tmp_path, "recurrence", changes, "8", "20", "--rounds", "1")
    assert [row["hidden_size"] for row in result["rows"]] == [8, 20]
    assert all(len(row["microseconds"]) == 2 for row in result["rows"])
    assert (tmp_path / "recurrence.png").exists()


@pytest.mark.slow
def test_the_step_of_a_preset_is_measured_on_the_pretended_gpu(tmp_path):
    changes = (  # PyTorch's profiler would see no kernels there
        "benchmark.STEPS_OF_A_TURN = {'cuda': 1}; benchmark.gemm_rate = benchmark.copy_rate = lambda *arguments: 1e9; "
        "benchmark.profile_kernels = lambda step, steps: [('lstm_step_forward', float(step()))] * steps; "
        "import benchmarks.workers; benchmarks.workers.VOCAB_SIZE = 50"
    )
    result = run_pretended(tmp_path, "launches", changes, "test", "--steps", "1")
    assert [row["preset"] for row in result["rows"]] == ["test"]
    assert result["rows"][0]["step_microseconds"] > 0
    assert (tmp_path / "launches.png").exists()


@pytest.mark.slow
def test_training_twice_is_the_same_on_the_pretended_gpu(tmp_path):
    changes = "benchmark.alone = lambda function, *arguments: function(*arguments)"
    result = run_pretended(tmp_path, "determinism", changes, "float32", "--preset", "test", "--steps", "3")
    assert [row["same"] for row in result["rows"]] == [True]
