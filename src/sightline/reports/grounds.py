"""Measures of a training -> small drawings: what a verdict rests on, three of them side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sightline.diagnosis import intervals, trend
from sightline.diagnosis.intervals import Figure, Z
from sightline.diagnosis.measures import LEAST, Measures
from sightline.reports.svg import Scale, Svg, apart, around, axes, fit, line, number, round_up, short, tag, text, width

WIDTH, HEIGHT = 330.0, 214.0
"""Units; three fit side by side on a page, one fills a phone."""
BOTTOM, TOP = HEIGHT - 42, 34.0

Points = Sequence[tuple[float, float]]


def curve(m: Measures) -> Svg | None:
    """Draw both losses, the validation loss's minimum, and how far the end lies above it."""
    if m.rise is None:
        return None
    epochs = m.of.epochs
    left, right = 44.0, WIDTH - 86
    shown = np.concatenate([m.of.valid, m.of.fitted])
    most = 1.6 * max(m.scale, float(m.of.valid[m.best]))
    y = _heights(np.minimum(shown, max(most, float(m.of.valid[-1]) * 1.05)), least=0)
    x = _places(epochs, left, right)
    body = [_frame(x, y, "Loss, nats per image", epochs)]
    body += [_line(x, y, epochs, m.of.fitted, "train"), _line(x, y, epochs, m.of.valid, "valid")]
    at, low = x(int(epochs[m.best])), y(float(m.of.valid[m.best]))
    body.append(tag("line", x1=at, x2=at, y1=TOP - 4, y2=y.start, kind="mark"))
    body.append(tag("circle", cx=at, cy=low, r=4, kind="dot valid"))
    body.append(_inside(at, TOP - 8, f"lowest: epoch {int(epochs[m.best])}"))
    ends = [("training", y(float(m.of.fitted[-1])), "train"), ("validation", y(float(m.of.valid[-1])), "valid")]
    label = f"Losses over {len(epochs)} epochs, validation lowest at epoch {int(epochs[m.best])}"
    if m.rise.value > 0.02 and m.best < len(epochs) - 1:
        end = x(int(epochs[-1])) + 3
        body.append(tag("line", x1=end, x2=end, y1=low, y2=ends[1][1], kind="end"))
        ends.append((f"{m.rise.value:+.0%}".replace("%", " %"), ends[1][1] + 1, "strong"))
        label += f", {m.rise.value:.0%} higher at the end"
    places = apart([place + 4 for _, place, _ in ends], 15, TOP + 8, y.start + 4)
    body += [text(right + 8, place, name, kind=kind) for (name, _, kind), place in zip(ends, places, strict=True)]
    return Svg(WIDTH, HEIGHT, label, "".join(body))


def gap(m: Measures) -> Svg | None:
    """Draw validation loss minus training loss over the epochs, with a 95 % band over validation images."""
    if m.gap is None:
        return None
    epochs, difference = m.of.epochs, m.of.valid - m.of.fitted
    if m.of.examples is not None:
        half = Z * m.of.examples.std(axis=1, ddof=1) / math.sqrt(m.of.examples.shape[1])
    else:
        half = np.full(len(epochs), Z * trend.shake(difference))
    low, high = difference - half, difference + half
    limit = 2 * max(m.scale, float(np.abs(difference[m.best])))
    y = _heights(np.clip(np.concatenate([low, high, [0.0]]), -limit, limit))
    x = _places(epochs, 44.0, WIDTH - 14)
    up = [(x(int(e)), y(min(max(float(v), -limit), limit))) for e, v in zip(epochs, high, strict=True)]
    down = [(x(int(e)), y(min(max(float(v), -limit), limit))) for e, v in zip(epochs, low, strict=True)]
    body = [
        _frame(x, y, "Gap: validation minus training, nats", epochs),
        _area(up, down),
        tag("line", x1=x.start, x2=x.end, y1=y(0), y2=y(0), kind="axis"),
        _line(x, y, epochs, difference, "valid"),
    ]
    return Svg(WIDTH, HEIGHT, f"Gap between the losses, {m.gap.value:.3g} nats at the best epoch", "".join(body))


