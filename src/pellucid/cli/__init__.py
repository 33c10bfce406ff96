"""The `pellucid` command."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command with the arguments of the process; leaves by `SystemExit` with its status.

    0: done; 2: the request or the data cannot be served, said on stderr; 130: interrupted.
    """
    from pellucid.cli.group import command_line

    command_line.main(prog_name="pellucid")
