"""ImageClassifier keeps scikit-learn's contract."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import Pipeline
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits
from sklearn.ensemble import VotingClassifier
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from sightline import ImageClassifier
from sightline.errors import SettingsError, SightlineError


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_digits(return_X_y=True)
    return (x.reshape(-1, 8, 8) * 15.9375).round().astype(np.uint8)[:600], y[:600]


FAST = ImageClassifier("mlp", epochs=15, lr=0.01, batch_size=32, augment="none", device="cpu", precision="fp32")


def test_images_are_learnt(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    model = clone(FAST).fit(x[:400], y[:400])
    assert model.score(x[400:], y[400:]) > 0.8
    p = model.predict_proba(x[400:])
    assert p.shape == (200, 10)
    assert np.allclose(p.sum(axis=1), 1, atol=1e-5)
    assert len(model.history_) == 15


def test_labels_keep_their_type(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    names = np.array(["even", "odd"])[y % 2]
    model = clone(FAST).set_params(epochs=1).fit(x, names)
    assert set(model.predict(x[:20])) <= {"even", "odd"}
    assert list(model.classes_) == ["even", "odd"]


def test_works_in_scikit_learns_machines(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    flat = x.reshape(len(x), -1)
    back = FunctionTransformer(lambda rows: rows.reshape(-1, 8, 8))
    piped = make_pipeline(back, clone(FAST))
    assert cross_val_score(piped, flat, y, cv=2).mean() > 0.7
    vote = VotingClassifier(
        [("a", piped), ("b", clone(piped).set_params(imageclassifier__random_state=1))], voting="soft"
    )
    assert vote.fit(flat[:400], y[:400]).score(flat[400:], y[400:]) > 0.8


@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_networks_of_different_kinds_vote_on_images(voting: str, digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    names = np.array([f"digit {label}" for label in y])
    networks = [("a", clone(FAST)), ("b", clone(FAST).set_params(model="logistic", random_state=1))]
    vote = VotingClassifier([*networks, ("c", clone(FAST).set_params(image_size=6))], voting=voting)
    vote.fit(x[:400], names[:400])
    assert vote.score(x[400:], names[400:]) > 0.75
    assert set(vote.predict(x[:50])) <= set(names)
    if voting == "soft":
        mean = np.mean([network.predict_proba(x[400:]) for network in vote.estimators_], axis=0)
        assert np.allclose(vote.predict_proba(x[400:]), mean, atol=1e-6)


@pytest.mark.parametrize("sampler", [RandomOverSampler(random_state=0), SMOTE(random_state=0, k_neighbors=3)], ids=str)
def test_works_behind_the_samplers_of_imbalanced_learn(
    sampler: BaseEstimator, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = digits
    rows = np.concatenate([np.flatnonzero(y[:400] == k)[: 10 if k % 2 else 40] for k in range(10)])
    flat = x.reshape(len(x), -1)
    piped = Pipeline([("balance", sampler), ("network", clone(FAST).set_params(shape=(8, 8), epochs=10))])
    piped.fit(flat[rows], y[rows])
    assert piped.score(flat[400:], y[400:]) > 0.5
    network = piped.named_steps["network"]
    assert network._preprocessing.shape == (1, 8, 8)
    assert network._preprocessing.stored == "uint8", "SMOTE keeps the type of pixels"
    assert cross_val_score(clone(piped).set_params(network__epochs=1), flat[rows], y[rows], cv=2).shape == (2,)


def test_signals_work_behind_smote() -> None:
    random = np.random.default_rng(0)
    y = np.array([0] * 40 + [1] * 8)
    x = random.normal(size=(48, 30)) + 2 * y[:, None] * np.sin(np.arange(30))
    piped = Pipeline([("balance", SMOTE(random_state=0, k_neighbors=3)), ("network", clone(FAST))]).fit(x, y)
    assert piped.named_steps["network"]._preprocessing.kind == "signal"
    assert piped.score(x, y) > 0.9


def test_a_shape_that_does_not_fit_is_told(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    with pytest.raises(SettingsError, match=r"'shape' is \(8, 9\), 72 numbers; X has the shape \(600, 64\)"):
        clone(FAST).set_params(shape=(8, 9)).fit(x.reshape(600, -1), y)


def test_class_weight_is_understood_as_scikit_learn_users_expect(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    names = np.where(y == 8, "eight", "other")
    plain, ways = clone(FAST).set_params(epochs=6), {}
    for way in (None, "balanced", {"eight": 30.0}, {"eight": 1, "other": 1.0}):
        found = clone(plain).set_params(class_weight=way).fit(x[:400], names[:400])
        ways[str(way)] = found.predict_proba(x[400:])
    called = {way: p[:, 0].mean() for way, p in ways.items()}
    assert called["balanced"] > called["None"]
    assert called["{'eight': 30.0}"] > called["None"]
    assert called["{'eight': 1, 'other': 1.0}"] == pytest.approx(called["None"], abs=0.1)
    same = clone(plain).set_params(balance="weights").fit(x[:400], names[:400])
    assert np.array_equal(same.predict_proba(x[400:]), ways["balanced"])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"class_weight": {"ten": 2.0}}, "names ten, which is no label"),
        ({"class_weight": "even"}, "names even"),
        ({"class_weight": "balanced", "balance": "sampler"}, "two ways to do one thing"),
        ({"class_weight": {0: -1.0}}, "'class_weights' are"),
        ({"balance": "smoot"}, "Did you mean 'smote'"),
    ],
)
def test_wrong_weights_are_told(wrong: dict[str, object], words: str, digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    with pytest.raises(SettingsError, match=words):
        clone(FAST).set_params(**wrong).fit(x, y)


@pytest.mark.parametrize("space", ["values", "features"])
def test_smote_is_a_way_to_balance_here_too(space: str, digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    rows = np.flatnonzero((y != 3) | (np.arange(600) % 6 == 0))
    model = clone(FAST).set_params(balance=f"smote,space={space}").fit(x[rows], y[rows])
    assert model.score(x, y) > 0.8
    assert "valid_balanced_accuracy" in model.history_[0]


def test_a_fitted_classifier_survives_copying(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    model = clone(FAST).set_params(epochs=1).fit(x, y)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(x[:50]), model.predict_proba(x[:50]))


def test_unknown_parameter_values_are_told(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    with pytest.raises(SightlineError, match="'resize' should be 'pad', 'crop' or 'squash'"):
        clone(FAST).set_params(resize="stretch").fit(x, y)


@parametrize_with_checks(
    [ImageClassifier("mlp", epochs=20, batch_size=8, lr=0.01, device="cpu", precision="fp32", valid_fraction=0.2)]
)
def test_scikit_learn_contract(estimator: ImageClassifier, check: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # the checks provoke warnings of scikit-learn's own
        check(estimator)  # type: ignore[operator]
