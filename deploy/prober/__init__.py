"""The prober: golden images through the public endpoint, and whether what comes back is what was proved."""