def rise(m: Measures) -> Svg | None:
    """Draw what changed from the best epoch to the last, each change with its interval around zero."""
    rows: list[tuple[str, Figure]] = []
    if m.rise is not None:
        rows.append(("validation loss", m.rise.figure))
    if m.tempered is not None:
        rows.append(("the same, tempered", m.tempered))
    if m.error_change is not None and m.accuracy is not None:
        wrong = max(1 - m.accuracy.value, 0.005)
        change = m.error_change
        rows.append(
            (
                "share mistaken",
                Figure(
                    change.value / wrong,
                    None if change.low is None else change.low / wrong,
                    None if change.high is None else change.high / wrong,
                ),
            )
        )
    return whiskers(rows, "Change since the best epoch, %") if rows else None


def errors(m: Measures) -> Svg | None:
    """Draw the share of validation images mistaken, over the epochs."""
    if not m.of.has("valid_accuracy"):
        return rise(m)
    wrong = 100 * (1 - m.of.column("valid_accuracy"))
    epochs = m.of.epochs
    y, x = _heights(wrong, least=0, most=100), _places(epochs, 44.0, WIDTH - 14)
    at = x(int(epochs[m.best]))
    body = [
        _frame(x, y, "Validation images mistaken, %", epochs),
        _line(x, y, epochs, wrong, "valid"),
        tag("line", x1=at, x2=at, y1=TOP - 4, y2=y.start, kind="mark"),
        _inside(at, TOP - 8, "loss lowest here"),
    ]
    return Svg(WIDTH, HEIGHT, f"Share of validation images mistaken: {wrong[-1]:.1f} % at the end", "".join(body))


def levels(m: Measures) -> Svg | None:
    """Draw what training and validation images cost at the best epoch, beside what guessing costs."""
    if m.level is None or not m.finite:
        return None
    rows = [
        ("training", float(m.of.fitted[m.best]), "wrong"),
        ("validation", float(m.of.valid[m.best]), "right"),
    ]
    if m.of.chance is not None:
        rows.append(("guessing", m.of.chance, "track"))
    return bars(rows, f"Loss at epoch {int(m.of.epochs[m.best])}, nats per image")


def fall(m: Measures) -> Svg | None:
    """Draw the validation loss over the training done, both on log scales, and where twice as much would lead."""
    gain = m.gain
    if gain is None or m.rise is None:
        return None
    rates = m.of.column("lr") if m.of.has("lr") else np.ones(m.epochs)
    done = np.cumsum(np.maximum(rates, 1e-12))
    done = done / done[-1]
    losses = np.maximum(m.of.valid, LEAST * m.scale)
    ahead = float(losses[-1]) * (1 - gain.value)
    x = Scale(max(float(done[0]), 0.02), 2.0, 44.0, WIDTH - 62, log=True)
    y = Scale(
        min(float(losses.min()), max(ahead, 1e-6)) * 0.9, float(losses[done >= x.low].max()) * 1.1, BOTTOM, TOP, True
    )
    points = [(x(float(d)), y(float(v))) for d, v in zip(done, losses, strict=True) if d >= x.low]
    body = [
        axes(
            x,
            y,
            x_title="training done, by learning rate",
            y_title="Validation loss, nats (log scales)",
            x_ticks={0.1: "10 %", 0.5: "50 %", 1.0: "all", 2.0: "twice"},
            y_ticks={tick: short(tick) for tick in y.ticks(3)},
        ),
        line(points, "valid"),
        tag("path", d=f"M{number(x(1))} {number(points[-1][1])}L{number(x(2))} {number(y(ahead))}", kind="line third"),
        tag("circle", cx=x(2), cy=y(ahead), r=4, kind="dot third"),
        text(x(2) + 8, y(ahead) + 4, f"{-gain.value:+.0%}".replace("%", " %"), kind="third"),
    ]
    return Svg(WIDTH, HEIGHT, f"As much training again would change the loss by {-gain.value:.0%}", "".join(body))


def modes(m: Measures) -> Svg | None:
    """Draw the training loss as trained, and with dropout and augmentation off."""
    if not m.of.clean or not m.of.has("train_loss"):
        return levels(m)
    epochs, trained = m.of.epochs, m.of.column("train_loss")
    both = np.concatenate([trained, m.of.fitted])
    y = _heights(np.minimum(both, 1.6 * m.scale), least=0)
    x = _places(epochs, 44.0, WIDTH - 86)
    ends = [("as trained", trained, "third"), ("evaluated", m.of.fitted, "train")]
    places = apart([y(float(values[-1])) + 4 for _, values, _ in ends], 15, TOP + 8, y.start + 4)
    body = [_frame(x, y, "Training loss, nats per image", epochs)]
    for (name, values, kind), place in zip(ends, places, strict=True):
        body += [_line(x, y, epochs, values, kind), text(x.end + 8, place, name, kind=kind)]
    return Svg(WIDTH, HEIGHT, "Training loss with and without dropout and augmentation", "".join(body))


