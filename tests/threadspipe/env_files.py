#!/usr/bin/env python3
"""`.env` files as python-dotenv reads them, before and after `threads-auth refresh_token` has
changed one variable.

    python tests/threadspipe/env_files.py target/debug/threads-auth [--cases 1000] [--seed 1]

Files are put together at random from pieces that mean something to a parser. For each it checks
that the command reads the variable as python-dotenv does, that python-dotenv reads the new token
afterwards and every other variable as before, and that no byte but the value's has changed. It
needs python-dotenv, and stands in for Meta itself, with tokens of any shape.
"""

import argparse
import http.server
import io
import json
import logging
import os
import pathlib
import random
import re
import string
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from urllib.parse import parse_qs, urlsplit

from dotenv import dotenv_values
from dotenv.parser import parse_stream

NAME = "T"
PIECES = [
    "T=", "T", "'T'", "TT=1", "A=1", "A='a b'", 'B="b\\"b"', "export ", "export\t", "=", "'", '"', "\\", "\\n", "\n", "\n",
    "\n", "\r\n", "\r\n", "\r", " ", "\t", "#", " # why", "${T}", "${A}", "${OUTSIDE:-d}", "x", "é", "\ufeff", "\xa0", "\x1c",
    "B='b\nb'\n", 'C="c\r\nT=c"\r\n', "T='old'\n", "T=old # why\n", 'export T="old"\n', "T=first\n", "T='it\\'s'\n",
    "T=${OUTSIDE}\n", "T='${A}-x'\n", "T=\n", "T= # empty\n", "# T=comment\n",
]
VISIBLE = [chr(code) for code in range(33, 127)]
ENVIRONMENT = {"OUTSIDE": "from-outside"}


