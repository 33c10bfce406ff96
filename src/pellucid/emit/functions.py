from __future__ import annotations

from collections.abc import Sequence

from pellucid.emit.ir import Code, Register


class Maths:
    def __init__(self, code: Code, has_fma: bool) -> None:
        self.code = code

    def function(self, name: str, arguments: Sequence[Register]) -> Register:
        raise NotImplementedError(name)
