import jinja2
import pytest
from markupsafe import Markup

from models.notices import PHANTOM_NOTICE, RANDOM_WEIGHTS_NOTICE, RESEARCH_NOTICE
from tasks.shared.html_templates import environment, known, notices
from tests.support.html import Page


@pytest.fixture
def templates(tmp_path):
    (tmp_path / "mine.html").write_text(
        '{% extends "layout.html" %}{% block title %}T{% endblock %}{% block content %}<p>{{ text }}</p>{% endblock %}'
    )
    return environment(tmp_path)


def test_a_page_escapes_what_it_is_given_and_says_what_it_is_for(templates):
    page = Page(templates.get_template("mine.html").render(text="<script>alert(1)</script>", notices=["beware"]))
    assert "script" not in {tag for tag, _ in page.tags}
    assert "<script>alert(1)</script>" in page.words
    assert RESEARCH_NOTICE in page.words
    assert "beware" in page.words
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    assert policy in page.attributes("content")


def test_a_page_shows_what_steers_a_display_and_keeps_what_is_markup(templates):
    render = templates.get_template("mine.html").render
    shown = render(text="a\n\x1b[31m\u202e<b>", notices=[])
    assert "<p>a\n\\x1b[31m\\u202e&lt;b&gt;</p>" in shown
    assert "<p><b>a</b>\\u200b</p>" in render(text=Markup("<b>a</b>\u200b"), notices=[])


def test_a_page_that_lacks_a_value_is_not_written(templates):
    with pytest.raises(jinja2.UndefinedError, match="text"):
        templates.get_template("mine.html").render(notices=[])


def test_what_is_not_real_is_said():
    assert notices(phantoms=False, random_weights=False) == []
    assert notices(phantoms=True, random_weights=True) == [PHANTOM_NOTICE, RANDOM_WEIGHTS_NOTICE]


def test_facts_that_are_not_known_are_left_out():
    assert known({"a": 0, "b": None, "c": ""}) == {"a": 0, "c": ""}
    assert known(None) == {}
