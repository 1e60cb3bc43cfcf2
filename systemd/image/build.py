#!/usr/bin/env python3
"""Packs a binary that is built already into an OCI image, without a container engine.

    build.py BINARY OUT

BINARY is called `sallyport` or `sallyport-classifier`. OUT becomes an image layout (a folder with
`oci-layout`, `index.json` and `blobs`), and OUT.tar the same as an archive. The image holds the
binary, the libraries that it is linked with, the roots of public authorities, a first configuration
and a user; no shell and no package manager. The same binary, libraries and commit give the same
bytes: times are the commit's, names are sorted.
"""

import datetime
import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
USER = 65532
# By the name of the binary.
IMAGES = {
    "sallyport": {
        "title": "Sallyport",
        "description": "Edge gateway: routes, balances, reloads, counts",
        "configuration": ("conf/container.yaml", "etc/sallyport/sallyport.yaml"),
        "command": ["run", "--config", "/etc/sallyport/sallyport.yaml"],
        "user": f"{USER}:{USER}",
        "ports": (8080, 8443),
    },
    # A container's runtime gives capabilities to root alone. The group is the gateway's, for the pins.
    "sallyport-classifier": {
        "title": "Sallyport classifier",
        "description": "XDP packet classifier in front of the Sallyport gateway",
        "configuration": ("conf/classifier.yaml", "etc/sallyport/classifier.yaml"),
        "command": ["run", "--config", "/etc/sallyport/classifier.yaml", "--keep"],
        "user": f"0:{USER}",
        "ports": (),
    },
}
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
# By the machine of an ELF header, little endian.
ARCHITECTURES = {62: "amd64", 183: "arm64"}
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
AUTHORITIES_COPYRIGHT = "/usr/share/doc/ca-certificates/copyright"


def run(*command):
    """Returns what `command` prints."""
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def epoch():
    """Returns when the sources are from, in seconds since 1970."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or run("git", "log", "-1", "--format=%ct"))


def version():
    """Returns the version of the workspace."""
    return re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.M).group(1)


def architecture(binary):
    """Returns the name that OCI has for the machine that `binary` runs on."""
    with open(binary, "rb") as file:
        header = file.read(20)
    if header[:4] != b"\x7fELF":
        sys.exit(f"{binary} is no program for Linux: name the gateway's binary")
    machine = int.from_bytes(header[18:20], "little")
    if machine not in ARCHITECTURES:
        sys.exit(f"{binary} is for a machine that no image is made for: ELF machine {machine}")
    return ARCHITECTURES[machine]


def libraries(binary):
    """Returns the files that the loader opens for `binary`, the loader itself among them.

    A binary that is linked statically needs none.
    """
    said = subprocess.run(["ldd", str(binary)], capture_output=True, text=True)
    if "not a dynamic executable" in said.stderr:
        return []
    said = said.stdout
    if "not found" in said:
        sys.exit(f"{binary} asks for a library that is not here:\n{said}")
    return sorted(set(re.findall(r"(/\S+) \(0x[0-9a-f]+\)", said)))


def copyrights(paths):
    """Returns the copyright files of the Debian packages that `paths` are of, where dpkg knows."""
    if not shutil.which("dpkg-query"):
        return []
    found = set()
    for path in paths:
        # Where /lib is a link to /usr/lib, dpkg knows a file by one of the two names.
        for name in (path, os.path.realpath(path), path.removeprefix("/usr")):
            said = subprocess.run(["dpkg-query", "-S", name], capture_output=True, text=True)
            if said.returncode == 0:
                found.add(said.stdout.split(":")[0])
                break
    return [f"/usr/share/doc/{package}/copyright" for package in sorted(found)]


class Layer:
    """The files of one layer, by their paths in the image."""

    def __init__(self, comment):
        self.comment = comment
        self.entries = {}

    def folder(self, path, mode=0o755, owner=0):
        """Adds a folder, and those that it is in."""
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            self.folder(parent)
        self.entries[path] = (tarfile.DIRTYPE, mode, owner, b"")

    def file(self, path, content, mode=0o644):
        """Adds a file of root's, and the folders that it is in."""
        parent = os.path.dirname(path)
        if parent not in self.entries:
            self.folder(parent)
        self.entries[path] = (tarfile.REGTYPE, mode, 0, content)

    def copy(self, source, path, mode=0o644):
        """Adds what is in the file `source`."""
        self.file(path, pathlib.Path(source).read_bytes(), mode)

    def tar(self, seconds):
        """Returns the layer as an archive that depends on nothing but its files and the time."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for path in sorted(self.entries):
                kind, mode, owner, content = self.entries[path]
                member = tarfile.TarInfo(path)
                member.type, member.mode, member.size = kind, mode, len(content)
                member.uid = member.gid = owner
                member.mtime = seconds
                archive.addfile(member, io.BytesIO(content))
        return out.getvalue()


def base_layer(binary):
    """Returns what a program needs of a system."""
    layer = Layer("libraries, roots of public authorities, users")
    needed = libraries(binary)
    for path in needed:
        layer.copy(os.path.realpath(path), path.lstrip("/"), 0o755)
    for path in [*copyrights(needed), AUTHORITIES_COPYRIGHT]:
        if os.path.exists(path):
            layer.copy(path, path.lstrip("/"))
    if not os.path.exists(AUTHORITIES):
        sys.exit(f"{AUTHORITIES} is not here: install ca-certificates")
    layer.copy(AUTHORITIES, AUTHORITIES.lstrip("/"))
    users = "root:x:0:0:root:/root:/nonexistent\n"
    users += f"sallyport:x:{USER}:{USER}:Sallyport:/var/lib/sallyport:/nonexistent\n"
    layer.file("etc/passwd", users.encode())
    layer.file("etc/group", f"root:x:0:\nsallyport:x:{USER}:\n".encode())
    layer.file("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n")
    layer.folder("tmp", 0o1777)
    for path in ("run", "var/lib", "var/cache", "var/log"):
        layer.folder(f"{path}/sallyport", 0o755, USER)
    return layer


def program_layer(binary, image):
    """Returns the program itself, without its symbols, and its first configuration."""
    layer = Layer(f"{image['title']}, and its first configuration")
    name = binary.name
    with tempfile.NamedTemporaryFile() as stripped:
        run("strip", "--strip-all", "--remove-section=.comment", "-o", stripped.name, str(binary))
        layer.copy(stripped.name, f"usr/bin/{name}", 0o755)
    source, path = image["configuration"]
    layer.copy(ROOT / source, path)
    layer.folder("etc/sallyport/conf.d")
    layer.copy(ROOT / "systemd/debian/copyright", f"usr/share/doc/{name}/copyright")
    layer.copy(ROOT / "LICENSE", f"usr/share/doc/{name}/LICENSE")
    materials = run(sys.executable, "systemd/sbom.py", name)
    layer.file(f"usr/share/doc/{name}/{name}.spdx.json", materials.encode())
    return layer


def compressed(content):
    """Returns `content` as gzip writes it, without a name and a time."""
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=out, mtime=0) as file:
        file.write(content)
    return out.getvalue()


class Layout:
    """An image layout in the making."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "blobs/sha256").mkdir(parents=True)

    def blob(self, content, media_type):
        """Keeps `content` by its digest, and returns the descriptor of it."""
        digest = hashlib.sha256(content).hexdigest()
        (self.folder / "blobs/sha256" / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def document(self, content, media_type):
        """Keeps a JSON document as a blob."""
        return self.blob(written(content), media_type)

    def finish(self, manifest):
        """Writes the files by which readers begin."""
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]}
        (self.folder / "index.json").write_bytes(written(index))
        (self.folder / "oci-layout").write_bytes(written({"imageLayoutVersion": "1.0.0"}))


