"""Training on many MPI ranks, in one start of `mpiexec`; `ranks` has the cases."""

import importlib.util
import os
import pathlib
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from pages import blocks, same as same_text

from benchmarks.scaling import averaged_fit
from fastnn.data.held_out import held_out_rows, seed_of
from fastnn.engine.cores import default_threads

pytest.importorskip("mpi4py")
if (
    shutil.which("mpiexec", path=f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    is None
):
    pytest.skip("needs mpiexec", allow_module_level=True)

ROOT = pathlib.Path(__file__).parent.parent.parent
HERE = pathlib.Path(__file__).parent
PATIENCE = 300  # seconds; some ten are needed
spec = importlib.util.spec_from_file_location("ranks", HERE / "ranks.py")
ranks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ranks)


def mpiexec(count, *arguments):
    """What the ranks of a script print, and the code with which they end."""
    path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    environment["OMPI_MCA_osc"] = "^ucx"  # Open MPI's wheel prints of it, and has another
    command = [shutil.which("mpiexec", path=path), "-n", str(count), sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment)
    return done.stdout + done.stderr, done.returncode


@pytest.fixture(scope="module", params=[0, np.inf], ids=["parts", "whole"])
def parting(request):
    """From how many numbers on each rank updates a part of the weights."""
    return request.param


@pytest.fixture(scope="module")
def seen(tmp_path_factory, parting):
    """For each case what each of two ranks saw."""
    folder = tmp_path_factory.mktemp("ranks")
    printed, code = mpiexec(2, HERE / "ranks.py", folder, parting)
    assert code == 0, printed
    with (folder / "seen.pickle").open("rb") as file:
        return pickle.load(file)


def same(one, other):
    """Whether two ranks were left with the same bits."""
    rest = ("history", "stopped", "epoch")
    return all(one[name].tobytes() == other[name].tobytes() for name in ("weights", "numbers")) and [
        one[name] for name in rest
    ] == [other[name] for name in rest]


def alone(net, y=ranks.CLASSES, **keywords):
    keywords = {"epochs": 5, "batch_size": 16, "shuffle": False, "verbose": 0, **keywords}
    return ranks.left(net, net.fit(ranks.X, y, **keywords))


