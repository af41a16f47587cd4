#!/usr/bin/env python3
"""ThreadsPipe 0.4.5 and `threads-auth` do the same things at the same sandbox, and a table says how
each fared.

    python tests/threadspipe/parity.py target/debug/threads-auth

Each case is run twice: once with `threadspipepy`, once with our command, told apart by nothing but
the program. It fails if ours falls short of one. It needs threadspipepy==0.4.5, requests and
python-dotenv, and starts the sandbox by itself.
"""

import ast
import json
import os
import pathlib
import re
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import requests
from dotenv import dotenv_values

import consent

META = "https://graph.threads.net"
REDIRECT_URI = "https://example.com/callback"
SECONDS = 60
DAY = 86_400
# Number of the features that ThreadsPipe 0.4.5 has. Fewer mean that the comparison is broken.
THEIRS = 16
CASES = []


class Short(Exception):
    """The program falls short of the case."""


def case(feature: str):
    def register(check):
        CASES.append((feature, check))
        return check

    return register


def need(holds: bool, otherwise: str):
    if not holds:
        raise Short(otherwise)


@dataclass
class Ended:
    code: int
    out: str
    err: str

    def result(self):
        """Returns the printed text as data: JSON of ours, a Python literal of theirs."""
        try:
            return json.loads(self.out)
        except ValueError:
            pass
        try:
            return ast.literal_eval(self.out)
        except (ValueError, SyntaxError):
            raise Short("prints no data") from None


