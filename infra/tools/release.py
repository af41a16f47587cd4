"""Packs a release so that the same inputs give the same bytes.

`release.py service BUILD ARCHITECTURE OUT [SBOM]` packs what `infra/package` has left in BUILD, as
a folder and as an archive of it: a zip for each function, and the templates that name these zips,
so that neither Rust nor `sam build` is needed. SBOM is a folder of CycloneDX documents.
`release.py command PROGRAM TARGET OUT [SBOM]` packs the command line with its completions and
manual. `release.py sums OUT` writes the checksums of all archives. `release.py tag TAG` says
whether this tag may be released.
"""

import gzip
import hashlib
import io
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
INFRA = ROOT / "infra"
LICENCES = ("LICENSE-APACHE", "LICENSE-MIT")
# The earliest that a zip can say. Lambda and CloudFormation look at content alone.
THEN = (1980, 1, 1, 0, 0, 0)


def version():
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


def functions():
    """Each function's resource, by the folder of its source."""
    text = (INFRA / "template.yaml").read_text()
    return {folder: f"{folder.capitalize()}Function" for folder in re.findall(r"CodeUri: \.\./functions/(\w+)\n", text)}


def template(text, architecture):
    """A template that names zips beside it, for one architecture."""
    text = re.sub(r" +Metadata: \{ BuildMethod: rust-cargolambda, .*\n", "", text)
    text = re.sub(r"CodeUri: \.\./functions/(\w+)\n", r"CodeUri: functions/\1.zip\n", text)
    text, changed = re.subn(
        r"AllowedValues: \[x86_64, arm64\]\n( +)Default: \w+\n",
        rf"AllowedValues: [{architecture}]\n\1Default: {architecture}\n",
        text,
    )
    if "rust-cargolambda" in text or "../functions" in text or changed != 1:
        sys.exit("template.yaml says in a new way what is built: see infra/tools/release.py")
    return text


CONFIG = """\
# The environments of `sam deploy`, for a release: all is built, so say nothing but
#
#     sam deploy --config-env prod
#
# Values of your own belong into a file outside this folder, so that the next release, and the one
# before, are deployed with the same: `--config-file "$PWD/samconfig.local.toml"`. A value ends at
# its first space: lists have commas between, and nothing else.

"""


def config(text, architecture):
    """The environments, for a folder in which all templates lie, and nothing is built."""
    text = CONFIG + text[text.index("version = ") :]
    # A table ends where the next one begins, or the comment above that.
    text = re.sub(r"\[[\w-]+\.build\.parameters\]\n(?:(?!\[|#).*\n)*", "", text)
    text = text.replace('template_file = "infra/', 'template_file = "')
    text = text.replace('"Architecture=x86_64"', f'"Architecture={architecture}"')
    return text


