"""Manifests: read back what was written, and notice every change."""

import json
from pathlib import Path

import pytest

from export.artefacts import manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(b"weights")
    manifest.Manifest(model="alexnet_fp32", files=manifest.hashes(tmp_path, ["model.onnx"])).write(tmp_path)
    return tmp_path


def test_it_comes_back_as_it_was_written(folder: Path) -> None:
    record = manifest.read(folder)
    # sha256sum of the seven bytes, from coreutils
    assert record.files == {"model.onnx": "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"}
    record.check(folder)


def test_one_flipped_bit_is_noticed_and_named(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"weightr")
    with pytest.raises(manifest.ManifestError, match=r"model\.onnx was changed .* publish alexnet_fp32 again"):
        manifest.read(folder).check(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    with pytest.raises(manifest.ManifestError, match=r"model\.onnx is missing"):
        manifest.read(folder).check(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.pop("files"), r"is no manifest \(files: Field required\)"),
        (lambda record: record.update(files=None), r"is no manifest \(files: "),
        (lambda record: record.update(files={"a": 1}), r"is no manifest \(files\.a: .*string"),
        (lambda record: record.update(surprise=1), r"is no manifest \(surprise: "),
        (lambda record: record["proof"].update(verdict="fine"), r"is no manifest \(proof\.verdict: "),
        (lambda record: record.update(format=1), "has format 1, this release reads 2: export it again"),
        (lambda record: record.pop("format"), "has format 1, this release reads 2: export it again"),
    ],
)
def test_what_does_not_fit_its_types_is_refused(folder: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    path = folder / manifest.FILE_NAME
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(manifest.ManifestError, match=message):
        manifest.read(folder)


@pytest.mark.parametrize("text", ["", "[]", "null", "\xff"])
def test_what_is_no_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / manifest.FILE_NAME).write_text(text, encoding="latin-1")
    with pytest.raises(manifest.ManifestError, match="is no manifest|cannot be read"):
        manifest.read(folder)


@pytest.mark.parametrize("name", ["model.py", "1/model.py", ".hidden"])
def test_a_file_that_it_does_not_name_is_refused(folder: Path, name: str) -> None:
    """Code beside a model would run in the server."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("print('here')")
    with pytest.raises(manifest.ManifestError, match=f"{name} is not in the manifest of alexnet_fp32: remove it"):
        manifest.read(folder).check(folder)


def test_a_link_to_a_folder_is_a_file_that_it_does_not_name(folder: Path, tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    (folder / "1").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(manifest.ManifestError, match="1 is not in the manifest"):
        manifest.read(folder).check(folder)


def test_none_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(manifest.ManifestError, match=r"manifest\.json is missing"):
        manifest.read(tmp_path)
