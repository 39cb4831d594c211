"""A stand-in for the Hugging Face hub: a real web server that speaks what its package asks in push and pull.

Repositories live in memory as commits: revision -> {path: bytes}. Files above ``LARGE`` bytes go through the protocol
for large files, as on the hub. Tests may change what is stored, and what is told of it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 20_000
TOKEN = "hf_of_jane"


@dataclass
class Repository:
    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    head: str = ""

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.head]

    def commit(self, files: dict[str, bytes]) -> str:
        told = json.dumps([len(self.commits), sorted((name, hash(content)) for name, content in files.items())])
        self.head = hashlib.sha1(told.encode()).hexdigest()
        self.commits[self.head] = files
        return self.head


class Hub(ThreadingHTTPServer):
    """Holds repositories; ``asked`` lists the requests, ``lies`` what is served in place of a stored file."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.clear()

    def clear(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.lies: dict[str, bytes] = {}
        self.sizes: dict[str, int] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, name: str, files: dict[str, bytes], private: bool = False) -> None:
        """Store a repository as somebody else might have made it."""
        self.repositories[name] = Repository(private)
        self.repositories[name].commit(files)


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def answer(
        self, code: int, content: Any = b"", head: dict[str, str] | None = None, size: int | None = None
    ) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in (head or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if size is None else size))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, code: int, error: str, message: str) -> None:
        self.answer(code, {"error": message}, {"X-Error-Code": error, "X-Error-Message": message})

    def may_write(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def found(self, name: str) -> Repository | None:
        """Give a repository that the asker may see, or refuse as the hub does."""
        token = self.headers.get("Authorization")
        there = self.server.repositories.get(name)
        if token not in (None, f"Bearer {TOKEN}"):
            self.refuse(401, "", "Invalid credentials in Authorization header")
        elif there is None or (there.private and not self.may_write()):
            self.refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        else:
            return there
        return None

    def content(self) -> bytes:
        """Read what was sent, in one piece or in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def route(self) -> None:
        body = self.content()
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        self.server.asked.append(f"{self.command} {path}")
        for pattern, verb in ROUTES:
            if match := re.fullmatch(pattern, path):
                getattr(self, verb)(body, parse_qs(parts.query), *match.groups())
                return
        self.refuse(404, "", f"no such address: {path}")

    do_GET = do_HEAD = do_POST = do_PUT = route  # noqa: N815

    def create(self, body: bytes, query: Any) -> None:
        told = json.loads(body)
        name = f"{told['organization']}/{told['name']}"
        if not self.may_write():
            self.refuse(401, "", "Invalid username or password.")
        elif not name.startswith("jane/"):
            self.refuse(403, "", "You don't have the rights to create a model under this namespace")
        elif name in self.server.repositories:
            self.refuse(409, "", "You already created this model repo")
        else:
            private = told.get("private") is True or told.get("visibility") == "private"
            self.server.put(name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private)
            self.answer(200, {"url": f"{self.server.url}/{name}", "id": name, "name": name})

    def info(self, body: bytes, query: Any, name: str, revision: str | None = None) -> None:
        there = self.found(name)
        if there is None:
            return
        sha = there.head if revision in (None, "main") else revision
        if sha not in there.commits:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        siblings = [
            self.sibling(path, content) if "blobs" in query else {"rfilename": path}
            for path, content in there.commits[sha].items()
        ]
        self.answer(200, {"_id": "1", "id": name, "sha": sha, "private": there.private, "siblings": siblings})

    def sibling(self, path: str, content: bytes) -> dict[str, Any]:
        size = self.server.sizes.get(path, len(content))
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        lfs = {"sha256": hashlib.sha256(content).hexdigest(), "size": size, "pointerSize": 134}
        return {"rfilename": path, "size": size, "blobId": blob, **({"lfs": lfs} if len(content) > LARGE else {})}

    def validate(self, body: bytes, query: Any) -> None:
        import yaml

        front = json.loads(body)["content"].split("---\n")[1]
        assert "library_name" in yaml.safe_load(front)
        self.answer(200, {"errors": [], "warnings": []})

    def preupload(self, body: bytes, query: Any, name: str) -> None:
        if self.found(name) is None:
            return
        if not self.may_write():
            self.refuse(403, "", "Forbidden: you must use a write token")
            return
        files = [
            {"path": f["path"], "uploadMode": "lfs" if f["size"] > LARGE else "regular", "shouldIgnore": False}
            for f in json.loads(body)["files"]
        ]
        self.answer(200, {"files": files})

    def batch(self, body: bytes, query: Any, name: str) -> None:
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.server.url}/large/{one['oid']}"}}}
            for one in json.loads(body)["objects"]
        ]
        self.answer(200, {"transfer": "basic", "objects": objects})

    def store(self, body: bytes, query: Any, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.server.large[oid] = body
        self.answer(200)

    def commit(self, body: bytes, query: Any, name: str) -> None:
        there = self.found(name)
        if there is None:
            return
        files = dict(there.files)
        for line in body.splitlines():
            one = json.loads(line)
            key, value = one["key"], one["value"]
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
            elif key == "deletedFile":
                del files[value["path"]]
        oid = there.commit(files)
        self.answer(200, {"success": True, "commitOid": oid, "commitUrl": f"{self.server.url}/{name}/commit/{oid}"})

    def resolve(self, body: bytes, query: Any, name: str, revision: str, path: str) -> None:
        there = self.found(name)
        if there is None:
            return
        content = there.commits[revision][path]
        etag = hashlib.sha256(content).hexdigest()
        sent = self.server.lies.get(path, content)
        self.answer(200, sent, {"X-Repo-Commit": revision, "ETag": f'"{etag}"', "X-Linked-Size": str(len(sent))})

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = (
    (r"/api/repos/create", "create"),
    (r"/api/validate-yaml", "validate"),
    (rf"/api/models/{NAME}/preupload/main", "preupload"),
    (rf"/api/models/{NAME}/commit/main", "commit"),
    (rf"/api/models/{NAME}/revision/(.+)", "info"),
    (rf"/api/models/{NAME}", "info"),
    (rf"/{NAME}\.git/info/lfs/objects/batch", "batch"),
    (r"/large/([0-9a-f]{64})", "store"),
    (rf"/{NAME}/resolve/([0-9a-f]{{40}})/(.+)", "resolve"),
)
