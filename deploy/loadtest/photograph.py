"""A photograph to load the decoder with: synthetic, always the same, as large as a real one and as hard to decode."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 500, 375
QUALITY = 85
#: Amplitude falls as frequency to this power: about 1 in natural images (Field 1987), steeper where a lens blurs.
STEEPNESS = 1.4


def photograph(width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A JPEG file of about 40 kB.

    Noise with the spectrum of a photograph has its detail, and so its Huffman codes.
    """
    generator = np.random.default_rng(2012)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(width) * width, np.fft.fftfreq(height) * height))
    frequency[0, 0] = np.inf
    channels = []
    for _ in range(3):
        noise = np.fft.fft2(generator.normal(size=(height, width)))
        values = np.fft.ifft2(noise / frequency**STEEPNESS).real
        channels.append(values / values.std())
    # Neighbouring colours of a photograph are alike: mostly grey, with a little of each channel's own.
    grey = channels[0]
    pixels = np.stack([128 + 50 * (0.85 * grey + 0.25 * channel) for channel in channels], axis=-1)
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
