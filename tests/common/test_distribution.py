"""Replicas on devices and in processes train as a single one does, and fail in one line."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from stages.common.determinism import make_deterministic
from stages.common.distribution import bounds, distribute, read_tf_config
from stages.common.errors import InputError
from stages.common.networks import build_head
from stages.common.params import Distribution, Training
from stages.common.scaling import Scaling
from stages.common.snapshots import Resume
from stages.common.training import Examples, Trainer

ROOT = Path(__file__).parents[2]
IMAGES, TRAIN, COLUMNS, EPOCHS = 60, 41, 6, 6
BATCH = 8  # so the last batch of an epoch holds one image, fewer than there are replicas


def training_of(distribution: dict, **options: Any) -> Training:
    # A bias in front of a normalisation has no gradient but rounding, which Adam would enlarge.
    place = "before" if options.get("optimizer", {}).get("name") == "sgd" else "after"
    layer = {"units": 8, "activation": "tanh", "batch_normalization": place, "dropout": 0.4}
    head = {"normalize": True, "layers": [layer], "initializer": "glorot_uniform"}
    steps = {"batch_size": BATCH, "epochs": EPOCHS, "distribution": distribution}
    return Training(**{"head": head, "early_stopping": None} | steps | options)


OPTIONS = {
    "adam": {
        "optimizer": {"name": "adam", "learning_rate": 0.02},
        "regularization": {"dense": {"l1": 0.001, "l2": 0.01}},
    },
    "clipped": {
        "optimizer": {"name": "sgd", "momentum": 0.9, "learning_rate": 0.1, "clip_norm": 0.1},
        "schedule": {"name": "cosine"},
    },
    "decayed": {
        "optimizer": {"name": "adamw", "learning_rate": 0.02, "weight_decay": 0.1},
        "early_stopping": {"patience": 1},
        "reduce_on_plateau": {"patience": 1},
    },
}


class NoisyRows:
    """Features of three classes and one variant, in memory."""

    variants, shape, dtype = 2, (COLUMNS,), np.dtype("float32")

    def __init__(self) -> None:
        noise = np.random.default_rng(0).normal(0, 1.5, (IMAGES, 2, COLUMNS))
        centres = 3 * np.eye(COLUMNS)[np.arange(IMAGES) % 3]
        self._values = (5 + noise + centres[:, None]).astype("float32")
        self.read = 0

    def take(self, images: np.ndarray, variants: np.ndarray | int = 0) -> np.ndarray:
        self.read += len(images)
        return self._values[images, variants]


def examples() -> Examples:
    targets = np.arange(IMAGES)[:, None] % 3
    weights = np.array([0.5, 1, 2.5], np.float32)[targets[:, 0]]
    return Examples("multiclass", "label", targets, weights, Scaling())


def convolutional() -> keras.Model:
    """Return a network behind a cut, with dropout of whole samples and maps to normalise."""
    x = inputs = keras.Input((COLUMNS,))
    x = keras.layers.Reshape((3, 2, 1))(x)
    x = keras.layers.Conv2D(4, 2, padding="same", kernel_initializer=seeded(1))(x)
    x = keras.layers.BatchNormalization(name="normalize")(x)
    x = keras.layers.Activation("relu")(x)
    x = keras.layers.Dropout(0.3, noise_shape=(None, 1, 1, 1), seed=3)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(3, kernel_initializer=seeded(2))(x)
    return keras.Model(inputs, keras.layers.Activation("softmax")(x))


def seeded(seed: int) -> keras.initializers.Initializer:
    return keras.initializers.GlorotUniform(seed=seed)


def trained(model: keras.Model, training: Training, resume: Path | None = None) -> dict:
    """Return the curves, the weights and what else there is to compare."""
    replicas, rows = distribute(training.distribution), NoisyRows()
    loss = "sparse_categorical_crossentropy"
    trainer = Trainer(model, rows, 1, training, loss, replicas=replicas)
    state = [*model.variables, *model.optimizer.variables]
    snapshot = replicas.resume(Resume(resume, [], state)) if resume else None
    watched = np.arange(TRAIN, IMAGES)
    history, kept = trainer.fit(examples(), np.arange(TRAIN), watched, resume=snapshot)
    named = {f"weight {i}": one.numpy() for i, one in enumerate(model.variables)}
    curves = {name: [logs[name] for logs in history] for name in history[0]}
    extra = {"kept": kept, "read": rows.read, "config": model.to_json()}
    return {**curves, **named, **extra}


def train_all(target: Path, distribution: dict) -> None:
    """Train every network in this process, and write what came out."""
    make_deterministic(threads=1, seed=0)
    found = {}
    for name, options in OPTIONS.items():
        training = training_of(distribution, **options)
        with distribute(training.distribution).scope():
            model = build_head(COLUMNS, training, "softmax", 3)
        found[name] = trained(model, training)
    training = training_of(distribution, optimizer={"name": "sgd", "learning_rate": 0.5})
    with distribute(training.distribution).scope():
        model = convolutional()
    found["convolutional"] = trained(model, training)

    # The same again, stopped after two epochs, in another state, and gone on.
    training = training_of(distribution, **OPTIONS["decayed"])
    resume = target.with_suffix(".state")
    for epochs in (2, EPOCHS):
        with distribute(training.distribution).scope():
            model = build_head(COLUMNS, training, "softmax", 3)
        some = training.model_copy(update={"epochs": epochs})
        found["resumed"] = trained(model, some, resume)
    assert resume.exists() == distribute(training.distribution).chief
    arrays = {f"{case}/{key}": one for case, some in found.items() for key, one in some.items()}
    np.savez(target, **arrays)


def free_addresses(count: int) -> list[str]:
    """Return addresses of this machine at which nothing listens."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def tf_config(addresses: list[str], index: int) -> str:
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": addresses}, "task": task})


