"""Manifests: read back what was written, and notice every change."""

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


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": "a", "files": {}, "surprise": 1}'])
def test_what_is_no_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / manifest.FILE_NAME).write_text(text)
    with pytest.raises(manifest.ManifestError, match="is no manifest"):
        manifest.read(folder)


def test_none_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(manifest.ManifestError, match=r"manifest\.json is missing"):
        manifest.read(tmp_path)
