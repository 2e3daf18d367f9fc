"""Check how an answer of Cloud Storage is told, whatever shape it has."""

from __future__ import annotations

import json

import pytest
import requests

from crawler.adapters.storage.refusals import refusal_of


def refused(status: int, body: bytes, url: str = "https://storage.example/o") -> requests.HTTPError:
    """Make what a library raises for an answer."""
    response = requests.Response()
    response.status_code = status
    response._content = body
    response.request = requests.Request("PUT", url).prepare()
    return requests.HTTPError(response=response)


def said(reason: str) -> bytes:
    """Write an error as the JSON API does."""
    return json.dumps({"error": {"errors": [{"domain": "global", "reason": reason}]}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (401, said("authError"), "the token of this identity is not taken (HTTP 401, authError)"),
        (403, b'{"error": {"status": "PERMISSION_DENIED"}}', "access is denied (HTTP 403, PERMISSION_DENIED)"),
        (403, b"<Error><Code>AccessDenied</Code></Error>", "access is denied (HTTP 403)"),
        (403, b'{"error": "no"}', "access is denied (HTTP 403)"),
        (403, b'["error"]', "access is denied (HTTP 403)"),
        (403, b"", "access is denied (HTTP 403)"),
        (400, said("a secret, or so"), "it refuses (HTTP 400)"),
        (503, said("backendError"), "it is busy (HTTP 503, backendError)"),
    ],
)
def test_any_answer_is_told(status: int, body: bytes, meaning: str) -> None:
    """Tell status, reason word and meaning; of an answer in another form the status alone."""
    refusal = refusal_of(refused(status, body))

    assert refusal is not None
    assert (refusal.meaning, refusal.busy) == (meaning, status == 503)


@pytest.mark.parametrize(
    ("status", "url", "gone"),
    [
        (410, "https://storage.example/upload/o?uploadType=resumable&upload_id=abc", True),
        (404, "https://storage.example/upload/o?uploadType=resumable&upload_id=abc", True),
        (404, "https://storage.example/upload/o?uploadType=resumable", False),
        (403, "https://storage.example/upload/o?uploadType=resumable&upload_id=abc", False),
    ],
)
def test_a_session_that_is_gone_is_no_bucket_that_is(status: int, url: str, gone: bool) -> None:
    """Tell an upload's session from the bucket by what was asked for."""
    refusal = refusal_of(refused(status, b"", url))

    assert refusal is not None
    assert refusal.session_gone is gone


def test_no_answer_is_no_refusal() -> None:
    """Return None where nothing was answered."""
    assert refusal_of(requests.ConnectionError()) is None
