"""Scores, predictions, networks, cache entries -> tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sightline.data.cache import Cached
    from sightline.diagnosis.mistakes import Evaluation, Figure
    from sightline.finding import Finding
    from sightline.models.arithmetic import Row
    from sightline.seeing.exhibit import Stage
    from sightline.seeing.kernels import Kernels
    from sightline.serving.predict import Predictions
    from sightline.voting.standing import Seat, Standing

SEVERITY = {"error": "bold red", "warning": "yellow", "note": "dim"}


def findings(found: Sequence[Finding]) -> RenderableType:
    """Show findings, the gravest first: what, how much, what to do."""
    from rich.table import Table
    from rich.text import Text

    if not found:
        return Text("nothing to report: every file can be read and no check found a fault.", "green")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in sorted(found, key=lambda f: list(SEVERITY).index(f.severity)):
        told = Text.assemble((f"{finding.code}\n", "bold"), finding.message)
        files = finding.evidence.get("files", [])
        names = [f"{name} ({why})" for name, why in files.items()] if isinstance(files, Mapping) else map(str, files)
        names = list(names)
        shown = len(names) if finding.code == "data/unreadable-file" else 6  # each lost file is named
        if names:
            more = f" and {len(names) - shown} more" if len(names) > shown else ""
            told.append("\n" + ", ".join(names[:shown]) + more, "dim")
        told.append(f"\n-> {finding.advice}\n")
        table.add_row(Text(finding.severity, SEVERITY[finding.severity]), told)
    return table


def scores(evaluation: Evaluation) -> RenderableType:
    """Show the headline figures with their intervals, then one line per class."""
    from rich.console import Group
    from rich.table import Table

    head = Table(title=f"{evaluation.count} images", title_justify="left", box=None, pad_edge=False)
    for title in ("figure", "value", "95 % interval"):
        head.add_column(title, justify="left" if title == "figure" else "right")
    for name, figure in evaluation.headline().items():
        head.add_row(name, *_cells(name, figure))
    classes = Table(box=None, pad_edge=False)
    for title in ("class", "images", "recall", "precision", "F1"):
        classes.add_column(title, justify="left" if title == "class" else "right")
    rows = evaluation.per_class
    if evaluation.skewed:  # what accuracy hides comes first
        rows = tuple(sorted(rows, key=lambda row: 2.0 if row.recall is None else row.recall.value))
    for row in rows:
        cells = (_percent(None if figure is None else figure.value) for figure in (row.recall, row.precision, row.f1))
        classes.add_row(row.name, str(row.support), *cells)
    return Group(head, "", classes)


def _spread(figure: Figure, sign: str = "") -> str:
    low, high = (f"{100 * (end or 0.0):{sign}.1f}" for end in (figure.low, figure.high))
    return f"{figure.value:{sign}.1%} ({low} to {high})"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _cells(name: str, figure: Figure) -> tuple[str, str]:
    def show(value: float) -> str:
        return f"{value:.4f}" if "loss" in name or "Brier" in name else f"{value:.1%}"

    if figure.low is None or figure.high is None:
        return show(figure.value), "-"
    return show(figure.value), f"{show(figure.low)} to {show(figure.high)}"


def standing(found: Standing) -> RenderableType:
    """Show members and their vote: scores, what the vote gains on each, what each costs; then how they differ."""
    from rich.console import Group
    from rich.table import Table

    weighted, lead = found.vote == "weighted", found.lead.replace("_", " ")
    table = Table(box=None, pad_edge=False)
    table.add_column("member", overflow="fold")
    for title in (lead, "macro-F1", "loss", "the vote gains", *(["share"] if weighted else []), "ms"):
        table.add_column(title, justify="right", no_wrap=True)

    def row(seat: Seat, name: str, style: str = "") -> None:
        gain = seat.gain.get(found.lead)
        cells = [_spread(found.led(seat)), f"{seat.macro_f1.value:.1%}", f"{seat.loss.value:.3f}"]
        cells += ["" if gain is None else _spread(gain, "+"), *([f"{seat.weight:.2f}"] if weighted else [])]
        table.add_row(name, *cells, "" if seat.cost is None else f"{seat.cost.ms:.2f}", style=style)

    for number, seat in enumerate(found.members):
        row(seat, f"{seat.name}{' *' * (number == found.best)}")
    row(found.whole, found.whole.name, "bold")
    if found.subset is not None:
        row(found.subset, f"only {found.subset.name}", "dim")
    spread = found.diversity
    told = [
        f"Two members differ on {spread.differ:.1%} of the {found.count:,} images, all agree on {spread.unanimous:.1%};"
        f" {spread.none_right:.1%} no member gets right.",
        *(["* the best on validation images, before these were looked at."] if found.best is not None else []),
        *found.notes,
    ]
    return Group(table, "", *told)


def predictions(found: Predictions, top: int = 3) -> RenderableType:
    """Show each image with its most probable classes."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("file", overflow="fold")
    for rank in range(1, min(top, len(found.classes)) + 1):
        table.add_column("recognised as" if rank == 1 else f"{rank}.")
    for name, p in zip(found.names, found.probabilities, strict=True):
        best = p.argsort()[::-1][:top]
        table.add_row(name, *(f"{found.classes[k]} {p[k]:.1%}" for k in best))
    return table


