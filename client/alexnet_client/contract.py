"""The contract: every tensor, model and metric name, dtype, shape, limit and preprocessing number, written once.

Training, the exporter, the served models and the client all read it from here. Standard library only, so that
anything may import it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor on the wire. ``dtype`` is Triton's name, ``shape`` leaves the batch out, -1 is any length."""

    name: str
    dtype: str
    shape: tuple[int, ...]


# --- Preprocessing: resize the shorter side, crop the centre, RGB (Krizhevsky et al. 2012, section 2; 224 as in
# "One weird trick", Krizhevsky 2014).
RESIZE_SIDE: Final = 256
IMAGE_SIDE: Final = 224
CHANNELS: Final = 3

# --- Normalisation, inside every graph: (pixel - PIXEL_ZERO) / PIXEL_SCALE. With a zero point and a power of two the
# raw pixels *are* the quantised first activation of the INT8 network.
PIXEL_ZERO: Final = 128
PIXEL_SCALE: Final = 128

# --- What one request may carry.
MAX_BATCH: Final = 128
MAX_ENCODED_BYTES: Final = 20 * 2**20
MAX_PIXELS: Final = 50_000_000
MAX_SIDE: Final = 65_535
#: Of one core: what decoding an image, and all images of a request, may take by :mod:`alexnet_client.work`'s estimate.
MAX_DECODE_SECONDS: Final = 5.0
MAX_REQUEST_SECONDS: Final = 10.0
#: The same, above which an image, or a request, is large: the server decodes it when nobody else waits.
LARGE_IMAGE_SECONDS: Final = 0.1
LARGE_REQUEST_SECONDS: Final = 0.5
#: All of a request, as it is sent: 128 images of pixels, or one file, and room for the rest.
MAX_REQUEST_BYTES: Final = 32 * 2**20
IMAGE_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF")
#: How the decoder's refusal begins; JSON follows, place in the request -> reason: see ``refusal.py``.
REFUSED_IMAGES: Final = "images that cannot be used: "
#: How a refusal begins that is for now: sending it again later may help.
OVERLOADED: Final = "too much to do"
#: How the refusal of a request of more bytes begins. gRPC's status for it is UNKNOWN, as Envoy has no other.
TOO_LARGE: Final = "a request has at most"
#: Metadata by which a caller chooses, where a gateway tries a release beside another: ``stable`` or ``canary``.
TRACK: Final = "alexnet-track"
#: That it is too much for now, and Triton's own words for it.
OVERLOAD_SIGNS: Final = (OVERLOADED, "maximum queue size", "Request timeout expired")

# --- Tensors.
EMBEDDING_LENGTH: Final = 4096
IMAGE: Final = Tensor("image", "UINT8", (IMAGE_SIDE, IMAGE_SIDE, CHANNELS))
ENCODED: Final = Tensor("encoded", "BYTES", (1,))
PROBABILITIES: Final = Tensor("probabilities", "FP32", (-1,))
EMBEDDING: Final = Tensor("embedding", "FP32", (EMBEDDING_LENGTH,))
#: Whose an answer is: the sums of the pixels that the network was given, of each channel in so many cells a side. FP32
#: adds them exactly and in any order, as they are whole and below 2^24. See ``checksum.py``.
CHECKSUM_CELLS: Final = 4
CHECKSUM: Final = Tensor("checksum", "FP32", (CHECKSUM_CELLS, CHECKSUM_CELLS, CHANNELS))
#: Of an image file: its CRC-32 (zlib's), and the checksum of the pixels that it was decoded to.
FILE_CHECKSUM: Final = Tensor("file_checksum", "UINT32", (1 + CHECKSUM_CELLS * CHECKSUM_CELLS * CHANNELS,))
#: What every network answers, whatever its precision.
NETWORK_OUTPUTS: Final = (PROBABILITIES, EMBEDDING, CHECKSUM)

# --- Models. The precision is the contract; the runtime behind it is not.
PRECISIONS: Final = ("fp32", "fp16", "int8", "fp8")
ENSEMBLE: Final = "alexnet"
DECODER: Final = "alexnet_decode"


