"""Augmentations as texts."""

import pytest

from pellucid.errors import ArgumentError
from pellucid.train.augmentation import AUGMENTATIONS, Augmentation, parse_augmentation


def test_every_name_is_its_augmentation():
    for name, augmentation in AUGMENTATIONS.items():
        assert parse_augmentation(name) is augmentation or parse_augmentation(name) == augmentation
        assert augmentation.active == (name != "none")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rotation=10", Augmentation(rotation=10)),
        (" rotation = 10 , flip = True,crop=3", Augmentation(rotation=10, flip=True, crop=3)),
        ("none,mixup=2e-1", Augmentation(mixup=0.2)),
        ("clothes,flip=false", Augmentation(crop=2, erasing=0.25, erasing_most=0.2)),
        ("thumbnails,crop=0,shift=4", Augmentation(shift=4, flip=True)),
    ],
)
def test_amounts_take_the_place_of_a_names_own(text: str, expected: Augmentation):
    assert parse_augmentation(text) == expected


NAMES = "none, digits, clothes, thumbnails, photos, strong"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fotos", "no augmentation is called 'fotos'; did you mean 'photos'?"),
        ("xyz", f"no augmentation is called 'xyz'; there are {NAMES}"),
        ("", f"no augmentation is called ''; there are {NAMES}"),
        ("photos,rotaton=3", "no amount of an augmentation is called 'rotaton'; did you mean 'rotation'?"),
        ("rotation=3,photos", "the augmentation 'photos' must stand first, amounts that change it behind it"),
        ("rotation=3,rotation=4", "`rotation` is given twice"),
        ("rotation=x", "`rotation` (='x') must be a number"),
        ("rotation=", "`rotation` (='') must be a number"),
        ("photos,rotation", "`rotation` needs a value, as in `rotation=10`"),
        ("photos,flip", "`flip` needs a value, as in `flip=true`"),
        ("crop=2.5", "`crop` (='2.5') must be a whole number"),
        ("flip=yes", "`flip` (='yes') must be true or false"),
        ("rotation=200", "`rotation` (=200.0) must be a finite number, in 0..180 degrees"),
        ("mixup=nan", "`mixup` (=nan) must be a finite number, in 0..100"),
    ],
)
def test_what_is_no_augmentation_says_why(text: str, message: str):
    with pytest.raises(ArgumentError) as caught:
        parse_augmentation(text)
    assert str(caught.value) == message
