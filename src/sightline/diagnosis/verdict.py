"""Evidence -> one verdict in a sentence, with how sure it is, what it rests on, and what to change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from sightline.diagnosis import doubts, faults, fit, starts
from sightline.diagnosis.advice import Advice, advise
from sightline.diagnosis.evidence import Evidence
from sightline.diagnosis.limits import LIMITS, Limits
from sightline.diagnosis.measures import Measures
from sightline.finding import Confidence, Finding

Kind = Literal["broken", "underfitted", "well fitted", "over-confident", "overfitted", "cannot tell"]

BREAKS = (
    "training/not-finite",
    "training/diverged",
    "setup/one-batch",
    "setup/ignores-input",
    "training/rate-too-high",
    "training/exploding-gradients",
    "training/dead-units",
    "training/modes-differ",
    "training/learnt-nothing",
    "setup/first-loss",
)
"""Findings of severity error that make a run broken, the cause first."""

CAUSES = {
    "setup/first-weights": "the first weights are too large",
    "fit/over-regularised": "over-regularised",
    "training/vanishing-gradients": "gradients vanish",
    "training/rate-too-low": "the learning rate is too low",
    "training/saturated-units": "units are saturated",
    "training/dead-units": "units are dead",
    "setup/augmentation": "augmentation destroys what labels say",
    "fit/undertrained": "trained too short",
    "fit/capacity": "too little capacity",
}
"""Findings that explain an underfit, the first that was found is its kind."""

FIT_ALONE = ("fit/over-regularised", "fit/undertrained", "fit/capacity", "fit/gap", "fit/plateau", "fit/overfitted")
"""Findings that say nothing about a run that is broken."""

UNCERTAIN = "fit/uncertain-rise"
"""A finding that is told where nothing else is."""

NAMES = {
    "training/not-finite": "it broke down",
    "training/diverged": "the training diverged",
    "setup/one-batch": "it cannot fit even one batch",
    "setup/ignores-input": "the network ignores its input",
    "training/rate-too-high": "the learning rate is too high",
    "training/exploding-gradients": "gradients explode",
    "training/dead-units": "units are dead",
    "training/modes-differ": "training and evaluation differ",
    "training/learnt-nothing": "nothing was learnt",
    "setup/first-loss": "the first weights are too large",
    "setup/first-weights": "the first weights are too large",
}

SURE: dict[Confidence, str] = {"sure": "", "likely": "probably ", "unsure": "perhaps "}
"""How sure a verdict is, in words."""


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a training, if anything.

    Attributes:
        kind: the verdict.
        cause: its kind: why it is underfitted or broken; empty otherwise.
        epoch: from which epoch on it is overfitted or over-confident, else None.
        sentence: the verdict in one sentence, with its deciding numbers.
        confidence: ``sure``, ``likely`` or ``unsure``.
        caveats: sentences: what lowers the confidence.
        decides: what would settle it, where it cannot be told or is unsure; else empty.
        findings: the gravest first; what the verdict rests on comes before the rest.
        advice: what to change, the most promising first.
    """

    kind: Kind
    cause: str
    epoch: int | None
    sentence: str
    confidence: Confidence
    caveats: tuple[str, ...]
    decides: str
    findings: tuple[Finding, ...]
    advice: tuple[Advice, ...]

    @property
    def problem(self) -> bool:
        """Whether something should be done."""
        return self.kind not in ("well fitted", "cannot tell")

    def as_dict(self) -> dict[str, Any]:
        """Give plain JSON values: what ``sightline diagnose --json`` prints."""
        return {
            "verdict": self.kind,
            "cause": self.cause,
            "epoch": self.epoch,
            "sentence": self.sentence,
            "confidence": self.confidence,
            "caveats": list(self.caveats),
            "decides": self.decides,
            "findings": [finding.as_dict() for finding in self.findings],
            "advice": [advice.as_dict() for advice in self.advice],
        }


