"""Versions: of the format, and of the operator sets that a file or a function imports."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import OperatorSetIdProto

from pellucid.exchange.onnx.reading.origin import Origin, shown

__all__ = ["FIRST_OPSET", "check_ir_version", "domain_of", "read_imports", "titled"]

# The first operator set that is read, and the first version of the format that has operator sets.
FIRST_OPSET = 7
_FIRST_IR = 3


def check_ir_version(version: int, origin: Origin) -> None:
    """The version of the format must be one that the installed onnx knows.

    Raises DataError where there is no such version, ArgumentError where it is too old or too new.
    """
    if version < 1:
        raise origin.damaged(f"has ir_version {version}, versions begin at 1")
    if not _FIRST_IR <= version <= onnx.IR_VERSION:
        raise origin.unsupported(
            f"has ir_version {version}; "
            f"versions {_FIRST_IR} to {onnx.IR_VERSION} can be read with onnx {onnx.__version__}"
        )


def domain_of(domain: str) -> str:
    """ONNX's own domain has two names."""
    return "" if domain == "ai.onnx" else domain


def titled(domain: str) -> str:
    """A domain for a message."""
    return f"domain {shown(domain)}" if domain else "ONNX's own domain"


def read_imports(imports: Iterable[OperatorSetIdProto], where: str, origin: Origin) -> dict[str, int]:
    """Versions by domain; `where` begins messages ("function 'f': ").

    Raises DataError where a domain is imported twice, none is, or there is no such version; ArgumentError where the
    version of ONNX's own operators is too old or too new.
    """
    versions: dict[str, int] = {}
    newest = onnx.defs.onnx_opset_version()
    for entry in imports:
        domain = domain_of(origin.label(entry.domain, f"{where}a domain"))
        version = entry.version
        if version < 1:
            raise origin.damaged(f"{where}imports version {version} of {titled(domain)}, versions begin at 1")
        if domain == "" and not FIRST_OPSET <= version <= newest:
            raise origin.unsupported(
                f"{where}imports opset {version}; "
                f"opsets {FIRST_OPSET} to {newest} can be read with onnx {onnx.__version__}"
            )
        if versions.setdefault(domain, version) != version:
            raise origin.damaged(
                f"{where}imports {titled(domain)} twice, as version {versions[domain]} and as version {version}"
            )
    if not versions:
        raise origin.damaged(f"{where}imports no operator set")
    return versions
