"""The tree is the first document: what stands where, what is locked, and what no file may say."""

import importlib
import importlib.metadata
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("exchange", "jobs", "config", "schemas")
FOLDERS = {*PACKAGES, "sftp_root", "tests"}
FILES = {"Makefile", "pyproject.toml", "README.md", "requirements.txt", "LICENSE", "CHANGELOG.md"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# Put together here, so that this file does not say them itself.
REGISTRIES = ("pypi" + ".org", "python" + "hosted.org", "debian" + ".org", "npm" + "js.org", "/sim" + "ple/")
MACHINES = ("/ro" + "ot/", "/wo" + "rk/", "/opt/" + "wheels", "/opt/" + "pypi", "/home/" + "runner")
MAKES = ("PIP_" + "INDEX_URL", "--index" + "-url ", "--extra-index" + "-url", "--find" + "-links ")


def _files() -> list[str]:
    """The files of the project: those git knows or would take, without what it was told to pass over."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.splitlines()
    return [path for path in listed if (ROOT / path).is_file()]


def test_the_top_holds_the_house_and_nothing_else() -> None:
    tops = {path.partition("/")[0] for path in _files()}
    assert {top for top in tops if not top.startswith(".")} == FOLDERS | FILES


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_tells_its_job_on_one_screen(package: str) -> None:
    readme = (ROOT / package / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 66
    assert readme.startswith(f"# {package}")


@pytest.mark.parametrize("package", PACKAGES)
def test_each_readme_names_files_that_are_there(package: str) -> None:
    readme = (ROOT / package / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", readme) if "://" not in link]
    assert [link for link in links if not (ROOT / package / link).exists()] == []


def test_no_test_folder_is_named_like_a_package() -> None:
    below = {part for path in _files() if path.startswith("tests/") for part in path.split("/")[1:-1]}
    assert below.isdisjoint(PACKAGES)


def test_no_other_distribution_installs_a_package_of_ours() -> None:
    owners = importlib.metadata.packages_distributions()
    for package in PACKAGES:
        assert set(owners.get(package, [])) <= {"meterhub"}
        found = importlib.import_module(package).__file__
        assert found is not None
        assert Path(found).is_relative_to(ROOT)


def test_the_build_lists_the_four_packages() -> None:
    assert tuple(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == PACKAGES
    assert tuple(PROJECT["tool"]["mypy"]["packages"]) == PACKAGES
    assert tuple(PROJECT["tool"]["importlinter"]["root_packages"]) == PACKAGES


def test_imports_are_absolute() -> None:
    relative = [
        path
        for path in _files()
        if path.endswith(".py") and re.search(r"^\s*from \.", (ROOT / path).read_text(), re.MULTILINE)
    ]
    assert relative == []


def test_every_dependency_is_locked_by_hash_to_a_version_we_take() -> None:
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([a-z0-9][a-z0-9.-]*)==(\S+) \\$", lock, re.MULTILINE))
    wanted = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["dev"]
    for line in wanted:
        requirement = Requirement(line)
        assert locked[canonicalize_name(requirement.name)] in requirement.specifier, line
    for entry in re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)[1:]:
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_the_lock_pins_what_is_installed() -> None:
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    for name, version in re.findall(r"^([a-z0-9][a-z0-9.-]*)==(\S+) \\$", lock, re.MULTILINE):
        assert importlib.metadata.version(name) == version, f"{name}: make setup"


def test_no_file_names_a_registry_or_a_place_on_somebodys_machine() -> None:
    said = []
    for path in _files():
        try:
            text = (ROOT / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a golden file that is meant not to be text
            continue
        said += [f"{path}: {word}" for word in (*REGISTRIES, *MACHINES, *MAKES) if word in text]
    assert said == []


def test_make_alone_lists_every_target_there_is() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    assert phony is not None
    assert sorted(re.findall(r"^make (\w+) +\w", shown, re.MULTILINE)) == sorted(phony[1].split())


def test_what_ci_runs_is_what_people_run() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert script.read_text(encoding="utf-8").splitlines()[-2:] == ["make test", "make demo"]
