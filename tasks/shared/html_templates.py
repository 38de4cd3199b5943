"""What all pages from templates share: layout, style and small pieces, and that every value is escaped.

The pages are whole in themselves: pictures are data URLs, and nothing is fetched. Text from outside, of a language
model or of a file, is not trusted: the pages hold no script but one of this project, which their content security
policy names by its digest.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from models.notices import PHANTOM_NOTICE, RANDOM_WEIGHTS_NOTICE, RESEARCH_NOTICE
from models.text import visible

_SHARED = Path(__file__).with_name("page_templates")


@cache
def environment(*folders: Path) -> Environment:
    """Load templates that may extend and include the shared ones.

    Args:
        folders: where a stage's own templates lie; the first that has one of a name counts.

    Returns:
        An environment that escapes every value, shows what steers a display as Python escapes, and refuses a name that
        was not given.
    """
    templates = Environment(
        loader=FileSystemLoader([*folders, _SHARED]),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["research_notice"] = RESEARCH_NOTICE
    return templates


def _visible(value: object) -> object:
    """Write out control characters; what is markup already stays markup."""
    if not isinstance(value, str) or value.isprintable():  # which pictures are: to look at each letter takes long
        return value
    shown = visible(value)
    return Markup(shown) if isinstance(value, Markup) else shown


def notices(*, phantoms: bool, random_weights: bool) -> list[str]:
    """Say what is not real of what a page shows, in the sentences that stand above it.

    Args:
        phantoms: whether the images are drawn phantoms.
        random_weights: whether a language model with random weights wrote the reports.

    Returns:
        None, one or two sentences.
    """
    return [PHANTOM_NOTICE] * phantoms + [RANDOM_WEIGHTS_NOTICE] * random_weights


def known(facts: Mapping[str, object] | None) -> dict[str, object]:
    """Leave out the facts that are not known.

    Args:
        facts: by name; None for none at all.

    Returns:
        Those that are not None.
    """
    return {name: value for name, value in (facts or {}).items() if value is not None}
