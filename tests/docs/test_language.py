"""The table of functions in docs/language.md is the table of the language."""

import re
from pathlib import Path

from pellucid.language.functions import FUNCTIONS

PAGE = Path(__file__).parent.parent.parent / "docs" / "language.md"


def test_the_table_has_every_function_with_its_derivatives():
    rows = re.findall(r"^\| `(\w+\(.*?\))` \| .* \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    expected = []
    for function in FUNCTIONS.values():
        values = [
            f"`{text}`" if text else "0"
            for name, text in zip(function.parameters, function.derivatives, strict=True)
            if name != "condition"
        ]
        expected.append((function.signature, ", ".join(values)))
    assert rows == expected