class Meta(http.server.BaseHTTPRequestHandler):
    """Gives `token` to whoever asks, and remembers with which token they did."""

    token = ""
    asked = []

    def do_GET(self):
        Meta.asked.append(parse_qs(urlsplit(self.path).query, keep_blank_values=True)["access_token"][0])
        body = json.dumps({"access_token": Meta.token, "token_type": "bearer", "expires_in": 5183944}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def bindings(content: bytes):
    """Returns the file's variables in order, as python-dotenv reads them without interpolation."""
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8").read()
    return [(found.key, found.value) for found in parse_stream(io.StringIO(text)) if found.key is not None]


def value(path: pathlib.Path):
    return dotenv_values(path, encoding="utf-8").get(NAME)


def is_token(text) -> bool:
    return text is not None and re.fullmatch(r"[!-~]{1,4096}", text) is not None


def spellings(token: str):
    """Every way in which the token may be written."""
    single = token.replace("\\", "\\\\").replace("'", "\\'")
    double = token.replace("\\", "\\\\").replace('"', '\\"')
    return [f"'{single}'".encode(), f'"{double}"'.encode(), token.encode()]


def only_the_value_changed(before: bytes, after: bytes, token: str, defined: bool) -> bool:
    if not defined:
        added = after[len(before):]
        return after.startswith(before) and any(
            re.fullmatch(rb"(\r\n|\r|\n)?T=" + re.escape(written) + rb"(\r\n|\r|\n)", added)
            for written in spellings(token)
        )
    for written in spellings(token):
        at = after.find(written)
        while at >= 0:
            head, tail = after[:at], after[at + len(written):]
            for equals in (head, head.removesuffix(b"=")):
                gone = before[len(equals):len(before) - len(tail)]
                # The removed bytes are one value: nothing that a value could not be, such as two
                # lines without quotes.
                if before == equals + gone + tail and one_value(gone):
                    return True
            at = after.find(written, at + 1)
    return False


def one_value(written: bytes) -> bool:
    if written[:1] in (b"'", b'"'):
        return len(bindings(b"X=" + written)) == 1 and written.endswith(written[:1])
    return not re.search(rb"[\r\n]", written)


def content(dice: random.Random) -> bytes:
    pieces = [dice.choice(PIECES).encode() for _ in range(dice.randrange(0, 14))]
    if dice.random() < 0.05:
        pieces.insert(dice.randrange(len(pieces) + 1), dice.randbytes(2))
    return b"".join(pieces)


def token(dice: random.Random) -> str:
    letters = string.ascii_letters + string.digits + "-_" if dice.random() < 0.6 else VISIBLE
    return "".join(dice.choice(letters) for _ in range(dice.randrange(1, 60)))


def one_case(dice: random.Random, program: str, graph: str, folder: pathlib.Path) -> str:
    """Checks one file, and says of which kind it was."""
    path = folder / ".env"
    before = content(dice)
    path.write_bytes(before)
    mode = dice.choice([0o600, 0o640, 0o444])
    path.chmod(mode)
    Meta.token = token(dice)
    Meta.asked.clear()
    try:
        definitions = bindings(before)
        current = value(path)
        readable = True
    except UnicodeDecodeError:
        # python-dotenv cannot read it at all. Ours keeps its bytes all the same.
        definitions, current, readable = [], None, False

    auto = readable and dice.random() < 0.5
    command = [program, "refresh_token", "--env_path", str(path), "--env_variable", NAME, "--json", "--silent"]
    environment = {"PATH": os.environ["PATH"], "THREADS_GRAPH_URL": graph, "TMPDIR": str(folder), **ENVIRONMENT}
    if auto:
        command.append("--auto_mode=true")
    else:
        environment["THREADS_ACCESS_TOKEN"] = "THQVJgiven"
    ended = subprocess.run(command, env=environment, cwd=folder, capture_output=True, timeout=60, check=False)
    after = path.read_bytes()
    names = sorted(entry.name for entry in folder.iterdir())

    def expect(holds: bool, what: str):
        if not holds:
            print(f"{what}\n  before {before!r}\n  after  {after!r}\n  token  {Meta.token!r}\n  auto {auto}, asked {Meta.asked}")
            print(f"  exit {ended.returncode}\n  {ended.stderr.decode()}\n  {ended.stdout.decode()}")
            sys.exit(1)

    asked = current.strip() if auto and current is not None else None
    if auto and not is_token(asked):
        expect(ended.returncode == 2 and not Meta.asked, "what is no token was sent to Meta")
        expect(after == before and names == [".env"], "a refused refresh left a trace")
        return "no token in the file: refused"
    expect(Meta.asked == [asked if auto else "THQVJgiven"], "the token was not read as python-dotenv reads it")
    if "${" in Meta.token:
        expect(ended.returncode == 5 and after == before, "a token that no file can hold was written to one")
        saved = [name for name in names if name.startswith("threads-auth-recovered-")]
        expect(len(saved) == 1 and Meta.token in (folder / saved[0]).read_text(), "the token was not saved")
        (folder / saved[0]).unlink()
        return "no file can hold the token: saved beside"
    if ended.returncode == 5:
        expect(after == before and "quote" in ended.stderr.decode(), "it was not stored, and why is not said")
        for name in names:
            if name != ".env":
                (folder / name).unlink()
        return "an open quote would swallow the token: saved beside"
    expect(ended.returncode == 0, "the command failed")
    expect(names == [".env"], "another file is left")
    expect(path.stat().st_mode & 0o777 == mode, "the mode changed")
    if not readable:
        expect(any(written in after for written in spellings(Meta.token)), "the token is not in the file")
        return "not UTF-8: stored, bytes kept"
    expect(value(path) == Meta.token, "python-dotenv does not read the new token")
    defined = [key for key, _ in definitions].count(NAME)
    expected = list(definitions)
    if defined:
        last = max(at for at, (key, _) in enumerate(definitions) if key == NAME)
        expected[last] = (NAME, Meta.token)
    else:
        expected.append((NAME, Meta.token))
    expect(bindings(after) == expected, "another variable is read otherwise than before")
    expect(only_the_value_changed(before, after, Meta.token, bool(defined)), "other bytes than the value's changed")
    return "changed" if defined == 1 else "the last of several changed" if defined else "added"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    # python-dotenv warns of every line that makes no sense, of which there are many.
    logging.disable()
    os.environ.update(ENVIRONMENT)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Meta)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    dice = random.Random(options.seed)
    kinds = Counter()
    program = str(pathlib.Path(options.program).resolve())
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.cases):
            kinds[one_case(dice, program, f"http://127.0.0.1:{server.server_port}", pathlib.Path(folder))] += 1
    print(f"env files: {options.cases} files with seed {options.seed}, read by python-dotenv as meant:")
    for kind, count in kinds.most_common():
        print(f"env files: {count:6}  {kind}")


if __name__ == "__main__":
    main()
