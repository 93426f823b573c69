"""A small Hub in memory for tests: enough of the Hugging Face HTTP protocol for the real clients, on a free local port.

    with LocalHub() as hub:
        subprocess.run(["hf", "download", "user/name"], env=hub.environment(tmp_path))

It keeps commits, branches and tags, stores binary files apart behind a redirect as the Hub's storage does, answers
range requests, asks for a token where the Hub asks for one, and notes every request. `break_off` drops a connection.
"""

import base64
import datetime
import hashlib
import itertools
import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

import yaml

TOKEN = "hf_token_of_the_tests"
_KINDS = {"": "model", "models": "model", "datasets": "dataset", "spaces": "space"}


@dataclass(frozen=True)
class Blob:
    """A file's bytes; large ones are kept in storage under their sha256 and only pointed at by git."""

    data: bytes
    large: bool

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def oid(self) -> str:
        """What git calls the file: the SHA-1 of its contents, or of the pointer."""
        content = self.data
        if self.large:
            pointer = (
                "version https://git-lfs.github.com/spec/v1",
                f"oid sha256:{self.sha256}",
                f"size {len(self.data)}",
                "",
            )
            content = "\n".join(pointer).encode()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def describe(self, path: str) -> dict[str, Any]:
        entry = {"type": "file", "path": path, "oid": self.oid, "size": len(self.data)}
        return entry | ({"lfs": {"oid": self.sha256, "size": len(self.data), "pointerSize": 134}} if self.large else {})


@dataclass(frozen=True)
class Commit:
    """A state of a repository."""

    oid: str
    title: str
    date: str
    files: Mapping[str, Blob]


@dataclass
class Repository:
    """Commits of one model, data set or Space, and the names that point at them."""

    kind: str
    name: str
    private: bool = False
    sdk: str | None = None
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Mapping[str, Blob], title: str) -> Commit:
        date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        oid = hashlib.sha1(f"{self.kind} {self.name} {len(self.commits)} {title}".encode()).hexdigest()
        self.commits[oid] = Commit(oid, title, date, dict(sorted(files.items())))
        self.branches["main"] = oid
        return self.commits[oid]

    def at(self, revision: str) -> Commit | None:
        return self.commits.get(self.branches.get(revision) or self.tags.get(revision) or revision)

    @property
    def files(self) -> Mapping[str, Blob]:
        """The files on main."""
        return self.commits[self.branches["main"]].files


