"""The scores of a run -> the top of its report: what came out in one sentence, what it means, and the other figures.

Where the scored classes are skewed (``Evaluation.skewed``), balanced accuracy is the result, macro-F1 and the lowest
recall come next, and accuracy is told beside what calling everything by the commonest class would give.
"""

from __future__ import annotations

import math
from typing import Any

from sightline.diagnosis.mistakes import Evaluation
from sightline.reports import plots
from sightline.reports.facts import Facts
from sightline.reports.words import count, counted, decimal, drawing, interval, percent


def headline(facts: Facts) -> dict[str, Any]:
    """Say the result in a sentence, and what it means; or how far the training came."""
    if facts.evaluation is None:
        return _unfinished(facts)
    found = facts.evaluation
    part = "held-out" if facts.part == "test" else facts.part
    noun = counted(found.count, facts.things).split()[-1]
    scored = f"{count(found.count)} {part} {noun}"
    if found.skewed:
        classes = sum(score.support > 0 for score in found.per_class)
        title, lead = f"{percent(found.balanced_accuracy.value)} balanced accuracy on {scored}", found.balanced_accuracy
        share, name = 1 / classes, "one class for all:"
        commonest = max(found.per_class, key=lambda score: score.support)
        lede = (
            f"Of each class’s {facts.things}, this share was recognised on average; with many more of them it would be "
            f"{interval(lead)} (95 % interval). Calling all of them by one class would give {percent(share)}. Of all "
            f"{facts.things} alike {percent(found.accuracy.value)} were right, but classes are skewed: calling all of "
            f"them ‘{commonest.name}’ would already be right for {percent(commonest.support / found.count)}."
        )
    else:
        title, lead = f"{percent(found.accuracy.value)} of {scored} right", found.accuracy
        supports = [score.support for score in found.per_class]
        share = max(supports) / found.count
        guess, name = "Calling all of them by one class", "one class for all:"
        if min(supports) != max(supports):
            commonest = found.per_class[supports.index(max(supports))]
            guess, name = f"Calling all of them ‘{commonest.name}’, the commonest class,", f"all ‘{commonest.name}’:"
        lede = (
            f"Shown many more {facts.things} of this kind, it would be right for {interval(lead)} of them (95 % "
            f"interval). {guess} would be right for {percent(share)}."
        )
    note = (
        f"These {facts.things} took no part in the training, nor in choosing its best epoch."
        if facts.part == "test"
        else f"No {facts.things} were held out for a test. These also chose the best epoch, so the figure flatters a "
        "little: to be sure, evaluate on others."
        if facts.part == "validation"
        else ""
    )
    return {"title": title, "lede": lede, "note": note, "ruler": drawing(plots.scale(lead, share, name))}


def _unfinished(facts: Facts) -> dict[str, Any]:
    done, wanted = len(facts.history), facts.settings.get("epochs")
    reached = f"{done} of {counted(wanted, 'epochs')}" if wanted else counted(done, "epochs")
    status = facts.state.get("status")
    said = {
        "running": f"Training is under way, or was cut off: {reached} done",
        "stopped": f"Training was stopped after {reached}",
        "failed": f"Training failed after {reached}",
    }
    best = min(
        (row for row in facts.history if _finite(row.get("valid_loss"))),
        key=lambda row: row["valid_loss"],
        default=None,
    )
    note = "Nothing has been scored yet."
    if best is not None:
        note += f" Best so far: a validation loss of {decimal(best['valid_loss'])} nats at epoch {best.get('epoch')}."
    return {"title": said.get(str(status), f"Not scored: {reached}"), "lede": "", "note": note, "ruler": None}


def _finite(number: Any) -> bool:
    return isinstance(number, (int, float)) and math.isfinite(number)


def tiles(found: Evaluation) -> list[dict[str, str]]:
    """List the figures beside the one in the headline: name, value, interval, meaning."""
    k = len(found.classes)
    lead: dict[str, tuple[Any, bool, str]] = {
        "Balanced accuracy": (found.balanced_accuracy, True, "mean recall of the classes: rare ones count as much"),
        "Macro-F1": (found.macro_f1, True, "mean F1 score of the classes; 100 % is best"),
    }
    if found.skewed:
        weakest = found.weakest
        lead = {
            "Macro-F1": lead["Macro-F1"],
            "Lowest recall": (
                weakest.recall,
                True,
                f"share of ‘{weakest.name}’ that was found; the least of all classes",
            ),
            "Accuracy": (found.accuracy, True, "share right of all alike: mostly that of the largest classes"),
        }
    told = {
        **lead,
        "Top-5 error": (found.top5_error, True, "true class not among the five most probable"),
        "Calibration error": (found.ece, True, "how far confidence is from the share right (ECE, 15 bins)"),
        "Loss": (found.loss, False, f"nats per image; guessing evenly costs {decimal(math.log(k))}, 0 is best"),
        "Brier score": (found.brier, False, "squared error of the probabilities; 0 is best, 2 worst"),
    }
    return [
        {
            "name": name,
            "value": percent(figure.value) if share else decimal(figure.value),
            "interval": interval(figure, share=share),
            "meaning": meaning,
        }
        for name, (figure, share, meaning) in told.items()
        if figure is not None
    ]
