#!/usr/bin/env python3
"""Runs the blocks of `docs/MOVING.md` from top to bottom, in one shell, as their reader would.

    python tests/moving/run.py target/debug/threads-auth FOLDER

`threads-auth` works on a service of this test's own. Nango is a server that answers as its source
does at the commit that the page names, and the databases are PostgreSQL in WebAssembly: FOLDER is
this one after `npm ci`. Only commands that need AWS are left out; the page has them as text.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import tomllib
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "MOVING.md"
APP = {"client_id": "9876543210987654", "client_secret": "sandbox-app-secret"}
KEY = "key-of-nango"
SECONDS = 300

# The columns of Postiz's schema.prisma that the page speaks of, as Prisma makes them.
POSTIZ = """
CREATE TABLE "Integration" (
    "id" TEXT PRIMARY KEY, "internalId" TEXT NOT NULL, "organizationId" TEXT NOT NULL, "name" TEXT NOT NULL,
    "providerIdentifier" TEXT NOT NULL, "token" TEXT NOT NULL, "disabled" BOOLEAN NOT NULL DEFAULT false,
    "tokenExpiration" TIMESTAMP(3), "refreshToken" TEXT, "profile" TEXT, "deletedAt" TIMESTAMP(3),
    "refreshNeeded" BOOLEAN NOT NULL DEFAULT false, UNIQUE ("organizationId", "internalId"));
