"""Holds what the chart renders against what runs it.

    manifests.py BINARIES PLAIN RENDERED...

The files in ConfigMaps are checked by the binaries in the folder BINARIES. The rights of
`default.yaml` among RENDERED are those of the manifests PLAIN; no other form has more, and one of
some namespaces reads nothing of others.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

import yaml

CHECKS = {"sallyport.yaml": "sallyport", "classifier.yaml": "sallyport-classifier"}
# What a cluster has one of; everything else is in a namespace.
OF_CLUSTER = {"namespaces", "ingressclasses", "gatewayclasses", "gatewayclasses/status"}


def objects(path):
    """Returns the objects of a file of manifests."""
    return [it for it in yaml.safe_load_all(path.read_text()) if it]


def check_files(binaries, secrets, path):
    """Has the binaries check the files that are in ConfigMaps."""
    count = 0
    for item in (it for it in objects(path) if it["kind"] == "ConfigMap"):
        for name, text in item["data"].items():
            # Its tokens are a Secret's.
            file = secrets / name
            file.write_text(text.replace("/run/secrets/sallyport", str(secrets)))
            command = [binaries / CHECKS[name], "check", file]
            said = subprocess.run(command, capture_output=True, text=True)
            if said.returncode != 0:
                sys.exit(f"FAIL: {name} of {path.name}:\n{said.stdout}{said.stderr}\n{text}")
            count += 1
    return count


def rights(path, kinds):
    """Returns (group, resource, name or nothing, verb) of all roles of these kinds."""
    granted = set()
    for role in (it for it in objects(path) if it["kind"] in kinds):
        for rule in role["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for name in rule.get("resourceNames", [""]):
                        granted |= {(group, resource, name, verb) for verb in rule["verbs"]}
    return granted


def main():
    secrets = pathlib.Path(tempfile.mkdtemp())
    for name in ("token", "read-token"):
        (secrets / name).write_text(f"0123456789-{name}\n")
    binaries, plain = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    rendered = {path.stem: path for path in map(pathlib.Path, sys.argv[3:])}
    both = {"ClusterRole", "Role"}
    known = rights(plain, both)
    if rights(rendered["default"], both) != known:
        differences = sorted(rights(rendered["default"], both) ^ known)
        sys.exit(f"FAIL: {plain.name} and the chart grant different rights: {differences}")
    for name, path in rendered.items():
        more = rights(path, both) - known
        if more or not rights(path, both):
            sys.exit(f"FAIL: the form {name} grants {sorted(more)}")
        print(f"ok: {check_files(binaries, secrets, path)} files in {name}, and no right too many")
    wide = {it for it in rights(rendered["namespaces"], {"ClusterRole"}) if it[1] not in OF_CLUSTER}
    if wide:
        sys.exit(f"FAIL: the form of two namespaces reads others: {sorted(wide)}")
    shutil.rmtree(secrets)
    print("ok: a gateway of two namespaces reads no others")


main()
