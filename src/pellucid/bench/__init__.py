"""Measurements behind `pellucid bench`: ours verified against a peer, then timed in turns with it (bench/METHOD.md)."""
