"""A hub changes its own key without a partner being asked to trust a stranger: the next one is announced first."""

import subprocess
from pathlib import Path

import asyncssh
import pytest

from doors_fixtures import SECONDS, Door, open_door


def add_key(folder: Path, name: str, algorithm: str, **options: int) -> str:
    """Put a host key there, and give its public line."""
    folder.mkdir(exist_ok=True)
    key = asyncssh.generate_private_key(algorithm, **options)
    (folder / name).write_bytes(key.export_private_key("openssh"))
    return key.export_public_key().decode().strip()


def visit(door: Door, known: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A session of OpenSSH's client, which trusts `known` alone and learns what is announced into it."""
    words = [
        word
        for option in (
            f"UserKnownHostsFile={known}",
            "GlobalKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=yes",
            "HostKeyAlias=hub",
            "IdentitiesOnly=yes",
            f"IdentityFile={door.key_files['cnp']}",
            "BatchMode=yes",
            *options,
            "UpdateHostKeys=yes",
        )
        for word in ("-o", option)
    ]
    command = ["sftp", "-F", "/dev/null", *words, "-P", str(door.port), "-b", "-", "cnp@127.0.0.1"]
    return subprocess.run(command, input="ls\n", capture_output=True, text=True, timeout=SECONDS, check=False)


def keys_in(known: Path) -> set[str]:
    return {" ".join(line.split()[1:3]) for line in known.read_text().splitlines()}


@pytest.mark.parametrize("order", ["ssh-ed25519", "rsa-sha2-256,ssh-ed25519", "rsa-sha2-512,ssh-ed25519"])
def test_a_client_that_trusts_one_key_learns_the_next_and_is_let_over_to_it(
    tmp_path: Path, order: str
) -> None:
    folder, known = tmp_path / "host_keys", tmp_path / "known"
    next_key = add_key(folder, "ssh_host_ed25519_next_key", "ssh-ed25519")
    rsa_key = add_key(folder, "ssh_host_rsa_key", "ssh-rsa", key_size=3072)
    with open_door(tmp_path) as door:
        trusted = rsa_key if order.startswith("rsa") else door.host_key
        known.write_text(f"hub {trusted}\n")
        done = visit(door, known, f"HostKeyAlgorithms={order},rsa-sha2-512")
        assert done.returncode == 0, done.stderr
        assert keys_in(known) == {door.host_key, next_key, rsa_key}

    # The next key takes the place of the first, which is gone.
    (folder / "ssh_host_ed25519_next_key").rename(folder / "ssh_host_ed25519_key")
    with open_door(tmp_path, new_key=False) as door:
        done = visit(door, known, "HostKeyAlgorithms=ssh-ed25519,rsa-sha2-512")
        assert done.returncode == 0, done.stderr
        assert keys_in(known) == {next_key, rsa_key}  # and the first is forgotten


def test_the_key_in_use_stays_the_one_it_was_while_the_next_is_announced(tmp_path: Path) -> None:
    add_key(tmp_path / "host_keys", "ssh_host_ed25519_next_key", "ssh-ed25519")
    with open_door(tmp_path) as door:
        known = tmp_path / "known"
        known.write_text(f"hub {door.host_key}\n")
        for _ in range(3):
            assert visit(door, known, "UpdateHostKeys=no").returncode == 0
        assert keys_in(known) == {door.host_key}
