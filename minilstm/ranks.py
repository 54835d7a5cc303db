"""The processes of an MPI job, called ranks: joining them, comparing them, ending together.

What they compute and exchange in a training step is in parallel.py. mpi4py is imported only if a launcher (mpiexec,
srun) has started several processes.
"""

import atexit
import ctypes
import hashlib
import os
import signal
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from io import StringIO
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np

from minilstm.device import to_host
from minilstm.errors import UserError, first_line
from minilstm.step import TrainState
from minilstm.types import Kernels

# What launchers tell a process: how many there are, and which one it is. Those of MPICH, Open MPI and Slurm.
LAUNCHERS = (
    ("PMI_SIZE", "PMI_RANK"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
)
CUDA_AWARE = "MINILSTM_CUDA_AWARE_MPI"  # in the environment: 1 if MPI can read and write the memory of a GPU
SECONDS_TO_JOIN = 60.0  # for all ranks, from when the first is ready
SECONDS_FOR_RANK_0 = 1.0  # to report an error that all ranks have
SECONDS_TO_PRINT = 0.2  # for mpiexec to pass on the last line of a rank; what it has not read by the end is lost


class Ranks:
    """The ranks of this job.

    Attributes
    ----------
    comm : mpi4py.MPI.Comm
    rank, size : int
        The number of this process, from 0, and how many there are.
    local_rank, local_size : int
        The same among the ranks on this machine.
    cuda_aware : bool
    requests : sequence
        Non-empty if this process was asked to stop, by a signal for example.
    stop_requested : list
        Non-empty once the ranks know of each other that one was asked to stop: on all of them after the same step.
    bytes_received : int
        By this rank in the steps so far; as many were sent.
    """

    def __init__(self, comm: Any, shared: int) -> None:
        self.comm, self.rank, self.size = comm, comm.rank, comm.size
        local = comm.Split_type(shared)
        self.local_rank, self.local_size = local.rank, local.size
        self.cuda_aware = os.environ.get(CUDA_AWARE) == "1"
        self.requests: Sequence[object] = ()
        self.stop_requested: list[object] = []
        self.bytes_received = 0

    def with_kernels(self, kernels: Kernels) -> SimpleNamespace:
        """A set of kernels that knows of the ranks: the same functions, `base` (the set) and `ranks`."""
        functions = {name: getattr(kernels, name) for name in kernels.__all__}
        return SimpleNamespace(**functions, base=kernels, ranks=self)

    def watch(self, requests: Sequence[object]) -> Sequence[object]:
        """The stop requests of all ranks, given those of this process: both are lists that fill."""
        self.requests = requests
        return self.stop_requested

    def columns(self, batch_size: int) -> slice:
        """The streams of this rank out of `batch_size`; a single one belongs to rank 0."""
        share = batch_size // self.size
        return slice(self.rank * share, (self.rank + 1) * share) if share else slice(0, batch_size * (self.rank == 0))

    def mean_over_streams(self, mean: float, streams: int, all_streams: int) -> float:
        """The mean over all streams, from that over each rank's; the ranks also learn of each other's stop requests."""
        told = self.comm.allgather((mean * streams / all_streams if streams else 0.0, bool(self.requests)))
        self.stop_requested += [asked for _, asked in told if asked]
        return sum(share for share, _ in told)

    def own_part(self, state: TrainState) -> TrainState:
        """The train state of this rank, from that of a single process: of the carried state, its own streams."""
        mine = self.columns(state.config.batch_size)
        return state._replace(carried=[(h[mine].copy(), c[mine].copy()) for h, c in state.carried])

    def whole(self, state: TrainState) -> TrainState:
        """On rank 0 the train state of a single process, with the carried state of all streams on the host.

        Raises
        ------
        UserError
            On every rank, if they do not hold the same weights, bit for bit.
        """
        digests = self.comm.allgather(digest_of(state))
        if different := [str(rank) for rank, digest in enumerate(digests) if digest != digests[0]]:
            raise UserError(
                f"after step {state.progress.step} the weights of rank {', '.join(different)} are not those of rank 0; "
                "this points to a faulty machine (the last good checkpoint is kept)"
            )
        parts = self.comm.gather([(to_host(h), to_host(c)) for h, c in state.carried])
        if parts is None:
            return state
        layers = [[np.concatenate(x) for x in zip(*layer, strict=True)] for layer in zip(*parts, strict=True)]
        return state._replace(carried=[(h, c) for h, c in layers])


def digest_of(state: TrainState) -> str:
    """A fingerprint of weights, moments, loss scale and counters: of all that is the same on every rank."""
    digest = hashlib.blake2b(repr(state.progress.step).encode())
    scale = [] if state.loss_scale is None else [state.loss_scale]
    averages = state.average.values()
    for array in (*state.params.values(), *averages, *(x for pair in state.moments.values() for x in pair), *scale):
        digest.update(np.ascontiguousarray(to_host(array)).data)
    return digest.hexdigest()


world: Ranks | None = None  # the ranks of this process, if it has joined some
joining: Thread | None = None  # in which this process waits for the others


def launched() -> tuple[int, int]:
    """How many processes a launcher has started, and the number of this one; (1, 0) without a launcher."""
    for size, rank in LAUNCHERS:
        if os.environ.get(size, "").isdecimal() and int(os.environ[size]) > 1:
            return int(os.environ[size]), int(os.environ.get(rank, "0"))
    return 1, 0


def join() -> Ranks | None:
    """Join the other processes that a launcher has started with this one; None if it has started no others.

    On ranks other than 0 nothing is printed from then on: standard output is closed, and standard error is kept for
    `leave`. SIGTERM becomes a KeyboardInterrupt, as Ctrl-C is.

    Raises
    ------
    UserError
        If mpi4py is missing, or belongs to another MPI than the launcher, or not all processes join.
    """
    global world
    size, rank = launched()
    if size == 1 or world:
        return world
    if rank:
        sys.stdout, sys.stderr = open(os.devnull, "w"), StringIO()  # noqa: SIM115, open until the process ends
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with warnings.catch_warnings(action="ignore"):  # of another launcher's environment, reported below
            import mpi4py

            mpi4py.rc.initialize = False  # `initialize` does it
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"{size} processes were started together, which needs mpi4py ({first_line(error)}); "
            'pip install "mpi4py>=4" mpich, or start one process, without mpiexec'
        ) from None
    if not MPI.Is_initialized():
        initialize(MPI, size)
    if MPI.COMM_WORLD.size != size:
        library = MPI.Get_library_version().split("\n")[0].strip("\0")
        raise UserError(
            f"{size} processes were started together, but MPI ({library}) knows of {MPI.COMM_WORLD.size}; "
            "use the mpiexec that belongs to it (with Slurm: srun --mpi=pmi2)"
        )
    world = Ranks(MPI.COMM_WORLD, MPI.COMM_TYPE_SHARED)
    return world


