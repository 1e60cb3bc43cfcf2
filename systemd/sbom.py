#!/usr/bin/env python3
"""Writes what a binary is built of, as SPDX 2.3 in JSON.

    sbom.py PACKAGE >FILE

PACKAGE is `sallyport` or `sallyport-classifier`. The packages are those that Cargo compiles for
it, with their checksums of Cargo.lock and the licences that their manifests declare; what is
vendored in the tree or compiled for the kernel is in the list as well. The same commit gives the
same bytes: the time is the commit's, and everything is sorted.
"""

import datetime
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
CRATES = "registry+https://github.com/rust-lang/crates.io-index"
NO_ASSERTION = "NOASSERTION"

# What is part of a binary and is no crate that Cargo resolves for it.
VENDORED = {
    "sallyport": [
        {
            "name": "uPlot",
            "folder": "gateway/src/admin/page/uplot",
            "version": r"uPlot\S* \(?v?(\d+\.\d+\.\d+)",
            "license": "MIT",
            "home": "https://github.com/leeoniya/uPlot",
        }
    ]
}
# The workspace whose program is embedded in the binary, beside the one of the binary.
EMBEDDED = {"sallyport-classifier": ("ebpf-classifier/xdp", "classifier-xdp")}


def run(*command):
    """Returns what `command` prints."""
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def epoch():
    """Returns when the sources are from, in seconds since 1970."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or run("git", "log", "-1", "--format=%ct"))


def license_of(package):
    """Returns the licence that a manifest declares, as an SPDX expression."""
    declared = package.get("license") or NO_ASSERTION
    # The form of old manifests.
    return re.sub(r"\s*/\s*", " OR ", declared)


class Crates:
    """The crates that Cargo compiles for one package of a workspace."""

    def __init__(self, folder, package):
        self.folder = ROOT / folder
        manifest = str(self.folder / "Cargo.toml")
        text = run("cargo", "metadata", "--locked", "--format-version=1", "--manifest-path", manifest)
        metadata = json.loads(text)
        self.packages = {package["id"]: package for package in metadata["packages"]}
        lock = tomllib.loads((self.folder / "Cargo.lock").read_text())
        self.checksums = {
            (entry["name"], entry["version"]): entry.get("checksum") for entry in lock["package"]
        }
        compiled = self.compiled(manifest, package)
        self.ids = {
            key
            for key, value in self.packages.items()
            if (value["name"], value["version"]) in compiled
        }
        self.edges = self.read_edges(metadata["resolve"]["nodes"])
        self.root = next(key for key in self.ids if self.packages[key]["name"] == package)

    @staticmethod
    def compiled(manifest, package):
        """Returns names and versions, with the features that a build of `package` alone has."""
        tree = run(
            "cargo", "tree", "--locked", "--manifest-path", manifest, "-p", package,
            "--edges", "normal,build", "--prefix", "none", "--format", "{p}",
        )  # fmt: skip
        lines = (line.split() for line in tree.splitlines() if line.strip())
        return {(words[0], words[1].removeprefix("v")) for words in lines}

    def read_edges(self, nodes):
        """Returns (crate, kind, dependency) of all that are compiled."""
        edges = set()
        for node in nodes:
            for dependency in node["deps"] if node["id"] in self.ids else []:
                kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
                if dependency["pkg"] in self.ids and None in kinds:
                    edges.add((node["id"], "normal", dependency["pkg"]))
                elif dependency["pkg"] in self.ids and "build" in kinds:
                    edges.add((node["id"], "build", dependency["pkg"]))
        return edges

    def entry(self, key):
        """Returns a crate as SPDX has it."""
        package = self.packages[key]
        name, version = package["name"], package["version"]
        is_ours = package["source"] is None
        entry = {
            "SPDXID": spdx_id(name, version),
            "name": name,
            "versionInfo": version,
            "downloadLocation": NO_ASSERTION,
            "filesAnalyzed": False,
            "licenseConcluded": NO_ASSERTION,
            "licenseDeclared": license_of(package),
            "copyrightText": NO_ASSERTION,
            "primaryPackagePurpose": "SOURCE" if is_ours else "LIBRARY",
        }
        if package["source"] == CRATES:
            entry["downloadLocation"] = f"https://crates.io/api/v1/crates/{name}/{version}/download"
            entry["externalRefs"] = [purl(f"pkg:cargo/{name}@{version}")]
            entry["supplier"] = NO_ASSERTION
        checksum = self.checksums.get((name, version))
        if checksum:
            entry["checksums"] = [{"algorithm": "SHA256", "checksumValue": checksum}]
        return entry

    def relationships(self):
        """Yields what needs what."""
        name = lambda key: spdx_id(self.packages[key]["name"], self.packages[key]["version"])
        for user, kind, used in self.edges:
            if kind == "normal":
                yield relationship(name(user), "DEPENDS_ON", name(used))
            else:
                yield relationship(name(used), "BUILD_DEPENDENCY_OF", name(user))


def spdx_id(name, version):
    """Returns the identifier of a package: letters, digits, dots and hyphens."""
    return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", f"{name}-{version}")


def purl(locator):
    """Returns the reference by which scanners know a package."""
    return {
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": locator,
    }


def relationship(source, kind, target):
    """Returns that `source` stands in the relation `kind` to `target`."""
    return {"spdxElementId": source, "relationshipType": kind, "relatedSpdxElement": target}


def vendored(description):
    """Returns the package of a folder of the tree that others have written."""
    files = sorted(path for path in (ROOT / description["folder"]).rglob("*") if path.is_file())
    text = "\n".join(path.read_text(errors="replace") for path in files)
    found = re.search(description["version"], text)
    if found is None:
        sys.exit(f"{description['folder']} does not say which version of {description['name']} it is")
    name, version = description["name"], found.group(1)
    return {
        "SPDXID": spdx_id(name, version),
        "name": name,
        "versionInfo": version,
        "downloadLocation": description["home"],
        "filesAnalyzed": False,
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": description["license"],
        "copyrightText": NO_ASSERTION,
        "externalRefs": [purl(f"pkg:npm/{name.lower()}@{version}")],
        "primaryPackagePurpose": "LIBRARY",
    }


def document(name):
    """Returns the bill of materials of the binary `name`."""
    crates = Crates(".", name)
    packages = {entry["SPDXID"]: entry for entry in map(crates.entry, crates.ids)}
    root = spdx_id(name, crates.packages[crates.root]["version"])
    packages[root]["primaryPackagePurpose"] = "APPLICATION"
    relationships = [relationship("SPDXRef-DOCUMENT", "DESCRIBES", root), *crates.relationships()]
    for description in VENDORED.get(name, []):
        entry = vendored(description)
        packages[entry["SPDXID"]] = entry
        relationships.append(relationship(root, "CONTAINS", entry["SPDXID"]))
    if name in EMBEDDED:
        program = Crates(*EMBEDDED[name])
        for entry in map(program.entry, program.ids):
            packages.setdefault(entry["SPDXID"], entry)
        relationships += program.relationships()
        embedded = program.packages[program.root]
        contained = spdx_id(embedded["name"], embedded["version"])
        relationships.append(relationship(root, "CONTAINS", contained))
    order = lambda it: (it["spdxElementId"], it["relationshipType"], it["relatedSpdxElement"])
    unique = {order(it): it for it in relationships}
    content = {
        "packages": [packages[key] for key in sorted(packages)],
        "relationships": [unique[key] for key in sorted(unique)],
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    version = packages[root]["versionInfo"]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{name}-{version}",
        "documentNamespace": f"https://sallyport.invalid/spdx/{name}-{version}-{digest}",
        "creationInfo": {"created": timestamp(epoch()), "creators": ["Tool: sallyport-sbom"]},
        "documentDescribes": [root],
        **content,
    }


def timestamp(seconds):
    """Returns a time as SPDX has it: UTC, to the second."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("name a package: sbom.py sallyport >sallyport.spdx.json")
    json.dump(document(sys.argv[1]), sys.stdout, indent=1)
    sys.stdout.write("\n")
