"""Numbers -> drawings (``Svg``): learning curves, confusion, reliability, intervals; no model, no disk, no pyplot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.diagnosis import intervals
from sightline.diagnosis.calibration import Bin
from sightline.diagnosis.intervals import Figure
from sightline.reports.svg import Scale, Svg, apart, around, axes, fit, line, round_up, short, tag, text, width

WIDTH = 440.0
"""Units; the drawing is readable from 360 to 700 CSS pixels."""

SHARES = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5)
"""Lower ends of the six shades of a confusion matrix, as shares of a row."""

NAMED, COUNTED = 45, 20
"""Up to how many classes a confusion matrix writes names, and counts."""


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        name: written at its end.
        values: one per epoch; None or NaN leaves a gap.
        kind: colour, ``"valid"``, ``"train"`` or ``"third"``.
    """

    name: str
    values: Sequence[float | None]
    kind: str


def learning_curves(rows: Sequence[Mapping[str, Any]], best_epoch: int | None = None) -> dict[str, Svg]:
    """Draw what a history tells, one chart per quantity.

    Args:
        rows: one per epoch: ``epoch`` (from 1), ``train_loss``, ``valid_loss``, ``probe_loss``, ``lr``, and
            ``valid_<metric>``, ``probe_<metric>``; anything may be missing.
        best_epoch: marked in every chart.

    Returns:
        Charts by name: ``loss``, each metric, ``penalty`` where there is one, ``learning rate``; none for an empty
        history.
    """
    if not rows:
        return {}
    epochs = [int(row.get("epoch", i)) for i, row in enumerate(rows, 1)]

    def column(name: str) -> list[float | None]:
        return [row.get(name) for row in rows]

    def known(name: str) -> bool:
        return any(value is not None for value in column(name))

    charts: dict[str, Svg] = {}
    probe = "probe_loss" if known("probe_loss") else "train_loss"
    pair = [Series("training", column(probe), "train"), Series("validation", column("valid_loss"), "valid")]
    charts["loss"] = curves(epochs, pair, "Loss, nats per image", best_epoch)
    metrics = dict.fromkeys(key.removeprefix("valid_") for row in rows for key in row if key.startswith("valid_"))
    for metric in metrics:
        if metric == "loss":
            continue
        pair = [Series("validation", column(f"valid_{metric}"), "valid")]
        if known(f"probe_{metric}"):
            pair.insert(0, Series("training", column(f"probe_{metric}"), "train"))
        share = "acc" in metric.lower()
        title = f"{metric.replace('_', ' ').capitalize()}{', % of images' if share else ''}"
        charts[metric] = curves(epochs, pair, title, best_epoch, percent=share)
    if known("penalty"):
        charts["penalty"] = curves(epochs, [Series("", column("penalty"), "third")], "Penalty on weights", best_epoch)
    if known("lr"):
        charts["learning rate"] = curves(epochs, [Series("", column("lr"), "third")], "Learning rate", best_epoch)
    return charts


