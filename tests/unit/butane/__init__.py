"""The Butane translator, against the real Butane."""
