"""What `mpiexec` runs in the tests: many cases in one start, each with what every rank saw of it.

    mpiexec -n 2 python tests/machines/ranks.py FOLDER PARTING

writes ``FOLDER/seen.pickle``: for each case a list with one value a rank, what the case returned or the error's type
and text. From PARTING numbers on each rank updates a part of the weights. The networks and the data are also what the
tests give to one process.
"""

import os
import pathlib
import pickle
import signal
import sys
import traceback

os.environ.setdefault("FASTNN_NUM_THREADS", "1")

import numpy as np

import fastnn
from fastnn import (
    Adam,
    BatchNorm,
    Checkpoint,
    CosineDecay,
    CrossEntropyLoss,
    CSVLogger,
    Dropout,
    EarlyStopping,
    Embedding,
    Identity,
    LambdaCallback,
    Layer,
    LayerNorm,
    ModelCheckpoint,
    MSELoss,
    NeuralNetwork,
    ReduceLROnPlateau,
    Scale,
    SmoothClip,
    Standardize,
    StandardizeTargets,
    StopTraining,
    Tanh,
)
from fastnn.engine import gradients

RNG = np.random.default_rng(5)
X = RNG.normal(size=(61, 5)) * [1.0, 2.0, 0.5, 1.0, 3.0] + [0, 5, 0, -2, 0]
CLASSES = (X[:, 0] + X[:, 1] > 5).astype(int) + (X[:, 2] > 0)
VALUES = 100 + 20 * np.tanh(X[:, :2])
WEIGHTS = RNG.uniform(0.2, 2.0, size=61)


def classifier(rate=0.02, optimizer=None, stage=None, first=(), seed=0, width=8, l2=0.0, **settings):
    """Built anew for each fit."""
    rng = np.random.default_rng(seed)
    middle = [] if stage is None else [stage]
    layers = [*first, Layer(5, width, Tanh(), seed=rng, l2=l2), *middle, Layer(width, 3, Identity(), seed=rng)]
    return NeuralNetwork(layers, CrossEntropyLoss(), rate, optimizer or Adam(), **settings)


def regressor():
    rng = np.random.default_rng(1)
    layers = [Standardize(), Layer(5, 6, Tanh(), seed=rng), Layer(6, 2, Identity(), seed=rng), StandardizeTargets()]
    return NeuralNetwork(layers, MSELoss(), 0.05, clip_norm=0.3)


def of_many_kinds():
    """Stages with trained rows, a layer in two places, one that is frozen, penalties and limits of all kinds."""
    tied = Layer(5, 5, Tanh(), seed=4, l1=0.01, max_norm=0.9)
    frozen = Layer(5, 5, Tanh(), seed=5)
    frozen.trainable = False
    layers = [
        Embedding(4, size=1),
        Scale(),
        tied,
        LayerNorm(),
        frozen,
        tied,
        SmoothClip(),
        Layer(5, 3, Identity(), seed=6),
    ]
    return NeuralNetwork(layers, CrossEntropyLoss(), 0.03, fastnn.RMSprop(), clip_value=0.05)


EQUAL = {  # fits that many ranks do as one process does: the network, the targets, and the keywords with rows in them
    "batches of 16": (classifier, CLASSES, {"batch_size": 16}),
    "penalties": (lambda: classifier(l2=0.01), CLASSES, {"batch_size": 16}),
    "batches smaller than the ranks": (classifier, CLASSES, {"batch_size": 1, "epochs": 2}),
    "a batch that ranks do not divide": (classifier, CLASSES, {"batch_size": 7}),
    "one batch": (lambda: classifier(optimizer=fastnn.SGD()), CLASSES, {"batch_size": 100}),
    "weights": (classifier, CLASSES, {"batch_size": 9, "sample_weight": WEIGHTS, "class_weight": "balanced"}),
    "values, standardised over all, with clipping": (regressor, VALUES, {"batch_size": 10}),
    "many kinds of layers": (of_many_kinds, CLASSES, {"batch_size": 8}),
    "a schedule": (lambda: classifier(CosineDecay(0.05, 30)), CLASSES, {"batch_size": 10}),
    "a schedule by epochs": (lambda: classifier(fastnn.StepDecay(0.05, 2)), CLASSES, {"batch_size": 10}),
    "validation and metrics": (
        classifier,
        CLASSES,
        {"batch_size": 16, "validation_data": (X[:21], CLASSES[:21], WEIGHTS[:21]), "metrics": ["accuracy"]},
    ),
    "metrics of training": (classifier, CLASSES, {"batch_size": 16, "metrics": ["accuracy", "f1"]}),
}


