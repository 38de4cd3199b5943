"""What `tasks.cases.archive` uses of dicomweb-client that nothing documents: an answer's parts before they are read."""

import io
import json

import requests
from dicomweb_client.web import DICOMwebClient, _Transaction


def answered(content, headers):
    """A session that gives every request the same answer."""

    class Session(requests.Session):
        def send(self, request, **_):
            answer = requests.Response()
            answer.status_code, answer.url, answer.request = 200, request.url, request
            answer.headers.update(headers)
            answer.raw = io.BytesIO(content)
            return answer

    return Session()


def test_the_parts_of_an_answer_are_given_as_they_came():
    body = b"\r\n--cut\r\nContent-Type: application/dicom\r\n\r\n\0one\r\n\0\r\n--cut--"
    session = answered(body, {"Content-Type": 'multipart/related; type="application/dicom"; boundary=cut'})
    client = DICOMwebClient("http://archive/dicom-web", session=session)
    address = client._get_instances_url(_Transaction.RETRIEVE, "1.2", "1.3", "1.4")
    assert address == "http://archive/dicom-web/studies/1.2/series/1.3/instances/1.4"
    answer = client._http_get(address, headers={"Accept": "application/dicom"})
    assert answer.request.headers["Accept"] == "application/dicom"
    assert [bytes(part) for part in client._decode_multipart_message(answer, stream=False)] == [b"\0one\r\n\0"]


def test_an_answer_passes_the_callback_before_it_is_read():
    seen = []

    class Adapter(requests.adapters.BaseAdapter):
        def send(self, request, **_):
            answer = requests.Response()
            answer.status_code, answer.url, answer.request = 200, request.url, request
            answer.raw = io.BytesIO(json.dumps([{"00080018": {"vr": "UI", "Value": ["1.4"]}}]).encode())
            return answer

        def close(self):
            pass

    def callback(answer, *_, **__):
        seen.append(answer.raw.tell())
        return answer

    session = requests.Session()
    session.mount("http://", Adapter())
    client = DICOMwebClient("http://archive/dicom-web", session=session, callback=callback)
    client.host = "archive:80"  # which is sent as HTTP's Host
    assert client.search_for_instances() == [{"00080018": {"vr": "UI", "Value": ["1.4"]}}]
    assert seen == [0]
