"""What each precision must keep to, to be published."""

from __future__ import annotations

from export.artefacts.manifest import Manifest
from export.proof.proof import Limits

#: Images that calibration takes where there are as many.
CALIBRATION_IMAGES = 512
#: Fewer, one batch, tell too little of other images' ranges; whether more are enough, the proof shows.
FEWEST_CALIBRATION_IMAGES = 32

#: FP32 is held against PyTorch, the others against FP32.
LIMITS = {
    "fp32": Limits(max_abs_dp=1e-5, agreement=99.9),
    "fp16": Limits(max_abs_dp=5e-3, top1_loss=0.1),
    "int8-cpu": Limits(agreement=98.0, cosine=0.99, top1_loss=0.3),
    "int8-tensorrt": Limits(agreement=98.0, cosine=0.99, top1_loss=0.3),
    "fp8": Limits(agreement=98.0, cosine=0.99, top1_loss=0.5),
}


def limits(record: Manifest) -> Limits:
    """What an artefact must keep to."""
    return LIMITS[record.kind]
