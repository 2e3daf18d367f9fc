"""What Cloud Storage refuses, in plain words: the status of its answer, and the reason that stands in it.

https://cloud.google.com/storage/docs/json_api/v1/status-codes
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

# What is no matter of the request: the library asks again until its time is over.
_BUSY = frozenset({408, 429, *range(500, 600)})
_REQUESTER_PAYS = "whoever asks has to pay for this bucket (requester pays), and this function names nobody who does"

# By the reason, in lower case.
_MEANINGS = {
    "accountdisabled": "the billing account of the bucket's project is closed or disabled",
    "userprojectaccountproblem": "the billing account of the bucket's project is closed or disabled",
    "userprojectmissing": _REQUESTER_PAYS,
    "userprojectaccessdenied": _REQUESTER_PAYS,
    "userprojectinvalid": _REQUESTER_PAYS,
    "retentionpolicynotmet": "the bucket's retention policy protects what is stored there",
    "objectunderactivehold": "a hold protects what is stored there",
    "insufficientpermissions": "the access scopes of this identity leave Cloud Storage out",
    "vpcservicecontrols": "the organization's VPC Service Controls forbid it",
    "autherror": "the token of this identity is not taken",
}
_BY_STATUS = {401: "the token of this identity is not taken", 403: "access is denied"}

_PERMISSION = re.compile(r"\bstorage\.[a-z]{1,30}\.[A-Za-z]{1,30}", re.ASCII)
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,63}", re.ASCII)


class Refusal(NamedTuple):
    """One answer of the service that is no success: its HTTP status, and what it means, in words for people."""

    status: int
    meaning: str
    session_gone: bool = False

    @property
    def busy(self) -> bool:
        """Tell whether it is a matter of the moment."""
        return self.status in _BUSY


def refusal_of(error: BaseException) -> Refusal | None:
    """Return what the service answered, by what the storage library raised; None: no answer came."""
    error = getattr(error, "cause", None) or error  # the last of many tries
    response = getattr(error, "response", None)
    if response is None:
        return None
    status = int(response.status_code)
    request = getattr(response, "request", None)
    # The bytes of a large object go to an upload session, which lives a week, and may be gone sooner (404, 410).
    # https://cloud.google.com/storage/docs/resumable-uploads#handling_errors
    session_gone = status in (404, 410) and "upload_id=" in str(getattr(request, "url", ""))
    reason, message = _said(response)
    told = f"HTTP {status}, {reason}" if reason else f"HTTP {status}"
    return Refusal(status, f"{_meaning(status, reason, message, session_gone)} ({told})", session_gone)


def _meaning(status: int, reason: str, message: str, session_gone: bool) -> str:
    if session_gone:
        return "the session of its upload is gone, and so was each that was begun anew"
    if "requester pays" in message.lower():
        return _REQUESTER_PAYS
    if status == 404:
        return "there is no such bucket"
    if meaning := _MEANINGS.get(reason.lower()):
        return meaning
    if permission := _PERMISSION.search(message):  # of the message no more is told: it names people and projects
        return f"this identity lacks the permission {permission[0]}"
    return _BY_STATUS.get(status, "it is busy" if status in _BUSY else "it refuses")


def _said(response: Any) -> tuple[str, str]:
    """Return the reason, one word, and the message of an answer; empty where it has none."""
    try:
        error = response.json()["error"]
        reasons = [each.get("reason") for each in error.get("errors", ())] + [error.get("status")]
        message = str(error.get("message") or "")
    except Exception:  # an answer of any shape, of the service or of something before it
        return "", ""
    reason = next((str(each) for each in reasons if each), "")
    return reason if _WORD.fullmatch(reason) else "", message
