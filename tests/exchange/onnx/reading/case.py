"""A hostile or damaged file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import onnx


@dataclass(frozen=True)
class Case:
    """`model` is the file's content; `files` those beside it; `prepare` puts links and devices into its folder.

    `stage` is "read" where reading must refuse it, "load" where only one who knows operators can. A file with
    `may_pass` may also be read: a bit of a weight was flipped. `input_shape` is what a network of stage "load" is given
    as `x`, where it loads.
    """

    name: str
    model: bytes
    stage: str = "read"
    may_pass: bool = False
    files: Mapping[str, bytes] = field(default_factory=dict)
    prepare: Callable[[Path], None] | None = None
    input_shape: tuple[int, ...] = (1, 3, 8, 8)

    def write(self, folder: Path) -> Path:
        """The path of the model, in a folder of its own inside `folder`."""
        title = "".join(sign if sign.isalnum() else "_" for sign in self.name[:60])
        place = folder / f"{title}_{crc32(self.name.encode()):08x}"
        place.mkdir()
        for name, content in self.files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        if self.prepare is not None:
            self.prepare(place)
        path = place / "model.onnx"
        if not path.is_symlink() and not path.exists():
            path.write_bytes(self.model)
        return path


def changed(name: str, model: onnx.ModelProto, change: Callable[[onnx.ModelProto], object], **options: object) -> Case:
    """The model after `change`, which works in place."""
    change(model)
    return Case(name, model.SerializeToString(), **options)  # type: ignore[arg-type]
