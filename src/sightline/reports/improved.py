"""The journal of an improvement (``journal.json``) -> its words: for terminal, ``journal.md`` and report."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from sightline.diagnosis.experiment import MEASURES
from sightline.diagnosis.terms import TERMS, page
from sightline.reports import arms
from sightline.reports.contrasts import MINUS, change, figure, interval
from sightline.reports.words import SPACE, counted, duration
from sightline.run import RunFolder

Told = Mapping[str, Any]

HOPES = {
    "falls": "fall",
    "rises": "rise",
    "stays": "stay as it is",
    "falls or stays": "fall or stay as it is",
    "rises or stays": "rise or stay as it is",
}

ENDS = {
    "well fitted": "It is well fitted now: there is nothing left to mend.",
    "nothing helps": "Nothing that is advised and was not tried is left.",
    "time": "The time is up. The same command goes on from here, with as much time again.",
    "rounds": "The rounds are done. The same command goes on from here, with as many again.",
}
UNTRIED = "There was nothing to try: {verdict}"

FEW = "One seed each: another seed may differ, so that what is called a gain here may be luck."


def before(told: Told, seconds: float, width: int = 100) -> str:
    """Say what a round believes and does, for the terminal: when it begins."""
    number, last = len(told["rounds"]), told["rounds"][-1]
    hope = HOPES[last["expected"]["validation"]]
    said = {
        "believed": last["verdict"],
        "so": f"{_capital(last['change'])}: the validation loss should {hope}.",
        "done": f"{_pairs(len(told['seeds']))} of trainings, with and without it: about {duration(seconds)}.",
    }
    return "\n".join([f"Round {number}", *(_item(term, each, width) for term, each in said.items())])


def after(told: Told, width: int = 100) -> str:
    """Say what came of a round, for the terminal: when it is done."""
    return _item("came out", _came_out(told["rounds"][-1]), width)


def _item(term: str, said: str, width: int) -> str:
    return textwrap.fill(said, width, initial_indent=f"  {term:10}", subsequent_indent=" " * 12, break_on_hyphens=False)


def text(told: Told, report: str, width: int = 100) -> str:
    """Write the whole for the terminal: how it ended, a line for each round, where the best is.

    Args:
        told: ``journal.json``.
        report: the path of the run's report.
        width: letters on a line of prose.
    """
    end, rounds = told["end"], told["rounds"]
    parts = [textwrap.fill(headline(told), width), ""]
    first, second = ([each(one) for one in rounds] for each in (_setting, _share))
    columns = [max(map(len, column), default=0) for column in (first, second)]
    for number, (one, setting, share) in enumerate(zip(rounds, first, second, strict=True), 1):
        parts.append(f"  {number}. {setting:{columns[0]}}  {share:{columns[1]}}  {one['status']}: {one['said']}")
    parts += [""] if rounds else []
    parts += [textwrap.fill(line, width) for line in (_why(told), *_doubts(told)) if line]
    if end:
        parts.append(f"best    {end['best']}")
        if len(end["runs"]) > 1:
            vote = f"sightline vote {_braced(end['runs'])}"
            parts.append(f"        all {len(end['runs'])} trainings of it can vote: {vote}")
    return "\n".join([*parts, f"journal {told['run']}/journal.md", f"report  {report}"])


def _setting(one: Told) -> str:
    """Write a change as ``dropout 0 -> 0.3``."""
    return f"{one['setting'].rpartition('.')[2]} {_value(one['now'])} -> {_value(one['value'])}"


def headline(told: Told) -> str:
    """Say in one sentence what came of it all."""
    end, rounds = told["end"], told["rounds"]
    if not end:
        done = sum(one["status"] != "begun" for one in rounds)
        return f"Not finished: {counted(done, 'rounds')} so far; the same command goes on."
    kept = [one for one in rounds if one["status"] == "kept"]
    if not kept:
        return (
            f"Unchanged: nothing that was tried is better ({counted(len(rounds), 'rounds')})."
            if rounds
            else (f"Unchanged: there was nothing to try. {end['verdict']}")
        )
    said = f"Improved in {counted(len(rounds), 'rounds')}: {end['label']}."
    loss, test = end.get("valid_loss"), end.get("test_accuracy")
    if loss:
        figures = end["figures"]
        said += (
            f" Validation loss {figure(figures['arm']['valid_loss'], MEASURES['valid_loss'])} instead of "
            f"{figure(figures['base']['valid_loss'], MEASURES['valid_loss'])} nats"
        )
        if test:
            measure = MEASURES["test_accuracy"]
            said += (
                f"; test accuracy {figure(figures['arm']['test_accuracy'], measure)} instead of "
                f"{figure(figures['base']['test_accuracy'], measure)}: {change(test['value'], measure)}, "
                f"95{SPACE}% interval {interval(test, measure)}"
            )
        said += "."
    return said


def markdown(told: Told) -> str:
    """Write ``journal.md``."""
    counts, seeds = told["counts"], told["seeds"]
    parts = [
        f"# How {told['run']} was improved",
        f"{headline(told)}",
        f"{_capital(told['name'])}: {counts.get('train', 0):,} images to train on, {counts.get('valid', 0):,} to "
        f"validate, {counts.get('test', 0):,} to test. In every round one setting is changed, and both ways are "
        f"trained with {counted(len(seeds), 'seeds')} ({seeds[0]} to {seeds[-1]}), on the same split. A change is "
        "kept only if the validation loss is lower and the 95 % interval of the difference excludes zero. The test "
        "part decides nothing.",
    ]
    if len(seeds) == 1:
        parts.append(FEW)
    for number, one in enumerate(told["rounds"], 1):
        parts.append(f"## Round {number}: {one['change']}")
        parts.append(
            f"**Believed.** {one['verdict']} So: {one['change']} (`{one['setting']}`, {_value(one['now'])} -> "
            f"{_value(one['value'])}). The training loss should {HOPES[one['expected']['training']]}, the validation "
            f"loss {HOPES[one['expected']['validation']]}. It answers: {TERMS[one['finding']].name} "
            f"(`{page(one['finding'])}`)."
        )
        if one["instead"]:
            parts.append(
                f"Equal to it: {'; or '.join(one['instead'])}. Tried next, should it fail; never together with it."
            )
        if one["status"] == "begun":
            parts.append("**Done.** Not finished yet.")
            continue
        if one["status"] != "impossible":
            parts.append(
                f"**Done.** {_capital(_pairs(one['seeds']))} of trainings, `{one['arm']}` beside `{one['base']}`, "
                f"{duration(one['seconds'])} of training."
            )
        parts.append(f"**Came out.** {_came_out(one)}")
        if one["figures"].get("arm"):
            parts.append(_table(one["figures"]))
    if told["end"]:
        parts.append("## How it ended")
        parts.append("\n".join(line for line in (_why(told), *_doubts(told)) if line))
        if told["end"].get("figures", {}).get("arm"):
            parts.append("The best beside the run as it was, the test part opened once, for this:")
            parts.append(_table(told["end"]["figures"]))
        parts.append(f"The best is `{told['end']['best']}`. `{told['run']}` itself was not changed.")
    return "\n\n".join(parts) + "\n"


def section(folder: RunFolder) -> dict[str, Any] | None:
    """Tell the improvement in the run's report; None where nobody tried."""
    if not folder.rounds.is_file():
        return None
    told = folder.read_json(folder.rounds)
    shown = [
        {**one["difference"], "arm": one["change"], "against": one["base"]}
        for one in told["rounds"]
        if one["difference"]
    ]
    drawn = None
    if shown:
        against = {one["against"] for one in shown}
        if len(against) > 1:  # each round's base is the best so far
            shown = [{**one, "against": "the best so far"} for one in shown]
        drawn = Markup(arms.differences({"differences": {"valid_loss": shown}}, "valid_loss").inline)
    return {
        "headline": headline(told),
        "picture": drawn,
        "rounds": [
            {
                "verdict": one["verdict"],
                "change": _capital(one["change"]),
                "came_out": _came_out(one),
                "status": one["status"],
            }
            for one in told["rounds"]
        ],
        "why": [line for line in (_why(told), *_doubts(told)) if line],
        "best": told["end"].get("best", ""),
    }


