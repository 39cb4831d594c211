"""One thing found out about data or a training: a code, a sentence, its evidence, and advice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
Confidence = Literal["sure", "likely", "unsure"]


@dataclass(frozen=True)
class Finding:
    """What was found, on what grounds, and what to do.

    Attributes:
        code: stable, kebab-case, ``room/thing``: ``"data/unreadable-file"``.
        severity: ``error`` (the result cannot be trusted), ``warning`` (it may suffer), ``note`` (good to know).
        message: one sentence that holds the deciding numbers.
        advice: what to do, naming the setting or file.
        evidence: plain JSON values (counts, thresholds, file names).
        confidence: how sure the rule is; what can be counted is always sure.
    """

    code: str
    severity: Severity
    message: str
    advice: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    confidence: Confidence = "sure"

    def as_dict(self) -> dict[str, Any]:
        """Give the finding as plain JSON values."""
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "advice": self.advice,
            "evidence": dict(self.evidence),
            **({} if self.confidence == "sure" else {"confidence": self.confidence}),
        }