"""
OWN = "CREATE TABLE people (id TEXT PRIMARY KEY, threads_token TEXT, threads_id TEXT, expires_at TIMESTAMPTZ);"


def get(url: str, data: bytes | None = None) -> dict:
    with urllib.request.urlopen(url, data=data, timeout=SECONDS) as answer:
        return json.load(answer)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def consent(addresses: dict, user_id: str, name: str) -> str:
    """A long-lived token that another system of the same app has got from a new person."""
    threads, redirect_uri = addresses["threads_url"], f"{addresses['service_url']}/callback"
    new = urllib.request.Request(
        f"{threads}/control/accounts", json.dumps({"username": name, "user_id": user_id}).encode(), {"content-type": "application/json"}
    )
    urllib.request.urlopen(new, timeout=SECONDS).close()
    query = urllib.parse.urlencode(
        {"client_id": APP["client_id"], "redirect_uri": redirect_uri, "response_type": "code",
         "scope": "threads_basic,threads_content_publish", "state": "of-another", "auto_approve": user_id}
    )
    try:
        urllib.request.build_opener(NoRedirect).open(f"{threads}/oauth/authorize?{query}", timeout=SECONDS)
        raise AssertionError("Meta did not redirect")
    except urllib.error.HTTPError as redirect:
        back = urllib.parse.urlsplit(redirect.headers["location"])
    code = urllib.parse.parse_qs(back.query)["code"][0]
    form = APP | {"grant_type": "authorization_code", "redirect_uri": redirect_uri, "code": code}
    short = get(f"{threads}/oauth/access_token", urllib.parse.urlencode(form).encode())["access_token"]
    query = {"grant_type": "th_exchange_token", "client_secret": APP["client_secret"], "access_token": short}
    return get(f"{threads}/access_token?{urllib.parse.urlencode(query)}")["access_token"]


class Nango(BaseHTTPRequestHandler):
    """`GET /connections`, `GET /connections/{id}` and `POST /connections`, as its controllers and
    formatters answer them."""

    connections: dict = {}
    imported: list = []

    def log_message(self, *_):
        pass

    def answer(self, status: int, body: dict):
        text = json.dumps(body, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def is_allowed(self) -> bool:
        if self.headers["authorization"] == f"Bearer {KEY}":
            return True
        self.answer(401, {"error": {"code": "unauthorized", "message": "Authentication failed."}})
        return False

    def do_GET(self):
        if not self.is_allowed():
            return
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path == "/connections":
            assert query == {"integrationId": "threads"}, query
            listed = ("id", "connection_id", "provider_config_key", "provider", "errors", "end_user", "tags", "metadata")
            simple = [{name: each[name] for name in listed} | {"created": each["created_at"]} for each in self.connections.values()]
            self.answer(200, {"connections": simple})
            return
        assert query == {"provider_config_key": "threads"}, query
        found = self.connections.get(urllib.parse.unquote(url.path.removeprefix("/connections/")))
        if found:
            self.answer(200, found)
        else:
            self.answer(404, {"error": {"code": "not_found", "message": "Connection does not exist"}})

    def do_POST(self):
        if not self.is_allowed():
            return
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        # The schema is strict.
        assert set(body) == {"provider_config_key", "connection_id", "credentials", "tags"}, body
        assert set(body["credentials"]) == {"type", "access_token", "expires_at"}, body
        assert body["credentials"]["type"] == "OAUTH2" and all(body["tags"].values()), body
        self.imported.append(body)
        self.answer(201, body)


def connection(number: int, name: str, token: str, tags: dict, end_user: dict | None = None) -> dict:
    raw = {"access_token": token, "token_type": "bearer", "expires_in": 5183944}
    return {
        "id": number, "connection_id": name, "provider_config_key": "threads", "provider": "threads", "errors": [],
        "end_user": end_user, "tags": tags, "metadata": None, "connection_config": {}, "webhook_url_override": None,
        "created_at": "2026-08-01T00:00:00.000+00:00", "updated_at": "2026-08-01T00:00:00.000+00:00", "last_fetched_at": None,
        "credentials": {"type": "OAUTH2", "access_token": token, "expires_at": "2026-10-01T00:00:00.000Z", "raw": raw},
    }


def figures():
    """The figures of a second stack are those of infra/README.md."""
    page, infra = " ".join(PAGE.read_text().split()), (ROOT / "infra" / "README.md").read_text()
    idle = [re.search(rf"^\| {row}.* \| ([\d.]+) \|$", infra, re.MULTILINE)[1] for row in ("key and two", r"\d+ alarms", "sweeps that find")]
    total = f"{sum(map(float, idle)):.2f}"
    assert f"An idle stack is {total} dollars" in page and all(each in page for each in idle), (total, idle)
    share = int(re.search(r"They are (\d+) together", " ".join(infra.split()))[1])
    assert f"a share of {share}, and 100 have to be left" in page, share
    assert f"for one stack, {2 * share + 100} for two" in page, share


def program(folder: Path, name: str, line: str):
    file = folder / name
    file.write_text(f"#!/bin/bash\n{line}\n")
    file.chmod(0o755)


def main():
    command, tools = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert [language for language, _ in blocks].count("python") == 1 and len(blocks) == 10, len(blocks)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        errors = (folder / "dev.log").open("w+")
        dev = subprocess.Popen(
            [command, "dev", "--ephemeral", "--port", "0", "--json"], cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        server = ThreadingHTTPServer(("127.0.0.1", 0), Nango)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            addresses = json.loads(dev.stdout.readline())
            accounts = follow(folder, blocks, addresses, server.server_port, command, tools)
        finally:
            dev.terminate()
            dev.wait(SECONDS)
    figures()
    print(f"moving: {len(blocks)} blocks of docs/MOVING.md ran as they stand; {accounts} accounts came and went")


def follow(folder: Path, blocks: list, addresses: dict, port: int, command: Path, tools: Path) -> int:
    people = {f"1784140000000000{n}": f"person{n}" for n in range(1, 8)}
    tokens = {user_id: consent(addresses, user_id, name) for user_id, name in people.items()}
    ids = list(people)
    # Of Nango's connections one has an id that a URL would take apart, and one is of before tags.
    Nango.connections = {
        each["connection_id"]: each
        for each in [
            connection(1, "conn-1", tokens[ids[0]], {"end_user_id": "user-1"}),
            connection(2, "a b/ü?&", tokens[ids[1]], {}),
            connection(3, "conn-3", tokens[ids[2]], {}, {"id": "user-3", "email": None, "organization": None}),
        ]
    }
    bin, work = folder / "bin", folder / "work"
    bin.mkdir()
    work.mkdir()
    (work / "samconfig.toml").write_text((ROOT / "samconfig.toml").read_text())
    program(bin, "threads-auth", f"exec {shlex.quote(str(command))} \"$@\" --local={addresses['service_url']}")
    psql = f"exec node {shlex.quote(str(tools / 'psql.mjs'))} \"$@\""
    program(bin, "psql", f"export PGDATA={folder}/own\n{psql}")
    program(bin, "docker", f"export PGDATA={folder}/postiz\n[[ $1 == compose && $2 == exec && $4 == postiz-postgres ]] || exit 2\n{psql}")
    environment = {
        "PATH": f"{bin}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "NANGO_URL": f"http://127.0.0.1:{port}",
        "NO_PROXY": "127.0.0.1",
    }

    def shell(text: str, said: str = "") -> str:
        ended = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=work, env=environment, input=said,
                               capture_output=True, text=True, timeout=SECONDS)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        for token in tokens.values():
            assert token not in ended.stdout + ended.stderr, "a token was printed"
        return ended.stdout

    rows = [
        # A channel that Postiz has given up, one in use, a deleted one, and another network's.
        (ids[3], "org-1", "threads", tokens[ids[3]], "true", "NULL"),
        (ids[4], "org-2", "threads", tokens[ids[4]], "false", "NULL"),
        (ids[5], "org-2", "threads", tokens[ids[5]], "false", "now()"),
        ("1", "org-2", "x", "of-another-network", "false", "NULL"),
    ]
    values = ", ".join(
        f"('{n}', '{row[0]}', '{row[1]}', 'x', '{row[2]}', '{row[3]}', now() + interval '58 days', {row[4]}, {row[4]}, {row[5]})"
        for n, row in enumerate(rows)
    )
    columns = '"id", "internalId", "organizationId", "name", "providerIdentifier", "token", "tokenExpiration", "refreshNeeded", "disabled", "deletedAt"'
    subprocess.run([bin / "docker", "compose", "exec", "-T", "postiz-postgres"], env=environment, check=True, text=True,
                   input=f'{POSTIZ} INSERT INTO "Integration" ({columns}) VALUES {values};', timeout=SECONDS)
    subprocess.run([bin / "psql"], env=environment, check=True, text=True, timeout=SECONDS,
                   input=f"{OWN} INSERT INTO people VALUES ('user, 7', '{tokens[ids[6]]}', '{ids[6]}', now() + interval '59 days');")

    script = "\n".join(f"python - <<'PY'\n{text}PY" if language == "python" else text for language, text in blocks)
    # The files are looked at in the end, and then deleted.
    script = script.replace("rm -f", ": rm -f")
    script = script.replace("threads-auth pause", "threads-auth accounts export --output came.jsonl\nthreads-auth pause")
    shell(script, f"{KEY}\n")

    came = {account["user_id"]: account for account in map(json.loads, (work / "came.jsonl").read_text().splitlines())}
    references = {user_id: account["reference"] for user_id, account in came.items()}
    expected = {ids[0]: "user-1", ids[1]: None, ids[2]: "user-3", ids[3]: "org-1", ids[4]: "org-2", ids[6]: "user, 7"}
    assert references == expected, references
    assert all(account["status"] == "active" for account in came.values()), came
    assert not list(work.glob("*.rejected")) and not (work / "nango.missed").exists()
    for name in ("nango.key", "nango.jsonl", "postiz.csv", "own.csv", "leaving.jsonl"):
        assert (work / name).stat().st_mode & 0o777 == 0o600, name
    # Postiz's workflow lets each channel of Threads alone, and no other.
    marked = subprocess.run([bin / "docker", "compose", "exec", "-T", "postiz-postgres", "--csv"], env=environment, check=True, text=True,
                            input='SELECT "providerIdentifier", "refreshNeeded" FROM "Integration" ORDER BY "id"',
                            capture_output=True, timeout=SECONDS).stdout
    assert marked.split() == ["providerIdentifier,refreshNeeded", *["threads,t"] * 3, "x,f"], marked

    assert {body["connection_id"]: body["credentials"]["access_token"] for body in Nango.imported} == {
        user_id: tokens[user_id] for user_id in expected
    }
    tags = {body["connection_id"]: body["tags"].get("end_user_id") for body in Nango.imported}
    assert tags == expected, tags
    second = tomllib.loads((work / "samconfig.local.toml").read_text())
    names = {name: second[name]["global"]["parameters"]["stack_name"] for name in second}
    assert names == {"shop": "threads-auth-shop", "shop-data": "threads-auth-shop-data"}, names
    assert "prod" not in (work / "samconfig.local.toml").read_text()
    return len(expected)


if __name__ == "__main__":
    main()
