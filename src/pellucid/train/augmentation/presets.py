"""Good amounts by name, and amounts as a text."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from types import MappingProxyType

from pellucid.errors import ArgumentError
from pellucid.train.augmentation.amounts import Augmentation

__all__ = ["AUGMENTATIONS", "parse_augmentation"]

AUGMENTATIONS: Mapping[str, Augmentation] = MappingProxyType(
    {
        "none": Augmentation(),
        # Handwriting: nothing that makes another sign of a sign.
        "digits": Augmentation(shift=1.5, rotation=10.0, scale=0.15, shear=0.2, distortion=2.0),
        # Things shown one way up in the middle of the image, such as Fashion-MNIST's.
        "clothes": Augmentation(crop=2, flip=True, erasing=0.25, erasing_most=0.2),
        # Photographs of some 32 pixels.
        "thumbnails": Augmentation(crop=4, flip=True),
        # Photographs. Their subject may fill the image or a part of it, and no black corners come in.
        "photos": Augmentation(
            resized_crop=0.5, rotation=10.0, flip=True, edge=True, brightness=0.2, contrast=0.2, saturation=0.2
        ),
        # Photographs, for long trainings of large networks.
        "strong": Augmentation(
            resized_crop=0.75,
            shear=0.1,
            rotation=15.0,
            flip=True,
            edge=True,
            brightness=0.4,
            contrast=0.4,
            saturation=0.4,
            hue=15.0,
            erasing=0.25,
            mixup=0.2,
        ),
    }
)

_KINDS = {field.name: str(field.type) for field in fields(Augmentation)}
_EXAMPLES = {"bool": "true", "int": "4", "float": "10"}
_TRUTH = {"true": True, "false": False}


def parse_augmentation(text: str) -> Augmentation:
    """The augmentation that `text` says: a name of `AUGMENTATIONS`, amounts like `rotation=10,flip=true`, or a name and
    amounts that take the place of its own, like `photos,rotation=20,flip=false`.

    Raises:
        ArgumentError: a name is unknown (says which one is closest), an amount is given twice or is not inside its
            rule.
    """
    first, *rest = (part.strip() for part in text.split(","))
    if "=" in first:
        return replace(Augmentation(), **_amounts([first, *rest]))
    if first not in AUGMENTATIONS:
        raise ArgumentError(_unknown("augmentation", first, AUGMENTATIONS))
    return replace(AUGMENTATIONS[first], **_amounts(rest))


def _amounts(parts: Iterable[str]) -> dict[str, float | bool]:
    """The amounts by name of parts like `rotation=10`."""
    amounts: dict[str, float | bool] = {}
    for part in parts:
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals and name in AUGMENTATIONS:
            raise ArgumentError(f"the augmentation {name!r} must stand first, amounts that change it behind it")
        if name not in _KINDS:
            raise ArgumentError(_unknown("amount of an augmentation", name, _KINDS))
        if not equals:
            raise ArgumentError(f"`{name}` needs a value, as in `{name}={_EXAMPLES[_KINDS[name]]}`")
        if name in amounts:
            raise ArgumentError(f"`{name}` is given twice")
        amounts[name] = _value(name, value)
    return amounts


def _value(name: str, text: str) -> float | bool:
    """The value of an amount; what is no number or truth value is an error that says so."""
    kind = _KINDS[name]
    if kind == "bool":
        if text.lower() not in _TRUTH:
            raise ArgumentError(f"`{name}` (={text!r}) must be true or false")
        return _TRUTH[text.lower()]
    try:
        return int(text) if kind == "int" else float(text)
    except ValueError:
        number = "a whole number" if kind == "int" else "a number"
        raise ArgumentError(f"`{name}` (={text!r}) must be {number}") from None


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that is not `known`, with the closest that is."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"no {what} is called {name!r}" + (
        f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"
    )
