"""Makes a Debian package of what [package.metadata.deb] of Cargo.toml says, by dpkg-deb: assemble.py [OUTPUT.deb [VERSION]]."""

import glob
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

SCRIPTS = ("preinst", "postinst", "prerm", "postrm")


def output_of(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout.strip()


def depends(binary):
    """The packages that have the binary's libraries."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "debian").mkdir()
        (Path(folder) / "debian/control").write_text("Source: corelane\n\nPackage: corelane\nArchitecture: any\n")
        said = output_of("dpkg-shlibdeps", "-O", "-e", str(binary.resolve()), cwd=folder)
    return said.removeprefix("shlibs:Depends=")


def put(source, target, mode):
    target.parent.mkdir(parents=True, exist_ok=True)
    if "/share/man/" in f"{target}" or target.name == "changelog":
        # As Debian has them; without a time, so that the same is always the same.
        target = target.with_name(target.name + ".gz")
        target.write_bytes(gzip.compress(source.read_bytes(), mtime=0))
    else:
        shutil.copyfile(source, target)
    target.chmod(mode)


def main():
    cargo = tomllib.loads(Path("Cargo.toml").read_text())
    package, workspace = cargo["package"], cargo["workspace"]["package"]
    deb = package["metadata"]["deb"]
    version = sys.argv[2] if sys.argv[2:] and sys.argv[2] else f"{workspace['version']}-1"
    architecture = output_of("dpkg", "--print-architecture")
    name = deb.get("name", package["name"])
    output = Path(sys.argv[1] if sys.argv[1:] and sys.argv[1] else f"target/debian/{name}_{version}_{architecture}.deb")
    output.parent.mkdir(parents=True, exist_ok=True)

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        for pattern, target, mode in deb["assets"]:
            sources = [Path(source) for source in sorted(glob.glob(pattern))]
            if not sources:
                sys.exit(f"assemble.py: {pattern} of assets names no file")
            for source in sources:
                into = root / target / source.name if target.endswith("/") else root / target
                put(source, into, int(mode, 8))
        put(Path(deb["changelog"]), root / f"usr/share/doc/{name}/changelog", 0o644)
        put(Path(deb["license-file"][0]), root / f"usr/share/doc/{name}/copyright", 0o644)

        files = [path for path in root.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files) // 1024
        sums = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path in sorted(files)]
        control = root / "DEBIAN"
        control.mkdir()
        (control / "md5sums").write_text("".join(sums))
        (control / "conffiles").write_text("".join(f"{file}\n" for file in deb["conf-files"]))
        for script in SCRIPTS:
            source = Path(deb["maintainer-scripts"]) / script
            if source.exists():
                shutil.copyfile(source, control / script)
                (control / script).chmod(0o755)
        needs = deb["depends"].replace("$auto", depends(Path("target/package/corelane")))
        long = "".join(f" {line or '.'}\n" for line in deb["extended-description"].strip().splitlines())
        (control / "control").write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: {deb['maintainer']}\n"
            f"Installed-Size: {size}\nDepends: {needs}\nSection: {deb['section']}\nPriority: {deb['priority']}\n"
            f"Description: {package['description']}\n{long}"
        )
        for path in root.rglob("*"):
            if path.is_dir():
                path.chmod(0o755)
        for path in control.iterdir():
            path.chmod(0o755 if path.name in SCRIPTS else 0o644)
        # dpkg-deb's own variables choose otherwise, for packages that are only tried.
        compressor = [] if "DPKG_DEB_COMPRESSOR_TYPE" in os.environ else ["-Zxz"]
        subprocess.run(["dpkg-deb", "--root-owner-group", *compressor, "--build", folder, str(output)], check=True, stdout=subprocess.DEVNULL)
    print(os.fspath(output))


main()
