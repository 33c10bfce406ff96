"""Arrays that are written past the caches, with non-temporal stores.

A store to memory that no cache holds first reads the line that it is about to overwrite. Where a whole array is
written once and is too large to be found in a cache afterwards, that is a third of all traffic for nothing: the
gradient of a 3x3 pool of 26 MB takes 2.7 ms with such stores and 4.3 with plain ones. Nor does it drive out of the
caches what is read again: steps of a VGG take 0.95 of the time.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace

from pellucid.schedule.nest import Nest, Tensor
from pellucid.schedule.touched import loaded, stored

__all__ = ["STREAMED_BYTES", "with_streamed"]

# From here on a chain of calls, each of which reads what the one before it wrote, is no slower for it (at 16 MiB it
# takes 0.6 of the time): the last cache is shared with other cores, and holds what is read, too.
STREAMED_BYTES = 8 << 20


def with_streamed(tensors: Iterable[Tensor], nests: Sequence[Nest], given: Container[str] = ()) -> tuple[Tensor, ...]:
    """The tensors of a program, of which large ones are streamed that no nest writes and reads; memory `given` by the
    caller begins anywhere."""
    near = {name for nest in nests for name in stored(nest.body) & loaded(nest.body)}
    return tuple(
        replace(tensor, streamed=True)
        if tensor.role in ("output", "temporary")
        and tensor.bytes >= STREAMED_BYTES
        and tensor.name not in near
        and tensor.name not in given
        else tensor
        for tensor in tensors
    )
