#!/usr/bin/env python3
"""Runs the code of docs/BACKENDS.md against a stack that runs, with temporary credentials.

    threads-auth dev --ephemeral --port 0 --json > dev.json &
    python tests/examples/backends.py dev.json FOLDER

FOLDER is a copy of this one after `npm ci`. Stand-ins of STS, of Google's metadata server and of
Vercel's package hand out the development key with a session token: the stack takes any that is
signed, and refuses one that is not.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import requests

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/BACKENDS.md"
ROLE = "arn:aws:iam::123456789012:role/threads-auth-BackendRole-XXXX"
IDENTITY = "header.claims.signature"
SESSION = "a session token"
ONCE = {"allow_redirects": False, "timeout": 20}

STS = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>
<Credentials><AccessKeyId>{access_key_id}</AccessKeyId><SecretAccessKey>{secret_access_key}</SecretAccessKey>
<SessionToken>{session}</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""

VERCEL = """const { ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION } = process.env;
export function awsCredentialsProvider({ roleArn }) {
  if (roleArn !== process.env.AWS_ROLE_ARN) throw new Error(roleArn);
  return async () => ({ accessKeyId: ACCESS_KEY_ID, secretAccessKey: SECRET_ACCESS_KEY, sessionToken: SESSION });
}
"""


def block(heading: str, language: str) -> str:
    section = DOCUMENT.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.search(rf"^```{language}\n(.*?)^```$", section, re.M | re.S)[1]


def stand_in(addresses: dict) -> ThreadingHTTPServer:
    """STS and Google's metadata server at one address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            query = parse_qs(urlsplit(self.path).query)
            is_right = query == {"audience": ["threads-auth"], "format": ["full"]} and self.headers["Metadata-Flavor"] == "Google"
            self.say(200 if is_right else 403, IDENTITY)

        def do_POST(self):
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            expected = {"Action": "AssumeRoleWithWebIdentity", "RoleArn": ROLE, "WebIdentityToken": IDENTITY}
            is_right = all(form[name] == [value] for name, value in expected.items()) and "Authorization" not in self.headers
            self.say(200 if is_right else 403, STS.format(**addresses, session=SESSION))

        def say(self, status: int, text: str):
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def connect(addresses: dict) -> str:
    """Connects an account: its id."""
    account = {"username": f"backends{os.getpid()}"}
    user_id = requests.post(f"{addresses['threads_url']}/control/accounts", json=account, timeout=20).json()["user_id"]
    browser = requests.Session()
    consent = browser.get(f"{addresses['service_url']}/authorize", **ONCE).headers["location"]
    back = requests.get(f"{consent}&auto_approve={user_id}", **ONCE).headers["location"]
    assert browser.get(back.split("#")[0], **ONCE).status_code == 303
    return user_id


def main(dev: str, examples: str) -> None:
    addresses = json.loads(Path(dev).read_text(encoding="utf-8"))
    user_id, server = connect(addresses), stand_in(addresses)
    place = f"127.0.0.1:{server.server_port}"
    common = {"PATH": os.environ["PATH"], "THREADS_AUTH_URL": addresses["service_url"], "AWS_REGION": addresses["region"], "AWS_ROLE_ARN": ROLE}
    keys = {"ACCESS_KEY_ID": addresses["access_key_id"], "SECRET_ACCESS_KEY": addresses["secret_access_key"]}

    def run(command: list, **environment: str) -> str:
        done = subprocess.run(command, env=common | environment, cwd=examples, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        assert keys["SECRET_ACCESS_KEY"] not in done.stdout + done.stderr
        return done.stdout

    with tempfile.TemporaryDirectory() as home:
        last = f"\nprint(token({user_id!r}, credentials()))\n"
        token = run([sys.executable, "-c", block("Google Cloud", "python") + last], HOME=home, GCE_METADATA_HOST=place, AWS_ENDPOINT_URL_STS=f"http://{place}")
        profile = requests.get(f"{addresses['threads_url']}/v1.0/me", params={"fields": "id", "access_token": token.strip()}, timeout=20)
        assert profile.json()["id"] == user_id, profile.text

        job = block("GitHub Actions", "yaml").split("run: |\n")[1]
        given = {f"AWS_{name}": value for name, value in keys.items()}
        listed = json.loads(run(["bash", "-euo", "pipefail", "-c", job], HOME=home, AWS_SESSION_TOKEN="session", **given))
        assert user_id in [user["user_id"] for user in listed["users"]], listed

        package = Path(examples, "node_modules/@vercel/oidc-aws-credentials-provider")
        package.mkdir(parents=True, exist_ok=True)
        Path(package, "package.json").write_text('{"type": "module", "exports": "./index.js"}', encoding="utf-8")
        Path(package, "index.js").write_text(VERCEL, encoding="utf-8")
        Path(examples, "vercel.mjs").write_text(block("Vercel", "js"), encoding="utf-8")
        call = 'import { startSession } from "./vercel.mjs"; console.log(JSON.stringify(await startSession("user-7", "http://127.0.0.1:4000/done")));'
        session = json.loads(run(["node", "--input-type=module", "-e", call], HOME=home, SESSION=SESSION, **keys))
        assert urlsplit(session["url"]).path == "/authorize", session
    server.shutdown()
    print("the code for Google Cloud, GitHub Actions and Vercel ran with temporary credentials")


main(*sys.argv[1:])