def judge(evidence: Evidence, limits: Limits = LIMITS) -> Verdict:
    """Apply every rule and bring what they found under one verdict.

    The order matters: what is broken cannot be judged for its fit; a rise is looked for before a level, because a
    network may be too small and still overfit.
    """
    m = Measures(evidence)
    found = [
        finding
        for rule in (*faults.RULES, *starts.RULES, *fit.RULES, *doubts.RULES)
        if (finding := rule(m, limits)) is not None
    ]
    verdict = _broken(found, m) or _untold(found, m) or _risen(found, m) or _under(found, m, limits)
    verdict = verdict or _well(found, m, limits)
    if verdict.kind != "cannot tell":  # something else explains what is wrong, or nothing is
        found = [finding for finding in found if finding.code != UNCERTAIN]
    if verdict.kind == "broken":  # how well something fits that does not work is no question
        found = [finding for finding in found if finding.code not in FIT_ALONE]
    caveats, confidence = _doubt(verdict, found, m)
    ordered = _ordered(found, verdict)
    sentence = f"{SURE[confidence]}{verdict.sentence}" if verdict.kind != "cannot tell" else verdict.sentence
    return replace(
        verdict,
        sentence=sentence[0].upper() + sentence[1:],
        confidence=confidence,
        caveats=caveats,
        findings=ordered,
        advice=advise(ordered, m),
    )


def _make(kind: Kind, sentence: str, **more: Any) -> Verdict:
    plain: dict[str, Any] = {"cause": "", "epoch": None, "confidence": "sure", "caveats": (), "decides": ""}
    return Verdict(kind=kind, sentence=sentence, findings=(), advice=(), **{**plain, **more})


def _broken(found: list[Finding], m: Measures) -> Verdict | None:
    by_code = {finding.code: finding for finding in found if finding.severity == "error"}
    broken = [code for code in BREAKS if code in by_code]
    if not broken:
        return None
    # A few dead layers or a rough start do not break what has learnt well in the end.
    soft = {"training/dead-units", "training/rate-too-high", "training/exploding-gradients"}
    if set(broken) <= soft and m.level is not None and m.finite and m.level < 0.5:
        return None
    milder = {"training/rate-too-low", "fit/over-regularised", "training/vanishing-gradients"}
    if broken[0] == "training/learnt-nothing" and any(
        finding.code in milder or "squeezed" in finding.evidence for finding in found
    ):
        return None  # not broken: it has not begun, or is held back
    roots = ["setup/first-weights"]  # what was there before the first step caused what came after it
    if {"setup/one-batch", "setup/ignores-input"} & set(broken):
        roots.append("training/dead-units")
    at_root = [finding for code in roots for finding in found if finding.code == code]
    first = at_root[0] if at_root and broken[0] != "training/not-finite" else by_code[broken[0]]
    return _make(
        "broken", f"broken, {NAMES[first.code]}: {first.message}", cause=NAMES[first.code], confidence=first.confidence
    )


def _untold(found: list[Finding], m: Measures) -> Verdict | None:
    """Say where there is too little to judge by, and what would be enough."""
    if not m.of.has("valid_loss"):
        return _make(
            "cannot tell",
            "cannot tell: there is no validation loss for every epoch.",
            decides="Measure the loss on images that are not trained on, after each epoch.",
        )
    if m.epochs < 3:
        return _make(
            "cannot tell",
            f"cannot tell after {m.epochs} epoch{'s' * (m.epochs > 1)}: a trend needs three at least.",
            decides="Train for more epochs.",
        )
    if not m.finite:
        return _make(
            "cannot tell",
            "cannot tell: there is no training loss for every epoch.",
            decides="Record the training loss beside the validation loss.",
        )
    return None


def _risen(found: list[Finding], m: Measures) -> Verdict | None:
    for finding in found:
        if finding.code == "fit/overfitted":
            at = int(finding.evidence["epoch"])
            kept = f" Kept are the weights of the best single epoch, {_kept(m)}." if m.of.best_kept else ""
            return _make(
                "overfitted",
                f"overfitted from epoch {at}: {finding.message}{kept}",
                epoch=at,
                confidence=finding.confidence,
            )
        if finding.code == "fit/overconfident":
            at = int(finding.evidence["epoch"])
            return _make(
                "over-confident",
                f"over-confident from epoch {at}: {finding.message}",
                epoch=at,
                confidence=finding.confidence,
            )
    return None


def _under(found: list[Finding], m: Measures, limits: Limits) -> Verdict | None:
    codes = {finding.code: finding for finding in found}
    level = m.level or 0.0
    unlearnt = level > limits.slowed / 3 and m.gap_share is not None and m.gap_share < limits.gap
    behind = level > limits.slowed or unlearnt or "fit/worse-than-reference" in codes
    slowed = "setup/first-weights" in codes and behind
    if not (slowed or fit.unfitted(m, limits) or codes.keys() & {"fit/undertrained", "training/rate-too-low"}):
        return None
    for code, cause in CAUSES.items():
        if code in codes:
            finding = codes[code]
            return _make(
                "underfitted", f"underfitted, {cause}: {finding.message}", cause=cause, confidence=finding.confidence
            )
    return None