def curves(
    epochs: Sequence[int], series: Sequence[Series], title: str, best_epoch: int | None = None, *, percent: bool = False
) -> Svg:
    """Draw lines over epochs, each with its name and last value at its end.

    Args:
        epochs: one per value, rising.
        series: the lines.
        title: of the vertical axis, with unit.
        best_epoch: marked by an upright line, with the value of the last series there.
        percent: the values are shares, shown in percent.
    """
    scaled = [[_drawn(v) * (100 if percent else 1) for v in s.values] for s in series]
    shown = [value for values in scaled for value in values if math.isfinite(value)]
    if len(series) > 1 and not percent and min(shown, default=0) > 0 and max(shown) / min(shown) > 100:
        y = Scale(min(shown) * 0.9, max(shown) * 1.1, 214, 40, log=True)
        title += ", log scale"
    else:
        least = 0 if min(shown, default=0) >= 0 else None
        y = Scale(*around(shown, least=least, most=100 if percent else None), 214, 40)
    y_ticks = {tick: short(tick) for tick in y.ticks(4)}
    alone = 0.5 * (len(epochs) == 1)
    left = max(46.0, 10 + max(map(width, y_ticks.values())))
    x = Scale(epochs[0] - alone, epochs[-1] + alone, left, WIDTH - 128)
    step = round(round_up(max((epochs[-1] - epochs[0]) / 6, 1)))
    ticks = [e for e in range(epochs[0], epochs[-1] + 1) if e % step == 0] or [epochs[0]]
    x_ticks: dict[float, str] = {tick: str(tick) for tick in ticks}
    body = [axes(x, y, x_title="epoch", y_title=title, x_ticks=x_ticks, y_ticks=y_ticks)]
    unit = " %" if percent else ""
    every = max(1, len(epochs) // 1000)
    kept = sorted({*range(0, len(epochs), every), len(epochs) - 1})
    for each, values in zip(series, scaled, strict=True):
        body.append(line([(x(epochs[i]), y(values[i])) for i in kept], each.kind))
    summary = [title]
    if best_epoch is not None and best_epoch in epochs:
        at, value = x(best_epoch), scaled[-1][epochs.index(best_epoch)]
        body.append(tag("line", x1=at, x2=at, y1=34, y2=y.start, kind="mark"))
        if math.isfinite(value):
            body.append(tag("circle", cx=at, cy=y(value), r=4, kind=f"dot {series[-1].kind}"))
            label = f"best epoch {best_epoch}"
            if len(series) > 1:
                label += f": {_value(value, percent)}{unit}"
            body.append(_over(at, 29, label))
            summary.append(label)
    ends = [next(((i, v) for i, v in reversed([*enumerate(values)]) if math.isfinite(v)), None) for values in scaled]
    marked = [(s, end[1]) for s, end in zip(series, ends, strict=True) if end is not None]
    places = apart([y(value) + 4 for _, value in marked], 15, 44, 218)
    for (each, value), place in zip(marked, places, strict=True):
        label = f"{each.name} {_value(value, percent)}{unit}".strip()
        body.append(text(x.end + 8, place, label, kind=each.kind))
        summary.append(f"last value of {label}")
    return Svg(WIDTH, 256, "; ".join(summary), "".join(body))


def _drawn(value: float | None) -> float:
    """Leave out what is missing, and what is so large that arithmetic about its scale would overflow."""
    return math.nan if value is None or abs(value) > 1e300 else float(value)


def _over(x: float, y: float, label: str) -> str:
    """Write a label centred at x, but within the drawing."""
    half = width(label, bold=True) / 2
    return text(min(max(x, half), WIDTH - half), y, label, anchor="middle", kind="strong")


def _value(value: float, percent: bool) -> str:
    return f"{value:.1f}" if percent else short(value)


def confusion(
    matrix: NDArray[np.int64],
    classes: Sequence[str],
    *,
    rows: str = "true class",
    columns: str = "predicted class",
    key: tuple[str, str] = ("right", "mistaken"),
) -> Svg:
    """Draw which classes are taken for which.

    Each row is coloured by its shares: right answers blue, mistakes orange. Counts are written up to 20 classes,
    names up to 45, numbers of classes above.

    Args:
        matrix: int (K, K), rows are true classes, columns what they were taken for.
        classes: K names.
        rows: what the rows are, in words.
        columns: what the columns are.
        key: what is on the diagonal, and what is off it.
    """
    k = len(classes)
    matrix = np.asarray(matrix)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    level = np.where(matrix > 0, np.searchsorted(SHARES, shares, side="left").clip(1, 6), 0)
    named = k <= NAMED
    total = WIDTH if k <= COUNTED else 640.0 if named else 500.0
    wanted = max(width(name) for name in classes) if named else 0.0
    size = min(12.0, (total - 80) / k * 0.9)
    left = 28 + (min(118.0, wanted * size / 12) if named else 30.0)
    side = min((total - left - 2) / k, 84.0)
    flat = named and all(width(name, size) < side - 4 for name in classes)
    top = 28 + ((16.0 if flat else min(96.0, wanted * size / 12)) if named else 18.0)
    end_x, end_y = left + side * k, top + side * k
    body = [
        tag("rect", x=left, y=top, width=side * k, height=side * k, kind="cell"),
        text((left + end_x) / 2, 12, columns, anchor="middle", kind="title"),
        text(12, (top + end_y) / 2, rows, anchor="middle", kind="title", turn=-90),
    ]
    gap = min(1.0, side * 0.08)
    for on_diagonal, kind in ((True, "right"), (False, "wrong")):
        for shade in range(1, 7):
            cells = np.nonzero((level == shade) & (np.eye(k, dtype=bool) == on_diagonal))
            path = "".join(
                f"M{left + c * side + gap / 2:.1f} {top + r * side + gap / 2:.1f}"
                f"h{side - gap:.2f}v{side - gap:.2f}h-{side - gap:.2f}z"
                for r, c in zip(*cells, strict=True)
            )
            if path:
                body.append(tag("path", d=path, kind=f"{kind} l{shade}"))
    if named:
        for i, name in enumerate(classes):
            middle = (i + 0.5) * side
            label = fit(name, left - 28, size)
            body.append(text(left - 6, top + middle + size * 0.35, label, anchor="end", size=size, whole=name))
            if flat:
                body.append(text(left + middle, top - 7, name, anchor="middle", size=size))
            else:
                label = fit(name, top - 28, size)
                body.append(text(left + middle + size * 0.35, top - 6, label, turn=-90, size=size, whole=name))
    else:
        step = int(round_up(k / 10))
        for i in range(0, k, step):
            middle = (i + 0.5) * side
            body.append(text(left - 6, top + middle + 4, str(i), anchor="end"))
            body.append(text(left + middle, top - 6, str(i), anchor="middle"))
    if k <= COUNTED:
        digits = len(str(matrix.max()))
        size = min(13.0, side * 0.55, side / (digits * 0.66))
        for r, c in zip(*np.nonzero(matrix), strict=True):
            kind = ("on-right" if r == c else "on-wrong") if level[r, c] >= 5 else "on"
            place = (left + (c + 0.5) * side, top + (r + 0.5) * side + size * 0.36)
            body.append(text(*place, str(matrix[r, c]), anchor="middle", kind=kind, size=size))
    body.append(_key(end_y + 22, *key))
    right = int(np.trace(matrix))
    label = f"Confusion matrix of {k} classes: {right} of {int(matrix.sum())} on the diagonal, which means {key[0]}"
    return Svg(max(end_x + 2, 384.0), end_y + 62, label, "".join(body))


def _key(y: float, right: str, wrong: str) -> str:
    """Draw what the shades of a confusion matrix mean."""
    parts = [text(0, y + 11, right), text(0, y + 29, wrong), text(290, y + 20, "% of the row")]
    for shade, low in enumerate(SHARES, 1):
        x = 66 + (shade - 1) * 36
        parts.append(tag("rect", x=x, y=y, width=34, height=13, kind=f"right l{shade}"))
        parts.append(tag("rect", x=x, y=y + 18, width=34, height=13, kind=f"wrong l{shade}"))
        kinds = ("on-right", "on-wrong") if shade >= 5 else ("on", "on")
        for row, kind in enumerate(kinds):
            parts.append(text(x + 17, y + 10.5 + 18 * row, f">{low * 100:g}", anchor="middle", kind=kind, size=10))
    return "".join(parts)


def reliability(bins: Sequence[Bin]) -> Svg:
    """Draw how often the network is right against how sure it says it is, and below it how often it is that sure.

    Args:
        bins: of confidence, in order; empty ones leave a gap. Upright lines are 95 % intervals (Wilson); on the
            dotted line a network is as often right as it says, above it too timid, below it too sure.
    """
    x, y = Scale(0, 100, 46, WIDTH - 40), Scale(0, 100, 268, 34)
    ticks = {float(v): str(v) for v in range(0, 101, 20)}
    body = [
        axes(x, y, x_title="", y_title="Right answers, %", x_ticks=ticks, y_ticks=ticks),
        tag("line", x1=x(0), y1=y(0), x2=x(100), y2=y(100), kind="mark"),
    ]
    total = sum(each.count for each in bins) or 1
    most = max((each.count for each in bins), default=1) or 1
    for each in bins:
        if each.confidence is None or each.accuracy is None:
            continue
        place, spread = x(each.confidence * 100), intervals.share(each.accuracy, each.count)
        size = 3 + 4 * math.sqrt(each.count / most)
        said = f"{each.count} images, {each.confidence:.1%} sure on average, {each.accuracy:.1%} right"
        low, high = y(100 * (spread.low or 0)), y(100 * (spread.high or 0))
        body.append(tag("line", x1=place, x2=place, y1=low, y2=high, kind="whisker"))
        body.append(tag("circle", tag("title", said), cx=place, cy=y(100 * each.accuracy), r=size, kind="dot valid"))
    base = 352.0
    for each in bins:
        if each.count:
            tall = max(1.0, 44 * each.count / most)
            left, right = x(each.low * 100) + 1, x(each.high * 100) - 1
            bar = tag("title", f"{each.count} of {total}")
            body.append(tag("rect", bar, x=left, y=base - tall, width=right - left, height=tall, kind="right band"))
    body.append(tag("line", x1=x.start, x2=x.end, y1=base, y2=base, kind="axis"))
    body.append(text(x.start - 8, base - 34, short(most), anchor="end"))
    body.append(text(0, 300, "Number"))
    body.append(text(x.end, base + 17, "confidence, %", anchor="end", kind="title"))
    filled = [each for each in bins if each.count]
    label = f"Reliability diagram: {len(filled)} of {len(bins)} bins of confidence hold images"
    return Svg(WIDTH, 376, label, "".join(body))


def scale(figure: Figure, baseline: float | None = None, baseline_name: str = "") -> Svg:
    """Draw a share on a ruler from 0 to 100 %, with its interval and what guessing would give.

    Args:
        figure: the share and its interval.
        baseline: the share that guessing gets.
        baseline_name: what guessing means: ``"always 'rose'"``.
    """
    x = Scale(0, 1, 8, WIDTH - 8)
    low, high = figure.low or 0.0, figure.high or 0.0
    said = f"{low:.1%} to {high:.1%}".replace("%", " %")
    body = [
        tag("rect", x=x.start, y=24, width=x.end - x.start, height=10, rx=5, kind="track"),
        tag("rect", x=x.start, y=24, width=max(10.0, x(figure.value) - x.start), height=10, rx=5, kind="right"),
        *(tag("line", x1=x(end), x2=x(end), y1=18, y2=40, kind="end") for end in (low, high)),
        tag("line", x1=x(low), x2=x(high), y1=18, y2=18, kind="end"),
        _over(x((low + high) / 2), 12, said),
    ]
    if baseline is not None:
        label = fit(f"{baseline_name} {100 * baseline:.1f} %", WIDTH)
        half = width(label) / 2
        body.append(tag("line", x1=x(baseline), x2=x(baseline), y1=24, y2=46, kind="end"))
        body.append(text(min(max(x(baseline), half), WIDTH - half), 60, label, anchor="middle"))
    return Svg(WIDTH, 66 if baseline is not None else 44, f"{figure.value:.1%}, interval {said}", "".join(body))


def whisker(figure: Figure) -> Svg:
    """Draw a share as a small bar with its interval, for a cell of a table."""
    low, high = figure.low or 0.0, figure.high or 0.0
    body = (
        tag("rect", y=4, width=100, height=4, kind="track")
        + tag("rect", y=4, width=100 * figure.value, height=4, kind="right")
        + tag("rect", x=100 * low, y=1, width=max(1.0, 100 * (high - low)), height=10, kind="right band")
    )
    return Svg(100, 12, f"{figure.value:.1%}, interval {low:.1%} to {high:.1%}", body)


def lr_range(
    rates: Sequence[float],
    losses: Sequence[float],
    *,
    smoothed: Sequence[float] | None = None,
    suggestion: float | None = None,
) -> Svg:
    """Draw a learning-rate range test (Smith 2017): the loss while the learning rate rises step by step.

    Args:
        rates: learning rates, above 0, rising.
        losses: the loss at each, nats.
        smoothed: the same without the noise of single batches.
        suggestion: the rate to use, marked.
    """
    main = list(losses if smoothed is None else smoothed)
    finite = [value for value in main if math.isfinite(value)] or [1.0]
    start = finite[0]
    low, high = around([v for v in finite if v <= 2 * start] or finite, least=0)
    x = Scale(min(rates), max(rates) if max(rates) > min(rates) else 10 * min(rates), 46, WIDTH - 16, log=True)
    y = Scale(low, high, 214, 40)
    body = [
        axes(
            x,
            y,
            x_title="learning rate, log scale",
            y_title="Loss, nats per image",
            x_ticks={tick: short(tick) for tick in x.ticks(6)},
            y_ticks={tick: short(tick) for tick in y.ticks(4)},
        )
    ]

    def inside(values: Sequence[float]) -> list[tuple[float, float]]:
        return [(x(r), y(v) if low <= v <= high else math.nan) for r, v in zip(rates, values, strict=True)]

    if smoothed is not None:
        body.append(line(inside(losses), "valid faint"))
    body.append(line(inside(main), "valid"))
    label = "Learning-rate range test"
    if suggestion is not None:
        at, said = x(suggestion), f"suggested: {short(suggestion)}"
        body.append(tag("line", x1=at, x2=at, y1=34, y2=y.start, kind="mark"))
        body.append(_over(at, 29, said))
        label += f", {said}"
    return Svg(WIDTH, 256, label, "".join(body))


def signal(values: NDArray[Any], label: str = "signal") -> Svg:
    """Draw a signal as a small line, one per channel.

    Args:
        values: float (C, L) or (L,).
        label: what it is.
    """
    channels = np.atleast_2d(np.asarray(values, dtype=np.float64))[:3]
    x = Scale(0, max(channels.shape[1] - 1, 1), 4, 156)
    y = Scale(*around(channels.ravel()), 104, 8)
    kinds = ("right thin", "wrong thin", "third thin")
    body = "".join(
        line([(x(i), y(v)) for i, v in enumerate(channel)], kind)
        for channel, kind in zip(channels, kinds, strict=False)
    )
    return Svg(160, 112, label, body)
