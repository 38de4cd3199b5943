from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE
from tasks.cases.summary import cases_summary
from tests.tasks.cases.some_cases import a_case


def test_what_is_not_counted_says_why_and_names_are_escaped():
    cases = [a_case("<b>|x.png", problem="It is no image."), a_case("odd.png", foreign=True), a_case("fine.png")]
    text = cases_summary(cases, phantoms=False)
    assert RESEARCH_NOTICE in text and PHANTOM_NOTICE not in text
    assert "<b>" not in text
    assert "It is no image." in text and "&lt;b&gt;" in text and "farther from the training images" in text
    assert "| odd.png | foreign | (0.900) | not counted |" in text
    assert "| fine.png |  | 0.900 | pneumonia | pneumonia |" in text


def test_a_long_list_names_the_table():
    text = cases_summary([a_case(f"{number}.png") for number in range(60)], phantoms=True)
    assert "The other 10 are in the table `cases.csv`." in text
    assert PHANTOM_NOTICE in text
