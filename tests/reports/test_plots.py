from __future__ import annotations

import math
import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reports.runs import history, scored
from sightline.diagnosis.mistakes import Evaluation, Figure, evaluate
from sightline.reports import plots
from sightline.reports.svg import Svg, stylesheet


def texts(drawing: Svg) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(drawing.inline).iter("text")]


def found(classes: int, count: int = 300, strength: float = 2.0) -> Evaluation:
    return evaluate(*scored(classes, count, strength), [f"class {i}" for i in range(classes)])


def test_learning_curves_say_what_how_much_and_when_it_was_best() -> None:
    rows = history(12, 10)
    charts = plots.learning_curves(rows, 9)
    assert list(charts) == ["loss", "accuracy", "learning rate"]
    said = texts(charts["loss"])
    assert any(each.startswith("Loss, nats per image") for each in said)
    assert "epoch" in said
    assert f"best epoch 9: {plots.short(rows[8]['valid_loss'])}" in said
    assert f"validation {plots.short(rows[-1]['valid_loss'])}" in said
    assert f"training {plots.short(rows[-1]['probe_loss'])}" in said
    assert "Accuracy, % of images" in texts(charts["accuracy"])
    assert f"validation {rows[-1]['valid_accuracy']:.1%}".replace("%", " %") in texts(charts["accuracy"])


def test_curves_without_probe_metrics_or_rows() -> None:
    assert plots.learning_curves([]) == {}
    charts = plots.learning_curves([{"epoch": 1, "train_loss": 2.0, "valid_loss": 2.1}])
    assert list(charts) == ["loss"]
    assert "training 2" in texts(charts["loss"])


@example([{"train_loss": 0.0, "valid_loss": 5e-324}], None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"train_loss": st.floats(allow_nan=True), "valid_loss": st.floats(0, 1e6) | st.none()},
            optional={"valid_accuracy": st.floats(0, 1), "lr": st.floats(0, 1)},
        ),
        max_size=12,
    ),
    st.integers(0, 14) | st.none(),
)
def test_no_history_is_too_odd_to_draw(rows: list[dict[str, float]], best: int | None) -> None:
    for drawing in plots.learning_curves(rows, best).values():
        ElementTree.fromstring(drawing.inline)
        assert not re.search(r'="[^"]*(nan|inf)', drawing.body)


def test_a_diverging_run_leaves_gaps() -> None:
    rows = [{"epoch": e, "train_loss": 1.0, "valid_loss": math.nan if e == 3 else 1.0 / e} for e in range(1, 6)]
    drawing = plots.learning_curves(rows)["loss"]
    assert drawing.body.count("line valid") == 2


def test_long_histories_stay_small() -> None:
    rows = [{"epoch": e, "train_loss": 1 / e, "valid_loss": 1 / e} for e in range(1, 20_001)]
    assert len(plots.learning_curves(rows)["loss"].body) < 80_000


@pytest.mark.parametrize("classes", [2, 3, 10, 20, 21, 45, 46, 100])
def test_every_cell_of_a_confusion_matrix_is_drawn_once(classes: int) -> None:
    scores = found(classes)
    drawing = plots.confusion(scores.confusion, scores.classes)
    squares = sum(path.count("M") for path in re.findall(r'<path d="([^"]*)" class="(?:right|wrong) l', drawing.body))
    assert squares == np.count_nonzero(scores.confusion)
    counts = [each for each in texts(drawing) if each.isdigit()]
    if classes <= 20:
        assert sorted(map(int, counts)) == sorted(scores.confusion[scores.confusion > 0])
    else:
        assert all(each.isdigit() is False for each in texts(drawing)) or classes > 45
    assert ("class 1" in drawing.body) == (classes <= 45)
    assert {"true class", "predicted class", "right", "mistaken", "% of the row"} <= set(texts(drawing))


def test_confusion_of_nothing_but_right_answers_and_of_empty_rows() -> None:
    drawing = plots.confusion(np.diag([4, 0, 2]), ["a", "b", "c"])
    assert "wrong l6" in drawing.body  # only the key
    assert '<path d="' in drawing.body
    assert "wrong l1" not in re.sub(r"<rect[^>]*/>", "", drawing.body)


def test_shades_mean_what_the_key_says() -> None:
    matrix = np.array([[49, 51], [1, 99]])
    body = re.sub(r"<rect[^>]*/>", "", plots.confusion(matrix, ["a", "b"]).body)
    assert re.findall(r'class="((?:right|wrong) l\d)"', body) == ["right l5", "right l6", "wrong l1", "wrong l6"]