def reference(m: Measures) -> Svg | None:
    """Draw the share recognised by the network, and by the simple classifier on pixels."""
    other = m.after("reference")
    if other is None or m.accuracy is None:
        return None
    theirs = intervals.share(other["accuracy"], other["images"])
    return bars(
        [("this network", 100 * m.accuracy.value, "right"), (str(other["name"]), 100 * theirs.value, "wrong")],
        "Validation images recognised, %",
        most=100,
    )


def units(m: Measures) -> Svg | None:
    """Draw, by layer, the share of units that are off, or on a flat end, for every image."""
    for kind, title in (("dead", "Units off for every image, %"), ("saturated", "Units on a flat end, %")):
        shares = {name: values[np.isfinite(values)] for name, values in m.of.layers(kind).items()}
        rows = [(name, 100 * float(values[-1]), "wrong") for name, values in shares.items() if len(values)]
        if any(value > 0 for _, value, _ in rows):
            return bars(sorted(rows, key=lambda row: -row[1])[:7], title, most=100)
    return None


def gradients(m: Measures) -> Svg | None:
    """Draw the norm of the gradient, layer by layer, on a log scale."""
    norms = {name: values[np.isfinite(values) & (values > 0)] for name, values in m.of.layers("gradient").items()}
    found = [(name, float(np.median(values))) for name, values in norms.items() if len(values)]
    if len(found) < 2:
        return None
    values = [value for _, value in found]
    x = Scale(0, len(found) - 1, 44.0, WIDTH - 14)
    y = Scale(min(values) * 0.5, max(values) * 2, BOTTOM, TOP, log=True)
    body = [
        axes(
            x,
            y,
            x_title="layers, first to last",
            y_title="Norm of the gradient (log scale)",
            x_ticks={},
            y_ticks={tick: short(tick) for tick in y.ticks(4)},
        ),
        line([(x(i), y(value)) for i, value in enumerate(values)], "valid"),
    ]
    return Svg(WIDTH, HEIGHT, f"Gradient norms of {len(found)} layers", "".join(body))


def rate(m: Measures) -> Svg | None:
    """Draw how far a step moves the weights, beside what is usual."""
    layers = [values for values in m.of.layers("update").values() if np.isfinite(values).any()]
    if not layers or len(m.of.instruments) < 2:
        return levels(m)
    epochs = np.array([int(row["epoch"]) for row in m.of.instruments])
    middle = np.nanmedian(np.stack(layers), axis=0)
    known = np.isfinite(middle) & (middle > 0)
    if not known.any():
        return levels(m)
    y = Scale(min(1e-5, float(middle[known].min()) * 0.5), max(0.3, float(middle[known].max()) * 2), BOTTOM, TOP, True)
    x = _places(epochs, 44.0, WIDTH - 14)
    body = [
        _frame(x, y, "One step / weights, in norm (log scale)", epochs),
        tag("rect", x=x.start, y=y(1e-2), width=x.end - x.start, height=y(1e-4) - y(1e-2), kind="third band"),
        text(x.end - 4, y(1e-2) + 14, "usual", anchor="end"),
        _line(x, y, epochs, np.where(known, middle, np.nan), "valid"),
    ]
    return Svg(WIDTH, HEIGHT, f"Steps of up to {np.nanmax(middle):.2g} of the weights", "".join(body))


PICTURES: dict[str, Callable[[Measures], Svg | None]] = {
    "rise": rise,
    "errors": errors,
    "gap": levels,
    "fall": fall,
    "modes": modes,
    "reference": reference,
    "units": units,
    "gradients": gradients,
    "rate": rate,
}
"""The name of a picture, as the table of terms has it -> the function that draws it."""