def of_rank(value, rank, size):
    """The part of rows, or of a tuple of rows, that a rank has."""
    if isinstance(value, tuple):
        return tuple(of_rank(one, rank, size) for one in value)
    return value[rank::size] if isinstance(value, np.ndarray) else value


def left(net, history):
    """What a fit leaves behind."""
    return {
        "weights": net.parameters,
        "numbers": np.concatenate([np.empty(0), *(array.ravel() for array in net.engine.state.numbers)]),
        "history": {**history},
        "stopped": history.stopped,
        "epoch": history.epoch,
    }


class Unpicklable(Exception):
    """It takes two arguments, and a pickle of it brings one."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def cases(rank, size, folder):
    """The cases by name, as functions of nothing."""
    from mpi4py import MPI

    from fastnn.distributed import mpi, team, window

    last = rank == size - 1

    def fit(net=None, y=CLASSES, rows=slice(rank, None, size), columns=5, **keywords):
        net = classifier() if net is None else net
        keywords = {"epochs": 5, "batch_size": 16, "shuffle": False, "verbose": 0, **keywords}
        return left(net, mpi.fit(net, X[rows, :columns], y[rows], **keywords))

    def acting(act, hook="on_epoch_end", epoch=2):
        """A callback that acts on the last rank alone, in that epoch."""
        return LambdaCallback(**{hook: lambda *at: act() if last and (not at or at[0] == epoch) else None})

    def failing():
        raise OSError("the disk of this rank")

    def stopping():
        raise StopTraining("enough on this rank")

    def interrupting():
        raise KeyboardInterrupt

    def signalling():
        os.kill(os.getpid(), signal.SIGINT)

    def unpicklable():
        raise Unpicklable(1, 2)

    def in_a_step(after, act=failing, **keywords):
        """Something happens on the last rank in the middle of an epoch, before or after the gradients are added."""
        net = classifier()
        engine = net.engine
        taken = engine.shared_step

        def shared_step(*arguments, **named):
            if last and named["step"] == 5 and not after:
                act()
            result = taken(*arguments, **named)
            if last and named["step"] == 5 and after:
                act()
            return result

        vars(engine)["shared_step"] = shared_step
        return fit(net, **keywords)

    def in_an_update():
        """The update fails on the last rank, whose gradients have been added: its part of the weights is not there."""
        descend, calls = gradients.GradientPlan.descend, []

        def failing_descend(*arguments, **named):
            calls.append(None)
            if last and len(calls) == 10:  # two for a step
                failing()
            return descend(*arguments, **named)

        gradients.GradientPlan.descend = failing_descend
        try:
            return fit()
        finally:
            gradients.GradientPlan.descend = descend

    def passed_on():
        """How often a rank has passed something on in a fit."""
        pass_on, calls = team.Team.pass_on, []
        team.Team.pass_on = lambda *arguments: (calls.append(None), pass_on(*arguments))
        try:
            fit()
        finally:
            team.Team.pass_on = pass_on
        return len(calls)

    def in_a_local_step():
        net = classifier()
        taken = net.engine.train_with

        def train_with(task, size, *rest):
            if last and net.engine.state.steps[0] > 4:
                failing()
            return taken(task, size, *rest)

        vars(net.engine)["train_with"] = train_with
        return fit(net, every=2)

    def resumed(straight, **keywords):
        kept = folder / f"{straight} {len(keywords)}"
        if rank == 0:
            kept.mkdir(exist_ok=True)
        MPI.COMM_WORLD.Barrier()
        found = None
        for epochs in [6] if straight else [3, 6]:
            net = classifier(stage=Dropout(0.2))
            callbacks = [
                EarlyStopping(patience=50), CSVLogger(kept / "log.csv"), ModelCheckpoint(kept / "best.safetensors"),
                ReduceLROnPlateau(patience=1, min_delta=1.0), Checkpoint(kept / "run.safetensors"),
            ]  # fmt: skip
            found = fit(net, epochs=epochs, callbacks=callbacks, shuffle=True, seed=3, **keywords)
        MPI.COMM_WORLD.Barrier()
        return found, (kept / "log.csv").read_text(), sorted(os.listdir(kept))

    def without_a_window():
        """A rank has no room for memory that all see: then all add up by messages."""
        if last:
            team.has_room = lambda *about: False
        try:
            return fit()
        finally:
            team.has_room = window.has_room

    def gradients_beside():
        """A callback asks for gradients, whose memory is the window, and the network is asked again after the fit."""
        net = classifier()
        twin = classifier()
        asked = []
        found = fit(net, callbacks=acting(lambda: asked.append(net.gradients(X.T, CLASSES).dWs[0])))
        twin.set_weights(net.get_weights())
        before = net.loss_and_gradient(X, CLASSES)[1].tobytes()
        return found, [array.shape for array in asked], before == twin.loss_and_gradient(X, CLASSES)[1].tobytes()

    def other_ranks():
        """All ranks are to go on with what one began."""
        path = folder / "one.safetensors"
        if rank == 0:
            fit(comm=MPI.COMM_SELF, rows=slice(None), callbacks=[Checkpoint(path)])
        MPI.COMM_WORLD.Barrier()
        return fit(callbacks=[Checkpoint(path)], epochs=9)

    def trained_before():
        net = classifier()
        if rank == 0:
            net.fit(X, CLASSES, epochs=2, batch_size=16, shuffle=False, verbose=0)
        return fit(net)

    def threads_within():
        seen = []
        before = os.environ.pop("FASTNN_NUM_THREADS")
        fit(epochs=1, callbacks=LambdaCallback(on_train_begin=lambda: seen.append(fastnn.get_num_threads())))
        os.environ["FASTNN_NUM_THREADS"] = before
        return seen

    def uneven(**keywords):
        return fit(rows=slice(0, 10) if rank == 0 else slice(10 + 17 * (rank - 1), 27 + 17 * (rank - 1)), **keywords)

    for name, (make, y, keywords) in EQUAL.items():
        own = {key: of_rank(value, rank, size) for key, value in keywords.items()}
        yield name, lambda make=make, y=y, own=own: fit(make(), y, **own)
    broken = X.copy()
    broken[-size:, 1] = np.nan
    mine = (X, CLASSES) if rank == 0 else None
    noisy = {"stage": Dropout(0.3)}
    yield from {
        # what they do
        "rank 0's weights": lambda: fit(classifier(seed=rank)),
        "rank 0's training before": trained_before,
        "the same bits": lambda: [fit(classifier(**noisy), shuffle=True, seed=4) for _ in range(2)],
        "no seed": lambda: fit(shuffle=True),
        "batch normalisation": lambda: fit(classifier(stage=BatchNorm())),
        "uneven": uneven,
        "uneven, shuffled": lambda: uneven(shuffle=True, batch_size=3),
        "every 3, the same rows": lambda: fit(rows=slice(None), batch_size=16 * size, every=3),
        "every 3": lambda: fit(every=3, shuffle=True, metrics="accuracy"),
        "every 3 with SGD": lambda: fit(classifier(optimizer=fastnn.SGD()), every=3),
        "every 3 with Adam": lambda: fit(classifier(), every=3),
        "every 100": lambda: fit(classifier(stage=BatchNorm()), every=100),
        "resumed": lambda: resumed(False),
        "straight": lambda: resumed(True),
        "resumed, every 2": lambda: resumed(False, every=2),
        "straight, every 2": lambda: resumed(True, every=2),
        "held out": lambda: fit(validation_split=0.25, metrics="accuracy", sample_weight=WEIGHTS[rank::size], seed=3),
        "held out, the last": lambda: fit(validation_split=0.25, validation_shuffle=False, metrics="accuracy", seed=3),
        "held out without a seed": lambda: fit(validation_split=0.25),
        "held out, standardised": lambda: fit(regressor(), VALUES, validation_split=0.25, seed=3),
        "held out of other parts": lambda: fit(validation_split=0.25 if rank == 0 else 0.5),
        "held out of too few": lambda: fit(rows=slice(0, 40) if rank == 0 else slice(0, 1), validation_split=0.25),
        "validation on rank 0": lambda: fit(validation_data=mine, metrics="accuracy"),
        "class weights in another order": lambda: fit(class_weight={0: 1, 1: 2, 2: 3} if last else {2: 3, 0: 1, 1: 2}),
        "class weights in an array": lambda: fit(class_weight=np.array([1.0, 2.0, 3.0])),
        "early stopping": lambda: fit(callbacks=EarlyStopping(patience=1, min_delta=9.0), epochs=40),
        "early stopping on rank 0": lambda: fit(
            callbacks=[EarlyStopping(patience=1, min_delta=9.0)] if rank == 0 else [], epochs=40
        ),
        "rate of rank 0": lambda: (
            fit(net := classifier(), callbacks=[ReduceLROnPlateau(patience=1, min_delta=9.0)] if rank == 0 else [])
            and (net.lr, net.parameters)
        ),
        "threads": threads_within,
        "no window": without_a_window,
        "passed on": passed_on,
        "gradients beside": gradients_beside,
        # stops
        "a stop at the end of an epoch": lambda: fit(callbacks=acting(stopping)),
        "a stop at its beginning": lambda: fit(callbacks=acting(stopping, "on_epoch_begin", 3)),
        "a stop at the beginning of all": lambda: fit(callbacks=acting(stopping, "on_train_begin")),
        "a stop at the end of all": lambda: fit(callbacks=acting(stopping, "on_train_end")),
        "an interrupt of a callback": lambda: fit(callbacks=acting(interrupting)),
        "a signal": lambda: fit(callbacks=acting(signalling)),
        "a signal in a step": lambda: in_a_step(False, signalling),
        "a signal at the very end": lambda: fit(callbacks=acting(signalling, "on_train_end")),
        # errors
        "other architecture": lambda: fit(classifier(width=9 if last else 8)),
        "other dtype": lambda: fit(classifier(dtype="float32" if last else None)),
        "other seed": lambda: fit(seed=rank),
        "other settings": lambda: fit(batch_size=16 + rank),
        "an empty shard": lambda: fit(rows=slice(0, 0) if last else slice(None)),
        "other columns": lambda: fit(columns=4 if last else 5),
        "columns that the network does not take": lambda: fit(columns=4),
        "bad data": lambda: left(None, mpi.fit(classifier(), (broken if last else X)[rank::size], CLASSES[rank::size])),
        "no network": lambda: fit("net" if last else None),
        "a bad setting": lambda: fit(epochs=0 if last else 1),
        "no communicator": lambda: fit(comm=3),
        "a callback that fails": lambda: fit(callbacks=acting(failing)),
        "a callback that fails at the beginning": lambda: fit(callbacks=acting(failing, "on_train_begin")),
        "a callback that fails at an epoch's beginning": lambda: fit(callbacks=acting(failing, "on_epoch_begin")),
        "a callback that fails at the end": lambda: fit(callbacks=acting(failing, "on_train_end")),
        "a callback that fails after the last epoch": lambda: fit(callbacks=acting(failing, epoch=5)),
        "an error no pickle brings": lambda: fit(callbacks=acting(unpicklable)),
        "a metric that fails": lambda: fit(metrics=[lambda y, outputs: failing()]),
        "a step that fails": lambda: in_a_step(False),
        "a step that fails behind the sum": lambda: in_a_step(True),
        "an update that fails": in_an_update,
        "a local step that fails": in_a_local_step,
        "divergence": lambda: fit(classifier(1e308, fastnn.SGD())),
        "too small for batch normalisation": lambda: fit(classifier(stage=BatchNorm()), batch_size=size),
        "no sample in a local step": lambda: fit(batch_size=1, every=2),
        "other ranks": other_ranks,
        "a file for rows": lambda: mpi.fit(classifier(), "part.parquet" if last else X, CLASSES),
        "a function for rows": lambda: mpi.fit(classifier(), lambda: iter([(X, CLASSES)]), None),
        "validation data without rows": lambda: fit(validation_data=(X[:0], CLASSES[:0])),
        "validation targets without rows": lambda: fit(validation_data=(X[:0] if last else X, CLASSES)),
        "no weight": lambda: fit(sample_weight=np.zeros(len(X[rank::size]))),
    }.items()


def main(folder, parting):
    from mpi4py import MPI

    gradients.WORTH_PARTING = parting

    world, seen = MPI.COMM_WORLD, {}
    for name, case in cases(world.rank, world.size, folder):
        try:
            value = case()
        except BaseException as error:
            cause = error.__cause__
            value = f"{type(error).__name__}: {error}", type(cause).__name__, str(cause)
            if isinstance(error, (AssertionError, NameError, AttributeError)):
                traceback.print_exc()
        seen[name] = world.allgather(value)
    if world.rank == 0:
        (folder / "seen.pickle").write_bytes(pickle.dumps(seen))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), float(sys.argv[2]))
