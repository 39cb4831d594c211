"""Arms of a comparison -> drawings: differences with intervals, curves with bands, a factor's effect, a heat map."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sightline.diagnosis.experiment import MEASURES, Measure
from sightline.reports.contrasts import change, figure
from sightline.reports.svg import Scale, Svg, apart, around, axes, fit, line, number, round_up, short, tag, text, width

WIDTH = 440.0
"""Units, as of the other drawings."""

KINDS = ("a1", "a2", "a3", "a4", "a5", "a6")
"""Colours of the arms, in their order; more arms than these are drawn in grey, unless they stand out."""

Told = Mapping[str, Any]


def differences(told: Told, name: str) -> Svg:
    """Draw what each pair of arms differs by, with its interval, and around 0 the zone that does not matter.

    Args:
        told: ``comparison.json``.
        name: the measure.
    """
    measure, found = MEASURES[name], told["differences"][name]
    ends = [one[end] for one in found for end in ("low", "high", "value") if one[end] is not None]
    unit = 100.0 if measure.kind == "share" else 1.0
    margins = [unit * one["margin"] for one in found]
    low, high = around([unit * end for end in ends] + margins + [-margin for margin in margins])
    x, row, top = Scale(low, high, 24, WIDTH - 24), 42.0, 34.0
    bottom = top + row * len(found)
    to = {one["against"] for one in found}
    title = f"{_axis(measure)}{f', against {to.copy().pop()}' if len(to) == 1 else ''}"
    body = [text(0, 12, fit(title, WIDTH), kind="title", whole=title)]
    for place, margin in enumerate(margins):
        span = x(margin) - x(-margin)
        body.append(tag("rect", x=x(-margin), y=top - 8 + row * place, width=span, height=row, kind="track"))
    for tick in x.ticks(6):
        body.append(tag("line", x1=x(tick), x2=x(tick), y1=bottom, y2=bottom + 4, kind="axis"))
        body.append(text(x(tick), bottom + 17, _tick(tick, measure), anchor="middle"))
    body.append(tag("line", x1=x.start, x2=x.end, y1=bottom, y2=bottom, kind="axis"))
    body.append(tag("line", x1=x(0), x2=x(0), y1=top - 8, y2=bottom, kind="axis"))
    for place, one in enumerate(found):
        y = top + row * place
        kind = "plain" if one["word"] != "real" else "valid" if one["better"] else "train"
        said = one["arm"] if len(to) == 1 else f"{one['arm']} against {one['against']}"
        room = WIDTH - width(one["word"], bold=True) - 16
        weight = "title" if kind == "plain" else "strong"
        body.append(text(0, y + 8, fit(said, room), kind=f"{weight} halo", whole=said))
        body.append(text(WIDTH, y + 8, one["word"], anchor="end", kind=f"{'' if kind == 'plain' else kind} halo"))
        if one["low"] is not None:
            start, end = x(unit * one["low"]), x(unit * one["high"])
            body.append(tag("line", x1=start, x2=end, y1=y + 21, y2=y + 21, kind=f"span {kind}"))
        dot = tag("title", f"{said}: {change(one['value'], measure)}")
        body.append(tag("circle", dot, cx=x(unit * one["value"]), cy=y + 21, r=5, kind=f"dot {kind}"))
    label = "; ".join(f"{o['arm']} against {o['against']}: {change(o['value'], measure)}, {o['word']}" for o in found)
    return Svg(WIDTH, bottom + 24, f"{_axis(measure)}: {label}", "".join(body))


def curves(told: Told, column: str, title: str, *, percent: bool = True, upper: float | None = None) -> Svg | None:
    """Draw a column of the histories over epochs: the mean of each arm's finished seeds, and a band that holds all.

    Args:
        told: ``comparison.json``.
        column: of the curves of a run.
        title: of the vertical axis.
        percent: the values are shares.
        upper: where the vertical axis ends, in shares, so that two panels can be compared; None: at the largest value.

    Returns:
        The drawing, or None where no run has that column.
    """
    unit = 100.0 if percent else 1.0
    lines = {arm["label"]: _runs(arm, column) for arm in told["arms"]}
    lines = {label: runs for label, runs in lines.items() if runs}
    if not lines:
        return None
    epochs = max(len(run) for runs in lines.values() for run in runs)
    shown = [unit * value for runs in lines.values() for run in runs for value in run if math.isfinite(value)]
    highest = unit * upper if upper is not None else max(shown)
    y = Scale(*around([0.0, highest], least=0, most=100 if percent else None), 268, 34)
    colours = _colours(told, list(lines))
    named = [label for label in lines if label in colours]
    wanted = max(width(f"{label} 00.0 %", bold=True) for label in named)
    right = min(max(84.0, wanted + 12), 176.0)
    y_ticks = {tick: short(tick) for tick in y.ticks(5)}
    alone = 0.5 * (epochs == 1)
    x = Scale(1 - alone, epochs + alone, max(34.0, 12 + max(map(width, y_ticks.values()))), WIDTH - right)
    step = max(1, round(round_up(max((epochs - 1) / 6, 1))))
    ticks: dict[float, str] = {float(e): str(e) for e in range(1, epochs + 1) if e % step == 0 or epochs < 3}
    body = [axes(x, y, x_title="epoch", y_title=title, x_ticks=ticks, y_ticks=y_ticks)]
    drawn: list[str] = []
    ends: list[tuple[str, float, str]] = []
    for label in sorted(lines, key=lambda label: label in colours):
        runs, kind = lines[label], colours.get(label, "plain")
        length = max(len(run) for run in runs)
        steps = [[unit * run[e] for run in runs if e < len(run) and math.isfinite(run[e])] for e in range(length)]
        places = [(x(e + 1), values) for e, values in enumerate(steps) if values]
        if len(runs) > 1 and kind != "plain":
            edge = [f"{number(at)} {number(y(max(values)))}" for at, values in places]
            edge += [f"{number(at)} {number(y(min(values)))}" for at, values in reversed(places)]
            drawn.append(tag("path", d=f"M{'L'.join(edge)}Z", kind=f"band {kind}"))
        means = [(at, y(sum(values) / len(values))) for at, values in places]
        drawn.append(line(means, f"{kind} faint" if kind == "plain" else kind))
        if kind != "plain":
            last = places[-1][1]
            ends.append((label, sum(last) / len(last), kind))
    # A drawing within the drawing cuts off what is above the axis, as the first epochs may be.
    frame = {"x": 0.0, "y": y.end, "width": WIDTH, "height": y.start - y.end + 4}
    view = " ".join(number(side) for side in frame.values())
    body.append(tag("svg", "".join(drawn), **frame, viewBox=view))
    spots = apart([y(min(value, y.high)) + 4 for _, value, _ in ends], 15, 38, 266)
    summary = [title]
    for (label, value, kind), spot in zip(ends, spots, strict=True):
        said = f"{value:.1f} %" if percent else short(value)
        name = fit(label, (right - 10) / 1.12 - width(f" {said}"))
        body.append(text(x.end + 8, spot, f"{name} {said}", kind=kind, whole=f"{label} {said}"))
        summary.append(f"{label} ends at {said}")
    return Svg(WIDTH, 310, "; ".join(summary), "".join(body))


def largest(told: Told, columns: Sequence[str]) -> float:
    """Give where axes of several columns end, so that they can be compared: the largest mean after the first epochs.

    The first tenth of them is far above all others, and would press together what is to be compared.
    """
    means = []
    for arm in told["arms"]:
        for column in columns:
            runs = [run[max(1, len(run) // 10) :] or run for run in _runs(arm, column)]
            means += [sum(values) / len(values) for values in zip(*runs, strict=False)]
    return max((mean for mean in means if math.isfinite(mean)), default=1.0)


def beside(left: Svg, right: Svg) -> Svg:
    """Put two drawings beside each other, for a page of paper."""
    moved = f'<g transform="translate({number(left.width + 24)} 0)">{right.body}</g>'
    whole = left.width + 24 + right.width
    return Svg(whole, max(left.height, right.height), f"{left.label}. {right.label}", left.body + moved)


def factor(told: Told, name: str) -> Svg | None:
    """Draw a figure against the values of one factor: each seed a thin line, their mean a thick one.

    Where arms differ in other factors, too (a grid), a seed's point is its mean over them; arms that are not complete
    take no part.

    Returns:
        The drawing, or None where fewer than two values are complete.
    """
    measure = MEASURES[told["decides"]]
    base = next(arm for arm in told["arms"] if arm["label"] == told["reference"])["levels"]
    held = _held(told, name, base)
    values = [arm["levels"][name] for arm in held[0]] if held else []
    if len(values) < 2:
        return None
    order = range(len(values))
    if all(isinstance(level, int | float) and not isinstance(level, bool) for level in values):
        order = sorted(order, key=lambda i: values[i])  # type: ignore[assignment]
    values = [values[i] for i in order]
    unit = 100.0 if measure.kind == "share" else 1.0
    seeds = [
        [unit * sum(row[i]["runs"][s]["figures"][told["decides"]] for row in held) / len(held) for i in order]
        for s in range(len(told["seeds"]))
    ]
    means = [sum(points) / len(points) for points in zip(*seeds, strict=True)]
    y = Scale(*around([value for points in seeds for value in points], least=0), 214, 34)
    y_ticks = {tick: short(tick) for tick in y.ticks(4)}
    x = Scale(-0.4, len(values) - 0.6, 12 + max(map(width, y_ticks.values())), WIDTH - 16)
    room = (x.end - x.start) / len(values) - 8
    x_ticks = {float(i): fit(_said(level), room) for i, level in enumerate(values)}
    body = [
        axes(x, y, x_title=name.removeprefix("option."), y_title=_titled(measure), x_ticks=x_ticks, y_ticks=y_ticks)
    ]
    body += [line([(x(i), y(v)) for i, v in enumerate(points)], "plain faint") for points in seeds]
    body.append(line([(x(i), y(v)) for i, v in enumerate(means)], "valid"))
    for i, (level, mean) in enumerate(zip(values, means, strict=True)):
        body.append(
            tag(
                "circle", tag("title", f"{name} {_said(level)}: {mean:.4g}"), cx=x(i), cy=y(mean), r=5, kind="dot valid"
            )
        )
        if level == base[name]:
            body.append(text(x(i), 252, "base", anchor="middle", kind="strong"))
    said = ", ".join(f"{_said(level)}: {mean:.4g}" for level, mean in zip(values, means, strict=True))
    return Svg(WIDTH, 258, f"{_titled(measure)} against {name}: {said}", "".join(body))


def heat(told: Told) -> Svg | None:
    """Draw the deciding figure of a grid of two factors; a cell whose runs are not all finished stays empty.

    Returns:
        The drawing, or None where there are not two factors or no complete arm.
    """
    if told["kind"] != "grid" or len(told["factors"]) != 2:
        return None
    (down, rows), (across, columns) = told["factors"].items()
    measure = MEASURES[told["decides"]]
    cells = {(_said(a["levels"][down]), _said(a["levels"][across])): a for a in complete(told)}
    if not cells:
        return None
    values = {key: arm["figures"][told["decides"]]["value"] for key, arm in cells.items()}
    low, high = min(values.values()), max(values.values())
    best = (min if measure.lower else max)(values, key=lambda key: values[key])
    left = 38 + min(130.0, max(width(_said(level)) for level in rows))
    side = min(120.0, (WIDTH - left - 8) / len(columns))
    tall, top = min(side, 56.0), 52.0
    body = [text(left, 14, across.removeprefix("option."), kind="strong")]
    body.append(
        text(12, top + tall * len(rows) / 2, down.removeprefix("option."), anchor="middle", kind="strong", turn=-90)
    )
    for c, level in enumerate(columns):
        body.append(text(left + (c + 0.5) * side, 40, fit(_said(level), side - 6), anchor="middle", whole=_said(level)))
    for r, row in enumerate(rows):
        y = top + r * tall
        body.append(text(left - 8, y + tall / 2 + 4, fit(_said(row), left - 34), anchor="end", whole=_said(row)))
        for c, column in enumerate(columns):
            key, x = (_said(row), _said(column)), left + c * side
            if key not in values:
                body.append(tag("rect", x=x + 1, y=y + 1, width=side - 2, height=tall - 2, kind="cell"))
                body.append(
                    text(x + side / 2, y + tall / 2 + 4, "not complete", anchor="middle", size=min(11, side / 7))
                )
                continue
            share = (values[key] - low) / (high - low) if high > low else 0.5
            shade = 1 + round(5 * (1 - share if measure.lower else share))
            body.append(tag("rect", x=x + 1, y=y + 1, width=side - 2, height=tall - 2, kind=f"right l{shade}"))
            kind = "on-right" if shade >= 5 else "on"
            said = figure(values[key], measure)
            size = min(13.0, side / (0.62 * len(said)))
            body.append(text(x + side / 2, y + tall / 2 + 4, said, anchor="middle", kind=kind, size=size))
            if key == best:
                body.append(tag("rect", x=x + 2, y=y + 2, width=side - 4, height=tall - 4, kind="open end"))
    label = "; ".join(f"{down} {key[0]}, {across} {key[1]}: {figure(value, measure)}" for key, value in values.items())
    return Svg(
        max(left + side * len(columns) + 8, 200.0),
        top + tall * len(rows) + 8,
        f"{_titled(measure)}: {label}",
        "".join(body),
    )


def _held(told: Told, name: str, base: Mapping[str, Any]) -> list[list[Mapping[str, Any]]]:
    """List rows of complete arms in which only one factor changes, through the same values in every row.

    One at a time there is one row, around the base. In a grid there is one for each combination of the others; a
    row that lacks a value is left out, lest a value be seen in better company than another.
    """
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for arm in complete(told):
        others = {key: level for key, level in arm["levels"].items() if key != name}
        if told["kind"] == "grid" or all(base[key] == level for key, level in others.items()):
            rows.setdefault(str(others), []).append(arm)
    most = max(map(len, rows.values()), default=0)
    return [row for row in rows.values() if len(row) == most]


def complete(told: Told) -> list[Mapping[str, Any]]:
    """List the arms of which every seed is finished and has the deciding figure."""
    return [
        arm
        for arm in told["arms"]
        if arm["runs"] and all(run["status"] == "finished" and told["decides"] in run["figures"] for run in arm["runs"])
    ]


def _runs(arm: Mapping[str, Any], column: str) -> list[list[float]]:
    found = [run["curves"].get(column) for run in arm["runs"]]
    runs = [[math.nan if value is None else float(value) for value in values] for values in found if values]
    return [run for run in runs if any(math.isfinite(value) for value in run)]


def _colours(told: Told, labels: Sequence[str]) -> dict[str, str]:
    """Give each arm a colour; where there are too many, the reference and those that differ most from it."""
    chosen = list(labels)
    if len(chosen) > len(KINDS):
        sizes = {one["arm"]: abs(one["value"]) for one in told["differences"].get(told["decides"], [])}
        first = [label for label in labels if label == told["reference"]]
        chosen = [*first, *sorted((n for n in labels if n not in first), key=lambda n: -sizes.get(n, 0.0))]
    return dict(zip(chosen[: len(KINDS)], KINDS, strict=False))


def _axis(measure: Measure) -> str:
    if measure.kind == "time":
        return f"Difference in {measure.title}, times"
    return f"Difference in {measure.title}, {'points' if measure.kind == 'share' else 'nats'}"


def _titled(measure: Measure) -> str:
    unit = {"share": "%", "loss": "nats", "time": "s"}[measure.kind]
    return f"{measure.title[0].upper()}{measure.title[1:]}, {unit}"


def _tick(value: float, measure: Measure) -> str:
    if measure.kind == "time":
        return f"{math.exp(value):.2g}"
    return short(value) if value == 0 else f"{'+' if value > 0 else '−'}{short(abs(value))}"


def _said(level: Any) -> str:
    if level is None:
        return "as is"
    if isinstance(level, float):
        return f"{level:g}"
    return "×".join(map(str, level)) if isinstance(level, list | tuple) else str(level)
