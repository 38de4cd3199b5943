from tests.soak.ledger import Ledger


def test_what_has_survived_is_not_tried_again_and_what_was_lost_is(tmp_path):
    file = tmp_path / "trials.jsonl"
    ledger = Ledger(file)
    ledger.note("one", 7, 0, 3, [], ["act 4"], {"WARNING #"})
    ledger.note("one", 7, 1, 2, ["a result"], [], set())
    ledger.note("other", 7, 0, 1, [], [], set())
    with file.open("a") as lines:
        lines.write('{"fault": "other", "seed": 7, "rou')  # killed while it wrote
    again = Ledger(file)
    assert again.survived() == {("one", 7, 0), ("other", 7, 0)}
    one, other = again.table()[1:]
    assert one.split()[:5] == ["one", "2", "5", "4", "1"]
    assert other.split()[:5] == ["other", "1", "1", "1", "0"]


def test_a_round_that_is_tried_again_counts_once(tmp_path):
    ledger = Ledger(tmp_path / "trials.jsonl")
    ledger.note("one", 7, 0, 1, ["a result"], [], set())
    ledger.note("one", 7, 0, 3, [], [], set())
    assert ledger.survived() == {("one", 7, 0)}
    assert ledger.table()[1].split()[:5] == ["one", "1", "3", "3", "0"]
