"""The recipe as a scikit-learn estimator: ``fit``, ``predict``, ``predict_proba``, ``score``."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from sightline.data import arrays
from sightline.diagnosis.calibration import fit_temperature
from sightline.errors import SettingsError
from sightline.making.assembly import assemble
from sightline.making.balancing import learn_last_layer
from sightline.making.choices import resolve
from sightline.making.prepared import prepare
from sightline.progress import Progress
from sightline.serving.predict import Predictor
from sightline.settings import Settings
from sightline.training import device as devices


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """An image classifier that works in ``Pipeline``, ``cross_val_score``, ``GridSearchCV`` and ``VotingClassifier``.

    Also behind imbalanced-learn's samplers, in its ``Pipeline``; what they repeat stays on one side of the split below,
    but what SMOTE invents may resemble examples on the other.

    A share of the training data is kept to choose the best epoch; nothing is written but a temporary folder,
    and nothing is printed unless ``quiet=False``. The parameters are those of ``Settings`` with the same names.

    Args:
        model: name of the network; ``mlp`` takes plain feature rows, too.
        options: the network's own options.
        shape: of one example, where X holds it as a row of numbers: (height, width), (height, width, channels),
            (channels, length) or (length,). So images can pass through what only takes rows: imbalanced-learn's
            samplers, scikit-learn's scalers.
        image_size: side in pixels, or (height, width); None keeps or chooses.
        resize: ``pad``, ``crop`` or ``squash``.
        normalise: ``none``, ``pixel``, ``channel`` or ``zca``.
        corrections: a reviewed list of labels to drop or change, by the row numbers of the X given to ``fit``.
        epochs: passes over the data; None chooses.
        batch_size: images per step; None chooses.
        optimizer: name of the optimizer.
        lr: peak learning rate; None chooses.
        weight_decay: None chooses.
        schedule: how the learning rate moves.
        augment: ``none``, ``light``, ``strong`` or ``auto``.
        label_smoothing: share of the target spread over all classes.
        dropout: share of features switched off before the last layer; None: the network's own.
        penalty: on the weights, such as ``l1=1e-5``; ``none``.
        max_norm: largest norm of what each unit takes in; None: unbounded.
        trim: share of each batch, the hardest, that gets no gradient.
        ema: decay of the moving average of the weights; 0: none.
        swa: last share of the training whose weights are averaged equally; 0: none.
        weights: what to begin with: ``imagenet``, a file, or a run folder.
        freeze: what of it stays as it is: ``none``, ``features`` or ``until:<stage>``.
        thaw_epoch: the epoch from which it learns, too; None: never.
        old_lr: factor on its learning rate; None chooses.
        download: allow public weights to be fetched.
        balance: how to make up for rare classes: ``none``, ``weights``, ``sampler``, ``oversample``, ``smote``,
            ``logits`` or ``auto``.
        class_weight: scikit-learn's name for weights of the loss: ``"balanced"``, which is ``balance="weights"``, or
            label -> weight, 1 for labels that are not named.
        patience: epochs without improvement before it stops; 0: never.
        valid_fraction: share kept to choose the best epoch.
        random_state: the seed.
        device: ``auto``, ``cpu``, ``cuda``.
        precision: ``auto``, ``fp32``, ``bf16``, ``fp16``.
        quiet: no progress on stderr.

    Attributes:
        classes_: the labels, sorted, (K,).
        n_features_in_: size of the second axis of X.
        history_: one row of plain numbers per epoch.
        network_: the fitted ``torch.nn.Module``, in evaluation mode.
    """

    def __init__(
        self,
        model: str = "resnet18",
        *,
        options: dict[str, Any] | None = None,
        shape: tuple[int, ...] | None = None,
        image_size: int | tuple[int, int] | None = None,
        resize: str = "pad",
        normalise: str = "channel",
        corrections: Path | str | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        optimizer: str = "adamw",
        lr: float | None = None,
        weight_decay: float | None = None,
        schedule: str = "onecycle",
        augment: str = "auto",
        label_smoothing: float = 0.0,
        dropout: float | None = None,
        penalty: str = "none",
        max_norm: float | None = None,
        trim: float = 0.0,
        ema: float = 0.0,
        swa: float = 0.0,
        weights: str | Path | None = None,
        freeze: str = "none",
        thaw_epoch: int | None = None,
        old_lr: float | None = None,
        download: bool = False,
        balance: str = "none",
        class_weight: str | dict[Any, float] | None = None,
        patience: int = 0,
        valid_fraction: float = 0.1,
        random_state: int = 0,
        device: str = "auto",
        precision: str = "auto",
        quiet: bool = True,
    ) -> None:
        self.model = model
        self.options = options
        self.shape = shape
        self.image_size = image_size
        self.resize = resize
        self.normalise = normalise
        self.corrections = corrections
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.augment = augment
        self.label_smoothing = label_smoothing
        self.dropout = dropout
        self.penalty = penalty
        self.max_norm = max_norm
        self.trim = trim
        self.ema = ema
        self.swa = swa
        self.weights = weights
        self.freeze = freeze
        self.thaw_epoch = thaw_epoch
        self.old_lr = old_lr
        self.download = download
        self.balance = balance
        self.class_weight = class_weight
        self.patience = patience
        self.valid_fraction = valid_fraction
        self.random_state = random_state
        self.device = device
        self.precision = precision
        self.quiet = quiet

    def fit(self, X: Any, y: Any) -> Self:
        """Train on labelled images.

        Args:
            X: images N,H,W[,C] (uint8, or float in any range), signals N,L or N,C,L, or feature rows N,F.
            y: N labels, numbers or text.

        Raises:
            SightlineError: the images, labels or parameters cannot be used.
        """
        X, y = validate_data(self, X, y, allow_nd=True, dtype="numeric", ensure_min_samples=4)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        X = _shaped(_stored(X), self.shape)
        images = arrays.assemble([arrays.from_pair(X, codes)], name="arrays", layout="arrays (X, y)")
        images = images.relabel(images.labels, tuple(str(label) for label in self.classes_))
        parameters = self.get_params()
        quiet, seed = parameters.pop("quiet"), parameters.pop("random_state")
        del parameters["shape"], parameters["class_weight"]
        weights = self._weights()
        if self.class_weight is not None:  # judged by what it is trained for, as far as that can be told
            parameters["monitor"] = "valid_balanced_loss"
        if self.class_weight == "balanced":
            parameters["balance"] = "weights"
        values = {name: value for name, value in parameters.items() if value is not None}
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(**values, seed=seed, test_fraction=0.0, runs=Path(folder))
            progress = Progress(quiet=quiet)
            device, _ = devices.choose(settings.device)
            data = prepare(images, settings, progress)
            settings = resolve(settings, data, device, progress).settings
            trainer = assemble(None, data, settings, device, progress, class_weights=weights)
            trainer.loop()
            learn_last_layer(trainer, data, settings, progress)
        self.history_ = trainer.history.rows
        self.network_ = trainer.model.cpu()
        self._preprocessing = data.preprocessing
        valid = Predictor(self.network_, images.classes, data.preprocessing).logits(data.pixels.array, data.split.valid)
        self._temperature = fit_temperature(valid, data.labels[data.split.valid])
        return self

    def _weights(self) -> list[float] | None:
        """Read ``class_weight``: a weight for each of ``classes_``, or None where none are given."""
        given = self.class_weight
        if given is None:
            return None
        if self.balance != "none":
            raise SettingsError(
                f"'class_weight' is {given!r} and 'balance' is '{self.balance}': two ways to do one thing.",
                "Leave one of them out.",
            )
        if given == "balanced":
            return None
        labels = self.classes_.tolist()
        weights = given if isinstance(given, dict) else {given: 0.0}
        strange = sorted(map(str, weights.keys() - set(labels)))
        if strange:
            raise SettingsError(
                f"'class_weight' names {', '.join(strange)}, which is no label in y.",
                f"Give 'balanced', or a weight for some of: {', '.join(map(str, labels[:20]))}.",
            )
        return [float(weights.get(label, 1.0)) for label in labels]

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Give calibrated class probabilities, float32 (N, K), columns as in ``classes_``."""
        check_is_fitted(self)
        X = validate_data(self, X, allow_nd=True, dtype="numeric", reset=False)
        predictor = Predictor(
            self.network_,
            [str(label) for label in self.classes_],
            self._preprocessing,
            temperature=self._temperature,
        )
        return predictor.predict(_shaped(_stored(X), self.shape)).probabilities

    def predict(self, X: Any) -> NDArray[Any]:
        """Give the most probable label of each image, (N,), of the type of the labels in ``fit``."""
        check_is_fitted(self)
        found: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return found


def _shaped(X: NDArray[Any], shape: tuple[int, ...] | None) -> NDArray[Any]:
    """Give rows of numbers the shape of examples."""
    if shape is None:
        return X
    if X.ndim != 2 or X.shape[1] != math.prod(shape):
        raise SettingsError(
            f"'shape' is {tuple(shape)}, {math.prod(shape)} numbers; X has the shape {X.shape}.",
            "Give X as rows of so many numbers, X.reshape(len(X), -1), or leave shape out.",
        )
    return X.reshape(len(X), *shape)


def _stored(X: NDArray[Any]) -> NDArray[Any]:
    """Keep uint8 pixels as they are; everything else is float32 in its own units."""
    return X if X.dtype == np.uint8 else X.astype(np.float32)