@dataclass(frozen=True, slots=True)
class Model:
    """A model as a client sees it."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    #: Models that it asks; ``{precision}`` stands for the one chosen at publishing.
    needs: tuple[str, ...] = ()

    @property
    def takes_files(self) -> bool:
        """Whether it is sent image files, and decodes them; otherwise it is sent pixels."""
        return ENCODED in self.inputs


def precision_model(precision: str) -> str:
    """The served model of one precision: ``alexnet_fp32``, ``alexnet_fp16``, ``alexnet_int8`` or ``alexnet_fp8``.

    Raises:
        ValueError: ``precision`` is not one of :data:`PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}: want one of {', '.join(PRECISIONS)}")
    return f"{ENSEMBLE}_{precision}"


PRECISION_MODELS: Final = tuple(precision_model(precision) for precision in PRECISIONS)

#: Every model by name.
MODELS: Final = {
    model.name: model
    for model in (
        *(Model(name, (IMAGE,), NETWORK_OUTPUTS) for name in PRECISION_MODELS),
        Model(
            ENSEMBLE,
            (ENCODED,),
            (*NETWORK_OUTPUTS, FILE_CHECKSUM),
            needs=(DECODER, f"{ENSEMBLE}_{{precision}}"),
        ),
        Model(DECODER, (ENCODED,), (IMAGE, FILE_CHECKSUM)),
    )
}
#: Those that answer what an image shows, the ones for clients.
SERVED_MODELS: Final = tuple(name for name, model in MODELS.items() if PROBABILITIES in model.outputs)
#: The one that a client asks when it names none: it takes image files as they are.
DEFAULT_MODEL: Final = ENSEMBLE


# --- Metrics, on Triton's own port. Histograms have one set of buckets everywhere, so that they add up over pods.
@dataclass(frozen=True, slots=True)
class Metric:
    """A metric family."""

    name: str
    #: Prometheus' word: ``counter``, ``gauge`` or ``histogram``.
    kind: str
    text: str
    labels: tuple[str, ...]
    #: Upper edges, of a histogram.
    buckets: tuple[float, ...] = ()


_MODEL: Final = ("model", "version")
INFERENCE_SECONDS: Final = Metric(
    "alexnet_inference_seconds",
    "histogram",
    "One run of the network, without queue and transport",
    _MODEL,
    (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0),
)
BATCH_IMAGES: Final = Metric(
    "alexnet_batch_images", "histogram", "Images in one run of the network", _MODEL, (1, 2, 4, 8, 16, 32, 64, 128)
)
IMAGES_TOTAL: Final = Metric("alexnet_images_total", "counter", "Images answered", _MODEL)
#: What a request waits beyond Triton's queue, which ends when a batch is bound to an instance.
TURN_SECONDS_TOTAL: Final = Metric(
    "alexnet_turn_seconds_total", "counter", "Seconds that batches waited for their turn, times their requests", _MODEL
)
#: A thumbnail takes less than one millisecond, a 50-megapixel photograph half a second.
DECODE_SECONDS: Final = Metric(
    "alexnet_decode_seconds",
    "histogram",
    "Decoding and preprocessing of one image",
    ("model",),
    (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
)
DECODED_TOTAL: Final = Metric("alexnet_decoded_images_total", "counter", "Images decoded", ("model",))
#: How the ids of requests begin that only ask whether all is well, for those who read logs and traces. Anybody may call
#: a request so: what is no traffic is told by its image (``deploy/backends/questions.py``).
PROBE_ID: Final = "probe"
#: Classes are counted each by itself up to so many, and beyond that in so many groups of neighbours: a bound on series.
CLASS_GROUPS: Final = 64


def class_group(index: int, classes: int) -> int:
    """The first of the classes that are counted together with one."""
    groups = min(classes, CLASS_GROUPS)
    return -(-(index * groups // classes) * classes // groups)


TOP1_TOTAL: Final = Metric(
    "alexnet_top1_images_total",
    "counter",
    "Images of traffic by most probable class, of more than 64 classes by the first of its group",
    (*_MODEL, "class"),
)
EMBEDDED_TOTAL: Final = Metric("alexnet_embedded_images_total", "counter", "Embeddings of traffic", _MODEL)
EMBEDDING_NORM_TOTAL: Final = Metric(
    "alexnet_embedding_norm_total", "counter", "Sum of the lengths (L2) of traffic's embeddings", _MODEL
)
REJECTED_TOTAL: Final = Metric(
    "alexnet_rejected_images_total", "counter", "Images refused, by reason", ("model", "reason")
)
ENGINE_INFO: Final = Metric(
    "alexnet_engine_info", "gauge", "1, with what runs in its labels", (*_MODEL, "provider", "tensorrt", "plan")
)
ENGINE_PLAN_BYTES: Final = Metric("alexnet_engine_plan_bytes", "gauge", "Size of the plan", _MODEL)
ENGINE_MEMORY_BYTES: Final = Metric(
    "alexnet_engine_device_memory_bytes", "gauge", "Device memory for activations and scratch", _MODEL
)
METRICS: Final = (
    INFERENCE_SECONDS,
    BATCH_IMAGES,
    IMAGES_TOTAL,
    TURN_SECONDS_TOTAL,
    DECODE_SECONDS,
    DECODED_TOTAL,
    REJECTED_TOTAL,
    TOP1_TOTAL,
    EMBEDDED_TOTAL,
    EMBEDDING_NORM_TOTAL,
    ENGINE_INFO,
    ENGINE_PLAN_BYTES,
    ENGINE_MEMORY_BYTES,
)

# --- Metrics of a client, in its own registry.
_CLIENT_MODEL: Final = ("model",)
CLIENT_REQUESTS_TOTAL: Final = Metric(
    "alexnet_client_requests_total",
    "counter",
    "Requests that ended, by outcome: ok, or the error",
    ("model", "outcome"),
)
CLIENT_IMAGES_TOTAL: Final = Metric("alexnet_client_images_total", "counter", "Images answered", _CLIENT_MODEL)
CLIENT_RETRIES_TOTAL: Final = Metric(
    "alexnet_client_retries_total", "counter", "Attempts after the first, by why: an error, or hedge", ("model", "why")
)
CLIENT_IN_FLIGHT: Final = Metric("alexnet_client_in_flight", "gauge", "Requests under way", _CLIENT_MODEL)
#: Phases: ``encode`` (images to bytes), ``pause`` (before a repetition), ``server`` (as the gateway says, in whole
#: milliseconds; absent without one), ``network`` (the rest of an attempt).
CLIENT_PHASE_SECONDS: Final = Metric(
    "alexnet_client_phase_seconds",
    "histogram",
    "Where a request's time went",
    ("model", "phase"),
    (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
)
CLIENT_METRICS: Final = (
    CLIENT_REQUESTS_TOTAL,
    CLIENT_IMAGES_TOTAL,
    CLIENT_RETRIES_TOTAL,
    CLIENT_IN_FLIGHT,
    CLIENT_PHASE_SECONDS,
)
#: What Envoy says of how long those behind it took, in milliseconds.
SERVER_MILLISECONDS: Final = "x-envoy-upstream-service-time"

# --- Metrics of a prober (``deploy/prober``), on a port of its own. ``model`` is the one that is asked, ``network`` the
# one whose answers they are.
_PROBED: Final = ("model",)
PROBES_TOTAL: Final = Metric(
    "alexnet_prober_probes_total", "counter", "Probes, by outcome: ok, wrong, or the error", ("model", "outcome")
)
PROBE_SECONDS: Final = Metric(
    "alexnet_prober_probe_seconds",
    "histogram",
    "From a golden image to its answer",
    _PROBED,
    CLIENT_PHASE_SECONDS.buckets,
)
PROBE_MAX_ABS_DP: Final = Metric(
    "alexnet_prober_max_abs_dp",
    "gauge",
    "Largest difference from an expected probability, of each image's last answer",
    _PROBED,
)
PROBE_COSINE: Final = Metric(
    "alexnet_prober_embedding_cosine",
    "gauge",
    "Lowest cosine with an expected embedding, of each image's last answer",
    _PROBED,
)
PROBE_SUCCESS_TIMESTAMP: Final = Metric(
    "alexnet_prober_last_success_timestamp_seconds", "gauge", "When an answer was right; at first, the start", _PROBED
)
PROBE_RELEASE_INFO: Final = Metric(
    "alexnet_prober_release_info",
    "gauge",
    "1, with what answers in its labels",
    ("model", "network", "release", "manifest"),
)
REFERENCE_CLASS_RATIO: Final = Metric(
    "alexnet_prober_reference_class_ratio", "gauge", "Share of a class in the proof's data", ("model", "class")
)
REFERENCE_NORM: Final = Metric(
    "alexnet_prober_reference_embedding_norm",
    "gauge",
    "Length of embeddings in the proof's data",
    ("model", "statistic"),
)
PROBER_METRICS: Final = (
    PROBES_TOTAL,
    PROBE_SECONDS,
    PROBE_MAX_ABS_DP,
    PROBE_COSINE,
    PROBE_SUCCESS_TIMESTAMP,
    PROBE_RELEASE_INFO,
    REFERENCE_CLASS_RATIO,
    REFERENCE_NORM,
)