def written(content):
    """Returns a JSON document as bytes that depend on its content only."""
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def labels(image, created):
    """Returns what an image is told by, in registries and by engines."""
    return {
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.description": image["description"],
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.revision": run("git", "rev-parse", "HEAD").strip(),
        "org.opencontainers.image.title": image["title"],
        "org.opencontainers.image.version": version(),
    }


def image_config(binary, image, created, layers):
    """Returns how the program is run. `layers` are pairs of a layer and the digest of its archive."""
    return {
        "architecture": architecture(binary),
        "os": "linux",
        "created": created,
        "config": {
            "User": image["user"],
            "Entrypoint": [f"/usr/bin/{binary.name}"],
            "Cmd": image["command"],
            "Env": [
                "PATH=/usr/bin",
                f"SSL_CERT_FILE={AUTHORITIES}",
                "CACHE_DIRECTORY=/var/cache/sallyport",
            ],
            "ExposedPorts": {f"{port}/tcp": {} for port in image["ports"]},
            "WorkingDir": "/var/lib/sallyport",
            "StopSignal": "SIGTERM",
            "Labels": labels(image, created),
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for _, digest in layers]},
        "history": [
            {"created": created, "created_by": "systemd/image/build.py", "comment": layer.comment}
            for layer, _ in layers
        ],
    }


def build(binary, out):
    """Makes the image layout `out`, which must not be there."""
    image = IMAGES[binary.name]
    seconds = epoch()
    created = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    created = created.strftime("%Y-%m-%dT%H:%M:%SZ")
    layout = Layout(out)
    layers, descriptors = [], []
    for layer in (base_layer(binary), program_layer(binary, image)):
        archive = layer.tar(seconds)
        layers.append((layer, hashlib.sha256(archive).hexdigest()))
        descriptors.append(layout.blob(compressed(archive), LAYER))
    config = layout.document(image_config(binary, image, created, layers), CONFIG)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": descriptors,
        "annotations": labels(image, created),
    }
    descriptor = layout.document(manifest, MANIFEST)
    descriptor["annotations"] = {"org.opencontainers.image.ref.name": version()}
    descriptor["platform"] = {"architecture": architecture(binary), "os": "linux"}
    layout.finish(descriptor)
    return descriptor["digest"]


def archive(folder, file, seconds):
    """Writes the image layout `folder` into one file, as `docker load` and registries take it."""
    layer = Layer("")
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            layer.copy(path, str(path.relative_to(folder)))
    layer.entries.pop("", None)
    file.write_bytes(layer.tar(seconds))


def main():
    if len(sys.argv) != 3:
        sys.exit("name a binary and a folder: build.py target/dist/sallyport target/image/sallyport")
    binary, out = pathlib.Path(os.path.abspath(sys.argv[1])), pathlib.Path(sys.argv[2]).resolve()
    if binary.name not in IMAGES:
        sys.exit(f"{binary.name} has no image: name {' or '.join(IMAGES)}")
    out.parent.mkdir(parents=True, exist_ok=True)
    # Made beside its place, so that one that fails leaves the image before.
    new = pathlib.Path(tempfile.mkdtemp(dir=out.parent))
    try:
        digest = build(binary, new / "image")
        shutil.rmtree(out, ignore_errors=True)
        (new / "image").rename(out)
        archive(out, out.with_name(out.name + ".tar"), epoch())
    finally:
        shutil.rmtree(new)
    print(f"{out}:{version()} {digest}")


if __name__ == "__main__":
    main()
