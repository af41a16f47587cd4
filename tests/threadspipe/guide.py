#!/usr/bin/env python3
"""Runs the guide of `cli/README.md` from top to bottom, in one shell, as its reader would.

    python tests/threadspipe/guide.py target/debug/threads-auth

It fills in the placeholders, and is the person at the browser: it presses Allow. It needs curl and
bash.
"""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "infra" / "tools"))

from port import free_port  # noqa: E402

README = ROOT / "cli" / "README.md"
APP = {"your-app-id": "9876543210987654", "your-app-secret": "sandbox-app-secret"}
SECONDS = 300


def browser(url: str):
    """Presses Allow as a person does, and goes back where Meta sends the browser, in spite of its
    warning."""
    import ssl

    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=trusting),
        # The command's own address gives a cookie, and sends the browser to Meta.
        urllib.request.HTTPCookieProcessor(),
    )
    url = opener.open(url, timeout=SECONDS).geturl()
    accounts = urllib.parse.urljoin(url, "/control/accounts")
    user_id = json.load(opener.open(accounts, timeout=SECONDS))["accounts"][0]["user_id"]
    opener.open(f"{url}&auto_approve={user_id}", timeout=SECONDS).read()


# A reader's work by hand before the block with the placeholder.
BY_HAND = """\
the_code() {
    local user
    user=$(curl --silent --fail "$THREADS_GRAPH_URL/control/accounts" | grep -o '[0-9]\\{10,\\}' | head -n 1)
    curl --silent --output /dev/null --write-out '%{redirect_url}' \
        "$(threads-auth authorize-url --redirect-uri https://example.com/callback)&auto_approve=$user"
}
"""


def main():
    if sys.argv[1] == "--browser":
        browser(sys.argv[2])
        return
    program = pathlib.Path(sys.argv[1]).resolve()
    text = README.read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    port, callback = free_port(), free_port()
    script = ["set -euo pipefail", BY_HAND]
    for number, block in enumerate(blocks, 1):
        shown = block
        for placeholder, value in APP.items():
            block = block.replace(placeholder, value)
        # The whole address, as a browser shows it: the command takes the code out of it.
        block = block.replace("--auth_code=ABC123def456GHI...", '--auth_code="$(the_code)"')
        # Two ports of this run's own, since others may be in use.
        block = block.replace("3100", str(port)).replace("threads-auth login", f"threads-auth login --port {callback}")
        script += [f"echo {shlex.quote(f'guide: block {number}')} >&2", "cat >&2 <<'SHOWN'", shown.rstrip(), "SHOWN", block]
    script += [
        ". ./.env",
        'test -n "$LONG_LIVED_TOKEN" && test -n "$long_lived_token" && test "$LONG_LIVED_TOKEN" != "$long_lived_token"',
        'for token in "$LONG_LIVED_TOKEN" "$long_lived_token"; do',
        '    curl --silent --fail --output /dev/null "$THREADS_GRAPH_URL/v1.0/me?access_token=$token"',
        "done",
        # Two that work, and the one that is throttled.
        'test "$(curl --silent "$THREADS_GRAPH_URL/control/calls" | grep -o \'"call":"refresh"\' | wc -l)" = 3',
        "test \"$(head -n 1 .env)\" = '# My project'",
        'test "$(stat -c %a .env)" = 600',
        "echo complete",
    ]
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder)
        tools, work = home / "bin", home / "work"
        tools.mkdir()
        work.mkdir()
        (tools / "threads-auth").symlink_to(program)
        opener = tools / "the-browser"
        opener.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(__file__)} --browser \"$1\"\n")
        opener.chmod(0o755)
        environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "HOME": folder,
            "BROWSER": str(opener),
            "NO_PROXY": "127.0.0.1",
        }
        file = home / "guide.sh"
        file.write_text("trap 'kill %1' EXIT\n" + "\n".join(script) + "\n")
        ended = subprocess.run(["bash", str(file)], cwd=work, env=environment, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=False)
    print(ended.stdout)
    if ended.returncode != 0 or not ended.stdout.endswith("complete\n"):
        sys.exit(f"guide: FAILED with {ended.returncode}")
    print(f"guide: {len(blocks)} blocks of cli/README.md ran as they stand")


if __name__ == "__main__":
    main()
