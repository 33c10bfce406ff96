"""Names as text: nothing is lost, everything can be printed, numbers count."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.train.data.names import escaped, natural_key, shown, unescaped

NAMES = st.one_of(
    st.binary(max_size=12).map(os.fsdecode),
    st.text(st.characters(exclude_categories=()), max_size=12),
    st.text(alphabet="\\xnrtuU0189af\n", max_size=12),
)


@given(NAMES)
def test_every_name_comes_back(name: str):
    text = escaped(name)
    assert text.isprintable()
    text.encode("utf-8")
    assert unescaped(text) == name


@given(NAMES, NAMES)
def test_two_names_have_two_forms_and_keys(one: str, other: str):
    assert (escaped(one) == escaped(other)) == (one == other)
    assert (natural_key(one) == natural_key(other)) == (one == other)


@given(st.text(alphabet="\\xnrtuU0189af", max_size=8))
def test_a_form_is_of_the_name_that_it_gives_or_refused(text: str):
    try:
        name = unescaped(text)
    except ValueError:
        return
    if name.isprintable():  # "\\u0061" also stands for "a"; nobody writes it
        return
    assert unescaped(escaped(name)) == name


def test_forms():
    assert escaped("two words, é.png") == "two words, é.png"
    assert escaped("a\nb\\c\x07\u2028\U000e0001") == "a\\nb\\\\c\\u0007\\u2028\\U000e0001"
    assert escaped(os.fsdecode(b"caf\xe9")) == "caf\\xe9"
    assert unescaped("caf\\xe9") == os.fsdecode(b"caf\xe9")
    assert shown("C:\\folder") == "C:\\folder"
    for wrong in ("\\", "a\\q", "\\x41", "\\u12", "\\U00110000"):
        with pytest.raises(ValueError, match="has a backslash that begins no escape"):
            unescaped(wrong)


def test_natural_order():
    names = ["10", "9", "2", "02", "b", "B", "a10", "a9", "A", "", "1" * 5000]
    expected = ["", "02", "2", "9", "10", "1" * 5000, "A", "a9", "a10", "B", "b"]
    assert sorted(names, key=natural_key) == expected
