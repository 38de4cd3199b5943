from flows.support.terminal import print_line, print_table

NASTY = "[red]a[/red] [link=javascript:x]b[/link] \x1b]8;;http://x\x1b\\c\x9b31m \x07\x7f\u202e\ud800 :smile: [/]"
SHOWN = r"[red]a[/red] [link=javascript:x]b[/link] \x1b]8;;http://x\x1b\c\x9b31m \x07\x7f\u202e\ud800 :smile: [/]"


def test_a_table_shows_text_from_outside_and_obeys_nothing_in_it(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal, where markup would become escape sequences
    print_table(
        [("name", "left"), (NASTY, "right")], [(1, NASTY), (f"{NASTY}\n2", "c")], title="the [bold]title\x1b[2J"
    )
    text = capsys.readouterr().out
    assert text.count(SHOWN) == 3
    assert f"{SHOWN} 2" in text
    assert r"the [bold]title\x1b[2J" in text
    assert "\x1b[31m" not in text
    assert "\x1b]" not in text
    assert len(text.splitlines()) == 7


def test_a_line_shows_text_from_outside_and_keeps_its_spaces(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    print_line(f"folder/two  spaces/{NASTY}", style="bold red")
    assert capsys.readouterr().out == f"folder/two  spaces/{SHOWN}\n"