def start(code: str, *arguments: object, config: str | None = None) -> subprocess.Popen:
    """Start Python with this module's names."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(__file__).parent}"}
    if config is not None:
        environment["TF_CONFIG"] = config
    # TensorFlow is imported as the stages do it, without the notes that it prints.
    names = "import stages.common.quiet_tensorflow, sys\nfrom test_distribution import *\n"
    return subprocess.Popen(
        [sys.executable, "-c", names + code, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen, code: int = 0) -> str:
    printed, _ = process.communicate(timeout=400)
    assert process.returncode == code, printed
    return printed


SETTINGS = {
    "single": {},
    "mirrored": {"strategy": "mirrored", "replicas": 2},
    "three": {"strategy": "mirrored", "replicas": 3},
    "chief": {"strategy": "multi_worker", "replicas": 2},
    "follower": {"strategy": "multi_worker", "replicas": 2},
}
OTHERS = [name for name in SETTINGS if name != "single"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, np.ndarray]]:
    """Train all networks in every way, all processes at once."""
    folder, addresses = tmp_path_factory.mktemp("replicas"), free_addresses(2)
    configs = {name: tf_config(addresses, i) for i, name in enumerate(["chief", "follower"])}
    started = [
        start(
            f"train_all(Path(sys.argv[1]), {distribution!r})",
            folder / f"{name}.npz",
            config=configs.get(name),
        )
        for name, distribution in SETTINGS.items()
    ]
    for process in started:
        finish(process)
    return {name: dict(np.load(folder / f"{name}.npz")) for name in SETTINGS}


def of_case(results: dict[str, np.ndarray], case: str) -> dict[str, np.ndarray]:
    prefix = f"{case}/"
    return {key.removeprefix(prefix): one for key, one in results.items() if key.startswith(prefix)}


@pytest.mark.parametrize("setting", OTHERS)
@pytest.mark.parametrize("case", [*OPTIONS, "convolutional"])
def test_curves_and_weights_are_those_of_a_single_replica(results, case, setting):
    expected, received = of_case(results["single"], case), of_case(results[setting], case)
    assert min(expected["loss"]) < 0.9 * expected["loss"][0]
    assert len(expected["val_loss"]) > 2
    assert expected.keys() == received.keys()
    for key in expected:
        if key not in ("read", "config"):
            np.testing.assert_allclose(received[key], expected[key], rtol=0, atol=1e-3, err_msg=key)


@pytest.mark.parametrize("setting", OTHERS)
def test_the_saved_network_says_nothing_of_replicas(results, setting):
    for case in (*OPTIONS, "convolutional"):
        assert results[setting][f"{case}/config"] == results["single"][f"{case}/config"]


def test_a_process_reads_its_share_of_the_images(results):
    reads = {name: int(found["convolutional/read"]) for name, found in results.items()}
    watched = EPOCHS * (IMAGES - TRAIN)
    assert reads["mirrored"] == reads["single"] == EPOCHS * TRAIN + watched
    shares = [reads["chief"] - watched, reads["follower"] - watched]
    assert shares == [EPOCHS * 21, EPOCHS * 21]  # the one image of the last batch each


@pytest.mark.parametrize("setting", [*SETTINGS])
def test_a_stopped_training_goes_on_to_the_same(results, setting):
    expected, received = (of_case(results[setting], case) for case in ("decayed", "resumed"))
    for key in expected:
        if key not in ("read", "config"):
            np.testing.assert_array_equal(received[key], expected[key], err_msg=key)


def test_processes_end_with_the_same_bits(results):
    for key, expected in results["chief"].items():
        if not key.endswith("read"):
            np.testing.assert_array_equal(results["follower"][key], expected, err_msg=key)


# How a batch is divided


@pytest.mark.parametrize(("size", "count"), [(8, 2), (7, 2), (2, 2), (64, 5)])
def test_shares_are_disjoint_complete_and_even(size, count):
    shares = [bounds(size, replica, count) for replica in range(count)]
    assert [row for start, end in shares for row in range(start, end)] == list(range(size))
    lengths = [end - start for start, end in shares]
    assert max(lengths) - min(lengths) <= 1


def test_a_batch_of_fewer_rows_is_the_share_of_each():
    assert [bounds(2, replica, 3) for replica in range(3)] == [(0, 2)] * 3


# What cannot work


def refusal(action: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as refused:
        action()
    assert "\n" not in str(refused.value)
    return str(refused.value)


ADDRESSES = ["a:1", "b:2"]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "no json",
        "[]",
        "{}",
        '{"cluster": {"worker": ["a:1", "b:2"]}}',
        '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"worker": ["a:1", "b"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"ps": ["c:1"], "worker": ["a:1", "b:2"]}, "task": {"type": "worker", '
        '"index": 0}}',
    ],
)
def test_a_wrong_tf_config_is_refused(monkeypatch, text):
    if text is None:
        monkeypatch.delenv("TF_CONFIG", raising=False)
    else:
        monkeypatch.setenv("TF_CONFIG", text)
    message = refusal(lambda: read_tf_config(2))
    assert message.startswith('TF_CONFIG: expected {"cluster": {"worker": ["host:port", ...]}')
    assert "received" in message


@pytest.mark.parametrize("addresses", [["a:1"], ["a:1", "b:2", "c:3"], ["a:1", "a:1"]])
def test_another_number_of_processes_is_refused(monkeypatch, addresses):
    monkeypatch.setenv("TF_CONFIG", tf_config(addresses, 0))
    message = refusal(lambda: read_tf_config(2))
    assert "expected 2 different addresses" in message
    assert "training.distribution.replicas" in message


@pytest.mark.parametrize("index", [-1, 2])
def test_an_index_that_no_process_has_is_refused(monkeypatch, index):
    monkeypatch.setenv("TF_CONFIG", tf_config(ADDRESSES, index))
    assert f"index below 2, received {index}" in refusal(lambda: read_tf_config(2))


def test_a_right_tf_config_is_read(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config(ADDRESSES, 1))
    assert read_tf_config(2) == (ADDRESSES, 1)


def test_more_replicas_than_gpus_are_refused(monkeypatch):
    gpus = ["GPU:0", "GPU:1"]
    monkeypatch.setattr("stages.common.distribution.tf.config.list_physical_devices", gpus_of(gpus))
    wanted = Distribution(strategy="mirrored", replicas=3)
    assert "at most the 2 GPUs of this machine, received 3" in refusal(lambda: distribute(wanted))


def gpus_of(gpus: list[str]) -> Callable[[str], list[str]]:
    return lambda kind: gpus if kind == "GPU" else ["CPU:0"]


# A process that is missing, is lost, or has something else

TOGETHER = """
import os, time
from stages.common import distribution as module
module.CONNECTING, module._SILENCE = 20, 10
make_deterministic(threads=1, seed=0)
try:
    replicas = distribute(Distribution(strategy="multi_worker", replicas=2))
    with replicas.together():
        {work}
