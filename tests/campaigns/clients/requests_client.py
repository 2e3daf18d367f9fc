"""requests with urllib3's Retry, as most would set it up."""

from typing import Any

import requests
from client import read_job, try_all
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

job = read_job()
session = requests.Session()
session.headers.update(job.headers)
retry = Retry(total=2, backoff_factor=0.1, status_forcelist=[429, 500, 502, 503, 504])
session.mount("http://", HTTPAdapter(max_retries=retry))
session.mount("https://", HTTPAdapter(max_retries=retry))


def fetch(url: str) -> Any:
    """Fetch a song's title."""
    response = session.get(url, timeout=(job.seconds, job.seconds))
    response.raise_for_status()
    return response.json()["title"]


try_all(job, fetch)