def initialize(MPI: Any, size: int) -> None:
    """Initialize MPI, which waits for all processes, in a thread: this one can meanwhile hear Ctrl-C and a timeout.

    MPI_Init_thread is called through ctypes, because mpi4py's would keep all threads of Python waiting.

    Raises
    ------
    UserError
        If some processes have not joined after SECONDS_TO_JOIN.
    """
    global joining
    init, provided = ctypes.CDLL(MPI.__file__).MPI_Init_thread, ctypes.c_int()
    arguments = None, None, MPI.THREAD_MULTIPLE, ctypes.byref(provided)
    joining = Thread(target=init, args=arguments, daemon=True)
    joining.start()
    joining.join(SECONDS_TO_JOIN)
    if joining.is_alive():
        raise UserError(
            f"{size} processes were started together, but only some have joined within {SECONDS_TO_JOIN:.0f} s; "
            "is mpi4py installed on every machine, and is every process minilstm?"
        )
    joining = None
    MPI.COMM_WORLD.Set_errhandler(MPI.ERRORS_RETURN)  # mpi4py makes exceptions of them
    atexit.register(MPI.Finalize)


def leave(status: int) -> None:
    """Before this process ends with an exit status: if that is an error, print it and end all ranks.

    Rank 0 is given a second to report an error first that all ranks have, and lower ranks before higher ones: then it
    is reported once, because the first rank that ends also ends the others.
    """
    if status == 0 or not (world or joining):
        return
    for number in (signal.SIGINT, signal.SIGTERM):  # a second one would be reported instead
        signal.signal(number, signal.SIG_IGN)
    if rank := launched()[1]:
        time.sleep(SECONDS_FOR_RANK_0 * min(rank, 5))
        assert isinstance(sys.stderr, StringIO)
        print(sys.stderr.getvalue(), end="", file=sys.__stderr__, flush=True)
    time.sleep(SECONDS_TO_PRINT)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # where MPI would print that it was asked to end
    if world or "PMI_SIZE" in os.environ:  # MPICH can be asked while `initialize` waits, too; Open MPI would crash
        from mpi4py import MPI

        MPI.COMM_WORLD.Abort(status)
    os._exit(status)


def require_same(ranks: Ranks, facts: Mapping[str, Any]) -> None:
    """Refuse ranks that differ in one of these facts, name -> value: a UserError on all of them.

    A name that is missing on a rank, such as that of a flag, was not given there.
    """
    of_all = ranks.comm.allgather({name: str(value) for name, value in facts.items()})
    for rank, theirs in enumerate(of_all):
        for name in of_all[0] | theirs:
            value, expected = (fact.get(name, "not given") for fact in (theirs, of_all[0]))
            if value != expected:
                raise UserError(
                    f"the ranks differ in {name}: {value} on rank {rank}, {expected} on rank 0; "
                    "start all with the same command, versions and data"
                )
