"""The model card, read by a YAML parser and a Markdown parser of others."""

from dataclasses import replace

import pytest
import yaml
from markdown_it import MarkdownIt

from pellucid.train import Normalisation
from pellucid.train.report.card import CardLayer, ModelCard, model_card
from pellucid.train.report.names import printable
from train.report.samples import HOSTILE, evaluation

CARD = ModelCard(
    name="digits",
    weights="best",
    run="runs/digits",
    data="5,000 digits",
    class_names=("ant", "bee", "cat", "dog"),
    input_shape=(28, 28, 1),
    normalisation=Normalisation((0.13,), (0.31,)),
    layers=(CardLayer("0", "Conv2d", (28, 28, 6), 156), CardLayer("1", "ReLU", (28, 28, 6), 0)),
    epoch=3,
    epochs=8,
    version="0.1.0",
    python="import pellucid\n",
    settings={"epochs": "8"},
    evaluations={"validation": evaluation(4), "test": evaluation(4, seed=1)},
)


def parts(card: ModelCard) -> tuple[dict[str, object], str]:
    before, head, body = model_card(card).split("---\n", 2)
    assert before == ""
    return yaml.safe_load(head), body


def html(card: ModelCard) -> str:
    return MarkdownIt("commonmark").enable("table").render(parts(card)[1])


def test_the_head():
    head, _ = parts(CARD)
    found = CARD.evaluations["test"]
    assert list(head) == ["library_name", "pipeline_tag", "tags", "metrics", "model-index"]
    assert head["tags"] == ["pellucid", "image-classification"]
    results = head["model-index"][0]["results"]  # pyright: ignore[reportIndexIssue]
    assert results[1] == {
        "task": {"type": "image-classification"},
        "dataset": {"type": "imagefolder", "name": "5,000 digits", "split": "test"},
        "metrics": [
            {"type": "accuracy", "value": round(found.accuracy, 4)},
            {"type": "balanced_accuracy", "value": round(found.balanced_accuracy, 4)},
        ],
    }


def test_license_and_tags_are_those_given():
    head, _ = parts(replace(CARD, license="cc-by-4.0", tags=("no", "1.0", "pellucid")))
    assert head["license"] == "cc-by-4.0"
    assert head["tags"] == ["pellucid", "image-classification", "no", "1.0"]


def test_the_body():
    page = html(CARD)
    assert "<h1>digits</h1>" in page
    assert "pellucid predict runs/digits pictures/" in page
    assert '<code class="language-python">import pellucid\n</code>' in page
    assert "28 x 28 pixels (height x width), grey" in page
    assert "less the mean (0.13), divided by the deviation (0.31)" in page
    assert "<td>Conv2d</td>" in page
    assert '<td style="text-align:right">156</td>' in page
    assert "156 parameters, trained on 5,000 digits with Pellucid 0.1.0" in page
    assert "epoch 3 of 8, the epoch of least validation loss" in page
    for heading in ("How to use it", "Input", "Classes", "Results", "Architecture", "Training", "Limits"):
        assert f"<h2>{heading}</h2>" in page


def test_a_model_that_was_not_tested_says_so():
    words = "not measured on images that took no part in training"
    assert words not in model_card(CARD)
    assert words in model_card(replace(CARD, evaluations={"validation": evaluation(4)}))


def test_a_regression():
    card = replace(CARD, class_names=(), evaluations={}, normalisation=None, settings={}, input_shape=(9, 8, 5))
    head, body = parts(card)
    assert head == {"library_name": "pellucid", "tags": ["pellucid"]}
    assert "estimates numbers from images" in body
    assert "9 x 8 pixels (height x width), 5 channels" in body
    assert "## Classes" not in body
    assert "## Results" not in body


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_others_are_words_only(name: str):
    card = replace(
        CARD,
        name=name,
        run=name,
        data=name,
        class_names=(name, "b", "c", "d"),
        layers=(CardLayer(name, name, (1,), 3),),
        settings={name: name},
        evaluations={name: evaluation(4)},
        python=f"x = {printable(name)!r}\n```\n<b>",
        tags=(name,),
        license=name,
    )
    head, body = parts(card)
    body.encode("utf-8")
    shown = printable(name)
    assert head["license"] == shown
    assert head["model-index"][0]["name"] == shown  # pyright: ignore[reportIndexIssue]
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(body)
    kinds = {child.type for token in tokens for child in (token, *(token.children or ()))}
    assert not {"html_inline", "html_block", "link_open", "image", "em_open", "strong_open"} & kinds
    cells = [tokens[place + 1] for place, token in enumerate(tokens) if token.type == "td_open"]
    contents = ["".join(child.content for child in cell.children or ()) for cell in cells]
    assert contents.count(shown.strip()) >= 4  # a class, a layer with its kind, a setting with its value
    assert [token.tag for token in tokens if token.type == "heading_open"].count("h2") == 7
