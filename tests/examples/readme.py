#!/usr/bin/env python3
"""Follows the README as a newcomer does: pastes the lines that `threads-auth dev` prints into a
shell, and then the README's blocks.

    python tests/examples/readme.py target/debug/threads-auth

Everything is taken verbatim: the lines that prepare the shell from `dev`'s own output, and the
blocks from the README. `dev` runs in a folder with a name that a shell would take apart, and a
`curl` of ours fails if the secret stands in its arguments.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import requests

README = Path(__file__).resolve().parents[2] / "README.md"
LAST = "Ctrl-C stops it."


def blocks(heading: str) -> dict[str, str]:
    """The first block in each language under a heading."""
    section = README.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found: dict[str, str] = {}
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", section, re.M | re.S):
        found.setdefault(language, text)
    return found


def shell(prepared: str, command: str, folder: Path) -> str:
    """Runs a block in a shell that was prepared so, and returns its output."""
    # Nothing of this machine's: a profile or a session of another account would be in the way.
    environment = {"PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(folder)}
    environment |= {"AWS_SESSION_TOKEN": "of another account", "AWS_PROFILE": "another"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{prepared}\n{command}"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def main(command: str) -> None:
    command = os.path.abspath(command)
    with tempfile.TemporaryDirectory(prefix="it's $HOME \"here\" ") as place:
        folder = Path(place)
        printed = (folder / "printed").open("w+", encoding="utf-8")
        dev = subprocess.Popen([command, "dev", "--port", "0"], cwd=folder, stdout=subprocess.PIPE, stderr=printed, text=True)
        try:
            lines = []
            for line in dev.stdout:
                lines.append(line.rstrip("\n"))
                if lines[-1] == LAST:
                    break
            else:
                sys.exit(f"dev did not start: {(folder / 'printed').read_text(encoding='utf-8')}")
            text = "\n".join(lines)
            prepared = "\n".join(line.strip() for line in lines if re.match(r" *(export|unset) ", line))
            secret = (folder / ".threads-auth/secret-access-key").read_text(encoding="utf-8").strip()
            assert secret not in text, "dev prints the secret"

            curl = shutil.which("curl")
            assert curl, "there is no curl"
            spy = folder / "curl"
            spy.write_text(
                f"#!/bin/bash\n[[ \"$*\" != *\"$AWS_SECRET_ACCESS_KEY\"* ]] || exit 99\nexec {shlex.quote(curl)} \"$@\"\n", encoding="utf-8"
            )
            spy.chmod(0o700)
            block = blocks("Use it from your backend")
            (folder / "first.py").write_text(block["python"], encoding="utf-8")
            address = shell(prepared, "python first.py", folder).strip()
            assert urlsplit(address).path == "/authorize", address
            at_meta = requests.get(address, allow_redirects=False, timeout=20)
            assert at_meta.status_code == 302, "the address leads a person to Threads"
            listed = json.loads(shell(prepared, block["sh"], folder))
            assert listed["users"] == [], listed
        finally:
            dev.terminate()
            dev.wait(timeout=60)
            printed.close()
    print("example: README: the shell prepared by dev's own lines, a session by Python, a list by curl, no secret in arguments")


main(*sys.argv[1:])
