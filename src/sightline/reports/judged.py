"""A run folder -> the section of its report that says what is wrong: sentence, three pictures, what to do."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup

from sightline.diagnosis.evidence import Evidence, of_run
from sightline.diagnosis.measures import Measures
from sightline.diagnosis.terms import TERMS, page
from sightline.diagnosis.verdict import Verdict, judge
from sightline.reports import grounds
from sightline.reports.svg import Svg
from sightline.reports.verdicts import heading, told
from sightline.reports.words import SPACE
from sightline.run import RunFolder

ADVICE = 3
"""How much advice is shown before the rest is folded away."""

TONES = {
    "well fitted": "good",
    "cannot tell": "open",
    "broken": "bad",
    "underfitted": "bad",
    "over-confident": "bad",
    "overfitted": "bad",
}


def section(folder: RunFolder) -> dict[str, Any] | None:
    """Tell the verdict about a run; None before the first epoch."""
    if not folder.history.is_file():
        return None
    evidence = of_run(folder)
    if not evidence.rows:
        return None
    verdict = judge(evidence)
    return {
        "kind": verdict.kind,
        "tone": TONES[verdict.kind],
        "sentence": _spaced(verdict.sentence),
        "caveats": verdict.caveats,
        "decides": verdict.decides,
        "heading": heading(verdict),
        "pictures": [Markup(picture.inline) for picture in pictures(verdict, evidence)],
        "findings": [
            {
                "severity": finding.severity,
                "name": TERMS[finding.code].name,
                "message": _spaced(finding.message),
                "idea": TERMS[finding.code].idea,
                "page": page(finding.code),
            }
            for finding in verdict.findings
        ],
        "advice": [{"told": _spaced(told(advice)), "command": advice.command} for advice in verdict.advice[:ADVICE]],
    }


def pictures(verdict: Verdict, evidence: Evidence) -> list[Svg]:
    """Draw the curve with its minimum, the gap with its band, and the picture of the first finding that has one."""
    m = Measures(evidence)
    named = [TERMS[finding.code].picture for finding in verdict.findings]
    own = next((drawn for name in [*named, "rise"] if name and (drawn := grounds.PICTURES[name](m)) is not None), None)
    return [picture for picture in (grounds.curve(m), grounds.gap(m), own) if picture is not None]


def _spaced(sentence: str) -> str:
    """Write percentages as the page does, with a space that does not break."""
    return re.sub(r"(?<=\d) ?%", f"{SPACE}%", sentence)
