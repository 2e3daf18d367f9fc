"""Answer gcloud as an empty Google Cloud project would, remember what is made in it, and record every request.

The surface of the services that a deployment uses, as gcloud sees it: names are free or taken, policies are read and
written whole, long operations are done at once. Nothing is checked that the real services check.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from servers.process import HOST

PROJECT = "fake-project"
PROJECT_NUMBER = "123456789"
SERVICES = (
    *("artifactregistry", "cloudbuild", "cloudfunctions", "cloudresourcemanager", "cloudscheduler", "cloudtasks"),
    *("iam", "run", "secretmanager", "serviceusage", "storage"),
)

Json = dict[str, Any]


@dataclass(frozen=True)
class ApiRequest:
    """Hold one recorded request; `path` begins with the service, `body` is its JSON, or the bytes of an upload."""

    method: str
    path: str
    query: dict[str, str]
    body: Any = None

    @property
    def writes(self) -> bool:
        """Tell whether it may change something: reading a policy is a POST too."""
        return self.method != "GET" and not self.path.endswith(("Policy", "services:batchGet"))


@dataclass(frozen=True)
class Refusal(Exception):
    """Answer with an error of the API."""

    code: int
    status: str
    message: str


@dataclass
class GoogleCloud:
    """Serve the project on a port of the loopback address; `resources` are what is in it, by service and name."""

    resources: dict[str, Any] = field(default_factory=dict)
    policies: dict[str, Json] = field(default_factory=dict)
    requests: list[ApiRequest] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    refuse: list[tuple[re.Pattern[str], Refusal]] = field(default_factory=list)

    def __enter__(self) -> GoogleCloud:
        """Start to serve."""
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Give the address of the server."""
        return f"http://{HOST}:{self._server.server_address[1]}"

    def environment(self, config: Path) -> dict[str, str]:
        """Give the variables that lead gcloud here, with a configuration and an identity of its own."""
        overrides = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name.upper()}": f"{self.url}/{name}/" for name in SERVICES}
        return {
            **overrides,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{self.url}/storage/v1/",
            "CLOUDSDK_AUTH_ACCESS_TOKEN": "fake",
            "CLOUDSDK_CONFIG": str(config),
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            "CLOUDSDK_CORE_PROJECT": PROJECT,
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
        }

    def answer(self, request: ApiRequest) -> Json:
        """Carry out one request; raises Refusal."""
        self.requests.append(request)
        for pattern, refusal in list(self.refuse):
            if pattern.search(f"{request.method} {request.path}"):
                self.refuse.remove((pattern, refusal))
                raise refusal
        for method, pattern_text, carry_out in _ROUTES:
            match = re.fullmatch(pattern_text, request.path)
            if request.method == method and match:
                return carry_out(self, request, *match.groups())
        self.unknown.append(f"{request.method} {request.path}")
        raise Refusal(501, "UNIMPLEMENTED", f"{request.method} {request.path} is not served here")

    def found(self, name: str) -> Json:
        """Give a resource; raises Refusal."""
        if name not in self.resources:
            raise Refusal(404, "NOT_FOUND", f"{name} was not found")
        return dict(self.resources[name])

    def add(self, name: str, resource: Json) -> Json:
        """Create a resource whose name must be free; raises Refusal."""
        if name in self.resources:
            raise Refusal(409, "ALREADY_EXISTS", f"{name} already exists")
        self.resources[name] = resource
        return resource


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, cloud: GoogleCloud) -> None:
        super().__init__((HOST, 0), _Handler)
        self.cloud = cloud


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_any(self) -> None:
        """Read, record and answer a request."""
        url = urlsplit(self.path)
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content_type = self.headers.get("Content-Type", "")
        body = json.loads(data) if data and content_type.startswith("application/json") else data or None
        # gcloud may leave it to the e-mail address of an account to name the project.
        path = re.sub("//+", "/", url.path).strip("/").replace("projects/-/", f"projects/{PROJECT}/")
        request = ApiRequest(self.command, path, dict(parse_qsl(url.query)), body)
        try:
            status, content = 200, self.server.cloud.answer(request)
        except Refusal as refusal:
            status = refusal.code
            content = {"error": {"code": status, "message": refusal.message, "status": refusal.status}}
        answer = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output clean: everything is recorded."""


def _enable(cloud: GoogleCloud, request: ApiRequest) -> Json:
    for service in request.body["serviceIds"]:
        cloud.resources[f"serviceusage/{service}"] = {"state": "ENABLED"}
    return {"name": "operations/acat.p2-123456789-enable", "done": True, "response": {}}


def _enable_one(cloud: GoogleCloud, request: ApiRequest, service: str) -> Json:
    cloud.resources[f"serviceusage/{service}"] = {"state": "ENABLED"}
    return {"name": "operations/acf.p2-123456789-enable", "done": True, "response": {}}


def _service(cloud: GoogleCloud, request: ApiRequest, service: str) -> Json:
    state = "ENABLED" if f"serviceusage/{service}" in cloud.resources else "DISABLED"
    return {"name": f"projects/{PROJECT_NUMBER}/services/{service}", "state": state}


def _get(cloud: GoogleCloud, request: ApiRequest) -> Json:
    return cloud.found(request.path)


def _patch(cloud: GoogleCloud, request: ApiRequest) -> Json:
    cloud.resources[request.path] = cloud.found(request.path) | (request.body or {})
    return cloud.found(request.path)


def _delete(cloud: GoogleCloud, request: ApiRequest) -> Json:
    cloud.found(request.path)
    del cloud.resources[request.path]
    return {}


def _create_account(cloud: GoogleCloud, request: ApiRequest) -> Json:
    email = f"{request.body['accountId']}@{PROJECT}.iam.gserviceaccount.com"
    name = f"projects/{PROJECT}/serviceAccounts/{email}"
    return cloud.add(f"iam/v1/{name}", {**request.body.get("serviceAccount", {}), "name": name, "email": email})


def _create_bucket(cloud: GoogleCloud, request: ApiRequest) -> Json:
    return cloud.add(f"storage/v1/b/{request.body['name']}", {"kind": "storage#bucket", **request.body})


def _create_secret(cloud: GoogleCloud, request: ApiRequest) -> Json:
    name = f"projects/{PROJECT}/secrets/{request.query['secretId']}"
    return cloud.add(f"secretmanager/v1/{name}", {**(request.body or {}), "name": name})


def _add_version(cloud: GoogleCloud, request: ApiRequest, secret: str) -> Json:
    name = f"projects/{PROJECT}/secrets/{secret}/versions/latest"
    cloud.resources[f"secretmanager/v1/{name}"] = {"name": name, "payload": request.body["payload"]}
    return {"name": name.replace("latest", "1"), "state": "ENABLED"}


def _access(cloud: GoogleCloud, request: ApiRequest, version: str) -> Json:
    return cloud.found(version)


def _versions(cloud: GoogleCloud, request: ApiRequest) -> Json:
    """List none: gcloud only asks how many are deleted with a secret."""
    return {}


def _create_child(cloud: GoogleCloud, request: ApiRequest) -> Json:
    """Create a queue or a job, whose whole name stands in its body."""
    return cloud.add(f"{request.path.split('/')[0]}/{request.path.split('/')[1]}/{request.body['name']}", request.body)


def _get_policy(cloud: GoogleCloud, request: ApiRequest, name: str) -> Json:
    return cloud.policies.get(name, {"version": 1, "etag": "BwX="})


def _set_policy(cloud: GoogleCloud, request: ApiRequest, name: str) -> Json:
    cloud.policies[name] = request.body["policy"]
    return cloud.policies[name]


def _get_bucket_policy(cloud: GoogleCloud, request: ApiRequest, name: str) -> Json:
    cloud.found(name)
    return cloud.policies.get(name, {"version": 1, "etag": "BwX="})


def _set_bucket_policy(cloud: GoogleCloud, request: ApiRequest, name: str) -> Json:
    cloud.policies[name] = request.body
    return cloud.policies[name]


def _project(cloud: GoogleCloud, request: ApiRequest, name: str) -> Json:
    return {"projectId": PROJECT, "projectNumber": PROJECT_NUMBER, "lifecycleState": "ACTIVE"}


def _runtimes(cloud: GoogleCloud, request: ApiRequest) -> Json:
    return {"runtimes": [{"name": "python313", "environment": "GEN_2", "stage": "GA"}]}


def _upload_url(cloud: GoogleCloud, request: ApiRequest) -> Json:
    return {
        "uploadUrl": f"{cloud.url}/upload/source.zip",
        "storageSource": {"bucket": "sources", "object": "source.zip"},
    }


def _upload(cloud: GoogleCloud, request: ApiRequest) -> Json:
    cloud.resources["source.zip"] = request.body
    return {}


def _deploy(cloud: GoogleCloud, request: ApiRequest) -> Json:
    match = re.search(r"functions/([a-z0-9-]+)$", request.path)
    function = request.query.get("functionId") or (match[1] if match else "")
    path = request.path if match else f"{request.path}/{function}"
    service = dict(request.body["serviceConfig"], uri=f"https://{function}-abcdef-uc.a.run.app")
    service["service"] = f"projects/{PROJECT}/locations/us-central1/services/{function}"
    name = path.split("/", 2)[2]
    cloud.resources[path] = {**request.body, "name": name, "serviceConfig": service} | _ACTIVE
    return _operation()


_ACTIVE = {"state": "ACTIVE", "environment": "GEN_2"}


def _operation() -> Json:
    kind = "type.googleapis.com/google.cloud.functions.v2."
    stage = {"name": "SERVICE", "state": "COMPLETE", "message": "", "resource": ""}
    return {
        "name": f"projects/{PROJECT}/locations/us-central1/operations/deploy",
        "done": True,
        "metadata": {"@type": f"{kind}OperationMetadata", "stages": [stage], "apiVersion": "v2"},
        "response": {"@type": f"{kind}Function"},
    }


def _operation_again(cloud: GoogleCloud, request: ApiRequest) -> Json:
    return _operation()


def _delete_function(cloud: GoogleCloud, request: ApiRequest) -> Json:
    _delete(cloud, request)
    return _operation()


def _run_service(cloud: GoogleCloud, request: ApiRequest) -> Json:
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": request.path.rsplit("/")[-1]},
    }


_PLACE = "v2/projects/[^/]+/locations/[^/]+"

_ROUTES: list[tuple[str, str, Callable[..., Json]]] = [
    ("POST", r"serviceusage/v1/projects/[^/]+/services:batchEnable", _enable),
    ("POST", r"serviceusage/v1/projects/[^/]+/services/([^/:]+):enable", _enable_one),
    ("GET", r"serviceusage/v1/projects/[^/]+/services/([^/:]+)", _service),
    ("GET", r"iam/v1/projects/[^/]+/serviceAccounts/[^/:]+", _get),
    ("POST", r"iam/v1/projects/[^/]+/serviceAccounts", _create_account),
    ("DELETE", r"iam/v1/projects/[^/]+/serviceAccounts/[^/:]+", _delete),
    ("GET", r"storage/v1/b/[^/]+", _get),
    ("POST", r"storage/v1/b", _create_bucket),
    ("PATCH", r"storage/v1/b/[^/]+", _patch),
    ("GET", r"(storage/v1/b/[^/]+)/iam", _get_bucket_policy),
    ("PUT", r"(storage/v1/b/[^/]+)/iam", _set_bucket_policy),
    ("GET", r"secretmanager/v1/projects/[^/]+/secrets/[^/:]+", _get),
    ("POST", r"secretmanager/v1/projects/[^/]+/secrets", _create_secret),
    ("POST", r"secretmanager/v1/projects/[^/]+/secrets/([^/:]+):addVersion", _add_version),
    ("GET", r"(secretmanager/v1/projects/[^/]+/secrets/[^/:]+/versions/latest):access", _access),
    ("GET", r"secretmanager/v1/projects/[^/]+/secrets/[^/:]+/versions", _versions),
    ("DELETE", r"secretmanager/v1/projects/[^/]+/secrets/[^/:]+", _delete),
    ("GET", rf"cloudtasks/{_PLACE}/queues/[^/:]+", _get),
    ("POST", rf"cloudtasks/{_PLACE}/queues", _create_child),
    ("PATCH", rf"cloudtasks/{_PLACE}/queues/[^/:]+", _patch),
    ("DELETE", rf"cloudtasks/{_PLACE}/queues/[^/:]+", _delete),
    ("GET", r"cloudscheduler/v1/projects/[^/]+/locations/[^/]+/jobs/[^/:]+", _get),
    ("POST", r"cloudscheduler/v1/projects/[^/]+/locations/[^/]+/jobs", _create_child),
    ("PATCH", r"cloudscheduler/v1/projects/[^/]+/locations/[^/]+/jobs/[^/:]+", _patch),
    ("DELETE", r"cloudscheduler/v1/projects/[^/]+/locations/[^/]+/jobs/[^/:]+", _delete),
    ("GET", rf"cloudfunctions/{_PLACE}/runtimes", _runtimes),
    ("GET", rf"cloudfunctions/{_PLACE}/functions/[^/:]+", _get),
    ("POST", rf"cloudfunctions/{_PLACE}/functions:generateUploadUrl", _upload_url),
    ("PUT", r"upload/source.zip", _upload),
    ("POST", rf"cloudfunctions/{_PLACE}/functions", _deploy),
    ("PATCH", rf"cloudfunctions/{_PLACE}/functions/[^/:]+", _deploy),
    ("DELETE", rf"cloudfunctions/{_PLACE}/functions/[^/:]+", _delete_function),
    ("GET", rf"cloudfunctions/{_PLACE}/operations/[^/:]+", _operation_again),
    ("GET", r"cloudresourcemanager/v1/projects/([^/:]+)", _project),
    ("GET", r"(.+):getIamPolicy", _get_policy),
    ("POST", r"(.+):getIamPolicy", _get_policy),
    ("POST", r"(.+):setIamPolicy", _set_policy),
]
