"""Fetch X-rays from a DICOM archive and store results in it, over DICOMweb (PS3.18: QIDO-RS, WADO-RS, STOW-RS).

Pictures stay in memory. What an archive says may name a patient, so that messages tell what was asked and the status of
the answer, and never quote the answer or a header. Whoever logs in does so with a secret, which no address holds.
"""

import contextlib
import io
import ipaddress
import logging
import os
import time
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any
from urllib.parse import urlsplit

import requests
from dicomweb_client.web import DICOMwebClient, _Transaction
from pydicom import dcmread
from pydicom.uid import UID_dictionary
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from urllib3 import Retry

from models.errors import InputError
from models.text import printable

MAXIMUM_INSTANCES = 10_000
MAXIMUM_ANSWER_BYTES = 1 << 26  # of a page of a search
MAXIMUM_PICTURE_BYTES = 1 << 29  # twice what the largest picture that is read takes
MAXIMUM_SECONDS = 600  # a request, however slowly it trickles
MODALITIES = ("CR", "DX")

_SCHEME = "dicomweb+"
_PAGE = 500
_WAIT = (10, 60)  # seconds to connect, and between two pieces of an answer
_BUSY = Retry(
    total=None, connect=0, read=0, other=0, status=2, status_forcelist=(429, 503, 504), allowed_methods=None,
    backoff_factor=1, raise_on_status=False, respect_retry_after_header=False,
)  # fmt: skip
_MODALITY, _BODY_PART, _SOP_CLASS = "00080060", "00180015", "00080016"
_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"
_FIELDS = ("SOPClassUID", "Modality", "BodyPartExamined")  # beside what every archive tells
_BODY_PART_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ ")

# What the library logs quotes what archives say.
logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL)


def is_archive_address(address: str) -> bool:
    """Tell whether an address is of an instance in an archive, as `list_instances` gives it."""
    return address.startswith(_SCHEME)


def service_of(address: str) -> str:
    """Return the address of the DICOMweb service that an instance lies in."""
    return _taken_apart(address)[0]


def list_instances(
    url: str,
    *,
    login: str | None = None,
    study: str | None = None,
    modalities: Sequence[str] = MODALITIES,
    body_part: str | None = None,
    since: date | None = None,
) -> list[str]:
    """List the X-rays of an archive.

    Pictures that are kept "for processing" are left out: the same ones are there for presentation.

    Args:
        url: of the DICOMweb service, such as `https://pacs.example.org/dicom-web`.
        login: `name:password`, or a token; None for none.
        study: UID of the study they belong to.
        modalities: what made them.
        body_part: examined, in DICOM's term, such as `CHEST`.
        since: day of the study or later.

    Returns:
        An address each, sorted: `dicomweb+https://…/studies/1.2/series/3.4/instances/5.6`.

    Raises:
        InputError: the archive cannot be reached or asked so, does not answer as one, or has too many.
    """
    service = _Service(url, login)
    if study is not None and not _is_uid(study):
        raise InputError(
            f"{printable(study)} is no study UID: numbers with dots between them were expected, 64 characters at most."
        )
    filters: dict[str, Any] = {}
    if body_part:
        body_part = body_part.strip().upper()
        if not set(body_part) <= _BODY_PART_LETTERS or len(body_part) > 16:
            raise InputError(f"{printable(body_part)} is no body part: one of DICOM's terms was expected, as CHEST.")
        filters["BodyPartExamined"] = body_part
    if since is not None:
        filters["StudyDate"] = f"{since:%Y%m%d}-"
    found: set[tuple[str, str, str]] = set()
    for modality in dict.fromkeys(modalities):
        for instance in service.search(study, filters | {"Modality": modality}):
            uids = (
                _first(instance, _STUDY) or study or "",
                _first(instance, _SERIES) or "",
                _first(instance, _INSTANCE) or "",
            )
            if all(map(_is_uid, uids)) and _counts(instance, modality, body_part):
                found.add(uids)
            if len(found) > MAXIMUM_INSTANCES:
                raise InputError(
                    f"{service.name} has more than {MAXIMUM_INSTANCES:,} such X-rays, the most that a run takes: ask "
                    "for one study, a body part or a later day."
                )
    return [service.address(*uids) for uids in sorted(found)]


def retrieve(address: str, *, login: str | None = None) -> bytes:
    """Fetch an instance from an archive into memory.

    Args:
        address: as `list_instances` gives it.
        login: `name:password`, or a token; None for none.

    Returns:
        The DICOM file.

    Raises:
        InputError: it is not there, too large, or the archive cannot be reached.
    """
    base, *uids = _taken_apart(address)
    return _Service(base, login).fetch(*uids)


