import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.notices import PHANTOM_NOTICE, RANDOM_WEIGHTS_NOTICE, RESEARCH_NOTICE
from models.report_generation.generator import Row, row_of
from models.report_generation.medgemma import checkpoint, constrained
from models.report_generation.medgemma.checkpoint import loaded_model
from models.report_generation.medgemma.engine import Engine
from models.report_generation.medgemma.generator import MedGemmaGenerator
from models.report_generation.medgemma.source import resolve_source
from models.report_generation.prompted import AUTHORSHIP
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


def test_a_model_is_asked_as_its_release_is_published(generator):
    """A strategy's own system message stays; the other messages are the release's."""
    fields = {name: getattr(generator, name) for name in generator.__dataclass_fields__}
    newer = MedGemmaGenerator(**fields | {"conventions": "1.5"})
    plain, own = request("concise"), request("clinical_role")
    assert generator.prompt(plain) == "You are an expert radiologist.\n\n" + newer.prompt(plain)
    assert generator.prompt(own) == newer.prompt(own)
    assert generator.prompt(own).startswith("You are a paediatric radiologist")
    assert generator._asked(Row(id="a", request=plain)).system == "You are an expert radiologist."
    assert newer._asked(Row(id="a", request=plain)).system is None
    asked = generator._asked(Row(id="a", request=own))
    assert f"{asked.system}\n\n{asked.text}" == generator.prompt(own)


def test_the_mass_of_the_choices_and_the_attention_are_told(generator):
    scored, report = write(generator, [request("yes_no"), request("concise")])
    assert 0 < scored.choice_mass < 0.5  # two of 2,048 words of a random network
    assert report.choice_mass is None
    assert (scored.usage.attention, report.usage.attention) == ("sdpa", "sdpa")


def test_a_thought_that_is_allowed_for_is_counted(generator):
    fields = {name: getattr(generator, name) for name in generator.__dataclass_fields__}
    thinking = MedGemmaGenerator(**fields | {"thinking_tokens": 7})
    assert thinking._asked(Row(id="a", request=request("concise"))).thinking_tokens == 7
    assert thinking.identity != generator.identity
    (written,) = write(thinking, [request("concise")])
    assert written.usage.thought_tokens == 0


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
    source = replace(generator.source, path=str(files), revision="sha256:prepared")
    prepared = replace(generator, source=source)

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
    replace(generator, report_strategies=("concise",)).prepare()


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


def test_what_is_done_is_not_written_again_and_the_batches_stay_the_same(generator):
    requests = [request("yes_no", image, control=control) for image in (0, 1) for control in ("none", "paraphrase")]
    rows = [row_of(generator, one) for one in requests]
    small = replace(generator, batch_size=2)
    whole = list(small.write(rows, IMAGES))
    assert [len(batch) for batch in whole] == [2, 2]
    assert {written.batch_limit for batch in whole for written in batch} == {2}
    done = {written.row_id: written.batch_limit for written in whole[0]}
    (rest,) = small.write(rows, IMAGES, done)
    assert [written.row_id for written in rest] == [written.row_id for written in whole[1]]
    assert not list(small.write(rows, IMAGES, dict.fromkeys((row.id for row in rows), 0)))


def test_a_failed_row_tells_its_batch_limit_too(generator):
    rows = [Row(id=name, request=request("yes_no", image)) for name, image in (("good", 0), ("poison", 1))]
    images = IMAGES.copy()
    images[1] = 255

    def refuse(module, arguments, named):
        if (named["pixel_values"].amin(dim=(1, 2, 3)) == 1).any():
            raise ValueError("no such picture")

    loaded = loaded_model(generator.source, "fp32", "cpu", None)
    hook = loaded.model.model.vision_tower.register_forward_pre_hook(refuse, with_kwargs=True)
    try:
        written = {one.row_id: one for batch in generator.write(rows, images) for one in batch}
    finally:
        hook.remove()
    assert written["poison"].error
    assert {one.batch_limit for one in written.values()} == {64}


def test_controls_of_the_batch_change_the_batch(generator):
    controls = ("none", "companions", "alone")
    requests = [request("yes_no", image, control=control) for control in controls for image in (0, 1)]
    sizes = [done.usage.batch_size for done in write(generator, requests)]
    assert sizes == [2, 2, 1, 1, 1, 1]  # two have no other companions than each other


def test_the_batch_size_is_no_part_of_the_identity(generator):
    fields = {name: getattr(generator, name) for name in generator.__dataclass_fields__}
    assert MedGemmaGenerator(**fields | {"batch_size": 2}).identity == generator.identity
    for other in ({"image_first": False}, {"conventions": "1.5"}, {"compiled": True}):
        assert MedGemmaGenerator(**fields | other).identity != generator.identity


def test_compiled_decoding_says_the_same(generator):
    requests = [request("concise", image) for image in (0, 1)]
    plain, compiled = write(generator, requests), write(replace(generator, compiled=True), requests)
    assert [done.text for done in compiled] == [done.text for done in plain]