except InputError as error:
    sys.exit(f"error: {{error}}")
"""


def pair(works: tuple[str | None, str | None]) -> list[subprocess.Popen]:
    """Start the processes of a cluster with something to do; None: this one is never started."""
    addresses = free_addresses(2)
    return [
        start(TOGETHER.format(work=work), config=tf_config(addresses, i))
        for i, work in enumerate(works)
        if work is not None
    ]


@pytest.mark.parametrize(("index", "expected"), [(0, "does not answer"), (1, "reach the chief")])
def test_a_process_that_is_missing_is_one_line(index, expected):
    (alone,) = pair(("pass", None) if index == 0 else (None, "pass"))
    message = finish(alone, code=1)
    assert message.startswith("error: TF_CONFIG: expected")
    assert expected in message
    assert message.count("\n") == 1


@pytest.mark.parametrize("lost", [0, 1])
def test_a_process_that_dies_is_one_line_for_the_others(lost):
    work = "time.sleep(1)\n        os._exit(9)"
    processes = pair((work, "pass") if lost == 0 else ("pass", work))
    finish(processes[lost], code=9)
    message = finish(processes[1 - lost], code=1)
    assert message.startswith("error: TF_CONFIG: expected its 2 processes to train together")
    assert message.count("\n") == 1


def test_processes_with_other_params_are_one_line_each():
    for process in pair(("replicas.agree('one')", "replicas.agree('two')")):
        message = finish(process, code=1)
        assert "received others in process 1 than in 0" in message
        assert message.count("\n") == 1


def test_the_others_work_after_the_chief_and_get_what_it_has():
    work = """with replicas.chief_first():
            moment = time.monotonic()
            time.sleep(1 if replicas.chief else 0)
            print(moment, time.monotonic())
        print(replicas.share(["é", 1.5, None] if replicas.chief else "other"))"""
    chief, other = (finish(process).splitlines() for process in pair((work, work)))
    assert float(chief[0].split()[1]) <= float(other[0].split()[0])
    assert chief[1] == other[1] == "['é', 1.5, None]"
