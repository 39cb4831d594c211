"""Settings, history and state of a run -> what kept its network simple, technique by technique, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sightline.reports.facts import Facts
from sightline.reports.words import SPACE, count, decimal, percent, value


def regularisation(facts: Facts) -> dict[str, str]:
    """Say which techniques were in force and, where it was measured, what they came to.

    Returns:
        Name -> sentence, explicit techniques first; empty for a run without settings.
    """
    told = {name: of(facts) for name, of in TECHNIQUES.items()}
    return {name: sentence for name, sentence in told.items() if sentence}


def _penalty(facts: Facts) -> str:
    chosen, last = facts.settings, facts.history[-1] if facts.history else {}
    if chosen.get("penalty", "none") == "none":
        return ""
    told = f"{chosen['penalty']}, on {chosen.get('penalty_on', 'weights')}"
    if last.get("penalty") is None:
        return told
    return f"{told}: {decimal(last['penalty'])} in the last epoch, beside a loss of {decimal(last['train_loss'])}"


def _decay(facts: Facts) -> str:
    from sightline.training import optim

    strength, optimizer = facts.settings.get("weight_decay"), str(facts.settings.get("optimizer", "")).lower()
    apart = facts.settings.get("decoupled") or optimizer in optim.DECOUPLED
    return f"{value(strength)}, {'apart from' if apart else 'as a part of'} the gradient" if strength else ""


def _max_norm(facts: Facts) -> str:
    limit = facts.settings.get("max_norm")
    return f"no unit takes in weights that are longer than {value(limit)} together" if limit else ""


def _dropout(facts: Facts) -> str:
    chosen, options = facts.settings, facts.settings.get("options", {})
    shares = {
        "of units before the last layer": chosen.get("dropout", options.get("dropout")),
        "of feature maps, each whole": options.get("spatial_dropout"),
        "of the passes through the last block, of those before it fewer": options.get("stochastic_depth"),
    }
    found = [f"{_share(share)} {what}" for what, share in shares.items() if share]
    return f"switched off at random while training: {', '.join(found)}" if found else ""


def _smoothing(facts: Facts) -> str:
    share = facts.settings.get("label_smoothing")
    return f"{_share(share)} of each target is spread over all classes" if share else ""


def _augmentation(facts: Facts) -> str:
    name = str(facts.settings.get("augment", "none"))
    reason = str(facts.data.get("reasons", {}).get("augment", name))
    return "" if name == "none" else reason.partition(";")[0]


def _trim(facts: Facts) -> str:
    share, begins = facts.settings.get("trim"), facts.settings.get("trim_from", 0)
    late = f" after the first {_share(begins)} of the training" if begins else ""
    return f"the hardest {_share(share)} of each batch got no gradient{late}" if share else ""


def _average(facts: Facts) -> str:
    decay, share = facts.settings.get("ema"), facts.settings.get("swa")
    if decay:
        return f"moving, with a decay of {value(decay)} a step"
    return f"equal, over the last {_share(share)} of the training" if share else ""


def _snapshots(facts: Facts) -> str:
    cycles = facts.settings.get("cycles")
    return f"the weights at the ends of {value(cycles)} cycles of the learning rate, for a vote" if cycles else ""


def _patience(facts: Facts) -> str:
    if facts.settings.get("early_stop") == "rise":
        return "had the validation loss risen beyond doubt, it would have ended"
    patience = facts.settings.get("patience")
    return f"had {value(patience)} epochs passed without improvement, it would have ended" if patience else ""


def _batches(facts: Facts) -> str:
    from sightline.training import noise

    chosen, seen = facts.settings, facts.count("train")
    if not (seen and chosen.get("batch_size") and chosen.get("lr")):
        return ""
    batch = int(chosen["batch_size"]) * int(chosen.get("accumulate", 1))
    momentum = float(chosen.get("momentum", 0)) if chosen.get("optimizer") == "sgd" else 0.0
    shaken = noise.scale(float(chosen["lr"]), seen, batch, momentum)
    told = f"{count(batch)} of {count(seen)} {facts.things} a step: a noise scale of {shaken:.2g} at the highest rate"
    measured = facts.state.get("noise")
    return f"{told}. {noise.Noise(**measured).sentence}" if measured else told


def _weights(facts: Facts) -> str:
    found = facts.state.get("weights")
    if not found or not found["count"]:
        return ""
    zero = f", {percent(found['zero'])} exactly 0" if found["zero"] else ""
    near = f"{percent(found['near'])} within a hundredth of the largest of their layer"
    return f"{count(found['count'])}, together of length {found['norm']:.4g}; {near}{zero}"


def _share(share: float) -> str:
    return f"{100 * share:.3g}{SPACE}%"


TECHNIQUES: Mapping[str, Callable[[Facts], str]] = {
    "Penalty": _penalty,
    "Weight decay": _decay,
    "Max-norm": _max_norm,
    "Dropout": _dropout,
    "Label smoothing": _smoothing,
    "Augmentation": _augmentation,
    "Trimmed loss": _trim,
    "Averaging": _average,
    "Snapshots": _snapshots,
    "Early stopping": _patience,
    "Random batches": _batches,
    "Weights at the end": _weights,
}
"""Name -> what to say of it; nothing where it was not in force."""
