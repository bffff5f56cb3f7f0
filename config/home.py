"""A hub's home: the folder that holds one hub, and where everything stands in it."""

import os
from dataclasses import dataclass
from pathlib import Path

from config.errors import OperatorError

VARIABLE = "METERHUB_HOME"


@dataclass(frozen=True, slots=True)
class Home:
    """The folder with `config/meterhub.toml`. `root` is absolute."""

    root: Path

    @property
    def settings_file(self) -> Path:
        return self.root / "config" / "meterhub.toml"

    @property
    def partners(self) -> Path:
        """One file a partner."""
        return self.root / "config" / "partners"

    @property
    def host_keys(self) -> Path:
        return self.root / "config" / "host_keys"

    @property
    def signing_key(self) -> Path:
        """With which proof sheets are signed."""
        return self.host_keys / "proof_sheets_ed25519_key"

    @property
    def sftp_root(self) -> Path:
        """What partners see, one folder a partner; nothing else."""
        return self.root / "sftp_root"

    @property
    def state(self) -> Path:
        """What the hub knows, outside every partner's reach."""
        return self.root / "state"

    @property
    def ledger_file(self) -> Path:
        return self.state / "ledger.sqlite"

    @property
    def archive(self) -> Path:
        """Every drop's bytes as they came."""
        return self.state / "archive"

    @property
    def lake(self) -> Path:
        return self.state / "lake"

    @property
    def staging(self) -> Path:
        """Files being written, before they are renamed to where they belong."""
        return self.state / "staging"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def locks(self) -> Path:
        return self.state / "locks"

    @property
    def bans(self) -> Path:
        """One small file for each address that is shut out."""
        return self.state / "bans"

    @property
    def kept_partners(self) -> Path:
        """Each partner's file as it was when it could last be taken."""
        return self.state / "partners"

    def config_files(self) -> list[Path]:
        """What the hub goes by: settings, partners and keys; not what lies there for clients to try."""
        folder, clients = self.settings_file.parent, self.settings_file.parent / "sample_keys"
        return [
            path
            for path in sorted(folder.rglob("*"))
            # Not what an editor or a command writes aside at this moment.
            if path.is_file() and not path.name.startswith(".") and clients not in path.parents
        ]

    def folders(self) -> dict[Path, int]:
        """Every folder a home has, parents first, with its mode."""
        kept = (self.archive, self.lake, self.staging, self.logs, self.locks, self.bans, self.kept_partners)
        private = (self.host_keys, self.state, *kept)
        shared = (self.root, self.partners.parent, self.partners, self.sftp_root)
        return {**dict.fromkeys(shared, 0o755), **dict.fromkeys(private, 0o700)}

    def lay_out(self) -> list[Path]:
        """Make the folders that are missing, with their modes, and say which those were."""
        made = []
        for folder, mode in self.folders().items():
            if not folder.is_dir():
                folder.mkdir(parents=True)
                folder.chmod(mode)  # whatever the umask is
                made.append(folder)
        return made


def find(option: Path | None) -> Home:
    """The home that was asked for: the option, else METERHUB_HOME, else the current folder.

    Raises OperatorError if no hub lives there.
    """
    home = place(option)
    if not home.settings_file.is_file():
        raise OperatorError(
            "no-home",
            f"no hub lives in {home.root}: there is no config/meterhub.toml",
            f"name its folder with --home or {VARIABLE}, or make one with: meterhub --home FOLDER init",
        )
    return home


def place(option: Path | None) -> Home:
    """Where a home is or would be made, by the same rule as `find`; nothing need be there yet."""
    named = option if option is not None else Path(os.environ.get(VARIABLE) or ".")
    return Home(named.expanduser().absolute())
