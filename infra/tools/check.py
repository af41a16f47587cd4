"""Our own rules on our own templates, and on broken variants of them that the rules must refuse.

`check.py render FILE` writes the transformed template. `check.py rules CFN_GUARD` applies the rules
in infra/rules (cfn-guard), in wiring.py, origin.py, webhooks.py, limits.py and backends.py to the
templates, those in people.py to infra/policies, and those in environments.py to samconfig.toml and
what it hands from one stack to the other. `check.py mutations CFN_GUARD` breaks them in one way
after another, and prints which rule has caught it; a mutant that lives, and a rule that no mutant
tries, are failures. `check.py limits` prints the limits that only AWS enforces, and where AWS says
so.
"""

import copy
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import backends
import environments
import limits
import origin
import people
import render
import webhooks
import wiring
from mutations import MUTATIONS

RULES = {
    "template": sorted(file for file in (render.INFRA / "rules").glob("*.guard") if file.stem not in ("data", "edge")),
    "data": [render.INFRA / "rules" / "data.guard"],
    "edge": [render.INFRA / "rules" / "edge.guard"],
}


def guarded(cfn_guard, batch, rules):
    """Returns, for each template of `batch` by name, the rules that it breaks with cfn-guard's
    reasons, and all rules that there are."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in batch.items():
            pathlib.Path(folder, f"{name}.json").write_text(json.dumps(text))
        command = [cfn_guard, "validate", "--rules", *map(str, rules), "--data", folder]
        command += ["--structured", "--output-format", "json", "--show-summary", "none"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.stderr.strip() or not done.stdout.strip():
        sys.exit(f"cfn-guard did not work:\n{done.stderr}{done.stdout}")
    broken, every = {}, set()
    for report in json.loads(done.stdout):
        failed = {entry["Rule"]["name"]: reasons(entry) for entry in report["not_compliant"]}
        broken[pathlib.Path(report["name"]).stem] = failed
        every |= set(failed) | set(report["compliant"]) | set(report["not_applicable"])
    return broken, every


def reasons(entry):
    """cfn-guard's own words, without the template that it repeats in them."""
    found = re.findall(r'"(?:custom_message|error_message)": "((?:[^"\\]|\\.){1,300})', json.dumps(entry))
    return [text.split("Value=")[0] for text in found if text.strip()]


OURS = {
    "template": wiring.RULES + origin.RULES + webhooks.RULES + limits.RULES,
    "data": wiring.DATA_RULES + limits.DATA_RULES,
    "edge": wiring.EDGE_RULES + origin.EDGE_RULES + limits.EDGE_RULES,
    "backend": backends.RULES,
    "policies": people.RULES,
    "environments": environments.RULES,
}


def wired(name, subject):
    """The rules in Python that a template breaks, each with its problems."""
    return {rule.__name__: problems for rule in OURS[name] if (problems := rule(subject))}


def sources():
    """The subjects of the rules, as they were written."""
    files = {"template": "template.yaml", "data": "data.yaml", "edge": "edge.yaml", "backend": "backend.yaml"}
    others = {"policies": people.subject(), "environments": environments.subject()}
    return {name: render.source(file) for name, file in files.items()} | others


def ready(name, source):
    return render.transformed(source) if name == "template" else source


def rules(cfn_guard):
    """Applies every rule to the templates."""
    failed, count = {}, 0
    for name, source in sources().items():
        subject = ready(name, source)
        broken, every = guarded(cfn_guard, {name: subject}, RULES[name]) if name in RULES else ({name: {}}, set())
        failed |= broken[name] | wired(name, subject)
        count += len(every) + len(OURS[name])
    for rule, why in failed.items():
        print(f"{rule}:", *why, sep="\n    ")
    print(f"{count} rules of ours, {len(failed)} of them broken")
    return not failed


def mutations(cfn_guard):
    """Applies the rules to every mutant."""
    originals = sources()
    mutants = {name: {} for name in originals}
    for number, (what, _, which, change) in enumerate(MUTATIONS):
        mutant = copy.deepcopy(originals[which])
        change(mutant)
        if mutant == originals[which]:
            sys.exit(f"a mutation that changes nothing: {what}")
        mutants[which][str(number)] = ready(which, mutant)
    by, every = {}, {rule.__name__ for rules in OURS.values() for rule in rules}
    for which, batch in mutants.items():
        by |= {name: set(wired(which, mutant)) for name, mutant in batch.items()}
        if which in RULES:
            # cfn-guard takes its time, so it sees only what no rule in Python has to catch.
            of_guard = {name: mutant for name, mutant in batch.items() if MUTATIONS[int(name)][1] not in every}
            broken, known = guarded(cfn_guard, of_guard, RULES[which])
            every |= known
            for name, failed in broken.items():
                by[name] |= set(failed)
    caught = 0
    print(f"{'broken':<48} {'caught by':<46} also by")
    for number, (what, rule, _, _) in enumerate(MUTATIONS):
        others = by[str(number)] - {rule}
        is_caught = rule in by[str(number)]
        caught += is_caught
        print(f"{what:<48} {rule if is_caught else 'NOT ' + rule:<46} {', '.join(sorted(others))}".rstrip())
    untried = every - {rule for _, rule, _, _ in MUTATIONS}
    for rule in sorted(untried):
        print(f"no mutation tries {rule}")
    print(f"{caught} of {len(MUTATIONS)} broken templates caught; {len(every)} rules, {len(untried)} of them untried")
    return caught == len(MUTATIONS) and not untried


def main(arguments):
    match arguments:
        case ["render", file]:
            pathlib.Path(file).write_text(json.dumps(ready("template", render.source()), indent=1))
            return True
        case ["limits"]:
            print(*(" | ".join(row) for row in limits.TABLE), sep="\n")
            return True
        case ["rules", cfn_guard]:
            return rules(cfn_guard)
        case ["mutations", cfn_guard]:
            return mutations(cfn_guard)
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:]) else 1)
