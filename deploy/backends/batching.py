"""A dynamic batch, for both Python-based backends: requests -> one tensor, and one answer -> responses."""

import numpy as np
import triton_python_backend_utils as pb_utils


def collect(requests, name):
    """The input of all requests as one tensor, each request's size, and every output that any of them wants.

    The tensor is a copy: what all outputs are computed from, the checksum too, does not change under way, though Triton
    gave the requests' memory to others meanwhile.
    """
    parts = [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for request in requests]
    wanted = list(dict.fromkeys(output for request in requests for output in request.requested_output_names()))
    return np.concatenate(parts), [len(part) for part in parts], wanted


def answer(requests, sizes, outputs):
    """Each request's rows of the outputs that it asked for."""
    responses, start = [], 0
    for request, size in zip(requests, sizes, strict=True):
        rows = slice(start, start + size)
        start += size
        responses.append(
            pb_utils.InferenceResponse(
                [pb_utils.Tensor(name, outputs[name][rows]) for name in request.requested_output_names()]
            )
        )
    return responses
