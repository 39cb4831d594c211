"""The findings of the diagnosis, one literal table: code -> its name, the idea it rests on, where to read on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sightline.finding import Confidence, Finding, Severity

DOCS = "docs/diagnosis"
"""Folder of the pages, one for each finding."""


@dataclass(frozen=True)
class Term:
    """What a code stands for.

    Attributes:
        name: what people call it.
        idea: the idea behind the rule, one sentence, as a lecture would put it.
        advice: what to do, one sentence.
        picture: what shows it best, a key of ``reports.diagnosis.PICTURES``.
    """

    name: str
    idea: str
    advice: str
    picture: str = ""


TERMS: dict[str, Term] = {
    "fit/overfitted": Term(
        "overfitting",
        "Beyond the minimum of the validation loss a network learns what is true of the training images only.",
        "Regularise, show more or more varied images, or stop at the minimum.",
        "rise",
    ),
    "fit/overconfident": Term(
        "over-confidence",
        "Cross-entropy rewards certainty: once all training images are right it can fall only by louder probabilities.",
        "Divide the outputs by a temperature, or smooth the labels.",
        "errors",
    ),
    "fit/gap": Term(
        "generalisation gap",
        "A gap between training and validation loss is what was learnt by heart; it harms only where validation rises.",
        "Nothing has to be done; more images or augmentation would narrow it.",
        "gap",
    ),
    "fit/uncertain-rise": Term(
        "uncertain rise",
        "A minimum is picked, so any curve ends above its own; only more images tell a rise from that.",
        "Validate on more images; what helps against a rise does no harm meanwhile.",
        "gap",
    ),
    "fit/undertrained": Term(
        "trained too short",
        "A loss that still falls when the training ends has not reached what this network can do.",
        "Train longer.",
        "fall",
    ),
    "fit/capacity": Term(
        "too little capacity",
        "A network that cannot fit even its training images, and no longer improves, has too few features.",
        "Use a wider or deeper network.",
        "gap",
    ),
    "fit/over-regularised": Term(
        "over-regularised",
        "Dropout, decay and augmentation trade fit for generality; too much of them leaves nothing to generalise.",
        "Regularise less.",
        "modes",
    ),
    "fit/worse-than-reference": Term(
        "worse than a simple reference",
        "A network that does not beat a nearest neighbour or a straight line on raw pixels has not learnt to see.",
        "Look for the cause among the other findings; until then the simple model is the better one.",
        "reference",
    ),
    "fit/plateau": Term(
        "plateau",
        "Where nothing improves any more, further epochs cost time and buy nothing.",
        "Fewer epochs would have done.",
        "fall",
    ),
    "fit/miscalibrated": Term(
        "calibration",
        "A probability can be believed if, of all images called with 80 %, 80 % are right.",
        "Predictions use the fitted temperature; label smoothing would make the network itself more modest.",
        "",
    ),
    "training/not-finite": Term(
        "not a number",
        "One overflow makes every weight it touches NaN, and there is no way back.",
        "Lower the learning rate, clip gradients, or compute in fp32.",
    ),
    "training/diverged": Term(
        "divergence",
        "Steps longer than the valley is wide climb its walls: the training loss itself rises.",
        "Lower the learning rate.",
        "rise",
    ),
    "training/learnt-nothing": Term(
        "nothing learnt",
        "A network that is no better than always naming the commonest class has found no way from pixels to labels.",
        "Check labels and preprocessing; then the learning rate.",
        "gap",
    ),
    "training/rate-too-high": Term(
        "learning rate too high",
        "A step should change a weight by about a thousandth; steps of a tenth jump over what they look for.",
        "Lower the learning rate.",
        "rate",
    ),
    "training/rate-too-low": Term(
        "learning rate too low",
        "With steps of a millionth of a weight the end of the valley is out of reach.",
        "Raise the learning rate.",
        "rate",
    ),
    "training/unsteady": Term(
        "unsteady training",
        "A loss that jumps from epoch to epoch late in a training says that its steps are too long or too noisy.",
        "Let the learning rate fall towards the end, take larger batches, or average the weights.",
        "rise",
    ),
    "training/dead-units": Term(
        "dead units",
        "A rectifier that is negative for every image passes no gradient, and never comes back.",
        "Lower the learning rate, or use leaky_relu or batch norm.",
        "units",
    ),
    "training/saturated-units": Term(
        "saturated units",
        "On the flat ends of tanh and sigmoid the gradient is nearly nothing.",
        "Use relu, batch norm, or smaller first weights.",
        "units",
    ),
    "training/vanishing-gradients": Term(
        "vanishing gradients",
        "Every layer multiplies the gradient; many factors below one leave the first layers without a signal.",
        "Use batch norm, residual connections, or relu.",
        "gradients",
    ),
    "training/exploding-gradients": Term(
        "exploding gradients",
        "Every layer multiplies the gradient; many factors above one throw the weights away.",
        "Clip gradients, lower the learning rate, or use batch norm.",
        "gradients",
    ),
    "training/modes-differ": Term(
        "training and evaluation differ",
        "Batch norm and dropout compute something else in training than in use; where the two disagree, one is wrong.",
        "Use larger batches, or group norm instead of batch norm.",
        "modes",
    ),
    "training/class-collapse": Term(
        "class collapse",
        "A network can lower its loss by never naming a class that is rare or hard.",
        "Weight rare classes, or show them more often.",
        "",
    ),
    "setup/first-loss": Term(
        "loss at the start",
        "Untrained, a network should hold all classes equally likely: its first loss is ln K.",
        "Use smaller first weights in the last layer, or batch norm.",
    ),
    "setup/first-weights": Term(
        "first weights too large",
        "A norm hides how large weights are, but a step changes large weights little: they learn as with a lower rate.",
        "Begin with the weights that the network makes itself, or raise the learning rate.",
    ),
    "setup/one-batch": Term(
        "cannot fit one batch",
        "Whatever can learn at all can learn sixteen images by heart; what cannot is wired wrongly.",
        "Check the loss, the labels and the last layer.",
    ),
    "setup/ignores-input": Term(
        "ignores its input",
        "A network whose answer is the same for a black image does not look.",
        "Check the preprocessing and the first layer.",
    ),
    "setup/augmentation": Term(
        "augmentation destroys labels",
        "Augmentation may change everything about an image but what it shows.",
        "Augment less.",
    ),
    "setup/rate": Term(
        "learning rate",
        "What fails on sixteen images will fail on all of them.",
        "Find a rate that works: sightline lr",
    ),
    "data/label-noise": Term(
        "label noise",
        "A network that is sure of another class than the label, on an image it has not seen, is often right.",
        "See which labels are doubted, and correct or drop them: sightline audit SOURCE",
        "",
    ),
    "data/leak": Term(
        "leak",
        "An image that is in training and in validation is recognised by heart: the score flatters.",
        "Keep copies on one side of the split.",
        "",
    ),
    "data/validation-small": Term(
        "small validation part",
        "With few images, chance moves the score more than anything you change.",
        "Keep more images for validation.",
        "gap",
    ),
    "data/validation-differs": Term(
        "validation differs from training",
        "If validation images look otherwise, or labels mean otherwise, the score is about another kind of image.",
        "Split at random, or collect training images like those to come.",
        "",
    ),
}
"""Every code that the diagnosis can give. A new rule is one function and one line here."""


def found(code: str, severity: Severity, message: str, confidence: Confidence = "sure", **evidence: Any) -> Finding:
    """Make a finding; its advice is that of its term.

    Args:
        code: a key of ``TERMS``.
        severity: see ``Finding``.
        message: one sentence that holds the deciding numbers.
        confidence: how sure the rule is.
        **evidence: plain JSON values: numbers with their intervals, thresholds, names of layers.
    """
    return Finding(code, severity, message, TERMS[code].advice, evidence, confidence)


def size(value: float) -> str:
    """Write a loss, or how many times something is, for people: three digits, and thousands as such."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def page(code: str) -> str:
    """Give the path of the page about a finding: ``docs/diagnosis/overfitted.md``."""
    return f"{DOCS}/{code.partition('/')[2]}.md"


def listed(parts: Sequence[str]) -> str:
    """Join clauses: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
