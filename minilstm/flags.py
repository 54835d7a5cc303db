"""Unknown flags: what they are called here if another program has them, or else the nearest flag of the command."""

import difflib
import re
from collections.abc import Collection, Sequence

# What other programs' flags are called here. Their names are without hyphens, underscores and capital letters.
OTHER_NAMES = {
    "--max-max-epoch": "epoch epochs nepochs numepochs totalepochs",
    "--max-max-epoch (all epochs) or --max-epoch (those before the learning rate falls)": "maxepochs",
    "--learning-rate": "lr initlr initiallr baselr",
    "--lr-decay": "decay decayrate lrdecayrate learningratedecay gamma",
    "--max-grad-norm": "clip clipnorm clipgrad gradclip gradclipval gradientclip gradnorm maxnorm maxgradientnorm",
    "--batch-size": "batch bs bsz batches trainbatchsize",
    "--hidden-size": "hidden nhid nhidden numhidden hiddendim hiddenunits numunits units rnnsize lstmsize dmodel",
    "--embedding-size": "emsize embsize embeddingdim embdim nembd",
    "--tie-weights": "tied tie tiedweights weighttying",
    "--weight-decay": "wd wdecay l2",
    "--average-after": "nonmono",
    "--num-layers": "layers nlayers nlayer layer numlayer depth",
    "--num-steps": "bptt seqlen seqlength sequencelength unroll blocksize contextlength",
    "--max-steps": "steps nsteps maxiters maxiter iters iterations",
    "--init-scale": "initrange",
    "--optimizer": "opt optim optimiser",
    "--optimizer adam": "adam useadam",
    "--optimizer sgd": "sgd",
    "--device cuda": "cuda usecuda gpu gpus usegpu",
    "--device cpu": "cpu nocuda nogpu",
    "--dtype float16": "fp16",
    "--threads": "numthreads nthreads workers numworkers",
    "--seed": "randomseed manualseed rngseed",
    "--data": "datapath datadir dataset corpus input inputfile inputdir trainfile text",
    "--out": "output outdir outputdir outputpath save savepath savedir savemodel logdir rundir modeldir",
    "--resume --out": "load loadpath restore continue resumefrom",
    "--init-from": "pretrained finetune loadweights initweights initcheckpoint",
    "--patience": "earlystop earlystopping earlystoppingpatience",
    "--checkpoint-every": "saveevery saveinterval savesteps checkpointinterval",
    "--words": "length maxlength maxlen maxnewtokens maxtokens numtokens ntokens tokens numwords",
    "--temperature": "temp t",
    "--prompt": "start seedtext prefix prime context",
    "--samples": "numsamples nsamples n",
    "--split": "subset",
    "--output": "out outfile save savepath savefig figure",
}
DROPOUT = {  # whose values are probabilities to drop
    "--keep-prob": "dropout drop pdrop dropoutp dropoutrate dropoutprob dropouth",
    "--input-keep-prob": "dropouti inputdropout",
    "--embedding-keep-prob": "dropoute embeddingdropout",
    "--weight-keep-prob": "wdrop weightdrop dropconnect",
}
RUN = "run runs rundir runpath model modeldir modelpath checkpoint checkpointpath ckpt ckptpath load"
MISSING = {
    "the vocabulary follows from the text, and --min-count makes it smaller": "vocab vocabsize nvocab maxvocab",
    "a language model reads in one direction": "bidirectional bidir",
}
FLAG = re.compile(r"--?[A-Za-z]")


def explain_unknown(unknown: Sequence[str], known: Collection[str], takes_run: bool = False) -> str:
    """What to do about unknown arguments, as the end of an error message; empty if nothing can be said.

    Parameters
    ----------
    unknown : list of str
        Flags and their values, as they were typed.
    known : collection of str
        The flags of the command: no other is named.
    takes_run : bool
        Whether the command takes the directory of a run, without a flag.

    Examples
    --------
    >>> explain_unknown(["--dropout", "0.4"], ["--keep-prob"])
    '; did you mean --keep-prob 0.6?'
    """
    number = sum(bool(FLAG.match(argument)) for argument in unknown)
    meant: dict[str, None] = {}  # in order, each once
    notes: dict[str, None] = {}
    for argument, following in zip(unknown, [*unknown[1:], ""], strict=True):
        name, _, value = argument.partition("=")
        if not FLAG.match(name):
            continue
        flag, note = find_flag(name, value or following, known, takes_run)
        if flag:
            meant[f"{flag} for {name}" if number > 1 else flag] = None
        if note:
            notes[f"{name}: {note}" if number > 1 else note] = None
    question = f"did you mean {', '.join(meant)}?" if meant else ""
    return "".join(f"; {hint}" for hint in [*notes, question] if hint)


def find_flag(name: str, value: str, known: Collection[str], takes_run: bool) -> tuple[str, str]:
    """The flag that is meant by an unknown one with its value, or a note; both may be empty."""
    word = plain_name(name)
    ours = {plain_name(flag): flag for flag in known if flag.startswith("--")}
    if word in ours:
        return ours[word], ""
    drops = [flag for flag, names in DROPOUT.items() if word in names.split()]
    if drops and drops[0] in known:
        return keep_prob(drops[0], value), ""
    meanings = [flag for flag, names in OTHER_NAMES.items() if word in names.split()]
    for flag in meanings:
        if {*re.findall("--[a-z-]+", flag)} <= {*known}:
            return flag, ""
    if word in RUN.split() and takes_run:
        return "", "give the directory of the run without a flag"
    missing = [note for note, names in MISSING.items() if word in names.split()]
    if missing and "--min-count" in known:  # the command that makes a model
        return "", missing[0]
    if meanings or missing or drops or word in RUN.split():
        return "", ""  # this command has nothing of the kind, so a similar name would mean another thing
    begun = [flag for own, flag in ours.items() if len(word) > 2 and own.startswith(word)]
    if len(begun) == 1:
        return begun[0], ""
    near = difflib.get_close_matches(word, ours, n=1, cutoff=0.8)
    return (ours[near[0]] if near else ""), ""


def plain_name(flag: str) -> str:
    """A flag without hyphens, underscores and capital letters: "batchsize" for --batch-size and --batchSize."""
    return re.sub("[-_]", "", flag).lower()


def keep_prob(flag: str, dropout: str) -> str:
    """A flag with the effect of a dropout probability, which is that of a unit to be dropped, not kept."""
    try:
        kept = 1 - float(dropout)
    except ValueError:
        kept = 0.0
    return f"{flag} {kept:.10g}" if 0 < kept <= 1 else f"{flag} (1 - dropout)"
