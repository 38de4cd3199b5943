import random
import re

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from models.markdown import Markdown, escape, link
from models.report_generation.fhir import diagnostic_report
from models.report_generation.schema import Finding, Provenance, Report
from models.text import one_line
from tasks.retrieval.search_result import Hit, Query, SearchedIndex, SearchResult, search_report
from tasks.shared.markdown import document, table

# The pieces that nasty names and reports are made of: each means something somewhere in Markdown or HTML.
PIECES = [
    "[a](javascript:alert(1))", "![x](data:text/html,x)", "<img src=x onerror=alert(1)>", "<script>", "</td>",
    "<a href='vbscript:x'>", "http://a.b", "https://x.y/z", "www.evil.com", "<http://x.y>", "a@b.co",
    "[x]: javascript:a", "[^1]", "[ ]", "&amp;", "&#106;", "&lt;", "`", "``", "```", "~~~", "~~", "*", "**", "_",
    "__", "#", "## ", "- ", "+ ", "1. ", "2) ", "> ", "|", "||", "\\", "\\\\", "===", "---", "***", "--", "<!--",
    "-->", "<?", "]]>", "(", ")", "[", "]", "<", ">", "!", "\"", "'", "{", "}", "%", "\n", "\n\n", "\r", "\t",
    "    ", "\x1b[31m", "\x00", "\u202e", "\u2028", "\u2060", "\ud800", "é", "word", "x y", "snake_case", "a_b_c",
    "-0.5", "=", "+1", "#5", "1.5", "0.",
]  # fmt: skip
STRUCTURE = {"paragraph_open", "paragraph_close", "inline", "text", "text_special"}
RENDERER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
# What renderers of GitHub's dialect look for in the text that is left (mdast-util-gfm-autolink-literal).
AUTOLINK = re.compile(r"(?:https?://|www(?=\.))[-.\w]+|[-.\w+]+@[-\w]+\.[-\w]+", re.IGNORECASE)


def nasty_texts(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    return ["".join(chance.choices(PIECES, k=chance.randint(1, 8))) for _ in range(count)]


def rendered(text: str) -> list[Token]:
    """All tokens of a document, those within lines too."""
    return [part for token in RENDERER.parse(text) for part in (token, *(token.children or ()))]


def kinds(text: str) -> set[str]:
    return {token.type for token in rendered(text)}


def shown(text: str) -> str:
    """What a reader sees of a document."""
    return "".join(token.content for token in rendered(text) if token.type in ("text", "text_special", "code_inline"))


def seen(value: str) -> str:
    """What a reader should see of a text from outside."""
    return one_line(value).strip()


@pytest.mark.parametrize("seed", range(4))
def test_text_from_outside_is_shown_and_not_obeyed(seed):
    for value in nasty_texts(2000, seed):
        text = escape(value)
        assert kinds(text) <= STRUCTURE, (value, text)
        assert shown(text).replace("\u2060", "") == seen(value), (value, text)
        assert not AUTOLINK.search(shown(text)), (value, text)


def test_plain_text_stays_as_it_is():
    for text in (
        "lobar opacity, 0.75 (CI 0.7 – 0.8)",
        "test #0",
        "-0.5",
        "reports/claim_matcher_f1",
        "1.5 mm",
        "p = .03",
        "100 %",
    ):
        assert escape(text) == text


def test_what_is_markdown_already_is_not_escaped_twice():
    assert escape(escape("a|b")) == "a\\|b"
    assert escape(Markdown("*a*")) == "*a*"


def test_a_link_leads_to_the_web_or_nowhere():
    for value in nasty_texts(500, 9):
        tokens = rendered(link(value, f"https://host/a?b={value}"))
        assert [token.type for token in tokens].count("link_open") == 1, value
        assert {token.type for token in tokens} <= STRUCTURE | {"link_open", "link_close"}
        assert kinds(link("label", f"javascript:{value}")) <= STRUCTURE
    for address in (
        "javascript:alert(1)",
        "JaVaScRiPt:x",
        "data:text/html,x",
        "vbscript:x",
        " javascript:x",
        "\tjavascript:x",
        "http://[",
        "",
    ):
        assert link("label", address) == "label"
    assert link("a]b", "http://h/x y(1)") == "[a\\]b](http://h/x%20y%281%29)"


def test_a_table_holds_text_from_outside_in_its_cells_and_titles():
    plain = kinds(table(("a", "b"), [("c", "d")]))
    for value in nasty_texts(1000, 5):
        text = table((value, "b"), [("c", value)])
        assert kinds(text) == plain, (value, text)
        cells = [token.children for token in RENDERER.parse(text) if token.type == "inline"]
        for cell in (cells[0], cells[3]):
            assert "".join(token.content for token in cell).replace("\u2060", "") == seen(value)


def test_a_heading_holds_text_from_outside():
    plain = kinds(document("Title", [("One", "first")], phantoms=False))
    for value in nasty_texts(300, 6):
        assert kinds(document(value, [(value, "first")], phantoms=False)) == plain, value


def report_with(value: str, written: str) -> Report:
    provenance = Provenance(
        generator=value,
        version=value,
        strategy=value,
        model=value,
        language_model=True,
        dataset=value,
        classifier_sha256="0" * 64,
        phantoms=False,
    )
    return Report(
        findings=(Finding(name=written, presence="absent", detail=written),),
        impression=written,
        differential=(written,),
        label=None,
        certainty=written,
        image_quality=written,
        limitations=(written,),
        asides=(written,),
        case_index=7,
        provenance=provenance,
    )


def test_a_report_shows_what_a_language_model_wrote():
    plain = kinds(report_with("x", "x").as_markdown())
    for value in nasty_texts(300, 7):
        text = report_with(value, f"a {value}").as_markdown()
        assert kinds(text) == plain, (value, text)
        assert shown(text).replace("\u2060", "").count(seen(f"a {value}")) >= 7, (value, text)


def test_a_clinical_resource_shows_what_a_language_model_wrote():
    for value in nasty_texts(300, 8):
        resource = diagnostic_report(report_with("x", f"a {value}"))
        notes = [note["text"] for note in (*resource["note"], *resource["contained"][0]["note"])]
        for text in (*notes, resource["conclusion"]):
            assert kinds(text) <= STRUCTURE, (value, text)


def test_a_search_shows_the_name_of_a_file_and_the_words_searched_for():
    hits = (Hit(rank=1, split="test", index=0, label=1, similarity=0.5),)
    plain = None
    for value in ["chest.png", *nasty_texts(300, 10)]:
        query = Query(kind="image", name=value.replace("\ud800", ""), digest="0" * 64)
        found = SearchResult(
            query=query,
            encoder="classifier",
            encoder_identity=f"hub/{query.name}",
            class_names=("normal", "pneumonia"),
            splits=("test",),
            label=None,
            k=1,
            hits=hits,
            phantoms=False,
            index=SearchedIndex(
                run_id="7",
                published_at="2026-11-27T10:00:00+00:00",
                dataset="set",
                dataset_digest="d",
                images={"test": 1},
            ),
        )
        plain = plain or kinds(search_report(found))
        assert kinds(search_report(found)) == plain, value
        assert seen(query.name) in shown(search_report(found)).replace("\u2060", "")