def zipped(files):
    """An archive of (name, bytes, mode)s, which depends on nothing else."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content, mode in sorted(files):
            entry = zipfile.ZipInfo(name, THEN)
            entry.create_system, entry.external_attr = 3, (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()


def tarred(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content, mode in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)


def sums(files):
    """In the form that `sha256sum --check` reads."""
    lines = (f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content, *_ in sorted(files))
    return "".join(lines).encode()


def documents(folder, wanted):
    """The bills of materials of these programs, without the folder in which they were made."""
    files = []
    for name in wanted if folder else ():
        text = (pathlib.Path(folder) / f"{name}.cdx.json").read_text()
        text = re.sub(r'path\+file:///[^"#]*?/(cli|functions|shared)\b', r"path+file:///\1", text)
        files.append((f"sbom/{name}.cdx.json", text.encode(), 0o644))
    return files


def service(build, architecture, out, sbom=None):
    """A folder from which `sam deploy` deploys, and its archive."""
    name, files = f"threads-auth-service-{version()}-{architecture}", []
    for function, resource in functions().items():
        # `sam build` calls the folder like the resource, and `cargo lambda` like the program.
        folder = pathlib.Path(build) / resource
        program = ((folder if folder.is_dir() else folder.with_name(function)) / "bootstrap").read_bytes()
        files.append((f"functions/{function}.zip", zipped([("bootstrap", program, 0o755)]), 0o644))
    for file in sorted([*INFRA.glob("*.yaml"), *INFRA.glob("*-policy.json")]):
        text = file.read_text()
        if file.name == "template.yaml":
            text = template(text, architecture)
        files.append((file.name, text.encode(), 0o644))
    files.append(("samconfig.toml", config((ROOT / "samconfig.toml").read_text(), architecture).encode(), 0o644))
    files += [(licence, (ROOT / licence).read_bytes(), 0o644) for licence in LICENCES]
    files += documents(sbom, functions())
    files.append(("SHA256SUMS", sums(files), 0o644))
    folder = pathlib.Path(out) / name
    shutil.rmtree(folder, ignore_errors=True)
    for file, content, _ in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    archive = pathlib.Path(out) / f"{name}.zip"
    archive.write_bytes(zipped([(f"{name}/{file}", content, mode) for file, content, mode in files]))
    return archive


def command(program, target, out, sbom=None):
    """The command line, as it is unpacked and put on PATH."""
    name, program = f"threads-auth-{version()}-{target}", pathlib.Path(program).resolve()
    files = [("threads-auth", program.read_bytes(), 0o755)]
    for shell, file in (("bash", "threads-auth.bash"), ("zsh", "_threads-auth"), ("fish", "threads-auth.fish")):
        script = subprocess.run([program, "completions", shell], capture_output=True, check=True).stdout
        files.append((f"completions/{file}", script, 0o644))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, "man", "--dir", folder], capture_output=True, check=True)
        files += [(f"man/man1/{page.name}", page.read_bytes(), 0o644) for page in pathlib.Path(folder).iterdir()]
    files += [(licence, (ROOT / licence).read_bytes(), 0o644) for licence in LICENCES]
    files += documents(sbom, ["threads-auth"])
    archive = pathlib.Path(out) / f"{name}.tar.gz"
    archive.write_bytes(tarred([(f"{name}/{file}", content, mode) for file, content, mode in files]))
    said = address(tomllib.loads((ROOT / "cli/Cargo.toml").read_text())["package"]["metadata"]["binstall"], target)
    if said != (f"/releases/download/v{version()}/{archive.name}", f"{name}/threads-auth"):
        sys.exit(f"cargo binstall would look for {said}")
    return archive


def address(metadata, target):
    """Returns the path beneath the repository from which `cargo binstall` downloads, and the one in
    the archive."""
    filled = [metadata["pkg-url"], metadata["bin-dir"]]
    values = {"repo": "", "version": version(), "target": target, "bin": "threads-auth", "binary-ext": ""}
    for key, value in values.items():
        filled = [text.replace(f"{{ {key} }}", value) for text in filled]
    return tuple(filled)


def tag(name):
    """A tag is the version's, and the changelog tells what is in it."""
    if name != f"v{version()}":
        return f"the tag {name} is not that of version {version()}"
    if f"\n## {version()}" not in (ROOT / "CHANGELOG.md").read_text():
        return f"CHANGELOG.md has no chapter {version()}: what is under Unreleased is to be called so"
    return None


def main(arguments):
    match arguments:
        case ["service", build, architecture, out, *sbom]:
            print(service(build, architecture, out, *sbom))
        case ["command", program, target, out, *sbom]:
            print(command(program, target, out, *sbom))
        case ["sums", out]:
            archives = [file for file in pathlib.Path(out).iterdir() if file.suffix in (".zip", ".gz")]
            file = pathlib.Path(out, "SHA256SUMS")
            file.write_bytes(sums([(archive.name, archive.read_bytes()) for archive in archives]))
            print(file)
        case ["tag", name]:
            sys.exit(tag(name))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
