"""A candidate ready to train: its network, the rows that it trains on, and the trainer."""

from dataclasses import dataclass

from stages.common.dataset import Dataset
from stages.common.features import Rows, open_rows
from stages.common.keras_files import load
from stages.common.networks import join, loss_name, output_count
from stages.common.params import Params
from stages.common.paths import BACKBONES
from stages.common.quiet_tensorflow import keras
from stages.common.training import Trainer


@dataclass(frozen=True)
class Candidate:
    """What is needed to train one candidate.

    Attributes:
        trainer: Trains `rest`, each time from the same start.
        rows: What lies at the cut for each image.
        whole: From the image to the predictions; shares the layers of `rest`.
        rest: From the cut to the predictions.
    """

    trainer: Trainer
    rows: Rows
    whole: keras.Model
    rest: keras.Model


def build_candidate(params: Params, name: str, dataset: Dataset) -> Candidate:
    """Build the network of a candidate as its params say.

    It depends on the params of this candidate alone, not on what was built before.
    """
    training = params.candidate(name)
    features = params.features[training.features]
    backbone = params.backbones[features.backbone]
    keras.utils.set_random_seed(training.seed)
    outputs = output_count(dataset.encoder, len(dataset.classes))
    whole, rest = join(
        load(BACKBONES / f"{features.backbone}.keras"),
        features,
        pretrained=backbone.weights != "none",
        head=training.head,
        outputs=outputs,
    )
    rows = open_rows(
        training.features, features, dataset.manifest, training.augmented, params.augment.rescale
    )
    trainer = Trainer(rest, training, loss_name(training, dataset.encoder, outputs))
    return Candidate(trainer, rows, whole, rest)