def store(url: str, objects: Sequence[bytes], *, login: str | None = None) -> None:
    """Store DICOM objects in an archive. What it has already stays once.

    Args:
        url: of the DICOMweb service.
        objects: DICOM files.
        login: `name:password`, or a token; None for none.

    Raises:
        InputError: the archive cannot be reached, or did not take all of them.
    """
    service = _Service(url, login)
    for each in objects:
        service.store(each)


class _Client(DICOMwebClient):
    """The library's client, which also gives an instance as the bytes that the archive sent."""

    def instance(self, study: str, series: str, instance: str) -> list[bytes]:
        address = self._get_instances_url(_Transaction.RETRIEVE, study, series, instance)
        accepted = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        response = self._http_get(address, headers={"Accept": accepted})
        if response.headers.get("Content-Type", "").startswith("application/dicom"):  # some archives send it bare
            return [response.content]
        return list(self._decode_multipart_message(response, stream=False))


class _Service:
    """An archive: what the library does, bounded, with errors that are one sentence."""

    def __init__(self, url: str, login: str | None) -> None:
        self._base = _checked(url)
        parts = urlsplit(self._base)
        self.name = f"The archive {printable(parts.netloc, 60)}"
        self._most = MAXIMUM_ANSWER_BYTES
        session = requests.Session()
        session.max_redirects = 0  # a login goes where the user sends it, and nowhere else
        if _is_this_machine(parts.hostname or ""):  # of whose servers no proxy knows
            session.trust_env = False
            session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        session.headers["Accept"] = "application/dicom+json"  # of which the library understands what was not taken
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=_BUSY))
        if login:
            _log_in(session, login)
        self._client = _Client(
            self._base, session=session, callback=self._read, chunk_size=1 << 31, permissive_uid=True, timeout=_WAIT
        )
        self._client.host = parts.netloc  # with its port, as HTTP asks for
        self._client.set_http_retry_params(retry=False)  # it would try again whatever went wrong

    def address(self, study: str, series: str, instance: str) -> str:
        """Address of an instance."""
        return f"{_SCHEME}{self._base}/studies/{study}/series/{series}/instances/{instance}"

    def search(self, study: str | None, filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Ask for instances, a page at a time."""
        seen: set[str] = set()
        received = 0
        while True:
            with self._one_sentence("searched"):
                page = self._client.search_for_instances(
                    study, limit=_PAGE, offset=received, fields=_FIELDS, search_filters=filters
                )
            if not isinstance(page, list) or not all(isinstance(each, dict) for each in page):
                raise self._unlike("searched")
            new = {uid: each for each in page if (uid := _first(each, _INSTANCE)) and uid not in seen}
            if not new:  # also of an archive that gives its first page again and again
                return
            yield from new.values()
            seen |= new.keys()
            received += len(page)
            if received > 10 * MAXIMUM_INSTANCES:  # of which hardly one counts
                raise InputError(
                    f"{self.name} has too many instances to look through: ask for one study or a later day."
                )

    def fetch(self, study: str, series: str, instance: str) -> bytes:
        """Fetch an instance."""
        self._most = MAXIMUM_PICTURE_BYTES
        with self._one_sentence("asked for a picture"):
            parts = self._client.instance(study, series, instance)
        if len(parts) != 1 or not parts[0]:
            raise self._unlike("asked for a picture")
        return bytes(parts[0])

    def store(self, content: bytes) -> None:
        """Store an object."""
        result = dcmread(io.BytesIO(content))
        with self._one_sentence("sent a result"):
            answer = self._client.store_instances([result])
        if answer.get("FailedSOPSequence"):
            code = answer.FailedSOPSequence[0].get("FailureReason")
            told = f" (reason {code:04X} hexadecimal)" if isinstance(code, int) else ""
            raise InputError(f"{self.name} did not take a result{told}: ask its administrator whether it stores such.")

    def _read(self, response: requests.Response, *_: Any, **__: Any) -> requests.Response:
        """Read an answer as it comes, within bounds, before the library takes all of it."""
        end, content = time.monotonic() + MAXIMUM_SECONDS, bytearray()
        for piece in response.iter_content(1 << 20):
            content += piece
            if len(content) > self._most:
                raise InputError(
                    f"{self.name} sent more than {self._most >> 20:,} MB, the most that is taken at once: ask for less."
                )
            if time.monotonic() > end:
                raise requests.Timeout
        response.close()
        read = requests.Response()
        read.status_code, read.reason, read.url = response.status_code, response.reason, response.url
        read.headers, read.request, read.encoding = response.headers, response.request, response.encoding
        read.raw = io.BytesIO(content)
        return read

    @contextlib.contextmanager
    def _one_sentence(self, what: str) -> Iterator[None]:
        """Make one sentence of what the library raises, which may quote an answer."""
        try:
            yield
        except InputError:
            raise
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            raise InputError(f"{self.name} answered with status {status} when {what}: {_advice(status)}.") from None
        except requests.exceptions.SSLError:
            raise InputError(
                f"{self.name} does not prove who it is (TLS): give the address that its certificate names, or name "
                "the authority that signed it in REQUESTS_CA_BUNDLE."
            ) from None
        except requests.TooManyRedirects:
            raise InputError(f"{self.name} sends its callers elsewhere: give the address that it names.") from None
        except requests.Timeout:
            raise InputError(f"{self.name} did not answer in time when {what}: try again later.") from None
        except requests.exceptions.ConnectionError:
            raise InputError(f"{self.name} cannot be reached: correct the address, or start it.") from None
        except Exception:
            raise self._unlike(what) from None

    def _unlike(self, what: str) -> InputError:
        return InputError(
            f"{self.name} does not answer as DICOMweb does when {what}: give the address of its DICOMweb service, "
            "which often ends in /dicom-web."
        )


def _advice(status: int) -> str:
    if status in (401, 403):
        return "name a Secret block with a login that it knows, or set DICOMWEB_LOGIN"
    if status == 404:
        return "it is not there; give the address of its DICOMweb service, and what it holds"
    return "try again later, or ask its administrator"


def _checked(url: str) -> str:
    """Return the address of a service without a slash at its end."""
    try:
        parts = urlsplit(url.strip())
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        known = False
    if not known or parts.query or parts.fragment or any(ord(letter) <= 32 for letter in url.strip()):
        raise InputError(
            f"{_without_login(url)} is no address of a DICOMweb service: one such as "
            "https://pacs.example.org/dicom-web was expected."
        )
    if parts.username is not None or parts.password is not None:
        raise InputError(
            "The address of the archive holds a login, which would be stored with the run: name a Secret block "
            "with it, or set DICOMWEB_LOGIN."
        )
    return url.strip().rstrip("/")


def _without_login(url: str) -> str:
    return printable(url.rpartition("@")[2])


def _taken_apart(address: str) -> tuple[str, str, str, str]:
    base, *uids = _split(address)
    if not address.startswith(_SCHEME) or len(uids) != 3 or not all(map(_is_uid, uids)):
        raise InputError(
            f"{_without_login(address)} is no address of a picture in an archive: one such as "
            f"{_SCHEME}https://host/dicom-web/studies/1.2/series/3.4/instances/5.6 was expected."
        )
    study, series, instance = uids
    return base, study, series, instance


def _split(address: str) -> list[str]:
    pieces = address.removeprefix(_SCHEME).rsplit("/", 6)
    if len(pieces) != 7 or pieces[1::2] != ["studies", "series", "instances"]:
        return [address]
    return pieces[::2]


def _log_in(session: requests.Session, login: str) -> None:
    name, colon, password = login.strip().partition(":")
    if colon:
        session.auth = HTTPBasicAuth(name.encode(), password.encode())
    else:
        session.headers["Authorization"] = f"Bearer {name.removeprefix('Bearer ')}"


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_uid(text: str) -> bool:
    return 0 < len(text) <= 64 and text[0].isdigit() and set(text) <= set("0123456789.")


def _counts(instance: dict[str, Any], modality: str, body_part: str | None) -> bool:
    """Tell whether an instance is a picture that was asked for, as archives may not go by every filter."""
    sop_class = _first(instance, _SOP_CLASS)
    name = UID_dictionary[sop_class][0] if sop_class in UID_dictionary else ""
    if "Image Storage" not in name or "For Processing" in name:
        return False
    told = {_MODALITY: modality, _BODY_PART: body_part}
    return all(wanted is None or (_first(instance, tag) or wanted).upper() == wanted for tag, wanted in told.items())


def _first(instance: dict[str, Any], tag: str) -> str:
    """First value of an element in DICOM's JSON; empty where there is none."""
    element = instance.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0].strip() if isinstance(values, list) and values and isinstance(values[0], str) else ""
