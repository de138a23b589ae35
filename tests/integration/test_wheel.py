"""The package that is built: what is in it, that the source distribution gives the same, and that it runs where the checkout is not."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("bench", "conf", "leaderboard", "methods", "tasks")
HOSTILE = ("bench", "methods", "tasks")


def tracked() -> list[str]:
    """Files of the checkout that git knows, or would add."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("no git checkout: what belongs to the package is not known")
    return [name for name in sorted(set(done.stdout.split("\0"))) if name and (ROOT / name).exists()]


def build(kind: str, source: Path, out: Path) -> Path:
    words = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(out)]
    subprocess.run(words, cwd=source, check=True, capture_output=True, timeout=120)
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="module")
def clean_copy(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


@pytest.fixture(scope="module")
def wheel(clean_copy, tmp_path_factory) -> Path:
    return build("wheel", clean_copy, tmp_path_factory.mktemp("wheel"))


def content(wheel: Path) -> dict[str, int]:
    """Path -> checksum, without the list that names them."""
    with zipfile.ZipFile(wheel) as packed:
        return {entry.filename: entry.CRC for entry in packed.infolist() if not entry.filename.endswith("/RECORD")}


def test_a_wheel_holds_everything_below_tdbench_and_nothing_else(wheel):
    names = {name for name in content(wheel) if ".dist-info/" not in name}
    of_folders = {f"tdbench/{name}" for name in tracked() if name.split("/")[0] in FOLDERS}
    of_package = {name for name in tracked() if name.startswith("tdbench/") and not (ROOT / name).is_symlink()}
    assert names == of_folders | of_package
    assert {"tdbench/bench/cli.py", "tdbench/api/__init__.py", "tdbench/conf/config.yaml"} <= names


def test_the_source_distribution_gives_the_same_wheel(clean_copy, wheel, tmp_path):
    sdist = build("sdist", clean_copy, tmp_path / "sdist")
    with tarfile.open(sdist) as packed:
        packed.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("tdbench-*")
    assert content(build("wheel", unpacked, tmp_path / "again")) == content(wheel)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(target)]
    subprocess.run([*words, str(wheel)], check=True, capture_output=True, timeout=120)
    return target


@pytest.fixture(params=["plain", "hostile"])
def command(request, installed, tmp_path, clean_environment):
    """Runs the installed command; the user may have folders called like the suite's, also on the path."""
    path = [str(installed)]
    if request.param == "hostile":
        for name in HOSTILE:
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong package')")
        path.insert(0, str(tmp_path))
    environment = {**clean_environment, "PYTHONPATH": ":".join(path), "HF_HOME": str(tmp_path / "hf")}

    def call(*words: str):
        done = subprocess.run(
            [str(installed / "bin" / "tdbench"), *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_an_installed_package_lists_its_plugins(command):
    listed = command("list")
    assert all(name in listed for name in ("agnews", "kmeans", "bow-logreg", "lite-v1"))


@pytest.mark.slow
def test_an_installed_package_runs_and_writes_the_page(command, tmp_path):
    assert "kmeans" in command("run", "task=agnews", "suite=smoke", "data.kind=standin")
    assert (tmp_path / "runs" / "board" / "site" / "index.html").read_text().startswith("<!doctype html>")
