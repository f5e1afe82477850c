"""Runners: the models of one configuration, and what can be done with them."""

from .pggan_runner import PGGANRunner

__all__ = ["PGGANRunner"]
