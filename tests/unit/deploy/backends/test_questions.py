"""What only asks is told from what is meant by its pixels: all of them, and nothing else of the request."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alexnet_client import Outputs
from alexnet_client.chequers import chequers
from alexnet_client.contract import EMBEDDING, IMAGE
from deploy.backends.questions import Questions
from export.artefacts import artefact
from export.proof import golden

GENERATOR = np.random.default_rng(0)
GOLDEN = GENERATOR.integers(0, 256, (4, *IMAGE.shape), np.uint8)
COLOURS = GENERATOR.integers(0, 256, (3, 3), np.uint8)


@pytest.fixture
def questions(tmp_path: Path) -> Questions:
    answers = Outputs(np.ones((4, 3), np.float32), np.ones((4, *EMBEDDING.shape), np.float32))
    golden.write(tmp_path / artefact.GOLDEN_FILE, GOLDEN, answers)
    return Questions(tmp_path)


def test_golden_images_and_chequerboards_are_questions(questions: Questions) -> None:
    batch = np.concatenate([GOLDEN[2:], *(chequers(colour)[None] for colour in COLOURS), GOLDEN[:1]])
    assert questions.among(batch).tolist() == [True] * 6


def test_what_differs_in_a_single_number_is_none(questions: Questions) -> None:
    batch = np.stack([*GOLDEN, *map(chequers, COLOURS)])
    for place, image in enumerate(batch):
        row, column = np.unravel_index(place * 7919, (224, 224))
        image[row, column, place % 3] ^= 1
    assert not questions.among(batch).any()


def test_pictures_of_one_colour_are_none(questions: Questions) -> None:
    """A camera that sees nothing is drift."""
    assert not questions.among(np.stack([np.full(IMAGE.shape, shade, np.uint8) for shade in (0, 127, 128, 255)])).any()


def test_a_release_without_golden_images_has_chequerboards_alone(tmp_path: Path) -> None:
    batch = np.stack([GOLDEN[0], chequers(COLOURS[0])])
    assert Questions(tmp_path).among(batch).tolist() == [False, True]
