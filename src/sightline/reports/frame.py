"""A template and values -> one self-contained HTML page: the frame, styles and filters that all pages share.

A template extends ``frame.html.j2`` and fills its blocks ``title``, ``header``, ``main`` and ``footer``. The pages have
no scripts and their policy forbids them to fetch anything.
"""

from __future__ import annotations

import base64
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from sightline.errors import RunError
from sightline.reports import words
from sightline.reports.svg import clean, short, stylesheet

if TYPE_CHECKING:
    from jinja2 import Environment

KINDS = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"<svg": "image/svg+xml"}
"""How a picture begins -> its media type."""


def render(template: str, **values: Any) -> str:
    """Give a page as text.

    Args:
        template: a file of this folder, such as ``page.html.j2``.
        **values: what it asks for, ``environment`` (versions) among them; a name it lacks is an error.
    """
    style = stylesheet() + _file("page.css")
    return clean(_templates().get_template(template).render(style=style, **values))


def data_uri(picture: bytes, name: str) -> str:
    """Write a picture as an address that holds it.

    Raises:
        RunError: it is neither PNG nor JPEG nor SVG.
    """
    kind = next((kind for start, kind in KINDS.items() if picture.startswith(start)), None)
    if kind is None:
        raise RunError(f"the thumbnail of '{name}' is neither PNG nor JPEG nor SVG.", "Give encoded picture bytes.")
    return f"data:{kind};base64,{base64.b64encode(picture).decode()}"


def _file(name: str) -> str:
    return files("sightline.reports").joinpath(name).read_text(encoding="utf-8")


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_file), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters |= {
        "percent": words.percent,
        "interval": words.interval,
        "decimal": words.decimal,
        "count": words.count,
        "counted": words.counted,
        "short": short,
        "times": words.times,
        "sentence": words.sentence,
    }
    return environment