def _well(found: list[Finding], m: Measures, limits: Limits) -> Verdict:
    """Claim a good fit only where it can be shown; else say what is missing."""
    assert m.rise is not None
    codes = {finding.code: finding for finding in found}
    fast = codes.get("training/rate-too-high")
    if fast and (m.rise.value > limits.rise or "fit/worse-than-reference" in codes):
        cause = NAMES[fast.code]
        return _make("underfitted", f"underfitted, {cause}: {fast.message}", cause=cause, confidence="likely")
    if UNCERTAIN in codes:
        return _make(
            "cannot tell",
            f"cannot tell whether it overfits: {codes[UNCERTAIN].message}",
            decides="A learning rate that falls to nothing: --schedule onecycle."
            if "training/unsteady" in codes
            else _more_images(m, limits),
        )
    if "fit/worse-than-reference" in codes:
        return _make(
            "cannot tell",
            "cannot tell what keeps it back: its losses look healthy, but a simple classifier on pixels does better.",
            decides="Try another network, and look at the inputs: sightline train SOURCE --preview.",
        )
    recognised = f", {m.accuracy.value:.1%} of the validation images are recognised" if m.accuracy else ""
    said = (
        f"well fitted: validation ended {abs(m.rise.value):.0%} {'above' if m.rise.value > 0 else 'from'} its minimum "
        f"(epoch {int(m.of.epochs[m.best])} of {m.epochs}){recognised}."
    )
    if m.rise.value < 0.005:
        said = f"well fitted: the validation loss ended at its minimum{recognised}."
    return _make("well fitted", said, confidence="sure" if m.rise.paired else "likely")


def _more_images(m: Measures, limits: Limits) -> str:
    """Say how many more validation images would separate the rise from the limit."""
    assert m.rise is not None
    n = m.of.number
    if not n or m.rise.value <= limits.rise:
        return "More validation images, or more epochs."
    width = m.rise.value - m.rise.low
    needed = n * (width / max(m.rise.value - limits.rise, 0.01)) ** 2
    return f"About {max(10, round(needed - n, -1)):,.0f} more validation images."


def _doubt(verdict: Verdict, found: list[Finding], m: Measures) -> tuple[tuple[str, ...], Confidence]:
    """Collect what lowers the confidence, in words."""
    codes = {finding.code for finding in found}
    caveats = []
    if "data/label-noise" in codes and verdict.kind != "broken":
        caveats.append(
            "Labels are in doubt: with wrong labels a validation loss may rise and fall again (double descent), so "
            f"this holds for the {m.epochs} epochs seen."
        )
    if "data/leak" in codes:
        caveats.append("Some validation or test images were trained on: the true validation loss is higher.")
    if "data/validation-differs" in codes:
        caveats.append(
            "Validation images are of another kind than training images: part of the gap is that difference."
        )
    if verdict.kind in ("overfitted", "well fitted", "underfitted") and not m.of.clean:
        caveats.append(
            "The training loss was measured as trained, with dropout and augmentation on: gap and level are estimates."
        )
    if verdict.kind in ("overfitted", "over-confident", "well fitted") and m.of.examples is None:
        caveats.append("The losses of single validation images are not known: no interval over images can be given.")
    number = m.of.number
    if number is not None and number < 30:
        caveats.append(f"There are only {number} validation images.")
    if m.of.state.get("status") in ("running", "stopped"):
        caveats.append("The training was not finished.")
    order: list[Confidence] = ["sure", "likely", "unsure"]
    grave = len(caveats) - (verdict.kind == "well fitted" and not m.of.clean)
    place = min(2, order.index(verdict.confidence) + min(grave, 1) + (grave > 2))
    return (*m.of.notes, *caveats), order[place] if verdict.kind != "cannot tell" else "unsure"


def _ordered(found: list[Finding], verdict: Verdict) -> tuple[Finding, ...]:
    """Put first what the verdict rests on, then by severity."""
    severities = {"error": 0, "warning": 1, "note": 2}
    leads = [code for code, cause in {**NAMES, **CAUSES}.items() if cause == verdict.cause] + {
        "overfitted": ["fit/overfitted"],
        "over-confident": ["fit/overconfident"],
        "cannot tell": [UNCERTAIN],
    }.get(verdict.kind, [])
    return tuple(sorted(found, key=lambda f: (f.code not in leads, severities[f.severity])))


def _kept(m: Measures) -> int:
    return int(m.of.state.get("best_epoch") or m.of.epochs[m.of.best])