class Sandbox:
    def __init__(self, program: str):
        self.process = subprocess.Popen(
            [program, "sandbox", "--port", "0", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        addresses = json.loads(self.process.stdout.readline())
        self.url, self.app_id, self.app_secret = (addresses[key] for key in ("threads_url", "app_id", "app_secret"))
        self.user_id = self.get("/control/accounts")["accounts"][0]["user_id"]

    def call(self, method: str, path: str, **more) -> requests.Response:
        answer = requests.request(method, self.url + path, timeout=SECONDS, allow_redirects=False, **more)
        answer.raise_for_status()
        return answer

    def get(self, path: str):
        return self.call("GET", path).json()

    def post(self, path: str, body):
        self.call("POST", path, json=body)

    def callback(self) -> str:
        """The address that a browser ends on when the person has agreed."""
        query = consent.query(self.app_id, self.user_id, REDIRECT_URI)
        return self.call("GET", "/oauth/authorize", params=query).headers["location"]

    def code(self) -> str:
        return parse_qs(urlsplit(self.callback()).query)["code"][0]

    def old_token(self) -> str:
        """A long-lived token that can be refreshed."""
        form = {
            "client_id": self.app_id,
            "client_secret": self.app_secret,
            "code": self.code(),
            "grant_type": "authorization_code",
            "redirect_uri": REDIRECT_URI,
        }
        short = self.call("POST", "/oauth/access_token", data=form).json()["access_token"]
        query = {"grant_type": "th_exchange_token", "client_secret": self.app_secret, "access_token": short}
        token = self.call("GET", "/access_token", params=query).json()["access_token"]
        self.post("/control/clock", {"advance_seconds": 2 * DAY})
        return token

    def lives(self, token) -> bool:
        answer = requests.get(f"{self.url}/v1.0/me", params={"access_token": token}, timeout=SECONDS)
        return answer.status_code == 200

    def fault(self, call: str, action, times: int = 1):
        self.post("/control/faults", {"call": call, "times": times, "action": action})

    def refreshes(self) -> int:
        calls = self.get("/control/calls")
        return sum(record["call"] == "refresh" for record in calls["calls"])


class Client:
    """One of the two programs, in a folder of the case's own."""

    def __init__(self, name: str, start: list, sandbox: Sandbox, folder: pathlib.Path, quiet_json: list):
        self.name, self.start, self.sandbox, self.folder, self.json = name, start, sandbox, folder, quiet_json

    def path(self, name: str = ".env") -> pathlib.Path:
        return self.folder / name

    def run(self, *arguments: str, env=None, stdin: str = "") -> Ended:
        environment = {
            "PATH": os.environ["PATH"],
            "THREADS_GRAPH_URL": self.sandbox.url,
            "THREADS_AUTHORIZE_URL": f"{self.sandbox.url}/oauth/authorize",
            "TMPDIR": str(self.folder),
            **(env or {}),
        }
        ended = subprocess.run(
            [*self.start, *arguments], cwd=self.folder, env=environment, input=stdin,
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def app(self) -> list:
        return ["--app_id", self.sandbox.app_id, "--app_secret", self.sandbox.app_secret, "--redirect_uri", REDIRECT_URI]

    def exchange(self, *more: str) -> Ended:
        return self.run("access_token", *self.app(), "--auth_code", self.sandbox.code(), *more, *self.json)

    def refresh(self, *more: str) -> Ended:
        return self.run("refresh_token", *more, *self.json)

    def auto(self, *more: str, name: str = ".env") -> Ended:
        return self.refresh("--auto_mode=true", "--env_path", name, "--env_variable", "T", *more)

    def value(self, name: str = ".env"):
        return dotenv_values(self.path(name), encoding="utf-8").get("T")


# The guide's commands


@case("the guide's access_token command, as it stands")
def _(client: Client):
    line = r"""threadspipepy access_token \
  --app_id=your-app-id \
  --app_secret=your-app-secret \
  --auth_code=ABC123def456GHI... \
  --redirect_uri=https://example.com/callback \
  --env_path=./.env \
  --env_variable=long_lived_token \
  --silent
"""
    sandbox = client.sandbox
    for placeholder, real in [
        ("your-app-id", sandbox.app_id), ("your-app-secret", sandbox.app_secret), ("ABC123def456GHI...", sandbox.code())
    ]:
        line = line.replace(placeholder, real)
    shell(client, line)


@case("the guide's refresh_token command, as it stands")
def _(client: Client):
    line = r"""threadspipepy refresh_token \
  --access_token=your-current-long-token \
  --env_path=./.env \
  --env_variable=long_lived_token \
  --auto_mode=true \
  --silent
"""
    token = client.sandbox.old_token()
    client.path().write_text(f"long_lived_token='{token}'\n")
    shell(client, line.replace("your-current-long-token", token))


def shell(client: Client, line: str):
    function = "threadspipepy() { " + " ".join(f"'{word}'" for word in client.start) + ' "$@"; }\n'
    environment = {"PATH": os.environ["PATH"], "THREADS_GRAPH_URL": client.sandbox.url}
    ended = subprocess.run(["sh", "-c", function + line], cwd=client.folder, env=environment, capture_output=True,
                           text=True, timeout=SECONDS, check=False)
    need(ended.returncode == 0, f"exit {ended.returncode}: a bare --silent is refused"
         if "expected one argument" in ended.stderr else f"exit {ended.returncode}")
    need(ended.stderr == "", "is not silent")
    need(client.sandbox.lives(dotenv_values(client.path())["long_lived_token"]), "no token that works is in .env")


# Flags


@case("-id -secret -code -r -p -v -s")
def _(client: Client):
    sandbox = client.sandbox
    client.run("access_token", "-id", sandbox.app_id, "-secret", sandbox.app_secret, "-code", sandbox.code(),
               "-r", REDIRECT_URI, "-p", ".env", "-v", "T", "-s", "1")
    need(sandbox.lives(client.value()), "no token")


@case("-token, -auto")
def _(client: Client):
    result = client.refresh("-token", client.sandbox.old_token()).result()
    need(client.sandbox.lives(result["access_token"]), "no token")
    old = client.sandbox.old_token()
    client.path().write_text(f"T={old}\n")
    client.refresh("-auto", "true", "-p", ".env", "-v", "T")
    need(client.value() != old, "not refreshed")


@case("-id=…, -p.env, --app… for --app_id, options before the command")
def _(client: Client):
    sandbox = client.sandbox
    client.run("-s", "1", "access_token", f"-id={sandbox.app_id}", "--app_s", sandbox.app_secret, "--auth", sandbox.code(),
               f"-r{REDIRECT_URI}", "-p.env", "-vT", "-token", "x")
    need(client.path().exists() and sandbox.lives(client.value()), "no token")


@case("--silent, with a value")
def _(client: Client):
    ended = client.exchange("--silent", "true", "-p", ".env", "-v", "T")
    need(ended.err == "" and client.sandbox.lives(client.value()), "not silent")


@case("--silent, without a value")
def _(client: Client):
    ended = client.exchange("-p", ".env", "-v", "T", "--silent")
    need(ended.code == 0 and ended.err == "", "refused" if ended.code else "not silent")


@case("--auto_mode=false is false")
def _(client: Client):
    given, kept = client.sandbox.old_token(), client.sandbox.old_token()
    client.path().write_text(f"T={kept}\n")
    client.sandbox.post("/control/old-token", {"behaviour": "new_token_old_dead"})
    client.refresh("--auto_mode=false", "--access_token", given, "-p", ".env", "-v", "T")
    client.sandbox.post("/control/old-token", {"behaviour": "new_token_old_alive"})
    need(client.sandbox.lives(kept) and not client.sandbox.lives(given), "it refreshes the token in .env")


# Results


@case("the tokens: {'user_id', 'tokens': {'short_lived', 'long_lived'}}")
def _(client: Client):
    got = client.exchange().result()
    need(set(got) == {"user_id", "tokens"} and set(got["tokens"]) == {"short_lived", "long_lived"}, "another shape")
    need(str(got["user_id"]) == client.sandbox.user_id, "another person")
    tokens = got["tokens"]
    need({"access_token", "user_id"} <= set(tokens["short_lived"]), "the short-lived token lacks something")
    need(set(tokens["long_lived"]) == {"access_token", "token_type", "expires_in"}, "the long-lived token's shape")
    need(all(client.sandbox.lives(token["access_token"]) for token in tokens.values()), "a token that does not work")


@case("short_lived has the expires_in that the guide promises")
def _(client: Client):
    need(client.exchange().result()["tokens"]["short_lived"].get("expires_in") == 3600, "it is not there")


@case("the refreshed token: {'access_token', 'token_type', 'expires_in'}")
def _(client: Client):
    got = client.refresh("-token", client.sandbox.old_token()).result()
    need(set(got) == {"access_token", "token_type", "expires_in"}, "another shape")
    need(59 * DAY < got["expires_in"] <= 60 * DAY and client.sandbox.lives(got["access_token"]), "not for 60 days")


@case("the result is JSON, for programs in any language")
def _(client: Client):
    try:
        json.loads(client.exchange().out)
    except ValueError:
        raise Short("a Python dict") from None


# Failures


def failure(ended: Ended, message: str):
    got = ended.result()
    need(set(got) == {"message", "error"} and got["message"] == message, f"says {got}")


@case("a spent code: 'Could not generate short lived token'")
def _(client: Client):
    failure(client.run("access_token", *client.app(), "--auth_code", "spent", *client.json),
            "Could not generate short lived token")


@case("a second step that fails: 'Could not generate long lived token'")
def _(client: Client):
    client.sandbox.fault("exchange_long_lived", {"graph_error": {"code": 10}})
    failure(client.exchange(), "Could not generate long lived token")


@case("a token that cannot be refreshed: 'An error occured could not refresh access token'")
def _(client: Client):
    failure(client.refresh("-token", "THQVJnone"), "An error occured could not refresh access token")


@case("a failure of Meta's is a failure to the shell")
def _(client: Client):
    need(client.refresh("-token", "THQVJnone").code != 0, "exit 0")


@case("a mistake in the flags is a failure to the shell")
def _(client: Client):
    need(client.refresh("-token", "x", "-p", ".env").code != 0, "exit 0")


@case("an unknown command is a failure to the shell")
def _(client: Client):
    need(client.run("nonsense", "-token", "x").code != 0, "exit 0")


@case("missing flags are named, and nothing is sent")
def _(client: Client):
    ended = client.run("access_token", "-id", "1")
    need(ended.code == 2 and "secret" in ended.err, "not named")


@case("the exit code tells a dead token from a passing failure")
def _(client: Client):
    dead = client.refresh("-token", "THQVJnone").code
    client.sandbox.fault("refresh", {"throttle": {}})
    need(dead != client.refresh("-token", client.sandbox.old_token()).code, "the same code for both")


@case("an HTML page of Meta's is told as a passing failure")
def _(client: Client):
    client.sandbox.fault("refresh", "html")
    ended = client.refresh("-token", client.sandbox.old_token())
    need("Traceback" not in ended.err, "a traceback")


@case("a lost connection is told without the token")
def _(client: Client):
    token = client.sandbox.old_token()
    client.sandbox.fault("refresh", "drop")
    ended = client.refresh("-token", token)
    need(token not in ended.err + ended.out, "the token is in a traceback")


@case("a second step that fails once is tried again, since the code is spent")
def _(client: Client):
    client.sandbox.fault("exchange_long_lived", "html")
    need("long_lived" in client.exchange().out, "the login is lost")


@case("the short-lived token survives a second step that keeps failing")
def _(client: Client):
    client.sandbox.fault("exchange_long_lived", {"graph_error": {"code": 10}})
    ended = client.exchange()
    kept = ended.out + "".join(file.read_text() for file in client.folder.iterdir())
    need(re.search(r"THQVJ[\w-]{20,}", kept) is not None, "it is lost")


# Secrets


@case("the log holds no token and no secret")
def _(client: Client):
    ended = client.exchange("-p", ".env", "-v", "T")
    secrets = [client.sandbox.app_secret, client.value(), "THQVJ"]
    need(not any(secret in ended.err for secret in secrets), "they are logged")


@case("secrets need not be arguments")
def _(client: Client):
    environment = {"THREADS_APP_ID": client.sandbox.app_id, "THREADS_APP_SECRET": client.sandbox.app_secret}
    ended = client.run("access_token", "--auth_code=-", "-r", REDIRECT_URI, *client.json, env=environment,
                       stdin=client.sandbox.code() + "\n")
    need(ended.code == 0, "they must be")


@case("a code may be pasted with its #_")
def _(client: Client):
    ended = client.run("access_token", *client.app(), "--auth_code", client.sandbox.code() + "#_", *client.json)
    need("long_lived" in ended.out, "the exchange fails")


@case("a whole callback address may be pasted")
def _(client: Client):
    ended = client.run("access_token", *client.app(), "--auth_code", client.sandbox.callback(), *client.json)
    need("long_lived" in ended.out, "the exchange fails")


@case("the authorization URL is encoded, and holds threads_basic")
def _(client: Client):
    uri = "https://example.com/callback?a=1&b=2"
    if client.name == "theirs":
        url = client.run("--authorize-url", uri).out.strip()
    else:
        url = client.run("authorize-url", "--app-id", "1", "--redirect-uri", uri, "--scope", "publish").out.strip()
    query = parse_qs(urlsplit(url).query)
    need(query.get("redirect_uri") == [uri], "the redirect URI is cut")
    need("threads_basic" in query["scope"][0].split(","), "threads_basic is missing")


# .env


@case(".env: a missing file is created")
def _(client: Client):
    client.exchange("-p", ".env", "-v", "T")
    need(client.sandbox.lives(client.value()), "no token")


@case(".env: a new file is for its owner alone")
def _(client: Client):
    os.umask(0o022)
    client.exchange("-p", ".env", "-v", "T")
    need(stat.S_IMODE(client.path().stat().st_mode) == 0o600, "it is not")


def changed(client: Client, before: bytes, name: str = ".env") -> bytes:
    """Refreshes the token that stands for OLD, and returns the file with the new token as NEW."""
    token = client.sandbox.old_token()
    client.path(name).write_bytes(before.replace(b"OLD", token.encode()))
    client.auto(name=name)
    new = client.value(name)
    need(new != token and client.sandbox.lives(new), "the token in it is not a new one that works")
    return client.path(name).read_bytes().replace(new.encode(), b"NEW")


def kept(client: Client, before: bytes):
    after = changed(client, before)
    need(after == before.replace(b"OLD", b"NEW"), f"becomes {after!r}")


for what, before in (
    ("every other line is kept", b"# top\nA=1\nT='OLD'\nB=\"2\"\n# end\n"),
    ("the comment behind the value is kept", b"T='OLD' # mine\n"),
    ("blank lines before the variable are kept", b"A=1\n\n\nT='OLD'\n"),
    ("its quotes are kept", b'T="OLD"\n'),
    ("export is kept", b"export T='OLD'\n"),
    ("CRLF line ends are kept", b"A=1\r\nT='OLD'\r\nB=2\r\n"),
    ("a missing final newline stays missing", b"T='OLD'"),
    ("of two definitions the one that counts is changed, and the other kept", b"T='first'\nT='OLD'\n"),
):
    case(f".env: {what}")(lambda client, before=before: kept(client, before))


@case(".env: another variable is added at the end")
def _(client: Client):
    client.path().write_text("A=1")
    client.exchange("-p", ".env", "-v", "T")
    need(client.path().read_text() == f"A=1\nT='{client.value()}'\n", "it is not")


@case(".env: a comment in Latin-1 is kept")
def _(client: Client):
    token = client.sandbox.old_token()
    client.path().write_bytes(b"# caf\xe9\nT='" + token.encode() + b"'\n")
    client.auto()
    after = client.path().read_bytes()
    need(after.startswith(b"# caf\xe9\nT='THQVJ") and token.encode() not in after, "a traceback, and the new token is lost")


@case(".env: its mode is kept")
def _(client: Client):
    client.path().write_text(f"T='{client.sandbox.old_token()}'\n")
    client.path().chmod(0o640)
    client.auto()
    need(stat.S_IMODE(client.path().stat().st_mode) == 0o640, "it changes")


@case(".env: a symbolic link stays one")
def _(client: Client):
    client.path("real").write_text(f"T='{client.sandbox.old_token()}'\n")
    client.path().symlink_to("real")
    client.auto()
    need(client.path().is_symlink(), "it is replaced by a file")


@case(".env: one that cannot be written is found before Meta is asked")
def _(client: Client):
    client.path().mkdir()
    before = client.sandbox.refreshes()
    client.refresh("-token", client.sandbox.old_token(), "-p", ".env", "-v", "T")
    need(client.sandbox.refreshes() == before, "Meta is asked, and the new token is lost")


@case(".env: the variable is missing: Meta is not asked")
def _(client: Client):
    client.path().write_text("A=1\n")
    before = client.sandbox.refreshes()
    client.auto()
    need(client.sandbox.refreshes() == before, "Meta is asked about the token 'None'")


def as_theirs(url: str, arguments: list):
    """Runs `threadspipepy`, with what is meant for Meta sent to the sandbox, and nothing let
    out."""
    import threadspipepy.cli
    from threadspipepy.threadspipe import ThreadsPipe

    if arguments[:1] == ["--authorize-url"]:
        import webbrowser

        webbrowser.open = print
        pipe = ThreadsPipe(user_id=1, access_token="none", disable_logging=True)
        pipe.get_auth_token(app_id="1", redirect_uri=arguments[1], scope="publish", state="a-state")
        return

    def redirected(real):
        def send(address, *rest, **more):
            address = address.replace(META, url, 1)
            if not address.startswith(url):
                raise AssertionError("a request to somewhere else")
            return real(address, *rest, **more)

        return send

    requests.get, requests.post = redirected(requests.get), redirected(requests.post)
    sys.argv = ["threadspipepy", *arguments]
    threadspipepy.cli.run()


def fares(check, client: Client) -> str:
    """Returns the program's failure, or an empty text."""
    try:
        check(client)
    except Short as short:
        return str(short)
    except (KeyError, OSError, TypeError, UnicodeDecodeError) as error:
        return f"{type(error).__name__}"
    finally:
        client.sandbox.call("DELETE", "/control/faults")
    return ""


def main():
    # A proxy of the surroundings has no business with this machine's own addresses.
    os.environ["NO_PROXY"] = "127.0.0.1"
    if sys.argv[1] == "--as-theirs":
        return as_theirs(sys.argv[2], sys.argv[3:])
    program = str(pathlib.Path(sys.argv[1]).resolve())
    sandbox = Sandbox(program)
    here = str(pathlib.Path(__file__).resolve())
    rows, behind = [], []
    try:
        for feature, check in CASES:
            row = {}
            for name, start, as_json in [
                ("theirs", [sys.executable, here, "--as-theirs", sandbox.url], []),
                ("ours", [program], ["--json"]),
            ]:
                with tempfile.TemporaryDirectory() as folder:
                    row[name] = fares(check, Client(name, start, sandbox, pathlib.Path(folder), as_json))
            rows.append((feature, row["theirs"], row["ours"]))
            if row["ours"]:
                behind.append(feature)
    finally:
        sandbox.process.terminate()
        sandbox.process.wait()

    width = max(len(feature) for feature, _, _ in rows)
    print(f"| {'feature':{width}} | {'ours':4} | theirs (ThreadsPipe 0.4.5) |")
    print(f"|-{'-' * width}-|------|---------------------------|")
    for feature, theirs, ours in rows:
        print(f"| {feature:{width}} | {'no: ' + ours if ours else 'yes':4} | {'no: ' + theirs if theirs else 'yes'} |")
    count = sum(not theirs for _, theirs, _ in rows)
    print(f"parity: {len(rows)} features; theirs has {count}, ours {len(rows) - len(behind)}")
    if count < THEIRS:
        sys.exit("parity: FAILED: theirs does worse than it can; is it installed with requests and python-dotenv?")
    if behind:
        sys.exit("parity: FAILED: ours falls short of " + "; ".join(behind))
    return None


if __name__ == "__main__":
    main()
