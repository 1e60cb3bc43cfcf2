#!/bin/sh
# Validates the bills of materials in the folder $1 by the tools of SPDX itself, and holds them against what
# Cargo has locked.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
tools=$(sh "$root/loadtest/install-python.sh" spdx-tools 0.8.5)
for name in sallyport sallyport-classifier; do
    file=$1/$name.spdx.json
    PYTHONPATH=$tools python3 -c 'from spdx_tools.spdx.clitools.pyspdxtools import main; main()' --infile "$file"
    SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct) python3 "$root/systemd/sbom.py" "$name" | cmp - "$file"
    python3 - "$file" "$name" <<'PYTHON'
import json
import sys

document = json.load(open(sys.argv[1]))
packages = {package["SPDXID"]: package for package in document["packages"]}
root = packages[document["documentDescribes"][0]]
assert root["name"] == sys.argv[2], root
downloaded = [it for it in packages.values() if it["downloadLocation"].startswith("https://crates.io/")]
assert len(downloaded) > 80, len(downloaded)
for package in downloaded:
    assert len(package["checksums"][0]["checksumValue"]) == 64, package
    assert package["licenseDeclared"] != "NOASSERTION", package
# Whatever is listed is part of the binary in some way: nothing hangs in the air.
reached, fresh = set(), {root["SPDXID"]}
while fresh:
    reached |= fresh
    uses = lambda it: (it["spdxElementId"], it["relatedSpdxElement"])
    pairs = (
        uses(it)[::-1] if it["relationshipType"] == "BUILD_DEPENDENCY_OF" else uses(it)
        for it in document["relationships"]
    )
    fresh = {used for user, used in pairs if user in fresh} - reached
assert reached == set(packages), set(packages) - reached
print(f"{sys.argv[2]}: {len(packages)} packages, all of them in use")
PYTHON
done
echo "sbom: all passed"
