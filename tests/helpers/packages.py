"""Builds the package from a copy of the checkout and installs it beside the dependencies that are here already."""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

from autodata.command import EXTRAS

REPO = Path(__file__).parent.parent.parent
_LEFT_OUT = {"autodata", *(package for packages in EXTRAS.values() for package in packages)}


def copy_checkout(target: Path) -> Path:
    """Copy what git knows, links as links: a build leaves folders behind that the next build would take in."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPO / name, target / name, follow_symlinks=False)
    return target


def build(source: Path, target: Path, kind: str = "wheel") -> Path:
    """Build a wheel or an sdist with the setuptools that is here; return its file."""
    target.mkdir()
    code = f"import setuptools.build_meta as backend; print(backend.build_{kind}({str(target)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    return next(target.iterdir())


def list_files(wheel: Path) -> set[str]:
    with ZipFile(wheel) as file:
        return {name for name in file.namelist() if not name.endswith("/")}


def install(wheel: Path, venv: Path) -> Path:
    """Install a wheel into a new environment that has the packages of this one but no extra; return its command."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "--python", python]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--no-compile", wheel], check=True)
    packages = next((venv / "lib").iterdir()) / "site-packages"
    (packages / "others.pth").write_text(f"{link_others(venv / 'others')}\n")
    return venv / "bin" / "autodata"


def link_others(target: Path) -> Path:
    """Make a folder with links to all packages of this environment but the extras and the package itself."""
    target.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if re.split(r"[-.]", path.name.lower())[0] not in _LEFT_OUT:
            (target / path.name).symlink_to(path)
    return target
