"""Promotion, restoration and choice of a classifier on a real SQLite store, with real networks."""

import threading
import time
from pathlib import Path

import pytest

from flows.support.promotion import choose, promote, restore
from models.errors import InputError
from tasks.tracking import registry
from tests.tasks.tracking import test_registry
from tests.tasks.tracking.test_registry import package

pytestmark = pytest.mark.usefixtures("shared_outputs")
client, name, run = test_registry.client, test_registry.name, test_registry.run  # its fixtures


def _better(package):
    return True, "It is better."


def _worse(package):
    return False, "It is not better."


def _never(package):
    raise AssertionError("There is nothing to compare.")


def _aliases(client, name):
    return {alias: int(version) for alias, version in client.get_registered_model(name).aliases.items()}


def test_the_first_becomes_champion_and_only_a_better_one_replaces_it(client, run, name):
    references = [run() for _ in range(3)]
    first, second, third = (registry.register(references[seed], name, package(seed)) for seed in range(3))
    decision = promote(references[0], first, _never)
    assert (decision.promoted, decision.champion) == (True, 1)
    assert _aliases(client, name) == {"champion": 1}

    seen = []
    decision = promote(references[1], second, lambda stored: (seen.append(stored), _worse(stored))[1])
    assert (decision.promoted, decision.champion, decision.reason) == (False, 1, "It is not better.")
    assert _aliases(client, name) == {"champion": 1}
    assert seen[0].sha256 == package(0).sha256  # the champion's own weights

    assert promote(references[2], third, _better).champion == 3
    assert _aliases(client, name) == {"champion": 3, "previous": 1}
    reasons = {version.version: version.tags["promotion.reason"] for version in registry.versions(name)}
    assert reasons == {
        1: "Replaced by version 3. It is better.", 2: "It is not better.", 3: "It is better.",
    }  # fmt: skip
    assert client.get_run(references[2].run_id).data.tags["promotion.reason"] == "It is better."

    (third,) = [version for version in registry.versions(name) if version.version == 3]
    again = promote(run(), third, _never)
    assert (again.promoted, again.champion) == (False, 3)
    assert registry.versions(name)[0].tags["promotion.reason"] == "It is better."


@pytest.mark.parametrize("card", [{"phantoms": True}, {"limited": True}])
def test_phantoms_and_tries_never_make_a_champion(client, run, name, card):
    reference = run()
    decision = promote(reference, registry.register(reference, name, package(**card)), _never)
    assert (decision.promoted, decision.champion) == (False, None)
    assert _aliases(client, name) == {}
    assert registry.versions(name)[0].tags["promotion.reason"] == decision.reason


def test_a_champion_of_other_data_is_not_compared(client, run, name):
    reference = run()
    promote(reference, registry.register(reference, name, package(0)), _never)
    other = registry.register(reference, name, package(1, dataset_sha256="d2"))
    decision = promote(reference, other, _never)
    assert (decision.promoted, decision.champion) == (False, 1)
    assert "another dataset" in decision.reason
    assert "--champion.version 2" in decision.reason
    assert _aliases(client, name) == {"champion": 1}


def test_a_champion_whose_file_is_gone_or_damaged_stays_and_ends_no_run(client, run, name):
    reference = run()
    promote(reference, registry.register(reference, name, package(0)), _never)
    challenger = registry.register(reference, name, package(1))
    location = client.get_model_version_download_uri(name, "1").removeprefix("file://")
    Path(location, registry.PACKAGE).write_bytes(b"damaged")
    assert "cannot be read" in promote(reference, challenger, _never).reason
    with pytest.raises(InputError, match=r"Version 1 of .* cannot be read from MLflow \(.*digest.*\): choose another"):
        choose(name, "champion")
    Path(location, registry.PACKAGE).unlink()
    assert "cannot be read" in promote(reference, challenger, _never).reason
    assert _aliases(client, name) == {"champion": 1}


def test_of_two_promotions_at_once_the_second_meets_the_first_as_champion(client, run, name):
    reference = run()
    promote(reference, registry.register(reference, name, package(0)), _never)
    met = {}

    def contend(version):
        def judge(stored):
            met[version.version] = stored.sha256
            time.sleep(0.5)
            return _better(stored)

        promote(reference, version, judge)

    challengers = [registry.register(reference, name, package(seed)) for seed in (1, 2)]
    threads = [threading.Thread(target=contend, args=(version,)) for version in challengers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    champion = _aliases(client, name)["champion"]
    before = ({2, 3} - {champion}).pop()
    assert _aliases(client, name) == {"champion": champion, "previous": before}
    assert met == {before: package(0).sha256, champion: package(before - 1).sha256}


def test_an_older_version_is_restored_and_the_replaced_one_stays_replaced(client, run, name):
    reference = run()
    for seed in (0, 1):
        promote(reference, registry.register(reference, name, package(seed)), _better)
    decision = restore(name, "previous", "it missed cases")
    assert (decision.promoted, decision.champion) == (True, 1)
    assert _aliases(client, name) == {"champion": 1, "previous": 2}
    assert "Set by hand: it missed cases" in registry.versions(name)[0].tags["promotion.reason"]
    repeated = registry.register(run(), name, package(1))
    assert "replaced by hand" in promote(reference, repeated, _never).reason
    assert restore(name, "2", "it did not").champion == 2
    assert not restore(name, "2", "again").promoted
    assert _aliases(client, name) == {"champion": 2, "previous": 1}


def test_what_cannot_be_restored_is_one_sentence(client, run, name):
    with pytest.raises(InputError, match="No classifier is registered as"):
        restore(name, "1", "why")
    registry.register(run(), name, package(phantoms=True))
    with pytest.raises(InputError, match=r"has no version '7'; choose one of: 1\."):
        restore(name, "7", "why")
    with pytest.raises(InputError, match="drawn phantoms"):
        restore(name, "1", "why")


def test_the_champion_or_the_version_of_a_run_is_chosen_with_its_package(client, run, name):
    first, second = run(), run()
    for reference, seed in ((first, 0), (second, 1)):
        version = registry.register(reference, name, package(seed))
        promote(reference, version, _worse)
    for wanted, seed in (("champion", 0), (first.run_id, 0), (second.run_id, 1)):
        version, stored = choose(name, wanted)
        assert version.version == seed + 1
        assert stored == package(seed)


def test_what_cannot_be_chosen_is_one_sentence(client, run, name):
    with pytest.raises(InputError, match=f"No classifier is registered as '{name}'"):
        choose(name, "champion")
    promote(run(), registry.register(run(), name, package(limited=True)), _never)
    with pytest.raises(InputError, match="is its champion yet"):
        choose(name, "champion")
    with pytest.raises(InputError, match="There is no MLflow run 'nothing'"):
        choose(name, "nothing")
    other = run()
    with pytest.raises(InputError, match=f"run {other.run_id} registered no version of {name}"):
        choose(name, other.run_id)
