"""Names of others, made fit to be shown."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pellucid.train.report.names import fitted, printable, shortened
from pellucid.train.report.quantities import duration, percent

ANY = st.text(st.characters(codec=None, categories=None), max_size=40)


def test_what_cannot_be_seen_is_escaped():
    assert printable("a b\u00a0c") == "a b c"
    assert printable("a\n\x1b[31m\udc80\u202e\ufffe") == "a\\n\\x1b[31m\\udc80\\u202e\\ufffe"
    assert printable("می‌خواهم 日本 🐈") == "می‌خواهم 日本 🐈"


@given(ANY)
def test_every_name_becomes_a_line_of_utf_8(name: str):
    shown = printable(name)
    shown.encode("utf-8")
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") for one in shown)
    assert printable(shown) == shown


@given(ANY, st.integers(1, 30))
def test_a_name_fits_its_width(name: str, width: int):
    assert cell_len(shortened(name, width)) <= width
    assert cell_len(fitted(name, width)) == width


def test_beginning_and_end_stay():
    assert shortened("golden retriever 17", 12) == "golden re…17"
    assert shortened("short", 5) == "short"
    assert shortened("longer", 1) == "…"
    assert fitted("ab", 4) == "ab  "
    assert fitted("ab", 4, right=True) == "  ab"


def test_times_and_shares():
    times = [0.004, 9.994, 9.995, 59.94, 59.96, 200, 3599.4, 3599.6, 7500, 86_399, 275_400, float("nan")]
    assert [duration(seconds) for seconds in times] == [
        "0.00 s", "9.99 s", "10.0 s", "59.9 s", "1 min 00 s", "3 min 20 s", "59 min 59 s", "1 h 00 min", "2 h 05 min",
        "1 d 00 h", "3 d 04 h", "-",
    ]  # fmt: skip
    assert [percent(None), percent(0.5), percent(1.0)] == ["-", "50.0%", "100.0%"]
