"""The folder of an ensemble -> its report: what the vote gains, how members differ, where all are wrong alike."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline import files
from sightline.diagnosis.intervals import Figure
from sightline.reports import ballots, facts, frame, plots, result, sections
from sightline.reports.ballots import MINUS, Line
from sightline.reports.frame import data_uri
from sightline.reports.svg import Svg
from sightline.reports.words import SPACE, count, counted, decimal, drawing, duration, percent
from sightline.run import RunFolder
from sightline.voting.standing import Seat, Standing

SHOWN = 12
"""Images that all get wrong which are shown before the rest is folded away."""

NAMES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro-F1"}

KINDS = {
    "hard": "Each member names one class; most votes win, and ties go to the class with more probability in sum.",
    "soft": "The members' probabilities are averaged.",
    "weighted": "The members' probabilities are averaged with weights, which were fitted on validation {things}.",
}


def read(folder: RunFolder) -> Standing:
    """Read the table of an ensemble.

    Raises:
        RunError: it is missing or damaged.
    """
    return Standing.from_dict(folder.read_json(folder.vote, "write its report"))


def write(folder: RunFolder, *, thumbnails: Mapping[str, bytes] | None = None) -> Path:
    """Write ``report.html``, whole or not at all, and its drawings into ``figures``.

    Args:
        folder: of the ensemble.
        thumbnails: pictures of scored images by name, as for ``page.write``.

    Returns:
        Where the page is.

    Raises:
        RunError: a file is damaged or missing, or the page cannot be written.
    """
    run, standing = facts.read(folder), read(folder)
    files.make_folder(folder.figures)
    for name, picture in drawings(run, standing).items():
        files.write_text(folder.figures / f"{name}.svg", str(picture))
    files.write_text(folder.report, render(run, standing, thumbnails=thumbnails))
    return folder.report


def drawings(run: facts.Facts, standing: Standing) -> dict[str, Svg]:
    """Draw what the page shows, by name."""
    found = {
        "members": scores(standing),
        "gain": gains(standing, standing.lead),
        "gain-macro-f1": gains(standing, "macro_f1"),
        "agreement": ballots.agreement(
            standing.diversity,
            [seat.name for seat in standing.members],
            [1 - seat.accuracy.value for seat in standing.members],
        ),
    }
    if run.evaluation is not None:
        found["confusion"] = plots.confusion(run.evaluation.confusion, run.evaluation.classes)
        found["reliability"] = plots.reliability(run.evaluation.calibration.bins)
    return found


def scores(standing: Standing) -> Svg:
    """Draw the leading scores of members and vote."""
    rows = [Line(seat.name, standing.led(seat)) for seat in standing.members]
    rows.append(Line(standing.whole.name, standing.led(standing.whole), "valid"))
    return ballots.lines(rows, f"{NAMES[standing.lead].capitalize()}, %", mark=standing.led(standing.whole).value)


def gains(standing: Standing, score: str) -> Svg:
    """Draw what the vote gains on each member, coloured where chance does not explain it."""
    rows = [Line(f"over {seat.name}", seat.gain[score], _kind(seat.gain[score])) for seat in standing.members]
    return ballots.lines(rows, f"The vote’s gain in {NAMES[score]}, points", mark=0.0, signed=True)


def _kind(gain: Figure) -> str:
    return "valid" if (gain.low or 0) > 0 else "train" if (gain.high or 0) < 0 else "plain"


def render(run: facts.Facts, standing: Standing, *, thumbnails: Mapping[str, bytes] | None = None) -> str:
    """Give the page as text; see ``write``."""
    pictures = {name: data_uri(picture, name) for name, picture in (thumbnails or {}).items()}
    drawn = {name.replace("-", "_"): drawing(picture) for name, picture in drawings(run, standing).items()}
    found = run.evaluation
    together = [{"mistake": mistake, "picture": pictures.get(mistake.name)} for mistake in standing.together]
    return frame.render(
        "vote.html.j2",
        run=run,
        name=run.path.resolve().name,
        standing=standing,
        lead=NAMES[standing.lead],
        headline=headline(run, standing),
        drawn=drawn,
        rows=table(standing),
        subset=subset(run, standing),
        differences=differences(run, standing),
        together={"first": together[:SHOWN], "more": together[SHOWN:]},
        tiles=result.tiles(found) if found else [],
        classes=sections.classes(run, found) if found else None,
        calibration=sections.calibration(found) if found else None,
        mistakes=sections.mistakes(found, pictures) if found else None,
        rule=KINDS[standing.vote].format(things=run.things),
        usage=usage(run),
        environment=sections.environment(run),
    )


def headline(run: facts.Facts, standing: Standing) -> dict[str, str]:
    """Say what the vote is worth in a sentence, and how sure that is."""
    whole, best = standing.whole, standing.members[standing.reference]
    held = {"test": "held-out ", "validation": "validation "}.get(standing.part, "")
    scored = f"{count(standing.count)} {held}{counted(standing.count, run.things).split(SPACE)[-1]}"
    score = percent(standing.led(whole).value)
    title = f"A vote of {len(standing.members)} gets {score} of {scored} right"
    if standing.lead != "accuracy":
        title = f"A vote of {len(standing.members)} reaches {score} {NAMES[standing.lead]} on {scored}"
    gain = best.gain[standing.lead]
    chosen = f"the best on validation {run.things}" if standing.best is not None else f"the best on these {run.things}"
    lede = (
        f"‘{best.name}’, {chosen}, gets {percent(standing.led(best).value)} alone. The vote gains {points(gain)} on it "
        f"(95 % interval {span(gain)}): {_verdict(gain)}"
    )
    return {"title": title, "lede": lede}


def _verdict(gain: Figure) -> str:
    if (gain.low or 0) > 0:
        return "more than chance explains."
    if (gain.high or 0) < 0:
        return "voting does harm here; use that member alone."
    return "a difference that chance may explain; more images would tell."


def points(gain: Figure) -> str:
    """Write a difference of shares: ``+1.1 points``."""
    return f"{100 * gain.value:+.1f} points".replace("-", MINUS)


def span(gain: Figure) -> str:
    """Write its interval: ``−2.6 to +4.8``."""
    return f"{100 * (gain.low or 0):+.1f} to {100 * (gain.high or 0):+.1f}".replace("-", MINUS)


def table(standing: Standing) -> list[dict[str, Any]]:
    """List members, vote and subset as rows of texts."""
    rows = [_row(standing, seat, best=number == standing.best) for number, seat in enumerate(standing.members)]
    rows.append({**_row(standing, standing.whole), "whole": True})
    if standing.subset is not None:
        rows.append({**_row(standing, standing.subset), "name": f"only {standing.subset.name}", "aside": True})
    return rows


def _row(standing: Standing, seat: Seat, *, best: bool = False) -> dict[str, Any]:
    gain, cost = seat.gain.get(standing.lead), seat.cost
    return {
        "name": seat.name,
        "best": best,
        "whole": False,
        "aside": False,
        "seat": seat,
        "lead": standing.led(seat),
        "gain": "" if gain is None else points(gain).removesuffix(" points"),
        "gain_span": "" if gain is None else span(gain),
        "weight": percent(seat.weight),
        "parameters": "" if cost is None else _many(cost.parameters),
        "multiply_adds": "" if cost is None or cost.multiply_adds is None else _many(cost.multiply_adds),
        "time": "" if cost is None else _brief(cost.ms),
    }


def _brief(ms: float) -> str:
    """Write milliseconds: ``3.5 ms``, ``61 µs``."""
    return duration(ms / 1000) if ms >= 1000 else f"{ms:.2g}{SPACE}ms" if ms >= 0.1 else f"{1000 * ms:.2g}{SPACE}µs"


def _many(number: int) -> str:
    """Write a large count: ``11.2 M``, ``740 k``."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{SPACE}{unit}"
    return str(number)


