"""Films of a window that slides: a frame for each number, in colours of light and dark pages; never too long."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightline.errors import SettingsError
from sightline.reports.film import DARK, film, form_of, learning
from sightline.seeing import stencils
from sightline.seeing.learnable import learn
from sightline.seeing.sliding import convolve, pool

SLIDES = {
    "edge": convolve(stencils.sample("digit"), stencils.kernel("edge"), stride=2),
    "channels": convolve(
        stencils.sample("colour", 4), stencils.kernel("swap", 1, 3), padding=1, stride=3, bias=[1, 0, 0]
    ),
    "max": pool(stencils.sample("digit"), 3, padding=1, stride=3),
    "average": pool(stencils.sample("ramp"), 2, kind="average"),
}


@pytest.mark.parametrize("form", [".gif", ".apng"])
@pytest.mark.parametrize("name", SLIDES)
def test_a_film_has_a_frame_for_every_number(name: str, form: str) -> None:
    slide = SLIDES[name]
    with Image.open(io.BytesIO(film(slide, form=form, dark=form == ".apng"))) as picture:
        assert picture.n_frames == slide.output.size
        assert max(picture.size) <= 1300
        frames = []
        for i in range(picture.n_frames):
            picture.seek(i)
            frames.append(np.asarray(picture.convert("RGB")))
        assert all((one != other).any() for one, other in itertools.pairwise(frames))
        if form == ".apng":
            assert "#{:02x}{:02x}{:02x}".format(*frames[0][0, 0]) == DARK["paper"]


def test_a_long_sum_fits_into_its_frame() -> None:
    slide = convolve(np.full((7, 7), 0.12345), np.full((7, 7), -0.54321))
    with Image.open(io.BytesIO(film(slide, form=".png"))) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert (pixels[:, -20:] == 255).all(), "something is written at the edge"


def test_learning_is_filmed() -> None:
    image = stencils.sample("digit")
    found = learn(image, convolve(image, stencils.kernel("blur")).output, steps=30)
    with Image.open(io.BytesIO(learning(found))) as picture:
        assert 10 <= picture.n_frames <= 31


BAD: list[tuple[Any, str]] = [
    (lambda: film(convolve(np.ones((20, 20)), np.ones((1, 1)))), "too long"),
    (lambda: film(SLIDES["max"], form=".mp4"), "mp4"),
    (lambda: film(SLIDES["max"], seconds=0), "0 seconds"),
    (lambda: form_of(Path("film.avi")), "avi"),
]


@pytest.mark.parametrize(("call", "told"), BAD, ids=[told for _, told in BAD])
def test_what_cannot_be_filmed_is_refused(call: Any, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        call()
