"""temporary"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Split:
    rows: tuple

    @classmethod
    def read(cls, path):
        return cls(())

    def text(self):
        return ""
