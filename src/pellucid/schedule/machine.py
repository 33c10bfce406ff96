"""The processor as data: all that the scheduler may know about it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CACHE_LINE", "FAR", "Machine", "whole_lines"]

# Bytes that move between memory and caches at once.
CACHE_LINE = 64
# Second caches that one core's share of the last one holds.
FAR = 8


def whole_lines(size: int) -> int:
    """So many bytes, rounded up to whole cache lines."""
    return -(-size // CACHE_LINE) * CACHE_LINE


@dataclass(frozen=True)
class Machine:
    """Sizes and rates of one core. Rates are per cycle; sizes in bytes.

    `fma_rate` vector multiply-adds, `load_rate` vector loads and `broadcast_rate` loads of one element to all lanes
    issue each cycle, a multiply-add takes `latency` cycles. One core reads `l2_bandwidth` from its second cache while
    it multiplies, `l3_bandwidth` from its share of the last one, and `memory_bandwidth` from memory while it writes
    there as much (between what was measured of large kernels, 10, and of whole batches, 3).
    """

    name: str
    vector_bytes: int
    registers: int
    fma_rate: float
    load_rate: float
    latency: int
    l1: int
    l2: int
    l2_bandwidth: float = 20.0
    l3_bandwidth: float = 16.0
    memory_bandwidth: float = 6.0
    has_fma: bool = True
    broadcast_rate: float = 2.0

    def bandwidth(self, size: int) -> float:
        """Bytes a cycle at which so many bytes, used again and again, come to the core."""
        if size <= self.l2 * 3 // 4:
            return self.l2_bandwidth
        return self.l3_bandwidth if size <= FAR * self.l2 else self.memory_bandwidth

    def lanes(self, element_bytes: int) -> int:
        """Elements of that size in one vector register."""
        return self.vector_bytes // element_bytes