def subset(run: facts.Facts, standing: Standing) -> str:
    """Say whether fewer members would do, judged on validation images."""
    if standing.best is None:
        return ""
    if standing.subset is None:
        return f"On the validation {run.things} no smaller vote had a lower loss: every member helps."
    few, gain = standing.subset, standing.subset.gain[standing.lead]
    worth = "the others may not be worth their cost."
    if (gain.low or 0) > 0:
        worth = "all are worth their cost."
    elif (gain.high or 0) < 0:
        worth = "the others do harm."
    return (
        f"On the validation {run.things} the vote of ‘{few.name}’ alone had the lowest loss "
        f"({decimal(few.valid_loss or 0)} nats, all together {decimal(standing.whole.valid_loss or 0)}). On the scored "
        f"{run.things} it gets {percent(standing.led(few).value)}, from which the vote of all differs by "
        f"{points(gain)} (95 % interval {span(gain)}): {worth}"
    )


def differences(run: facts.Facts, standing: Standing) -> list[str]:
    """Say how far the members differ, and what that leaves to gain."""
    found = standing.diversity
    told = [
        f"Two members call {percent(found.differ)} of the {run.things} by different names, on average; all agree on "
        f"{percent(found.unanimous)}.",
    ]
    if found.overlap is not None:
        told.append(
            f"Of what one of two gets wrong, both get wrong {percent(found.overlap)}. The less they share their "
            "mistakes, the more a vote can gain."
        )
    told.append(
        f"{percent(found.none_right)} no member gets right, {percent(found.same_wrong)} all call by the same wrong "
        "name: no vote of these members can mend that."
    )
    if found.q is not None:
        told.append(
            f"Yule’s Q is {found.q:.2f} on average: 1 where members are right on the same {run.things}, 0 by chance."
        )
    return told


def usage(run: facts.Facts) -> dict[str, str]:
    """Give the lines to copy."""
    quoted, path = shlex.quote(str(run.path)), str(run.path)
    image = run.data.get("kind", "image") == "image"
    files_, python = ("photo.jpg more-photos/", "photo.jpg") if image else ("new.npz", "new.npz")
    return {
        "shell": "\n".join(
            [
                f"# recognise new {run.things}",
                f"sightline predict {quoted} {files_}",
                "# score it on others, as JSON",
                f"sightline evaluate {quoted} OTHERS --json",
            ]
        ),
        "python": "\n".join(
            [
                "import sightline",
                "",
                f"ensemble = sightline.Ensemble.load({path!r})",
                f'found = ensemble.predict(["{python}"])',
                "print(found.labels, found.confidence)",
            ]
        ),
    }
