"""The documents as people find them: the site builds strictly, pictures are there and have words, forms are valid."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.conftest import CHECKOUT

PAGES = sorted([*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md"), *(CHECKOUT / ".github").rglob("*.md")])
SCHEMAS = {
    "vendor.github-workflows": ".github/workflows/ci.yml",
    "vendor.github-issue-forms": ".github/ISSUE_TEMPLATE/[fw]*.yml",
    "vendor.github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
    "vendor.citation-file-format": "CITATION.cff",
}


def build(folder):
    """Build the site of a folder as `make site` does."""
    recipe = (CHECKOUT / "Makefile").read_text().split("\nsite: setup\n")[1].split("\n\n")[0].split()
    command = [sys.executable, "-m", recipe[0].rpartition("/")[2], *recipe[1:]]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_the_site_builds(tmp_path):
    shutil.copy(CHECKOUT / "mkdocs.yml", tmp_path)
    for folder in ("docs", "models"):
        shutil.copytree(CHECKOUT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    done = build(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = tmp_path / "outputs" / "site"
    assert {page.stem for page in pages.glob("*.html")} == {"404"} | {
        page.stem for page in (CHECKOUT / "docs").glob("*.md")
    }
    page = (pages / "api" / "vector_index.html").read_text()
    assert 'id="models.vector_index.VectorIndex.search"' in page and "shape (rows,)" in page
    assert not (pages / "tools").exists()
    assert not re.findall(r'(?:src|<link[^>]*href)="https?://[^"]*"', page)  # nothing is fetched from elsewhere


def test_a_link_to_what_is_not_there_ends_the_build(tmp_path):
    settings = (CHECKOUT / "mkdocs.yml").read_text().partition("\nplugins:")[0]
    (tmp_path / "mkdocs.yml").write_text(f"{settings}\nnav:\n  - Start: index.md\n")
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "index.md"
    for link, ends in (("#start", False), ("#nowhere", True), ("nowhere.md", True)):
        page.write_text(f"# Start\n\n[link]({link})\n")
        assert (build(tmp_path).returncode != 0) == ends, link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_picture_of_a_page_is_there_and_is_said_in_words(page):
    text = page.read_text()
    for words, address in re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", text):
        assert len(words) >= 15, f"{address}: {words!r}"
        assert (page.parent / address).is_file(), address
    assert "<img" not in text


def test_every_page_stands_in_the_navigation():
    named = set(re.findall(r"[\w/]+\.(?:md|ipynb)", (CHECKOUT / "mkdocs.yml").read_text().partition("\nnav:")[2]))
    there = {page.relative_to(CHECKOUT / "docs").as_posix() for page in PAGES if "docs" in page.parts[-3:-1]}
    assert named == there | {"quickstart.ipynb"} | {f"api/{page.name}" for page in (CHECKOUT / "docs/api").glob("*.md")}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_what_github_reads_is_valid(schema):
    files = sorted(map(str, CHECKOUT.glob(SCHEMAS[schema])))
    assert files
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_the_workflow_and_the_devcontainer_run_the_targets_of_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    job = yaml.safe_load((CHECKOUT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["checks"]
    made = {step["run"].split()[1] for step in job["steps"] if step.get("run", "").startswith("make ")}
    assert made >= {"lint", "test"}
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12"]
    container = json.loads((CHECKOUT / ".devcontainer" / "devcontainer.json").read_text())
    made |= {
        word for each in ("onCreateCommand", "postAttachCommand") for word in re.findall(r"make (\w+)", container[each])
    }
    assert made <= targets
    assert {"run", "up"} <= made


def test_the_installed_packages_of_the_workflow_are_those_of_the_checks():
    """Without them tests skip, there as here."""
    needed = set(re.findall(r"missing\+=\(([^)]*)\)", (CHECKOUT / ".ci" / "run").read_text()))
    packages = {word for words in needed for word in words.split()} - {
        "make",
        "git",
        "python3",
        "python3-venv",
        "chromium",
    }
    installed = re.search(r"apt-get install -yq (.*)", (CHECKOUT / ".github" / "workflows" / "ci.yml").read_text())
    assert set(installed[1].split()) == packages