def _came_out(one: Told) -> str:
    """Say what a round came to, in a sentence or two."""
    if one["status"] == "impossible":
        return f"It cannot be tried: {one['said']}"
    if one["status"] == "begun":
        return "Under way."
    if one["difference"] is None:
        return f"{_capital(one['said'])}."
    measure, found = MEASURES["valid_loss"], one["difference"]
    return (
        f"{_capital(one['said'])}: validation loss {change(found['value'], measure)} nats, {_share(one)}, over "
        f"{_pairs(one['seeds'])}. {'Kept' if one['status'] == 'kept' else 'Not kept'}."
        + (f" About {found['wanted']} seeds would tell." if found["wanted"] else "")
    )


def _share(one: Told) -> str:
    """Write a difference of the loss as a share of the base's: ``−14 % (−17 to −11)``."""
    base = one["figures"].get("base", {}).get("valid_loss")
    found = one["difference"]
    if not found or not base:
        return ""
    value, low, high = (None if found[end] is None else 100 * found[end] / base for end in ("value", "low", "high"))
    assert value is not None
    whole = f"{_signed(value)}{SPACE}%"
    return whole if low is None or high is None else f"{whole} ({_signed(low)} to {_signed(high)})"


def _signed(value: float) -> str:
    places = 0 if abs(value) >= 10 else 1
    return f"{'+' if value > 0 else MINUS if value < 0 else '±'}{abs(value):.{places}f}"