def test_reliability_draws_each_bin_that_holds_images() -> None:
    scores = found(4)
    drawing = plots.reliability(scores.calibration.bins)
    filled = [each for each in scores.calibration.bins if each.count]
    assert drawing.body.count("<circle") == len(filled) == drawing.body.count('class="whisker"')
    assert {"Right answers, %", "confidence, %"} <= set(texts(drawing))
    assert plots.reliability([]).body


def test_scale_and_whisker_stay_inside() -> None:
    for figure in (Figure(1.0, 0.98, 1.0), Figure(0.0, 0.0, 0.02), Figure(0.5, 0.4, 0.6)):
        for drawing in (
            plots.scale(figure, 0.1, "all 'a very long name of a class that is long':"),
            plots.whisker(figure),
        ):
            places = [float(x) for x in re.findall(r' (?:x|x1|x2|cx)="([-\d.]+)"', drawing.body)]
            assert all(-0.01 <= place <= drawing.width + 0.01 for place in places)
    assert "98.0 % to 100.0 %" in texts(plots.scale(Figure(1.0, 0.98, 1.0)))


def test_lr_range_marks_the_suggestion_and_cuts_the_explosion() -> None:
    rates = np.geomspace(1e-6, 1, 50)
    losses = np.where(rates > 0.1, 1e4, 2.3 - rates)
    drawing = plots.lr_range(list(rates), list(losses), smoothed=list(losses), suggestion=3e-3)
    assert "suggested: 0.003" in texts(drawing)
    assert "learning rate, log scale" in texts(drawing)
    assert max(float(each.replace(",", "")) for each in texts(drawing) if re.fullmatch(r"[\d.,]+", each)) < 10
    assert plots.lr_range([1e-3], [math.nan]).body


def test_signals_are_lines() -> None:
    assert plots.signal(np.sin(np.arange(140.0))).body.count("<path") == 1
    assert plots.signal(np.zeros((2, 1))).body.count("<circle") == 2


def _rules(dark: bool) -> dict[str, tuple[float, float, float]]:
    light, night = stylesheet().split("@media screen")[:2]
    colours = dict(re.findall(r"--([\w-]+): #([0-9a-f]{6})", light))
    if dark:
        colours |= dict(re.findall(r"--([\w-]+): #([0-9a-f]{6})", night))
    return {name: tuple(int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)) for name, code in colours.items()}  # type: ignore[misc]


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Contrast ratio of WCAG 2.2."""

    def luminance(colour: tuple[float, ...]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_everything_can_be_read_in_light_and_dark(dark: bool) -> None:
    colour = _rules(dark)
    for ground in ("paper", "card"):
        assert contrast(colour["ink"], colour[ground]) > 12
        for name in ("soft", "right", "wrong", "third"):
            assert contrast(colour[name], colour[ground]) > 4.5, (name, ground)
    opacity = {int(n): float(a) for n, a in re.findall(r"\.l(\d) \{ fill-opacity: ([\d.]+)", stylesheet())}
    assert sorted(opacity) == [1, 2, 3, 4, 5, 6]
    for kind in ("right", "wrong"):
        shades = []
        for level, alpha in sorted(opacity.items()):
            shade = tuple(alpha * c + (1 - alpha) * g for c, g in zip(colour[kind], colour["card"], strict=True))
            letters = colour[f"on-{kind}"] if level >= 5 else colour["ink"]
            assert contrast(letters, shade) > 4.5, (kind, level)
            shades.append(contrast(shade, colour["card"]))
        assert shades == sorted(shades)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(
    "sees",
    [
        [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],  # no red cones
        [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],  # no green cones
    ],
)
def test_right_and_wrong_differ_for_the_colour_blind(sees: list[list[float]], dark: bool) -> None:
    """Matrices on linear RGB: Viénot, Brettel & Mollon 1999."""
    colour = _rules(dark)
    linear = [np.array(colour[name]) ** 2.2 for name in ("right", "wrong")]
    seen = [np.clip(np.array(sees) @ each, 0, 1) ** (1 / 2.2) for each in linear]
    assert np.linalg.norm(seen[0] - seen[1]) > 0.4


def test_drawing_needs_neither_matplotlib_nor_torch() -> None:
    code = "import sys; from sightline.reports import page; sys.exit(bool({'torch', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
