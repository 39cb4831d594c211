"""A verdict -> the text that a terminal shows: the sentence, its grounds, what to do as commands to copy."""

from __future__ import annotations

import textwrap

from sightline.diagnosis.advice import Advice
from sightline.diagnosis.terms import TERMS, page
from sightline.diagnosis.verdict import Verdict
from sightline.reports.words import duration

SHOWN = 3
"""Pieces of advice that a terminal shows; ``--json`` has them all."""


def text(verdict: Verdict, width: int = 100) -> str:
    """Write a verdict for the terminal: sentence, doubts, findings, advice; commands are never broken into lines.

    Args:
        verdict: any.
        width: letters on a line of prose.
    """
    parts = [_wrapped(verdict.sentence, width)]
    parts += [_wrapped(caveat, width) for caveat in verdict.caveats]
    if verdict.decides:
        parts.append(_wrapped(f"What would settle it: {verdict.decides}", width))
    if verdict.findings:
        parts += ["", "What was found"]
        for finding in verdict.findings:
            name = TERMS[finding.code].name
            parts.append(_wrapped(f"{finding.severity}: {name}. {_capital(finding.message)}", width, "  ", "    "))
            parts.append(f"    {page(finding.code)}")
    if verdict.advice:
        parts += ["", heading(verdict)]
        for number, advice in enumerate(verdict.advice[:SHOWN], 1):
            parts.append(_wrapped(f"{number}. {told(advice)}", width, "  ", "     "))
            parts += [f"     {advice.command}"] if advice.command else []
    return "\n".join(parts)


def heading(verdict: Verdict) -> str:
    """Say what the advice is: something to do, or something that may still help."""
    return f"What {'to do' if verdict.problem else 'may still help'}, one change at a time"


def lines(verdict: Verdict) -> list[str]:
    """Write a verdict in one sentence and the first advice, for the end of a training."""
    said = [verdict.sentence]
    if verdict.advice and verdict.problem:
        first = verdict.advice[0]
        said.append(f"next   {first.sentence}{': ' + first.command if first.command else ''}")
    return said


def told(advice: Advice) -> str:
    """Write an advice as a sentence, with what to expect, what it costs, and what would do as well."""
    cost = f"about {duration(advice.seconds)}" if advice.seconds is not None else f"{advice.times:g} times as long"
    if advice.seconds is None and 0.9 <= advice.times <= 1.1:
        cost = "about as long"
    said = (
        f"{_capital(advice.sentence)} (training loss {advice.training}, validation loss {advice.validation}; {cost})."
    )
    return said + (f" Or instead: {'; or '.join(advice.instead)}." if advice.instead else "")


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _wrapped(sentence: str, width: int, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        sentence, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
