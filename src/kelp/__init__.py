"""Kelp: program repair by diffusion on syntax trees."""

__version__ = "0.1.0"