def _why(told: Told) -> str:
    end = told["end"]
    if not end:
        return ""
    said = ENDS[end["why"]] if told["rounds"] or end["why"] == "well fitted" else UNTRIED.format(verdict=end["verdict"])
    if end["why"] == "well fitted" and not told["rounds"]:
        said = "It is well fitted as it is: there is nothing to mend."
    return said + (f" What would settle it: {end['decides']}" if end.get("decides") else "")


def _doubts(told: Told) -> list[str]:
    """Say what the reader should keep in mind."""
    tested = sum(one["status"] != "impossible" for one in told["rounds"])
    said = []
    if len(told["seeds"]) == 1 and tested:
        said.append(FEW)
    elif tested > 1 and any(one["status"] == "kept" for one in told["rounds"]):
        said.append(
            f"{tested} changes were tested, each with a 95 % interval: of changes that do nothing, about one in forty "
            "is kept by luck. The figure on the test part had no part in choosing."
        )
    if told["end"] and not told["counts"].get("test") and any(one["status"] == "kept" for one in told["rounds"]):
        said.append("There is no test part: the validation images, which chose, flatter what they chose.")
    return said


def _table(figures: Told) -> str:
    names = [name for name in MEASURES if name in figures["arm"] and name in figures["base"]]
    rows = [[MEASURES[n].title, *(figure(figures[side][n], MEASURES[n]) for side in ("base", "arm"))] for n in names]
    return "\n".join(["| mean over seeds | before | after |", "|---|---|---|", *(f"| {' | '.join(r)} |" for r in rows)])


def _pairs(count: int) -> str:
    return counted(count, "pairs")


def _value(value: Any) -> str:
    return "open" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _braced(paths: list[str]) -> str:
    """Write several paths that differ in their last digits as a shell does, where they do: ``x-seed{0,1}``."""
    heads = {path.rpartition("-seed")[0] for path in paths}
    if len(heads) == 1 and all("-seed" in path for path in paths):
        ends = ",".join(path.rpartition("-seed")[2] for path in paths)
        return f"{heads.pop()}-seed{{{ends}}}"
    return " ".join(paths)


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
