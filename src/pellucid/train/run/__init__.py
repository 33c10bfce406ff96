"""The run folder: what a training writes, and how it goes on from it."""