def bars(rows: Sequence[tuple[str, float, str]], title: str, most: float | None = None) -> Svg:
    """Draw named values as bars from zero, each with its number at its end."""
    named = min(112.0, max(width(name) for name, _, _ in rows) + 8)
    x = Scale(0, most or max(value for _, value, _ in rows) * 1.02 or 1, named, WIDTH - 50)
    step = min(34.0, (BOTTOM - TOP + 20) / len(rows))
    body = [text(0, 12, title, kind="title")]
    for row, (name, value, kind) in enumerate(rows):
        at = TOP + row * step
        body.append(text(named - 8, at + step / 2 + 4, fit(name, named - 8), anchor="end", whole=name))
        body.append(tag("rect", x=x.start, y=at + 4, width=max(1.0, x(value) - x.start), height=step - 8, kind=kind))
        body.append(text(max(x(value), x.start + 1) + 6, at + step / 2 + 4, short(value), kind="strong"))
    said = ", ".join(f"{name} {short(value)}" for name, value, _ in rows)
    return Svg(WIDTH, HEIGHT, f"{title}: {said}", "".join(body))


def whiskers(rows: Sequence[tuple[str, Figure]], title: str) -> Svg:
    """Draw named shares with their intervals around an upright line at zero, in percent."""
    ends = [100 * end for _, f in rows for end in (f.value, f.low, f.high) if end is not None]
    limit = max(min(max(abs(end) for end in ends), 300.0), 5.0)
    reach = (max(-limit, min([*ends, 0.0])), min(limit, max([*ends, 0.0])))
    low, high = around(reach)
    x = Scale(low, high, 126, WIDTH - 14)
    body = [text(0, 12, title, kind="title")]
    for tick in x.ticks(4):
        body.append(tag("line", x1=x(tick), x2=x(tick), y1=TOP, y2=BOTTOM, kind="axis" if tick == 0 else "grid"))
        body.append(text(x(tick), BOTTOM + 17, f"{tick:+g}" if tick else "0", anchor="middle"))
    step = (BOTTOM - TOP) / len(rows)
    for row, (name, f) in enumerate(rows):
        at = TOP + row * step + step / 2
        places = [x(min(max(100 * (f.value if end is None else end), low), high)) for end in (f.low, f.value, f.high)]
        body.append(text(112, at + 4, fit(name, 112), anchor="end", whole=name))
        body.append(tag("line", x1=places[0], x2=places[2], y1=at, y2=at, kind="end"))
        body.append(tag("circle", cx=places[1], cy=at, r=4.5, kind="dot valid"))
    said = ", ".join(f"{name} {f.value:+.0%}" for name, f in rows)
    return Svg(WIDTH, HEIGHT, f"{title}: {said}", "".join(body))


def _places(epochs: NDArray[np.int64], left: float, right: float) -> Scale:
    alone = 0.5 * (len(epochs) == 1)
    return Scale(float(epochs[0]) - alone, float(epochs[-1]) + alone, left, right)


def _heights(values: NDArray[np.float64], **limits: float) -> Scale:
    return Scale(*around([float(v) for v in values], **limits), BOTTOM, TOP)


def _frame(x: Scale, y: Scale, title: str, epochs: NDArray[np.int64]) -> str:
    first, last = int(epochs[0]), int(epochs[-1])
    step = round(round_up(max((last - first) / 4, 1)))
    ticks = [e for e in range(first, last + 1) if e % step == 0] or [first]
    return axes(
        x,
        y,
        x_title="epoch",
        y_title=title,
        x_ticks={float(e): str(e) for e in ticks},
        y_ticks={tick: short(tick) for tick in y.ticks(4)},
    )


def _line(x: Scale, y: Scale, epochs: NDArray[np.int64], values: NDArray[np.float64], kind: str) -> str:
    low, high = min(y.low, y.high), max(y.low, y.high)
    return line([(x(int(e)), y(float(np.clip(v, low, high)))) for e, v in zip(epochs, values, strict=True)], kind)


def _area(up: Points, down: Points) -> str:
    finite = [(a, b) for a, b in zip(up, down, strict=True) if math.isfinite(a[1]) and math.isfinite(b[1])]
    if len(finite) < 2:
        return ""
    ring = [a for a, _ in finite] + [b for _, b in reversed(finite)]
    return tag("path", d="M" + "L".join(f"{number(px)} {number(py)}" for px, py in ring) + "z", kind="right band")


def _inside(x: float, y: float, label: str) -> str:
    half = width(label, bold=True) / 2
    return text(min(max(x, half), WIDTH - half), y, label, anchor="middle", kind="strong")
