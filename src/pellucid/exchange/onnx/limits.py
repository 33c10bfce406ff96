"""Stands in for the limits of reading until they are there."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    memory: int = 2**33