def close(one, other):
    np.testing.assert_allclose(one["weights"], other["weights"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(one["numbers"], other["numbers"], rtol=0, atol=1e-9)
    assert one["epoch"] == other["epoch"]
    assert {*one["history"]} == {*other["history"]}
    for name, values in one["history"].items():
        np.testing.assert_allclose(values, other["history"][name], rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("name", ranks.EQUAL)
def test_rows_dealt_out_in_turn_take_the_steps_of_one_process(seen, name):
    make, y, keywords = ranks.EQUAL[name]
    first, second = seen[name]
    assert same(first, second)
    close(first, alone(make(), y, **keywords))


def test_the_state_of_rank_0_is_where_all_begin(seen):
    first, second = seen["rank 0's weights"]
    assert same(first, second)
    close(first, alone(ranks.classifier(seed=0)))
    first, second = seen["rank 0's training before"]
    assert same(first, second)
    net = ranks.classifier()
    net.fit(ranks.X, ranks.CLASSES, epochs=2, batch_size=16, shuffle=False, verbose=0)
    close(first, alone(net))


@pytest.mark.parametrize(
    "name",
    ["no seed", "batch normalisation", "uneven", "uneven, shuffled", "every 3", "every 3 with SGD", "every 100"],
)
def test_all_ranks_are_left_with_the_same(seen, name):
    first, second = seen[name]
    assert same(first, second)
    assert first["epoch"] == [1, 2, 3, 4, 5]
    assert first["history"]["loss"][-1] < first["history"]["loss"][0]


def test_a_seed_gives_the_same_bits_again(seen):
    for once, again in seen["the same bits"]:
        assert same(once, again)
    close(seen["every 3, the same rows"][0], alone(ranks.classifier()))  # the average of what is equal


def test_sums_in_memory_that_all_see():
    printed, code = mpiexec(3, HERE / "sums.py")
    assert code == 0, printed
    assert "right: [60, 60, 60]" in printed


def test_without_such_memory_messages_give_the_same_bits(seen):
    for rank in range(2):
        assert same(seen["no window"][rank], seen["batches of 16"][rank])


def test_ranks_update_parts_of_the_weights_where_that_is_worth_while(seen, parting):
    assert seen["passed on"] == [30 if parting == 0 else 0] * 2  # 20 steps, and two numbers of Adam in 5 epochs


def test_gradients_may_be_asked_for_in_a_fit_and_after_it(seen):
    (first, none, agrees), (second, shapes, agrees_too) = seen["gradients beside"]
    assert same(first, second)
    assert same(first, seen["batches of 16"][0])
    assert none == []
    assert shapes == [(8, 5)]
    assert agrees
    assert agrees_too


def test_local_sgd_is_what_one_process_simulates(seen):
    for name, optimizer, steps in (("every 3 with SGD", ranks.fastnn.SGD(), 20), ("every 3 with Adam", None, 20)):
        net = ranks.classifier(optimizer=optimizer)
        averaged_fit(net, ranks.X, ranks.CLASSES, 2, every=3, epochs=5, share=8, shuffle=False)
        np.testing.assert_allclose(seen[name][0]["weights"], net.parameters, rtol=0, atol=1e-12)
        assert net.engine.state.steps[0] == steps


def test_a_checkpoint_goes_on_with_the_same_bits(seen):
    for name in ("", ", every 2"):
        resumed, straight = seen[f"resumed{name}"], seen[f"straight{name}"]
        for (left, log, files), (other, other_log, _) in zip(resumed, straight):
            assert same(left, other)
            assert log == other_log
            assert log.count("\n") == 7
            assert files == ["best.safetensors", "log.csv", "run.safetensors"]
        assert same(resumed[0][0], resumed[1][0])


@pytest.mark.parametrize("name", ["class weights in another order", "class weights in an array"])
def test_class_weights_are_those_of_one_process(seen, name):
    for one in seen[name]:
        close(one, alone(ranks.classifier(), class_weight=[1, 2, 3]))


def test_validation_rows_may_lie_on_one_rank(seen):
    first, second = seen["validation on rank 0"]
    assert same(first, second)
    X, y = ranks.X, ranks.CLASSES
    close(first, alone(ranks.classifier(), validation_data=(X, y), metrics="accuracy"))


@pytest.mark.parametrize(
    ("name", "drawn", "make", "targets", "keywords"),
    [
        ("held out", True, ranks.classifier, ranks.CLASSES, {"metrics": "accuracy"}),
        ("held out, the last", False, ranks.classifier, ranks.CLASSES, {"metrics": "accuracy"}),
        ("held out, standardised", True, ranks.regressor, ranks.VALUES, {}),
    ],
)
def test_each_rank_holds_out_of_its_own_rows(seen, name, drawn, make, targets, keywords):
    first, second = seen[name]
    assert same(first, second)
    kept, held = [], []
    for rank in range(2):
        own = np.arange(rank, len(ranks.X), 2)
        classes = targets[own] if targets.ndim == 1 else None
        sides = held_out_rows(own.size, 0.25, seed_of(3, rank) if drawn else None, classes)
        kept.append(own[sides[0]])
        held.append(own[sides[1]])
    together = max(map(len, kept))
    rows = np.array([some[k] for k in range(together) for some in kept if k < len(some)])
    others, net = np.concatenate(held), make()
    weights = ranks.WEIGHTS if name == "held out" else np.ones(len(ranks.X))
    data = (ranks.X[others], targets[others], weights[others])
    settings = {"epochs": 5, "batch_size": 16, "shuffle": False, "verbose": 0, **keywords}
    history = net.fit(ranks.X[rows], targets[rows], validation_data=data, sample_weight=weights[rows], **settings)
    close(first, ranks.left(net, history))
    assert "val_loss" in first["history"]


def test_what_is_held_out_needs_no_seed(seen):
    first, second = seen["held out without a seed"]
    assert same(first, second)
    assert "val_loss" in first["history"]


def test_callbacks_decide_for_all(seen):
    wanted = alone(ranks.classifier(), callbacks=ranks.EarlyStopping(patience=1, min_delta=9.0), epochs=40)
    for name in ("early stopping", "early stopping on rank 0"):
        first, second = seen[name]
        assert same(first, second)
        assert first["stopped"] == wanted["stopped"]
        close(first, wanted)
    (rate, weights), (other, others) = seen["rate of rank 0"]
    assert rate == other < 0.002
    assert weights.tobytes() == others.tobytes()


def test_ranks_on_one_machine_share_its_cores(seen):
    assert seen["threads"] == [[max(1, default_threads() // 2)]] * 2


@pytest.mark.parametrize(
    ("name", "stopped", "epochs"),
    [
        ("a stop at the end of an epoch", "enough on this rank", 2),
        ("a stop at its beginning", "enough on this rank", 2),
        ("a stop at the beginning of all", "enough on this rank", 0),
        ("a stop at the end of all", "enough on this rank", 5),
        ("an interrupt of a callback", "interrupted after 8 steps", 2),
        ("a signal", "interrupted after 8 steps", 2),
        ("a signal in a step", "interrupted after 5 steps", 1),
        ("a signal at the very end", "interrupted after 20 steps", 5),
    ],
)
def test_a_stop_on_one_rank_is_one_on_all(seen, name, stopped, epochs):
    first, second = seen[name]
    assert same(first, second)
    assert (first["stopped"], len(first["epoch"])) == (stopped, epochs)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("other architecture", "ValueError: the ranks disagree: layers[0].outs is 8 on rank 0 but 9 on rank 1"),
        ("other dtype", "ValueError: the ranks disagree: dtype is 'float64' on rank 0 but 'float32' on rank 1"),
        ("other seed", "ValueError: the ranks disagree: seed is 0 on rank 0 but 1 on rank 1"),
        ("other settings", "ValueError: the ranks disagree: batch_size is 16 on rank 0 but 17 on rank 1"),
        ("held out of other parts", "ValueError: the ranks disagree: validation_split is 0.25 on rank 0 but 0.5 on"),
        ("an empty shard", "ValueError: X has no rows on rank 1; expected at least one on each"),
        ("other columns", "ValueError: the ranks disagree: columns of X is 5 on rank 0 but 4 on rank 1"),
        ("columns that the network does not take", "ValueError: X has 4 columns but the first layer takes 5"),
        ("no communicator", "TypeError: comm is 3; expected a communicator"),
        ("divergence", "DivergedError: training diverged in epoch 1"),
        ("too small for batch normalisation", "ValueError: batch_size is 2 on 2 ranks, which leaves rank 0 a share"),
        ("no sample in a local step", "ValueError: batch_size is 1 on 2 ranks with every=2, which leaves rank 1"),
        ("a function for rows", "TypeError: X is the function <lambda>, which is read part by part"),
        ("validation data without rows", "ValueError: validation_data has no rows on any rank"),
        ("no weight", "ValueError: sample_weight and class_weight give the samples of all ranks the weight 0"),
    ],
)
def test_what_all_can_see_is_an_error_on_all(seen, name, error):
    assert [text.startswith(error) for text, _, _ in seen[name]] == [True, True], seen[name]


@pytest.mark.parametrize(
    ("name", "failed", "error"),
    [
        ("bad data", 1, "ValueError: X holds nan at row 29, column 1"),
        ("held out of too few", 1, "ValueError: validation_split is 0.25 of 1 samples, which leaves one side empty"),
        ("a file for rows", 1, "TypeError: X is 'part.parquet'; fastnn.distributed.mpi.fit takes tables in memory"),
        ("validation targets without rows", 1, "ValueError: X of validation_data has no rows"),
        ("no network", 1, "TypeError: net is 'net'; expected a NeuralNetwork"),
        ("a bad setting", 1, "ValueError: epochs is 0; expected a positive integer"),
        ("a callback that fails", 1, "OSError: the disk of this rank"),
        ("a callback that fails at the beginning", 1, "OSError: the disk of this rank"),
        ("a callback that fails at an epoch's beginning", 1, "OSError: the disk of this rank"),
        ("a callback that fails at the end", 1, "OSError: the disk of this rank"),
        ("a callback that fails after the last epoch", 1, "OSError: the disk of this rank"),
        ("a metric that fails", 0, "OSError: the disk of this rank"),
        ("a step that fails", 1, "OSError: the disk of this rank"),
        ("a step that fails behind the sum", 1, "OSError: the disk of this rank"),
        ("an update that fails", 1, "OSError: the disk of this rank"),
        ("a local step that fails", 1, "OSError: the disk of this rank"),
        ("other ranks", 0, "ValueError: "),
    ],
)
def test_what_one_rank_raises_is_raised_on_all_and_says_where(seen, name, failed, error):
    (own, _, _), (other, cause, text) = seen[name][failed], seen[name][1 - failed]
    assert own.startswith(error)
    assert other == own
    assert cause == "Elsewhere"
    assert text.startswith(f"rank {failed} of this fit raised it:\nTraceback")


def test_an_error_that_no_pickle_brings_comes_with_its_text(seen):
    (first, cause, text), (second, _, _) = seen["an error no pickle brings"]
    assert second == "Unpicklable: 1 and 2"
    assert (first, cause) == ("RuntimeError: Unpicklable: 1 and 2", "Elsewhere")
    assert "in unpicklable" in text


def test_the_page_runs_under_mpiexec(tmp_path):
    every = blocks(ROOT / "docs" / "distributed.md")
    place = next(k for k, block in enumerate(every) if "mpi4py" in block.text and block.language == "python")
    script, command, shown = every[place : place + 3]
    assert command.text.split()[:6] == ["mpiexec", "-n", "2", "python", "-m", "mpi4py"]
    (tmp_path / "train.py").write_text(script.text)
    printed, code = mpiexec(2, "-m", "mpi4py", tmp_path / "train.py")
    assert code == 0, printed
    assert same_text(printed, shown.text)
    (tmp_path / "train.py").write_text(
        script.text.replace("rank, size =", "1 / (1 - MPI.COMM_WORLD.rank)\nrank, size =")
    )
    printed, code = mpiexec(2, "-m", "mpi4py", tmp_path / "train.py")
    assert code != 0
    assert "ZeroDivisionError" in printed
