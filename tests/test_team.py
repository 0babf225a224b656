"""What a team does: share by real servers, merge, go back; by the commands of docs/team.md."""

import getpass
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import asyncssh
import pytest
import s3fs
import yaml

from tests.conftest import ROOT, Project, draw_photo, empty_project
from tests.servers import S3_KEY, S3_SECRET, s3_server, started

PHOTOS = 2400
COLORS = ["red", "green", "blue"]
STORES = ["folder", "ssh", "s3"]
ASYNCSSH_SERVER = """
import asyncio, sys, asyncssh

async def main():
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=["host"], authorized_client_keys="client.pub",
        sftp_factory=True,
    )
    print("Server listening on port", server.get_port(), file=sys.stderr, flush=True)
    await server.wait_closed()

asyncio.run(main())
"""


def documented(heading: str) -> str:
    """The commands below a heading of docs/team.md: its indented lines up to the next heading."""
    text = (ROOT / "docs/team.md").read_text()
    section = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.M | re.S)
    assert section, f"docs/team.md has no heading {heading!r}"
    return dedent("".join(re.findall(r"^    .*\n", section[1], re.M)))


class Clone(Project):
    """The clone of one member of the team, who has a home and a name."""

    def __init__(self, folder: Path, home: Path):
        super().__init__(folder)
        self.home = home

    def environment(self, workers: int = 2) -> dict[str, str]:
        """As of any project, but nothing of who runs the tests: no keys, no settings of Git."""
        person = {
            f"GIT_{role}_{what}": f"{self.folder.name}@example.org"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {**own, **super().environment(workers), **person, "HOME": str(self.home)}

    def ok(self, *command: str) -> str:
        """Run a command that must succeed, and give what it printed."""
        done = self.run(*command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def follow(self, heading: str, **words: str) -> str:
        """Run the commands below a heading, with some of their words replaced."""
        return self.ok("bash", "-ec", _replaced(documented(heading), words))

    def revision(self) -> str:
        return self.ok("git", "rev-parse", "HEAD").strip()

    def shared(self) -> dict[str, bytes]:
        """All files of photos, arrays, models and reports, less those that are not pushed."""
        found = self.files("data", "models", "reports")
        return {name: file for name, file in found.items() if "data/augmented/" not in name}

    def hashes(self, *outputs: str) -> set[str]:
        """The hashes under which DVC keeps the files of some outputs, and the lists of these."""
        stages = yaml.safe_load(self.path("dvc.lock").read_text())["stages"].values()
        lists = {out["md5"] for stage in stages for out in stage["outs"] if out["path"] in outputs}
        assert len(lists) == len(outputs)
        cache = self.path(".dvc/cache/files/md5")
        listings = [json.loads((cache / one[:2] / one[2:]).read_text()) for one in lists]
        return lists | {entry["md5"] for listing in listings for entry in listing}


def _replaced(script: str, words: dict[str, str]) -> str:
    for old, new in words.items():
        assert old in script, f"docs/team.md does not say {old!r} in\n{script}"
        script = script.replace(old, new)
    return script


@dataclass
class Store:
    """A remote: how docs/team.md sets it up, and the bytes of each file in it by its hash."""

    heading: str
    words: dict[str, str]
    sizes: Callable[[], dict[str, int]]

    def script(self, name: str) -> str:
        script = documented(self.heading).replace(" store", f" {name}")
        return _replaced(script, self.words)


def _sizes_below(folder: Path) -> dict[str, int]:
    files = folder.glob("files/md5/??/*")
    return {file.parent.name + file.name: file.stat().st_size for file in files}


def _folder_store(folder: Path) -> Store:
    return Store("A folder", {"/mnt/team/darkroom": str(folder)}, lambda: _sizes_below(folder))


def _ssh_command(folder: Path) -> list[str]:
    """The command that starts OpenSSH's server, or asyncssh's where that cannot run."""
    for name in ["host", "client"]:
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(folder / name)
        key.write_public_key(folder / f"{name}.pub")
        (folder / name).chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/client.pub\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nSubsystem sftp internal-sftp\n"
    )
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    command = [str(sshd), "-D", "-e", "-f", f"{folder}/sshd_config"]
    if os.getuid() == 0 and not Path("/run/sshd").exists():
        # It asks root for a folder that only the service makes: give it a /run of its own.
        mount = 'mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", mount, "sh", *command]
    if sshd and subprocess.run([*command, "-t"], capture_output=True).returncode == 0:
        print("SSH server: OpenSSH")
        return command
    print("SSH server: asyncssh")
    return [sys.executable, "-c", ASYNCSSH_SERVER]


@contextmanager
def _ssh_store(folder: Path) -> Iterator[Store]:
    folder.mkdir()
    with started(_ssh_command(folder), folder) as port:
        words = {
            "photos.example.org/srv/darkroom": f"127.0.0.1{folder}/store",
            "port 22": f"port {port}",
            "user anna": f"user {getpass.getuser()}",
            "~/.ssh/id_ed25519": f"{folder}/client",
        }
        yield Store("SSH", words, lambda: _sizes_below(folder / "store"))


@contextmanager
def _s3_store(folder: Path) -> Iterator[Store]:
    folder.mkdir()
    with s3_server(folder) as url:
        bucket = s3fs.S3FileSystem(
            key=S3_KEY, secret=S3_SECRET, endpoint_url=url, use_listings_cache=False
        )
        bucket.mkdir("team-photos")

        def sizes() -> dict[str, int]:
            files = bucket.find("team-photos/darkroom/files/md5", detail=True)
            return {"".join(name.split("/")[-2:]): file["size"] for name, file in files.items()}

        words = {
            "https://s3.example.org": url,
            "ANNAS-KEY": S3_KEY,
            "ANNAS-SECRET": S3_SECRET,
        }
        yield Store("S3", words, sizes)


def _draw(folder: Path, photos: int, seed: int) -> None:
    for number in range(photos):
        color = COLORS[number % len(COLORS)]
        draw_photo(folder / color / f"{number:04}.png", color, seed + number)


@dataclass
class Team:
    """Anna shared a first version; both then added photos, and Ben alone has shared his."""

    folder: Path
    home: Path
    stores: dict[str, Store]
    anna: Clone
    ben: Clone
    first: str
    """The revision of the first photos."""
    first_files: dict[str, bytes]
    first_sizes: dict[str, dict[str, int]]
    """The bytes of each file of each store after the first push."""

    def clone(self, name: str, store: str, revision: str = "main") -> Clone:
        """A new member, who has what one store gives."""
        clone = Clone(self.folder / name, self.home)
        subprocess.run(["git", "clone", "-q", self.folder / "origin.git", clone.folder], check=True)
        clone.ok("git", "reset", "-q", "--hard", revision)
        personal = [
            line
            for name, one in self.stores.items()
            for line in one.script(name).splitlines()
            if "--local" in line
        ]
        clone.ok("bash", "-ec", "\n".join(personal))
        clone.ok("bash", "-ec", documented("Unite two lists of photos"))
        clone.ok("dvc", "pull", "--remote", store)
        return clone


def _begin(anna: Clone, origin: Path, stores: dict[str, Store]) -> None:
    """Anna sets the stores up, runs and shares."""
    for name, store in reversed(stores.items()):
        anna.ok("bash", "-ec", store.script(name))
    anna.ok("git", "init", "-q", "--bare", "-b", "main", str(origin))
    anna.ok("git", "branch", "-M", "main")
    anna.ok("git", "remote", "add", "origin", str(origin))
    anna.follow("Begin", **{"git push": "git push -q --set-upstream origin main"})
    anna.follow("Unite two lists of photos")
    for name in stores:
        anna.ok("dvc", "push", "--remote", name)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("team")
    home = folder / "home"
    with ExitStack() as servers:
        stores = {
            "folder": _folder_store(folder / "disk"),
            "ssh": servers.enter_context(_ssh_store(folder / "ssh-server")),
            "s3": servers.enter_context(_s3_store(folder / "s3-server")),
        }
        anna = Clone(empty_project(folder / "anna").folder, home)
        for name in [".gitignore", ".gitattributes", "models/.gitignore", "data/.gitignore"]:
            anna.path(name).parent.mkdir(exist_ok=True)
            shutil.copyfile(ROOT / name, anna.path(name))
        anna.set(
            ingest__size=[32, 32],
            ingest__class_folder="last",
            candidates={"linear": {"head": {"layers": []}}},
            training__epochs=2,
            gradcam__images=4,
        )
        _draw(anna.path("data/raw/first"), PHOTOS, seed=0)
        _begin(anna, folder / "origin.git", stores)
        first = anna.revision(), anna.shared(), {name: one.sizes() for name, one in stores.items()}
        team = Team(folder, home, stores, anna, anna, *first)
        team.ben = team.clone("ben", "folder")
        _draw(home / "camera/anna", PHOTOS // 100, seed=100_000)
        _draw(home / "camera/ben", PHOTOS // 100, seed=200_000)
        with ThreadPoolExecutor() as both:
            for round_ in [
                both.submit(one.follow, "Add photos", tuesday=one.folder.name)
                for one in (anna, team.ben)
            ]:
                round_.result()
        team.ben.follow("Share")
        yield team


def test_a_change_of_data_can_be_looked_at(team: Team):
    said = team.ben.follow("Look at what changed")
    assert f"images: {PHOTOS // 100} added" in said
    assert "data/raw/ben/red/0000.png" in said
    assert team.ben.ok("git", "status", "--short") == ""


@pytest.mark.parametrize("name", STORES)
def test_what_one_pushes_another_pulls(team: Team, name: str):
    carl = team.clone(f"carl-{name}", name, team.first)
    assert carl.shared() == team.first_files
    assert "Running stage" not in carl.repro()
    assert carl.ok("git", "status", "--short") == ""

    team.ben.ok("dvc", "push", "--remote", name)
    first, now = team.first_sizes[name], team.stores[name].sizes()
    arrays = ["data/images", "data/features"]
    added = sum(now[one] for one in team.ben.hashes(*arrays) - set(first))
    whole = sum(first[one] for one in carl.hashes(*arrays))
    print(f"{name}: {added:,} of {whole:,} bytes ({added / whole:.1%})")
    assert 0 < added <= 0.05 * whole

    carl.ok("git", "merge", "-q", "--ff-only", team.ben.revision())
    carl.ok("dvc", "pull", "--remote", name)
    assert carl.shared() == team.ben.shared()
    assert "Running stage" not in carl.repro()


def test_after_a_pull_a_change_of_the_head_computes_no_features(team: Team):
    dora = team.clone("dora", "folder", team.first)
    dora.set(training__head__dropout=0.25)
    log = dora.ok("dvc", "repro", "kfold")
    assert re.findall(r"Running stage '(\w+)'", log) == ["encode", "kfold"]


def test_photos_of_two_people_are_united(team: Team):
    anna = team.anna
    refused = anna.run("bash", "-ec", documented("Share"))
    assert refused.returncode != 0
    assert "rejected" in refused.stderr

    merged = anna.run("bash", "-ec", documented("Two people added photos"))
    assert "CONFLICT" in merged.stdout
    assert "data/raw.dvc" not in anna.ok("git", "diff", "--name-only", "--diff-filter=U")
    anna.follow("Make the rest anew")

    sources = {name.split("/")[2] for name in anna.files("data/raw")}
    assert sources == {"first", "anna", "ben"}
    manifest = anna.path("data/manifest.csv").read_text()
    for folder in ["anna", "ben"]:
        photos = len(list(team.home.glob(f"camera/{folder}/*/*")))
        assert manifest.count(f"{folder}/") == photos > 0
    assert anna.ok("git", "status", "--short") == ""
    assert "up to date" in anna.ok("dvc", "status")
    emil = team.clone("emil", "folder")
    assert emil.shared() == anna.shared()


def test_last_months_model_comes_back(team: Team):
    frida = team.clone("frida", "folder", team.first)
    frida.ok("git", "reset", "-q", "--hard", team.ben.revision())
    frida.ok("dvc", "pull", "--remote", "folder")
    today = frida.shared()
    frida.follow("Only the model", REVISION=team.first)
    assert frida.path("old.keras").read_bytes() == team.first_files["models/model.keras"]

    log = frida.follow("Last month's model", REVISION=team.first)
    assert team.first[:7] in log
    assert frida.shared() == team.first_files
    assert "up to date" in frida.ok("dvc", "status")

    frida.follow("Back to today")
    assert frida.shared() == today


def test_weights_are_shared_as_a_tracked_file(team: Team):
    gina = team.clone("gina", "folder")
    (team.home / "Downloads").mkdir()
    (team.home / "Downloads/ours.h5").write_bytes(b"weights of our own")
    gina.follow("Share pretrained weights")
    tracked = gina.ok("git", "ls-files", "models/weights").split()
    assert "models/weights/ours.h5.dvc" in tracked
    assert "models/weights/ours.h5" not in tracked
    hans = team.clone("hans", "folder")
    assert hans.path("models/weights/ours.h5").read_bytes() == b"weights of our own"