@dataclass(frozen=True)
class Reply:
    """An answer: JSON, or bytes as they are."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):  # noqa: N818 (an answer, no failure of the server)
    """An answer that says no, with the headers by which clients tell the reasons apart."""

    def __init__(self, status: int, message: str, code: str | None = None, **headers: str) -> None:
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **headers}
        self.reply = Reply(status, {"error": message}, headers)


@dataclass(frozen=True)
class Request:
    """What the server was asked, and what it answered."""

    method: str
    path: str
    token: str | None
    range: str | None
    status: int


class LocalHub:
    """Everything that is stored, and its servers, each in a thread: the Hub, and on another port, the storage."""

    def __init__(self) -> None:
        handler = type("_HandlerOfThisHub", (_Handler,), {"hub": self})
        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2)]
        self.url, self.storage_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers)
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.storage: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        self._broken: dict[str, int] = {}
        self._refused: set[str] = set()

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def environment(self, home: Path, *, token: str | None = TOKEN, **extra: str) -> dict[str, str]:
        """Variables under which the clients of a new process know no Hub but this one and no cache but `home`."""
        foreign = re.compile(r"HF_|HUGGING|TRANSFORMERS_|XDG_CACHE|PYTHONPATH|.*_proxy$", re.IGNORECASE)
        kept = {key: value for key, value in os.environ.items() if not foreign.match(key)}
        hub = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        return kept | hub | ({"HF_TOKEN": token} if token else {}) | extra

    def add(self, kind: str, name: str, files: Mapping[str, bytes], *, private: bool = False) -> Repository:
        """Put a repository there without any client."""
        repository = self.repositories[kind, name] = Repository(kind, name, private)
        repository.commit({path: self.store(path, data) for path, data in files.items()}, "first")
        return repository

    def store(self, path: str, data: bytes) -> Blob:
        blob = Blob(data, is_large(path, data[:512], len(data)))
        if blob.large:
            self.storage[blob.sha256] = data
        return blob

    def break_off(self, path: str, *, after: int) -> None:
        """Drop the connection once, after so many bytes, when next a file of that name is sent."""
        self._broken[path] = after

    def breaks_off(self, path: str) -> int | None:
        return self._broken.pop(path, None)

    def refuse(self, path: str) -> None:
        """Answer once with an internal error when next a large file of that name is asked for."""
        self._refused.add(path)

    def refuses(self, path: str) -> bool:
        refused = path in self._refused
        self._refused.discard(path)
        return refused

    def asked(self, method: str, pattern: str) -> list[Request]:
        return [request for request in self.requests if request.method == method and re.search(pattern, request.path)]


def is_large(path: str, sample: bytes, size: int) -> bool:
    """Whether a file goes to storage: weights and tables by name, the others when binary or above 10 MB."""
    return path.endswith((".safetensors", ".parquet")) or b"\0" in sample or size > 10_000_000


class _Handler(BaseHTTPRequestHandler):
    """One request: finds its route, answers, notes it."""

    protocol_version = "HTTP/1.1"
    hub: LocalHub

    def _serve(self) -> None:
        url = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.token = token or None
        self.body = self._read_body()
        try:
            reply = self._route("GET" if self.command == "HEAD" else self.command, url.path)
        except Refusal as refusal:
            reply = refusal.reply
        self.hub.requests.append(
            Request(self.command, unquote(self.path), self.token, self.headers.get("Range"), reply.status)
        )
        self._send(reply, name=self.query.get("filename") or unquote(url.path).rpartition("/")[2])

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Requests are kept in `LocalHub.requests`; nothing goes to the terminal."""

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _route(self, method: str, path: str) -> Reply:
        if self.token not in (None, TOKEN):
            raise Refusal(401, "Invalid credentials in Authorization header")
        for route_method, pattern, answer in _ROUTES:
            if method == route_method and (match := pattern.fullmatch(path)):
                return answer(self, **{name: unquote(value or "") for name, value in match.groupdict().items()})
        raise Refusal(404, f"no route {method} {path}")

    def _send(self, reply: Reply, *, name: str) -> None:
        is_bytes = isinstance(reply.body, bytes)
        body = reply.body if is_bytes else json.dumps(reply.body).encode()
        kind = "application/octet-stream" if is_bytes else "application/json"
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), **reply.headers}
        self.send_response(reply.status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        end = self.hub.breaks_off(name) if reply.status in (200, 206) else None
        self.wfile.write(body[:end])
        self.close_connection = end is not None

    # ----------------------------------------------------------------------------------------------------------------
    # What routes share

    def _repository(self, kind: str, owner: str, name: str, *, write: bool = False) -> Repository:
        repository = self.hub.repositories.get((_KINDS[kind], f"{owner}/{name}"))
        if self.token is None and (repository is None or repository.private):
            raise Refusal(401, "Invalid username or password.", "RepoNotFound")
        if repository is None:
            raise Refusal(404, "Repository not found", "RepoNotFound")
        if write:
            self._check_write(owner)
        return repository

    def _check_write(self, owner: str) -> None:
        if self.token is None:
            raise Refusal(401, "Invalid username or password.")
        if owner != "user":
            raise Refusal(403, f"You don't have the rights to create or change anything under the namespace {owner}")

    def _commit(self, repository: Repository, revision: str) -> Commit:
        commit = repository.at(revision or "main")
        if commit is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def _page(self, repository: Repository) -> str:
        prefix = "" if repository.kind == "model" else f"{repository.kind}s/"
        return f"{self.hub.url}/{prefix}{repository.name}"

    # ----------------------------------------------------------------------------------------------------------------
    # Accounts, cards, repositories

    def whoami(self) -> Reply:
        if self.token is None:
            raise Refusal(401, "Invalid username or password.")
        return Reply(
            body={"type": "user", "name": "user", "fullname": "User", "orgs": [], "auth": {"type": "access_token"}}
        )

    def validate_card(self) -> Reply:
        errors = card_errors(json.loads(self.body)["content"])
        return Reply(400 if errors else 200, {"errors": [{"message": error} for error in errors], "warnings": []})

    def create(self) -> Reply:
        asked = json.loads(self.body)
        kind, owner = asked.get("type") or "model", asked.get("organization") or "user"
        self._check_write(owner)
        key = (kind, f"{owner}/{asked['name']}")
        if key in self.hub.repositories:
            found = self.hub.repositories[key]
            return Reply(409, {"error": "You already created this repo", "url": self._page(found)})
        if kind == "space" and asked.get("sdk") not in ("gradio", "docker", "static"):
            raise Refusal(400, "a Space needs an sdk")
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        made = self.hub.repositories[key] = Repository(*key, private=private, sdk=asked.get("sdk"))
        attributes = (
            b"*.parquet filter=lfs diff=lfs merge=lfs -text\n*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
        )
        made.commit({".gitattributes": Blob(attributes, large=False)}, "initial commit")
        return Reply(body={"url": self._page(made), "name": made.name, "id": "0" * 24})

    def info(self, kind: str, owner: str, name: str, revision: str = "") -> Reply:
        repository = self._repository(kind, owner, name)
        commit = self._commit(repository, revision)
        siblings = [
            {"rfilename": path, "size": len(blob.data), "blobId": blob.oid} for path, blob in commit.files.items()
        ]
        facts = {
            "_id": "0" * 24,
            "id": repository.name,
            "author": owner,
            "sha": commit.oid,
            "lastModified": commit.date,
        }
        facts |= {
            "private": repository.private,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
        }
        return Reply(body=facts | {"createdAt": commit.date, "siblings": siblings})

    def refs(self, kind: str, owner: str, name: str) -> Reply:
        repository = self._repository(kind, owner, name)
        named = {"branches": ("heads", repository.branches), "tags": ("tags", repository.tags)}
        listed = {
            key: [{"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": oid} for name, oid in refs.items()]
            for key, (folder, refs) in named.items()
        }
        return Reply(body={"converts": [], **listed})

    def tag(self, kind: str, owner: str, name: str, revision: str) -> Reply:
        repository = self._repository(kind, owner, name, write=True)
        commit, tag = self._commit(repository, revision), json.loads(self.body)["tag"]
        if tag in repository.tags:
            raise Refusal(409, f"Tag reference exists already: {tag}")
        repository.tags[tag] = commit.oid
        return Reply()

    # ----------------------------------------------------------------------------------------------------------------
    # Files: listing, reading

    def tree(self, kind: str, owner: str, name: str, revision: str, folder: str = "") -> Reply:
        commit = self._commit(self._repository(kind, owner, name), revision)
        prefix = f"{folder}/" if folder else ""
        inside = {path: blob for path, blob in commit.files.items() if path.startswith(prefix)}
        if folder and not inside:
            raise Refusal(404, f"{folder} does not exist on {revision}", "EntryNotFound")
        recursive = self.query.get("recursive", "").lower() in ("1", "true")
        entries: dict[str, dict[str, Any]] = {}
        for path, blob in inside.items():
            *above, _ = path.removeprefix(prefix).split("/")
            for parent in itertools.accumulate(above, "{}/{}".format):
                entries[prefix + parent] = {"type": "directory", "path": prefix + parent, "oid": "0" * 40, "size": 0}
            entries[path] = blob.describe(path)
        shown = (entry for path, entry in entries.items() if recursive or "/" not in path.removeprefix(prefix))
        return Reply(body=list(shown))

    def paths_info(self, kind: str, owner: str, name: str, revision: str) -> Reply:
        commit = self._commit(self._repository(kind, owner, name), revision)
        is_json = "json" in self.headers.get("Content-Type", "")
        paths = json.loads(self.body)["paths"] if is_json else parse_qs(self.body.decode()).get("paths", [])
        entries = []
        for path in paths:
            if path in commit.files:
                entries.append(commit.files[path].describe(path))
            elif any(other.startswith(f"{path}/") for other in commit.files):
                entries.append({"type": "directory", "path": path, "oid": "0" * 40, "size": 0})
        return Reply(body=entries)

    def resolve(self, kind: str, owner: str, name: str, revision: str, path: str) -> Reply:
        commit = self._commit(self._repository(kind, owner, name), revision)
        headers = {"X-Repo-Commit": commit.oid}
        if path not in commit.files:
            raise Refusal(404, "Entry not found", "EntryNotFound", **headers)
        blob = commit.files[path]
        if not blob.large:
            return self._part(blob.data, headers | {"ETag": f'"{blob.oid}"'})
        location = f"{self.hub.storage_url}/storage/{blob.sha256}?filename={quote(path.rpartition('/')[2])}"
        headers |= {"X-Linked-Size": str(len(blob.data)), "X-Linked-Etag": f'"{blob.sha256}"', "Location": location}
        return Reply(302, b"", headers)

    def read_storage(self, sha256: str) -> Reply:
        if self.hub.refuses(self.query.get("filename", "")):
            raise Refusal(500, "the storage has a bad day")
        return self._part(self.hub.storage[sha256], {"ETag": f'"{sha256}"'})

    def _part(self, data: bytes, headers: dict[str, str]) -> Reply:
        """The bytes that were asked for: all of them, or a range."""
        headers = {"Accept-Ranges": "bytes", **headers}
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if not asked:
            return Reply(200, data, headers)
        first, last = asked.groups()
        start = int(first) if first else max(0, len(data) - int(last))
        end = min(int(last), len(data) - 1) if first and last else len(data) - 1
        if start > end:
            raise Refusal(416, "Range not satisfiable", **{"Content-Range": f"bytes */{len(data)}"})
        return Reply(206, data[start : end + 1], headers | {"Content-Range": f"bytes {start}-{end}/{len(data)}"})

    # ----------------------------------------------------------------------------------------------------------------
    # Files: writing

    def preupload(self, kind: str, owner: str, name: str, revision: str) -> Reply:
        commit = self._commit(self._repository(kind, owner, name, write=True), revision)
        files = []
        for file in json.loads(self.body)["files"]:
            large = is_large(file["path"], base64.b64decode(file["sample"]), file["size"])
            there = commit.files.get(file["path"])
            oid = there and (there.sha256 if there.large else there.oid)
            mode = "lfs" if large else "regular"
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return Reply(body={"files": files})

    def large_files_batch(self, kind: str, owner: str, name: str) -> Reply:
        self._repository(kind, owner, name, write=True)
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.storage:
                entry["actions"] = {"upload": {"href": f"{self.hub.storage_url}/storage/{wanted['oid']}"}}
            objects.append(entry)
        return Reply(body={"transfer": "basic", "objects": objects})

    def write_storage(self, sha256: str) -> Reply:
        if hashlib.sha256(self.body).hexdigest() != sha256:
            raise Refusal(400, "the bytes are not those of this address")
        self.hub.storage[sha256] = self.body
        return Reply()

    def commit(self, kind: str, owner: str, name: str, revision: str) -> Reply:
        repository = self._repository(kind, owner, name, write=True)
        with self.hub.lock:
            files, title = dict(self._commit(repository, revision).files), ""
            for line in self.body.splitlines():
                operation = json.loads(line)
                key, value = operation["key"], operation["value"]
                if key == "header":
                    title = value["summary"]
                    if value.get("parentCommit", repository.branches["main"]) != repository.branches["main"]:
                        raise Refusal(412, "A commit has happened since. Please refresh and try again.")
                elif key == "file":
                    files[value["path"]] = Blob(base64.b64decode(value["content"]), large=False)
                elif key == "lfsFile":
                    files[value["path"]] = Blob(self.hub.storage[value["oid"]], large=True)
                elif key == "deletedFile":
                    del files[value["path"]]
                else:
                    raise Refusal(400, f"no operation {key}")
            made = repository.commit(files, title)
        url = f"{self._page(repository)}/commit/{made.oid}"
        return Reply(body={"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""})


def card_errors(content: str) -> list[str]:
    """What the Hub would find wrong with the front matter of a README."""
    match = re.match(r"---\r?\n(.*?)\r?\n---", content, re.DOTALL)
    try:
        card = (yaml.safe_load(match[1]) if match else None) or {}
    except yaml.YAMLError as error:
        return [f"YAML: {error}"]
    texts = [key for key in ("license", "library_name", "pipeline_tag") if not isinstance(card.get(key, ""), str)]
    errors = [f'"{key}" must be a string' for key in texts]
    for model in card.get("model-index", []):
        for result in model.get("results", [{}]):
            places = {
                "task.type": result.get("task", {}).get("type"),
                "dataset.name": result.get("dataset", {}).get("name"),
            }
            places |= {"dataset.type": result.get("dataset", {}).get("type"), "metrics": result.get("metrics")}
            errors += [f'"model-index[0].results.{place}" is required' for place, value in places.items() if not value]
            if not re.fullmatch(r"(?:[\w.-]+/)?[\w.-]+", str(places["dataset.type"])):
                errors.append('"model-index[0].results.dataset.type" must be the name of a data set')
            values = [metric.get("value") for metric in result.get("metrics", [])]
            errors += ["metric.value must be a number" for value in values if not isinstance(value, (int, float))]
    return errors


_NAME = r"(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)"
_API = rf"/api/(?P<kind>models|datasets|spaces)/{_NAME}"
_PLAIN = rf"/(?:(?P<kind>datasets|spaces)/)?{_NAME}"
_REVISION = r"(?P<revision>[^/]+)"
_ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Reply]]] = [
    (method, re.compile(pattern), answer)
    for method, pattern, answer in (
        ("GET", r"/api/whoami-v2", _Handler.whoami),
        ("POST", r"/api/validate-yaml", _Handler.validate_card),
        ("POST", r"/api/repos/create", _Handler.create),
        ("GET", rf"{_API}(?:/revision/{_REVISION})?", _Handler.info),
        ("GET", rf"{_API}/refs", _Handler.refs),
        ("POST", rf"{_API}/tag/{_REVISION}", _Handler.tag),
        ("GET", rf"{_API}/tree/{_REVISION}(?:/(?P<folder>.+))?", _Handler.tree),
        ("POST", rf"{_API}/paths-info/{_REVISION}", _Handler.paths_info),
        ("POST", rf"{_API}/preupload/{_REVISION}", _Handler.preupload),
        ("POST", rf"{_API}/commit/{_REVISION}", _Handler.commit),
        ("POST", rf"{_PLAIN}\.git/info/lfs/objects/batch", _Handler.large_files_batch),
        ("PUT", r"/storage/(?P<sha256>[0-9a-f]{64})", _Handler.write_storage),
        ("GET", r"/storage/(?P<sha256>[0-9a-f]{64})", _Handler.read_storage),
        ("GET", rf"{_PLAIN}/resolve/{_REVISION}/(?P<path>.+)", _Handler.resolve),
    )
]
