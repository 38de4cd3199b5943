import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from models.notices import PHANTOM_NOTICE, RANDOM_WEIGHTS_NOTICE, RESEARCH_NOTICE
from models.report_generation.generator import Row, row_of
from models.report_generation.medgemma import checkpoint, constrained
from models.report_generation.medgemma.engine import Engine
from models.report_generation.medgemma.generator import AUTHORSHIP, MedGemmaGenerator
from models.report_generation.medgemma.source import resolve_source
from models.report_generation.schema import Case, Request
from models.report_generation.unreadable import UnreadableReport

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 28, 28), dtype=np.uint8)
CASE = Case(index=5, image_sha256="", probability=0.8, threshold=0.5, heat_region="no focus", heat_share=0)


@pytest.fixture(scope="module")
def generator(small_checkpoint):
    source = resolve_source(str(small_checkpoint), None, None)
    return MedGemmaGenerator(
        source, "fp32", "cpu", ("concise", "structured"), True, None, "pneumoniamnist", "c" * 64, phantoms=True
    )


def request(strategy: str, image: int | None = 0, **fields) -> Request:
    return Request(case=CASE, image=image, image_sha256=str(image), strategy=strategy, **fields)


def write(generator, requests):
    rows = [row_of(generator, one) for one in requests]
    written = {done.row_id: done for batch in generator.write(rows, IMAGES) for done in batch}
    assert len(written) == len({row.id for row in rows})
    return [written[row.id] for row in rows]


def test_every_row_is_written_with_what_it_took(generator):
    requests = [request(strategy, image) for strategy in generator.strategies for image in (0, 1)]
    for asked, done in zip(requests, write(generator, requests), strict=True):
        assert done.error is None
        assert done.usage.prompt_tokens > 20
        assert done.usage.seconds > 0
        assert (done.score is not None) == (asked.strategy == "yes_no")
        if asked.strategy == "yes_no":
            assert done.usage.generated_tokens == 1
            assert done.text == ("Yes" if done.score >= 0.5 else "No")


def test_the_image_and_the_words_decide_the_answer(generator):
    first, second, reworded = write(
        generator, [request("yes_no", 0), request("yes_no", 1), request("yes_no", 0, control="paraphrase")]
    )
    assert len({first.score, second.score, reworded.score}) == 3


def test_a_text_is_read_with_notices_and_provenance(generator):
    report = generator.read(request("concise"), "Impression: Clear lungs.\nLabel: normal\nCertainty: high")
    assert (report.case_index, report.label, report.certainty) == (5, "normal", "high")
    assert report.limitations[:4] == (RANDOM_WEIGHTS_NOTICE, PHANTOM_NOTICE, RESEARCH_NOTICE, AUTHORSHIP)
    source = report.provenance
    assert (source.strategy, source.version, source.precision) == ("concise", "1", "fp32")
    assert source.random_weights
    assert source.language_model
    assert source.revision == generator.source.revision


@pytest.mark.parametrize(("strategy", "text"), [("concise", ""), ("structured", '{"impression": "cut o')])
def test_what_cannot_be_read_is_said_to_be_so(generator, strategy, text):
    with pytest.raises(UnreadableReport):
        generator.read(request(strategy), text)


def test_a_structured_report_is_constrained_and_a_concise_one_is_not(generator):
    assert "maxLength" in generator.settings("structured")["json_schema"]
    assert generator.settings("concise")["json_schema"] is None
    concise, structured = write(generator, [request("concise"), request("structured")])
    assert structured.text.startswith('{"')
    assert not concise.text.startswith('{"')


def test_preparing_compiles_with_the_tokenizer_alone_and_the_engine_finds_it(generator, monkeypatch, tmp_path):
    files = Path(shutil.copytree(generator.source.path, tmp_path / "checkpoint"))
    source = dataclasses.replace(generator.source, path=str(files), revision="sha256:prepared")
    prepared = dataclasses.replace(generator, source=source)

    def unwanted(*_, **__):
        raise AssertionError("weights, a GPU or a second compilation")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "_load_network", unwanted)
        patched.setattr(torch.cuda, "is_available", unwanted)
        before = constrained._compiled_grammar.cache_info()
        prepared.prepare()
        assert constrained._compiled_grammar.cache_info().misses == before.misses + 1
        prepared.prepare()
        assert constrained._compiled_grammar.cache_info().misses == before.misses + 1
    monkeypatch.setattr(constrained, "_compiler", unwanted)
    (structured,) = write(prepared, [request("structured")])
    assert structured.text.startswith('{"')


def test_preparing_what_is_written_freely_reads_nothing(generator, monkeypatch):
    monkeypatch.setattr(checkpoint, "load_vocabulary", lambda *_: pytest.fail("nothing is to be compiled"))
    dataclasses.replace(generator, report_strategies=("concise",)).prepare()


@pytest.mark.parametrize("own", [True, False], ids=["with generation_config.json", "without"])
def test_the_vocabulary_without_weights_is_that_of_the_loaded_model(generator, tmp_path, own):
    files = Path(shutil.copytree(generator.source.path, tmp_path / "checkpoint"))
    if not own:
        (files / "generation_config.json").unlink()
    source = resolve_source(str(files), None, None)
    vocabulary, loaded = checkpoint.load_vocabulary(source, None), checkpoint.load_model(source, "fp32", "cpu", None)
    assert vocabulary == Engine(loaded)._vocabulary
    assert vocabulary.stop_tokens == loaded.stop_tokens == (1, 106)
    assert vocabulary.tokenizer().get_vocab() == loaded.processor.tokenizer.get_vocab()


def test_a_row_that_cannot_be_written_fails_alone(generator):
    good, poison = request("yes_no"), request("yes_no", 9)  # there is no image 9
    rows = [Row(id="good", request=good), Row(id="poison", request=poison)]
    written = {done.row_id: done for batch in generator.write(rows, IMAGES) for done in batch}
    assert written["good"].error is None
    assert written["poison"].error


def test_the_batch_size_is_no_part_of_the_identity(generator):
    fields = {name: getattr(generator, name) for name in generator.__dataclass_fields__}
    assert MedGemmaGenerator(**fields | {"batch_size": 2}).identity == generator.identity
    assert MedGemmaGenerator(**fields | {"image_first": False}).identity != generator.identity
