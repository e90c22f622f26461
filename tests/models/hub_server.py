"""A stand-in of the Hugging Face Hub on this machine: as much of its HTTP interface as sharing a model needs.

Run as a program, it is a session of a user with such a Hub: the client reads its environment when it is imported, so
that a process of its own is needed. The session pushes and loads, and writes what happened as JSON.
"""

import base64
import hashlib
import json
import os
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WRITE_TOKEN = "hf_writer"  # may write to what belongs to "someone"
OWNER = "someone"


class LocalHub:
    """Repositories in memory behind an address; uploads come as regular files, so that no other storage is needed.

    Attributes:
        address: for HF_ENDPOINT.
        repositories: id → {"private", "commits": [(sha, {path: content}), …], "tags": {name: sha}}.
        broken: paths of the interface that answer with status 500.
    """

    def __init__(self):
        self.repositories = {}
        self.broken = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def find(self, repository, revision):
        """(sha, files) of the branch main, a tag or a commit; None if there is no such revision."""
        commits = self.repositories[repository]["commits"]
        if revision == "main":
            return commits[-1]
        sha = self.repositories[repository]["tags"].get(revision, revision)
        return next((commit for commit in commits if commit[0] == sha), None)


class _Handler(BaseHTTPRequestHandler):
    hub: LocalHub
    protocol_version = "HTTP/1.0"  # a connection a request: none outlives the server

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path in self.hub.broken:
            return self._answer(500, {"error": "Internal Error"})
        if self.path == "/api/validate-yaml":
            return self._answer(200, {"errors": [], "warnings": []})
        user = self._user()
        if user is None:
            return self._answer(401, {"error": "Invalid credentials in Authorization header"})
        if self.path == "/api/repos/create":
            return self._create(user, json.loads(body))
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", self.path)
        if found is None or found[1] not in self.hub.repositories:
            return self._answer(404, {"error": "Repository not found"}, code="RepoNotFound")
        if found[1].partition("/")[0] != user:
            return self._answer(403, {"error": "Forbidden"})
        if found[2] == "commit":
            return self._commit(found[1], body)
        files = json.loads(body)["files"]
        modes = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
        return self._answer(200, {"files": modes})

    def do_GET(self):
        found = re.fullmatch(r"/api/models/([^/]+/[^/?]+)(?:/(revision|tree)/([^/?]+))?(\?.*)?", self.path)
        if found is None:
            return self._file()
        commit = self._readable(found[1], found[3] or "main")
        if commit is None:
            return None
        sha, files = commit
        if found[2] == "tree":
            return self._answer(200, [_entry(path, content) for path, content in files.items()])
        siblings = [{"rfilename": path} for path in files]
        private = self.hub.repositories[found[1]]["private"]
        return self._answer(
            200, {"id": found[1], "_id": "0", "sha": sha, "private": private, "tags": [], "siblings": siblings}
        )

    do_HEAD = do_GET

    def _create(self, user, wanted):
        owner = wanted["organization"] or user
        repository = f"{owner}/{wanted['name']}"
        if repository in self.hub.repositories:
            address = f"{self.hub.address}/{repository}"
            return self._answer(409, {"error": "You already created this model repo", "url": address})
        if owner != user:
            return self._answer(403, {"error": f"You don't have the rights to create a model under {owner}"})
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        first = (hashlib.sha1(repository.encode()).hexdigest(), {".gitattributes": b""})
        self.hub.repositories[repository] = {"private": private, "commits": [first], "tags": {}}
        return self._answer(200, {"url": f"{self.hub.address}/{repository}"})

    def _commit(self, repository, body):
        parent_sha, parent_files = self.hub.repositories[repository]["commits"][-1]
        operations = [json.loads(line) for line in body.splitlines()]
        added = {
            operation["value"]["path"]: base64.b64decode(operation["value"]["content"])
            for operation in operations
            if operation["key"] == "file"
        }
        sha = hashlib.sha1(parent_sha.encode() + body).hexdigest()
        self.hub.repositories[repository]["commits"].append((sha, parent_files | added))
        address = f"{self.hub.address}/{repository}/commit/{sha}"
        return self._answer(200, {"success": True, "commitUrl": address, "commitOid": sha})

    def _file(self):
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        commit = self._readable(found[1], found[2]) if found else self._answer(404, {"error": "Not found"})
        if commit is None:
            return None
        sha, files = commit
        if found[3] not in files:
            return self._answer(404, {"error": "Entry not found"}, code="EntryNotFound")
        content = files[found[3]]
        headers = {"ETag": f'"{_git_id(content)}"', "X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
        return self._send(200, content, "application/octet-stream", headers)

    def _readable(self, repository, revision):
        """The commit, or None after an answer that says why not; what is private looks as if it did not exist."""
        entry = self.hub.repositories.get(repository)
        if entry is None or (entry["private"] and self._user() != repository.partition("/")[0]):
            status = 401 if self._user() is None else 404
            return self._answer(status, {"error": "Repository not found"}, code="RepoNotFound")
        commit = self.hub.find(repository, revision)
        if commit is None:
            return self._answer(404, {"error": f"Invalid rev id: {revision}"}, code="RevisionNotFound")
        return commit

    def _user(self):
        return OWNER if self.headers.get("Authorization") == f"Bearer {WRITE_TOKEN}" else None

    def _answer(self, status, content, code=None):
        headers = {"X-Error-Code": code, "X-Error-Message": content["error"]} if code else {}
        self._send(status, json.dumps(content).encode(), "application/json", headers)

    def _send(self, status, content, kind, headers):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def _entry(path, content):
    return {"type": "file", "path": path, "size": len(content), "oid": _git_id(content)}


def _git_id(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def session(folder):
    """Push and load as a user does; each step's outcome is a plain value, an error its text."""
    hub = LocalHub()
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING_FACE", "HUGGINGFACE"))]:
        del os.environ[name]
    os.environ |= {"HF_ENDPOINT": hub.address, "HF_HOME": str(folder / "hf"), "NO_PROXY": "127.0.0.1"}
    os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

    import torch

    from crispseg.errors import WeightsError
    from crispseg.models import create_model, load_model, push_to_hub, save_model

    def attempt(action, *arguments, **options):
        try:
            return action(*arguments, **options)
        except WeightsError as error:
            return f"WeightsError: {error}"

    images = torch.rand(1, 3, 45, 70)

    def logits(model):
        with torch.no_grad():
            return model.eval()(images).logits

    def make(seed):
        torch.manual_seed(seed)
        return create_model("fcn", backbone="test_resnet", num_classes=3, channels=16)

    outcome = {"hub": hub.address}
    first, second = make(1), make(2)
    outcome["models_differ"] = not torch.equal(logits(first), logits(second))
    save_model(first, folder / "run" / "model", metrics={"mean_iou": 0.5}, licence="CC BY-NC-SA 4.0")

    outcome["no_token"] = attempt(push_to_hub, first, "someone/streets")
    outcome["wrong_token"] = attempt(push_to_hub, first, "someone/streets", token="hf_wrong")
    outcome["foreign_place"] = attempt(push_to_hub, first, "else/streets", token=WRITE_TOKEN)
    outcome["bad_name"] = attempt(push_to_hub, first, "someone/a--b", token=WRITE_TOKEN)
    outcome["after_refusals"] = sorted(hub.repositories)

    outcome["address"] = attempt(push_to_hub, folder / "run", "someone/streets", token=f"{WRITE_TOKEN}\n")
    repository = hub.repositories["someone/streets"]
    outcome["files"] = sorted(repository["commits"][-1][1])
    outcome["page"] = repository["commits"][-1][1]["README.md"].decode()
    outcome["commits"] = len(repository["commits"])
    outcome["first_is_same"] = torch.equal(logits(load_model("someone/streets")), logits(first))
    repository["tags"]["v1"] = repository["commits"][-1][0]

    attempt(push_to_hub, second, "someone/streets", token=WRITE_TOKEN)
    outcome["second_is_same"] = torch.equal(logits(load_model("someone/streets")), logits(second))
    outcome["tag_is_first"] = torch.equal(logits(load_model("someone/streets@v1")), logits(first))
    commit = repository["tags"]["v1"]
    outcome["commit_is_first"] = torch.equal(logits(load_model(f"someone/streets@{commit}")), logits(first))

    hub.broken.add("/api/models/someone/streets/commit/main")
    outcome["broken_commit"] = attempt(push_to_hub, first, "someone/streets", token=WRITE_TOKEN)
    outcome["commits_after_broken"] = len(repository["commits"])
    outcome["private_but_public"] = attempt(push_to_hub, first, "someone/streets", private=True, token=WRITE_TOKEN)
    attempt(push_to_hub, first, "someone/secret", private=True, token=WRITE_TOKEN)
    outcome["private"] = {name: entry["private"] for name, entry in hub.repositories.items()}
    outcome["load_private"] = attempt(load_model, "someone/secret")

    hub.repositories["someone/other"] = {"private": False, "commits": [("0" * 40, {"a.txt": b"a"})], "tags": {}}
    outcome["load_other"] = attempt(load_model, "someone/other")
    outcome["load_missing"] = attempt(load_model, "someone/missing")
    outcome["load_missing_revision"] = attempt(load_model, "someone/streets@v9")

    hub.stop()
    outcome["cache_is_second"] = torch.equal(logits(load_model("someone/streets")), logits(second))
    outcome["cached_tag_is_first"] = torch.equal(logits(load_model("someone/streets@v1")), logits(first))
    outcome["load_down"] = attempt(load_model, "someone/missing")
    outcome["push_down"] = attempt(push_to_hub, first, "someone/streets", token=WRITE_TOKEN)
    (folder / "outcome.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    session(Path(sys.argv[1]))
