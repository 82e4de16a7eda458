"""Recipes: each shipped one loads, and every mistake is named."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training import recipe, sizes
from training.recipe import RecipeError


@pytest.mark.parametrize("path", sorted(recipe.FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_by_name(path: Path) -> None:
    assert recipe.load(path.stem, 1000) == recipe.load(str(path), 1000)


def test_the_readmes_table_has_each_key_and_no_other() -> None:
    table = (recipe.FOLDER.parent / "README.md").read_text().split("| key |")[1].split("\n\n")[0]
    rows = [row.strip("| ").split(" | ") for row in table.splitlines()[2:]]
    assert [key.strip("`") for key, _, _ in rows] == [field.name for field in fields(recipe.Recipe)]
    assert {key.strip("`") for key, _, values in rows if '"auto"`:' in values} == set(sizes.KEYS)


def test_the_readmes_table_has_each_recipe_and_no_other() -> None:
    table = (recipe.FOLDER.parent / "README.md").read_text().split("| recipe |")[1].split("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == sorted(
        path.stem for path in recipe.FOLDER.glob("*.toml")
    )


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = (recipe.FOLDER / "demo.toml").read_text()
    path.write_text(text.replace("epochs = 3", "epochs = 0").replace("dropout = 0.5", "dropout = 1.0"))
    with pytest.raises(RecipeError, match=r"mine\.toml: epochs is 0: want at least 1; dropout is 1\.0: want at least"):
        recipe.load(str(path))
    path.write_text(text.replace("epochs = 3", "epochs = 3.5").replace("freeze = true", "freeze = 1"))
    with pytest.raises(RecipeError, match=r"mine\.toml: freeze is 1: want a bool; epochs is 3\.5: want a int"):
        recipe.load(str(path))


def test_imagenets_has_the_papers_90_epochs() -> None:
    imagenet = recipe.load("imagenet")
    assert (imagenet.epochs, imagenet.batch_size, imagenet.momentum, imagenet.weight_decay) == (90, 128, 0.9, 5e-4)


def written(tmp_path: Path, key: str, line: str) -> str:
    """The demo's recipe with `line` where it sets `key`."""
    text, places = re.subn(rf"^{key} = .*$", line, (recipe.FOLDER / "demo.toml").read_text(), flags=re.MULTILINE)
    assert places == 1
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("key", "line", "message"),
    [
        ("epochs", "epoch = 3", r"unknown keys \['epoch'\], missing keys \['epochs'\]"),
        ("epochs", "epochs = 3.5", r"epochs is 3\.5: want a int"),
        ("epochs", "epochs = 0", "epochs is 0: want at least 1"),
        ("freeze", "freeze = 1", "freeze is 1: want a bool"),
        ("variant", 'variant = "vgg"', "variant is 'vgg': want one of owt, paper"),
        ("schedule", 'schedule = "step"', "schedule is 'step'"),
        ("dropout", "dropout = 1", "dropout is 1.0: want at least 0 and less than 1"),
        ("freeze", "freeze = false", "components needs freeze = true"),
        ("augment", "augment = true", "augment needs freeze = false"),
        ("epochs", "epochs =", "is no TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, key: str, line: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe.load(written(tmp_path, key, line))


def test_a_whole_number_is_a_number(tmp_path: Path) -> None:
    assert recipe.load(written(tmp_path, "lr", "lr = 1")).lr == 1.0


def test_an_unknown_recipe_lists_those_there_are() -> None:
    with pytest.raises(
        RecipeError, match="there is no recipe 'demmo': want one of demo, fashion_mnist, imagenet, smoke, transfer"
    ):
        recipe.load("demmo")


@given(st.text())
def test_any_text_is_a_recipe_or_a_recipe_error(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.toml"
        path.write_bytes(text.encode("utf-8", "replace"))
        with pytest.raises(RecipeError):
            recipe.load(str(path))


def test_precision_follows_the_hardware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for native in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda native=native: {"avx512_bf16": native})
        assert recipe.load("demo").autocast(cpu) is native
    assert recipe.load(written(tmp_path, "precision", 'precision = "bf16"')).autocast(cpu)
    assert not recipe.load(written(tmp_path, "precision", 'precision = "fp32"')).autocast(cpu)
