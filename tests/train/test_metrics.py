"""Measures of a classifier, against scikit-learn's; their text and data."""

import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as judge

from pellucid.errors import ArgumentError, DataError
from pellucid.train.metrics import ClassScore, Confusion, Evaluation


@st.composite
def predictions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and scores of which no two of an image are equal."""
    classes, count = draw(st.integers(1, 9)), draw(st.integers(1, 30))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    used = draw(st.integers(1, classes))
    scores = np.argsort(random.random((count, classes)), axis=1).astype(np.float32) - 3
    return random.integers(0, used, count), scores


def same(ours: tuple[float | None, ...], theirs: np.ndarray) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert (one is None) == math.isnan(other)
        assert one is None or one == pytest.approx(other, abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(predictions())
def test_every_measure_is_scikit_learns(case: tuple[np.ndarray, np.ndarray]):
    labels, scores = case
    found, classes, predicted = Evaluation.of(0.5, labels, scores), scores.shape[1], scores.argmax(axis=1)
    every = list(range(classes))
    assert found.count == len(labels)
    assert found.accuracy == pytest.approx(judge.accuracy_score(labels, predicted))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # classes that were predicted but do not occur, or a single one
        np.testing.assert_array_equal(found.confusion, judge.confusion_matrix(labels, predicted, labels=every))
        assert found.balanced_accuracy == pytest.approx(judge.balanced_accuracy_score(labels, predicted))
    precision, recall, f1, images = judge.precision_recall_fscore_support(
        labels, predicted, labels=every, zero_division=np.nan
    )
    same(found.precision, precision)
    same(found.recall, recall)
    same(found.f1, f1)
    assert [score.images for score in found.classes] == images.tolist()
    if classes > 5:
        assert found.top5_accuracy == pytest.approx(judge.top_k_accuracy_score(labels, scores, k=5, labels=every))
    else:
        assert found.top5_accuracy is None
    json.loads(json.dumps(found.as_data(), allow_nan=False))


def test_by_hand():
    scores = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.7, 0.3, 0], [0.6, 0.4, 0]])
    found = Evaluation.of(0.25, np.array([0, 1, 1, 0]), scores)
    assert found.confusion.dtype == np.int64
    assert found.confusion.tolist() == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert (found.accuracy, found.balanced_accuracy) == (0.75, 0.75)
    assert found.recall == (1.0, 0.5, None)
    assert found.precision == (2 / 3, 1.0, None)
    assert found.f1 == (0.8, 2 / 3, None)
    assert found.confusions(5) == (Confusion(1, 0, 1),)
    assert found.worst(2) == (ClassScore(1, 2, 1, 1), ClassScore(0, 2, 3, 2))
    assert found.as_data() == {
        "loss": 0.25,
        "images": 4,
        "accuracy": 0.75,
        "balanced_accuracy": 0.75,
        "top5_accuracy": None,
        "recall": [1.0, 0.5, None],
        "precision": [2 / 3, 1.0, None],
        "f1": [0.8, 2 / 3, None],
        "confusion_matrix": [[2, 0, 0], [1, 1, 0], [0, 0, 0]],
    }


def test_of_equal_scores_the_first_is_predicted_and_ranks_higher():
    flat = np.zeros((7, 7))
    found = Evaluation.of(0.0, np.arange(7), flat)
    assert found.confusion[:, 0].tolist() == [1] * 7
    assert found.top5_accuracy == 5 / 7


def test_small_labels_do_not_wrap_around():
    labels = np.full(3, 99, np.uint8)
    assert Evaluation.of(0.0, labels, np.eye(100)[labels]).confusion[99, 99] == 3


def test_a_loss_that_is_not_finite_is_none_in_data():
    assert Evaluation(math.nan, np.eye(2, dtype=np.int64)).as_data()["loss"] is None


def test_the_confusion_matrix_cannot_be_changed():
    counts = np.eye(2, dtype=np.int64)
    found = Evaluation(0.0, counts)
    counts[0, 0] = 7
    assert found.confusion[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        found.confusion[0, 0] = 7


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        (
            np.zeros(2, np.int64),
            np.zeros((3, 2)),
            "`labels` must be (count,) and `scores` (count, classes) for an image or more, got (2,) and (3, 2)",
        ),
        (
            np.zeros(0, np.int64),
            np.zeros((0, 2)),
            "`labels` must be (count,) and `scores` (count, classes) for an image or more, got (0,) and (0, 2)",
        ),
        (np.zeros(1), np.zeros((1, 2)), "`labels` must be whole numbers, got float64"),
        (np.array([0, 2]), np.zeros((2, 2)), "`labels` has 2, outside 0..1 (2 classes)"),
        (np.array([0, -1]), np.zeros((2, 2)), "`labels` has -1, outside 0..1 (2 classes)"),
        (np.array([0, 1]), np.array([[0, 1], [np.nan, 0]]), "`scores` has NaN for image 1"),
    ],
)
def test_wrong_predictions(labels: np.ndarray, scores: np.ndarray, message: str):
    with pytest.raises(DataError) as caught:
        Evaluation.of(0.0, labels, scores)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("confusion", "message"),
    [
        (np.eye(2), "`confusion` must be int64 counts (classes, classes), got float64 (2, 2)"),
        (np.ones((2, 3), np.int64), "`confusion` must be int64 counts (classes, classes), got int64 (2, 3)"),
        (-np.eye(2, dtype=np.int64), "`confusion` must be int64 counts (classes, classes), got int64 (2, 2)"),
        (np.zeros((2, 2), np.int64), "`confusion` (2, 2) has no image"),
        (np.zeros((0, 0), np.int64), "`confusion` (0, 0) has no image"),
    ],
)
def test_wrong_matrices(confusion: np.ndarray, message: str):
    with pytest.raises(DataError) as caught:
        Evaluation(0.0, confusion)
    assert str(caught.value) == message


def test_the_text_of_few_classes():
    confusion = np.array([[5, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert Evaluation(0.12345, confusion).text(["cat", "a dog", "owl\n\x1b[31m\udc80"]) == (
        "accuracy 90.0%, balanced accuracy 91.7%, loss 0.1235 (10 images)\n"
        "\n"
        "class                images  recall  precision      F1  most often taken for\n"
        "cat                       6   83.3%     100.0%   90.9%  a dog (1)\n"
        "a dog                     4  100.0%      80.0%   88.9%\n"
        "owl\\n\\x1b[31m\\udc80       0       -          -       -\n"
        "\n"
        "rows: true class, columns: predicted class\n"
        "                        a   b   c\n"
        "a cat                   5   1   ·\n"
        "b a dog                 ·   4   ·\n"
        "c owl\\n\\x1b[31m\\udc80   ·   ·   ·"
    )


def test_short_names_stand_above_their_columns():
    confusion = np.array([[1200, 1], [0, 900]])
    lines = Evaluation(0.0, confusion).text(["yes", "no"]).splitlines()
    assert lines[-3:] == ["       yes   no", "yes   1200    1", "no       ·  900"]


def test_the_text_of_many_classes_has_the_worst_ten():
    confusion = 9 * np.eye(30, dtype=np.int64)
    confusion[range(20, 30), 0] = range(10, 0, -1)  # class 20 is the worst
    lines = Evaluation(0.0, confusion, 0.5).text([f"class {number}" for number in range(30)]).splitlines()
    assert "top-5 accuracy 50.0%" in lines[0]
    assert lines[2] == "the 10 classes of least recall, of 30:"
    assert [line[:8] for line in lines[4:]] == [f"class {number}" for number in range(20, 30)]
    assert lines[4].endswith("class 0 (10)")


def test_wide_names_stay_in_their_columns():
    lines = Evaluation(0.0, np.eye(2, dtype=np.int64)).text(["猫", "é"]).splitlines()
    assert lines[3].startswith("猫          1  100.0%")
    assert lines[4].startswith("é           1  100.0%")


def test_as_many_names_as_classes():
    with pytest.raises(ArgumentError) as caught:
        Evaluation(0.0, np.eye(2, dtype=np.int64)).text(["one"])
    assert str(caught.value) == "`class_names` has 1 names, but 2 classes were evaluated"