def networks() -> tuple[RenderableType, list[dict[str, Any]]]:
    """List the zoo as a table and as plain rows."""
    from rich.table import Table

    from sightline.models import arithmetic
    from sightline.models.public import PUBLIC
    from sightline.models.zoo import ZOO
    from sightline.models.zoo import table as layers_of

    rows = []
    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for title in ("year", "parameters", "10^6 multiply-adds"):
        table.add_column(title, justify="right")
    table.add_column("weights")
    table.add_column("idea")
    table.add_column("paper")
    for name, entry in ZOO.items():
        layers = layers_of(name)
        counts = {"parameters": arithmetic.parameters(layers), "multiply_adds": arithmetic.multiply_adds(layers)}
        weights = "imagenet" if name in PUBLIC else None
        told = {"name": name, "year": entry.year, "paper": entry.paper, "idea": entry.idea}
        rows.append({**told, **counts, "weights": weights})
        learnt, work = f"{counts['parameters']:,}", f"{counts['multiply_adds'] / 1e6:,.1f}"
        table.add_row(name, str(entry.year), learnt, work, weights or "", entry.idea, entry.paper)
    return table, rows


def layers(rows: Sequence[Row], *, dense: bool = False) -> tuple[RenderableType, list[dict[str, Any]]]:
    """Show a network layer by layer, for one example, as a table and as plain rows."""
    from rich.table import Table

    from sightline.models.plan import by

    titles = ["kernel", "stride", "padding", "output", "sees", "parameters", "multiply-adds", "kB"]
    table = Table(box=None, pad_edge=False, show_footer=True)
    table.add_column("layer", "in all", no_wrap=True)
    table.add_column("kind")
    totals = {
        "parameters": sum(row.parameters for row in rows),
        "multiply-adds": sum(row.multiply_adds for row in rows if not row.training_only),
        "kB": sum(row.activation_bytes for row in rows) // 1000,
    }
    for title in [*titles, "dense weights"] if dense else titles:
        table.add_column(title, f"{totals[title]:,}" if title in totals else "", justify="right", no_wrap=True)
    plain = []
    for row in rows:
        kind = row.kind + (" (training only)" if row.training_only else "")
        windows = (by(row.kernel), by(row.stride), by(row.padding), by(row.shape_out), by(row.field))
        counts = (
            row.parameters,
            row.multiply_adds,
            row.activation_bytes // 1000,
            *([row.dense] if dense and row.parameters else []),
        )
        table.add_row(row.name, kind, *windows, *(f"{count:,}" for count in counts))
        extra = {"activation_bytes": row.activation_bytes, **({"dense": row.dense} if dense else {})}
        plain.append({**asdict(row), **extra})
    return table, plain


def cache(entries: Iterable[Cached], *, cleared: bool) -> RenderableType:
    """List the decoded images that are kept."""
    from rich.console import Group
    from rich.table import Table

    entries = list(entries)
    if not entries:
        return "the cache is empty."
    table = Table(box=None, pad_edge=False)
    table.add_column("name")
    table.add_column("MB", justify="right")
    table.add_column("last used")
    table.add_column("place", overflow="fold")
    for entry in entries:
        table.add_row(entry.name, f"{entry.bytes / 1e6:,.1f}", entry.used.strftime("%Y-%m-%d %H:%M"), str(entry.place))
    size = sum(entry.bytes for entry in entries) / 1e6
    verb = "deleted" if cleared else "kept"
    tail = "" if cleared else "; delete with: sightline cache --clear"
    return Group(table, f"{len(entries)} sets {verb}, {size:,.1f} MB{tail}")


def two_columns(facts: Mapping[str, Any]) -> RenderableType:
    """Show named facts, one a line."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, value in facts.items():
        table.add_row(name, "\n".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value))
    return table


def stages(found: Sequence[Stage]) -> RenderableType:
    """List stages with their size and their dead units."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("stage", "layer", "units", "positions", "dead"):
        table.add_column(title, justify="right" if title in ("units", "dead") else "left")
    for each in found:
        place, dead = each.place, len(each.answers.dead)
        size = "x".join(map(str, place.positions))
        table.add_row(each.name, place.name, f"{place.units:,}", size, f"{dead:,}" if dead else "none")
    return table


def kernels(layers: Sequence[Kernels]) -> RenderableType:
    """List layers with the spread of their units' norms."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("layer", "kind", "units x inputs x window", "norms", "largest"):
        table.add_column(title, justify="right" if title == "norms" else "left")
    for each in layers:
        told: dict[str, Any] = each.as_dict()
        norm = told["norm"]
        shape = "x".join(map(str, told["shape"]))
        table.add_row(
            each.layer, each.kind, shape, f"{norm['least']:.2f} to {norm['largest']:.2f}", f"unit {norm['unit']}"
        )
    return table
