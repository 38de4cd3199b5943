import subprocess
import sys

import pytest

from models.errors import InputError
from models.report_generation.template import TemplateGenerator
from tasks.parameters.reports import ReportParameters
from tasks.records.base import StoredFile
from tasks.records.data import DatasetRecord
from tasks.records.reports import GeneratorRecord
from tasks.reports.generators import locate, make
from tests.conftest import CHECKOUT
from tests.support.medgemma_twin import write_checkpoint
from tests.support.openai_stand_in import MODEL, stand_in

FILE = StoredFile(uri="", sha256="", size=0, media_type="application/json")
DATASET = DatasetRecord(
    name="pneumoniamnist", kind="official", size=28, channels=1, labels=("normal", "pneumonia"), licence="", md5="5",
    sha256="", splits=FILE, audit=FILE, audit_table=FILE, counts={}, excluded_train=(), phantoms=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(write_checkpoint(tmp_path_factory.mktemp("checkpoint")))


def _form(**fields) -> ReportParameters:
    return ReportParameters(generator="medgemma", device="cpu", **fields)


def test_the_template_needs_nothing():
    record = locate(ReportParameters(), None)
    assert record == GeneratorRecord(name="template")
    assert isinstance(make(record, DATASET, "c"), TemplateGenerator)


def test_classes_that_no_prompt_asks_about_are_refused_in_one_sentence():
    other = DATASET.model_copy(update={"name": "breastmnist", "labels": ("malignant", "normal, benign")})
    with pytest.raises(
        InputError, match=r"normal or pneumonia, but the classes of breastmnist are malignant, normal, b"
    ):
        make(GeneratorRecord(name="medgemma"), other, "c")
    assert make(GeneratorRecord(name="template"), other, "c").labels == other.labels


def test_a_language_model_is_located_with_the_digest_of_its_weights(folder):
    record = locate(_form(model=folder, strategies=["concise", "structured"], at_once=3), None)
    assert record.revision.startswith("sha256:")
    assert record.precision == "fp32"
    assert record.random_weights
    generator = make(record, DATASET, "c" * 64)
    assert generator.strategies == ("concise", "structured", "yes_no")
    assert generator.identity["revision"] == record.revision
    assert generator.batch_size == 3


@pytest.mark.parametrize(
    ("fields", "release", "first"),
    [
        ({}, "1", False),
        ({"conventions": "1.5"}, "1.5", True),
        ({"conventions": "1.5", "image_first": False}, "1.5", False),
        ({"image_first": True}, "1", True),
    ],
)
def test_the_order_of_image_and_text_is_as_published_unless_told(folder, fields, release, first):
    record = locate(_form(model=folder, **fields), None)
    generator = make(record, DATASET, "c")
    assert (record.conventions, record.image_first) == (release, first)
    assert (generator.conventions, generator.image_first) == (release, first)


def test_the_release_is_read_from_the_models_name(folder, tmp_path):
    newer = tmp_path / "medgemma-1.5-4b-it"
    newer.symlink_to(folder)
    record = locate(_form(model=str(newer), thinking_tokens=300), None)
    assert (record.conventions, record.image_first, record.thinking_tokens) == ("1.5", True, 300)
    assert make(record, DATASET, "c").thinking_tokens == 300


def test_where_it_lies_and_how_fast_it_goes_is_no_part_of_what_it_is(folder):
    record = locate(_form(model=folder), None)
    moved = record.model_copy(update={"path": "/elsewhere", "at_once": 7, "token_block": "other"})
    assert moved.content_digest() == record.content_digest()
    assert record.model_copy(update={"precision": "nf4"}).content_digest() != record.content_digest()


def test_a_token_never_reaches_a_record_or_a_text(folder):
    record = locate(_form(model=folder), "hf_secret")
    generator = make(record, DATASET, "c", "hf_secret")
    assert "hf_secret" not in record.model_dump_json()
    assert "hf_secret" not in repr(generator)


def test_compiled_decoding_is_refused_where_nothing_would_be_compiled(folder):
    with pytest.raises(InputError, match="transformers compiles no network that bitsandbytes has quantized"):
        locate(_form(model=folder, precision="nf4", compiled=True), None)
    record = locate(_form(model=folder, compiled=True), None)
    assert record.compiled
    assert make(record, DATASET, "c").identity["compiled"]


def test_a_model_that_cannot_be_had_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"config\.json"):
        locate(_form(model=str(tmp_path)), None)


def test_planning_loads_no_network(folder):
    """A run whose steps are all cached asks the generator for its prompts; that must not import PyTorch."""
    code = (
        "import sys; from models.report_generation.medgemma.generator import MedGemmaGenerator as G;"
        "from models.report_generation.medgemma.source import resolve_source;"
        f"g = G(resolve_source({folder!r}, None, None), 'fp32', 'cpu', ('concise',), True, None, '', '', False);"
        "g.prompts, g.settings('concise'); print('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_server_is_located_with_what_it_says_of_itself():
    with stand_in(key="sk-canary", pages={"/version": {"version": "0.11.0"}}) as server:
        form = ReportParameters(generator="openai", server=server.url, model=MODEL, strategies=["concise"], at_once=3)
        record = locate(form, "sk-canary")
    assert (record.server, record.server_version, record.device) == (server.url, "vLLM 0.11.0", "server")
    assert (record.precision, record.random_weights, record.path) == (None, False, "")
    generator = make(record, DATASET, "c" * 64, "sk-canary")
    assert (generator.name, generator.strategies, generator.at_once) == ("openai", ("concise", "yes_no"), 3)
    assert generator.identity["server_version"] == "vLLM 0.11.0"
    assert "sk-canary" not in f"{record!r}{record.model_dump_json()}{generator!r}"
    assert record.model_copy(update={"at_once": 9, "key_block": "other"}).content_digest() == record.content_digest()
    for changed in ({"server": "http://h/v1"}, {"server_version": "vLLM 0.12.0"}, {"model": "m"}, {"revision": "r"}):
        assert record.model_copy(update=changed).content_digest() != record.content_digest()


def test_a_generator_on_a_server_needs_one():
    with pytest.raises(InputError, match=r"needs the address of a server: give --reports\.server"):
        locate(ReportParameters(generator="openai"), None)
