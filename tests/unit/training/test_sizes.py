"""Sizes that follow the data always fit it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import recipe, train
from training.fit.loop import TrainingError
from training.recipe import RecipeError

SIZES = ("validation", "components", "batch_size", "lr")


@given(st.integers(1, 2_000_000))
def test_the_recipe_transfer_fits_any_number_of_images(images: int) -> None:
    train.check(recipe.load("transfer", images), images, "pets/train")


@pytest.mark.parametrize(
    ("images", "sizes"),
    [
        (24, (2, 11, 16, 0.025)),
        (144, (14, 65, 64, 0.05)),
        (8_000, (800, 512, 256, 0.1)),
        (1_000_000, (1000, 512, 512, 0.1414)),
    ],
)
def test_more_images_make_larger_sizes(images: int, sizes: tuple[float, ...]) -> None:
    got = recipe.load("transfer", images)
    assert tuple(getattr(got, name) for name in SIZES) == sizes


def test_sizes_follow_the_images_that_a_recipe_takes(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((recipe.FOLDER / "transfer.toml").read_text().replace("images = 0", "images = 100"))
    assert recipe.load(str(path), 8_000).components == 50


def test_without_data_nothing_is_followed() -> None:
    with pytest.raises(RecipeError, match="components, validation, batch_size, lr follow the data: want the number"):
        recipe.load("transfer")


def test_only_sizes_may_be_automatic(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((recipe.FOLDER / "demo.toml").read_text().replace("epochs = 3", 'epochs = "auto"'))
    with pytest.raises(RecipeError, match="epochs is 'auto': want a int"):
        recipe.load(str(path), 100)


def test_all_that_does_not_fit_is_said_at_once() -> None:
    with pytest.raises(TrainingError) as caught:
        train.check(recipe.load("demo"), 144, "pets/train", processes=3)
    assert str(caught.value) == (
        "pets/train has 144 images, which the recipe does not fit: "
        "it wants 17,000 training and 1,000 validation images; "
        "components is 512: want no more than training images, nor than 4,096; "
        "batch_size is 512: want no more than training images; "
        "batch_size is 512: want a multiple of the 3 processes. "
        "`--recipe transfer` takes its sizes from the data; training/README.md has all keys"
    )


def test_what_validation_leaves_is_what_there_is_to_train_on() -> None:
    fitting = replace(recipe.load("transfer", 144), validation=80, components=64, batch_size=64)
    train.check(fitting, 144, "pets/train")
    for name in ("components", "batch_size"):
        with pytest.raises(TrainingError, match=f"does not fit: {name} is 65: want no more than training images"):
            train.check(replace(fitting, **{name: 65}), 144, "pets/train")
