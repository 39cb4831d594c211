"""What a run folder holds -> the sentences, tables and drawings of its report, section by section."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from sightline.data.balance import METHODS
from sightline.diagnosis.mistakes import ClassScore, Evaluation
from sightline.reports import plots
from sightline.reports.facts import Facts
from sightline.reports.words import count, counted, decimal, drawing, duration, interval, percent, size, value

ALL_CLASSES = 30
"""Up to how many classes the table shows all at once; above, the weakest come first and the rest is folded away."""
MOST_CLASSES = 300
"""Up to how many classes the page holds at all."""
WEAKEST, PAIRS, SHOWN, EVIDENCE = 20, 10, 12, 20
"""How many weak classes, confused pairs, mistakes and pieces of evidence are shown before the rest is folded away."""

SURE = 0.9
"""Confidence from which on a mistake makes one doubt the label rather than the network."""

DERIVED = ("image_size", "epochs", "batch_size", "lr", "weight_decay")
"""Settings that are chosen from the data when the user leaves them open."""

SEVERITIES = {"error": "Error", "warning": "Warning", "note": "Note"}
RESIZES = {
    "pad": "others are shrunk to fit and padded",
    "crop": "others are shrunk and their longer side is cut",
    "squash": "others are stretched to it",
}


def training(facts: Facts) -> dict[str, str]:
    """Say what was trained on what."""
    data, chosen, told = facts.data, facts.settings, dict[str, str]()
    parts = {"train": "to train on", "valid": "to validate", "test": "to test"}
    numbers = {part: facts.count(part) for part in parts}
    if any(numbers.values()):
        told[facts.things.capitalize()] = ", ".join(f"{count(n)} {parts[part]}" for part, n in numbers.items() if n)
    if data.get("name"):
        told["Source"] = f"{data['name']} ({data['layout']})" if data.get("layout") else str(data["name"])
    if data.get("source") and data["source"] != data.get("name"):
        told["Found at"] = str(data["source"])
    if facts.classes:
        names = facts.classes
        told["Classes"] = f"{len(names)}: {', '.join(names if len(names) <= 20 else [*names[:12], '…', names[-1]])}"
    way = data.get("preprocessing")
    if way:
        unit = "pixels" if way["kind"] == "image" else "values"
        told["Input"] = f"{size(way['size'])} {unit}, {counted(way['channels'], 'channels')}"
        if way["kind"] == "image":
            told["Input"] += f"; {RESIZES.get(way['resize'], way['resize'])}"
    if "model" in chosen:
        options = {**chosen.get("options", {}), **({"dropout": chosen["dropout"]} if chosen.get("dropout") else {})}
        told["Network"] = str(chosen["model"]) + (f" with {value(options)}" if options else "")
    if data.get("weights"):
        told["Begun with"] = "; ".join([data["weights"]["name"], *data["weights"].get("changes", [])])
    if chosen.get("freeze", "none") != "none":
        told["Frozen"] = f"{chosen['freeze']}: {data.get('reasons', {}).get('freeze', '')}"
    if "optimizer" in chosen:
        rate = f", learning rate up to {value(chosen['lr'])}" if "lr" in chosen else ""
        batch = f", {count(chosen['batch_size'])} {facts.things} a step" if "batch_size" in chosen else ""
        told["Optimizer"] = f"{chosen['optimizer']}{rate}, {chosen.get('schedule', 'constant')} schedule{batch}"
    method = METHODS.get(str(chosen.get("balance", "none")).split(",")[0])
    if method and method is not METHODS["none"]:
        told["Rare classes"] = f"{chosen['balance']}: {method.description}"
    if facts.state.get("last_layer"):
        told["Last layer"] = str(facts.state["last_layer"])
    epochs, best = facts.state.get("epochs", len(facts.history) or None), facts.state.get("best_epoch")
    if epochs:
        planned = f" of {count(chosen['epochs'])} planned" if chosen.get("epochs", epochs) != epochs else ""
        kept = f"; the weights are those of epoch {best}, the best on the validation {facts.things}" if best else ""
        told["Epochs"] = f"{count(epochs)}{planned}{kept}"
    if facts.state.get("stopped") and facts.evaluation is not None:
        told["Ended because"] = str(facts.state["stopped"])
    if "device" in facts.environment:
        machine = [str(facts.environment["device"])]
        if facts.environment.get("threads"):
            machine.append(counted(facts.environment["threads"], "threads"))
        if "precision" in chosen:
            machine.append(f"precision {chosen['precision']}")
        told["Computed on"] = ", ".join(machine)
    return told


def curves(facts: Facts) -> list[Markup]:
    """Draw the history."""
    best = facts.state.get("best_epoch")
    return [drawing(chart) for chart in plots.learning_curves(facts.history, best).values()]


def classes(facts: Facts, found: Evaluation) -> dict[str, Any]:
    """Tell, per class, how many were seen and how many were recognised."""
    seen = facts.data.get("counts", {}).get("train") or [None] * len(found.classes)
    rows = [
        {
            "number": i,
            "score": score,
            "trained": trained,
            "bar": drawing(plots.whisker(score.recall)) if score.recall else "",
        }
        for i, (score, trained) in enumerate(zip(found.per_class, seen, strict=False))
    ]
    ranked = sorted(rows, key=lambda row: _weakness(row["score"]))
    few = len(rows) <= ALL_CLASSES
    return {
        "rows": ranked[:WEAKEST] if not few else ranked if found.skewed else rows,
        "caption": "All classes, the weakest first" if found.skewed else "All classes",
        "rest": [] if few else rows[:MOST_CLASSES] if len(rows) <= MOST_CLASSES else ranked[WEAKEST:MOST_CLASSES],
        "numbered": len(rows) > plots.NAMED,
        "total": len(rows),
        "picture": drawing(plots.confusion(found.confusion, found.classes)),
        "counted": len(rows) <= plots.COUNTED,
        "wide": plots.COUNTED < len(rows) <= plots.NAMED,
        "pairs": found.confused[:PAIRS],
    }


def _weakness(score: ClassScore) -> float:
    return 2.0 if score.f1 is None else score.f1.value


def calibration(found: Evaluation) -> dict[str, Any]:
    """Say whether the probabilities can be believed."""
    told, after = found.calibration, found.calibration.ece
    error, chance = f"{100 * found.ece.value:.1f} percentage points", f"{100 * told.expected:.1f}"
    if (found.ece.low or 0) > 0:
        surer = sum((b.confidence or 0) * b.count for b in told.bins) / found.count > found.accuracy.value
        verdict = (
            f"The network is {'surer of itself than it should be' if surer else 'more timid than it need be'}: "
            f"confidence and share right differ by {error} on average; chance alone would show about {chance}."
        )
    else:
        verdict = (
            f"Confidence and share right differ by {error} on average. Chance alone would show about {chance} on so "
            "few images, so this is no sign that its confidence cannot be believed."
        )
    fitted = ""
    if found.temperature is not None and after is not None:
        fitted = (
            f"Dividing the network’s outputs by a temperature of {decimal(found.temperature)}, fitted on the "
            f"validation part, changes the error to {percent(after.value)} (95 % interval {interval(after)}) and "
            "leaves every answer as it is. Predictions use it."
        )
    return {"verdict": verdict, "fitted": fitted, "picture": drawing(plots.reliability(told.bins))}


def mistakes(found: Evaluation, thumbnails: Mapping[str, str]) -> dict[str, Any]:
    """List the worst mistakes, with their pictures where there are any."""
    each = [{"mistake": mistake, "picture": thumbnails.get(mistake.name)} for mistake in found.worst]
    return {
        "first": each[:SHOWN],
        "more": each[SHOWN:],
        "sure": bool(found.worst) and found.worst[0].confidence >= SURE,
        "all": found.count - int(found.confusion.trace()),
    }


def findings(facts: Facts) -> dict[str, Any]:
    """List what was found out about the data, gravest first."""
    order = list(SEVERITIES)
    return {
        "found": [
            {**found, "label": SEVERITIES.get(found["severity"], found["severity"]), "evidence": _evidence(found)}
            for found in sorted(
                facts.findings, key=lambda f: order.index(f["severity"]) if f["severity"] in order else 9
            )
        ],
        "aside": [*facts.data.get("notes", []), *facts.data.get("ignored", [])],
    }


def _evidence(finding: Mapping[str, Any]) -> dict[str, list[str]]:
    """Write evidence as lists of short texts, each list cut at ``EVIDENCE``."""
    told = {}
    for name, content in (finding.get("evidence") or {}).items():
        if isinstance(content, Mapping):
            items = [f"{key}: {value(entry)}" for key, entry in content.items()]
        else:
            items = [value(entry) for entry in content] if isinstance(content, list) else [value(content)]
        told[name] = items[:EVIDENCE] + ([f"and {count(len(items) - EVIDENCE)} more"] if len(items) > EVIDENCE else [])
    return told


def time(facts: Facts) -> dict[str, Any]:
    """Say where the time went: phases of the run, the training split into its parts."""
    phases = {name: float(spent) for name, spent in facts.state.get("seconds", {}).items()}
    parts = {
        "training: steps": "train_s",
        "training: validation": "valid_s",
        "training: probe of training images": "probe_s",
        "training: checkpoints": "checkpoint_s",
    }
    sums = {name: sum(row.get(key) or 0.0 for row in facts.timing) for name, key in parts.items()}
    rows: dict[str, float] = {}
    for name, spent in (phases if "training" in phases else {"training": sum(sums.values()), **phases}).items():
        if name == "training" and any(sums.values()):
            rows |= {part: took for part, took in sums.items() if took > 0}
            rows["training: the rest"] = max(0.0, spent - sum(sums.values()))
        else:
            rows[name] = spent
    total = sum(rows.values())
    speeds = [row["images_per_s"] for row in facts.timing if row.get("images_per_s")]
    return {
        "rows": [(name, duration(spent), spent / total) for name, spent in rows.items() if spent > 0.005 * total],
        "total": duration(total) if total else "",
        "speed": f"{count(statistics.median(speeds))} {facts.things} per second" if speeds else "",
    }


def settings(facts: Facts) -> dict[str, Any]:
    """Tell which settings are not the defaults: those the user set, and those derived from data and machine."""
    from sightline.settings import Settings

    fields, defaults, reasons = Settings.model_fields, Settings().as_toml(), facts.data.get("reasons", {})

    def row(name: str) -> dict[str, str]:
        return {
            "name": name,
            "value": value(facts.settings.get(name, facts.given.get(name, ""))),
            "default": value(defaults[name])
            if name in defaults
            else "chosen from the data"
            if name in DERIVED
            else "none",
            "help": (fields[name].description or "") if name in fields else "",
            "reason": str(reasons.get(name, "")),
        }

    changed = [n for n, v in facts.settings.items() if n not in reasons and v != defaults.get(n)]
    return {
        "changed": [row(name) for name in changed],
        "derived": [row(name) for name in reasons],
        "all": [row(name) for name in facts.settings],
    }


def usage(facts: Facts) -> dict[str, str]:
    """Give the lines to copy: use the model in the shell and in Python, score it again, train another."""
    run = str(facts.path)
    source = facts.data.get("source") or "SOURCE"
    image = facts.data.get("kind", "image") == "image"
    files, python = ("photo.jpg more-photos/", "photo.jpg") if image else ("new.npz", "new.npz")
    resume = facts.state.get("status") != "finished"
    quoted = shlex.quote(run)
    return {
        "shell": "\n".join(
            [
                *(["# continue the training", f"sightline resume {quoted}"] if resume else []),
                "# recognise new " + facts.things,
                f"sightline predict {quoted} {files}",
                "# score it, as JSON",
                f"sightline evaluate {quoted} --json",
                "# train another like it",
                f"sightline train {shlex.quote(str(source))} --config {quoted}/settings.toml",
            ]
        ),
        "python": "\n".join(
            [
                "import sightline",
                "",
                f"run = sightline.Run.load({run!r})",
                f'found = run.predict(["{python}"])',
                "print(found.labels, found.confidence)",
            ]
        ),
    }


def environment(facts: Facts) -> dict[str, str]:
    """List versions, machine and command."""
    told: dict[str, str] = {}
    for name, content in facts.environment.items():
        if name == "command" and isinstance(content, list) and content:
            told[name] = shlex.join(["sightline", *map(str, content[1:])])
        elif isinstance(content, dict):
            told |= {str(key): value(entry) for key, entry in content.items()}
        else:
            told[name] = value(content)
    if facts.data.get("fingerprint"):
        told["data fingerprint"] = str(facts.data["fingerprint"])
    return told
