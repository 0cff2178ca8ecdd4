"""Signatures of releases: what they find and leave as it is, and that minisign itself reads and writes the same."""

from __future__ import annotations

import base64
import io
import json
import shutil
import stat
import string
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("minisign", reason="extra: sign")

from cli.main import run
from curate.release.manifest import read_release, releases_in
from curate.release.signature import generate_key, signature_findings, signed_by, write_signature
from curate.release.verify import verify
from curate.shards.atomic import MANIFEST, SIGNATURE
from curate.store import Store
from pipelines.releasing import build
from pipelines.signing import sign
from schemas.errors import CurateError
from schemas.release import VerifyReport
from tests.releases import folder_of, make_world, released_copy, with_media

# Made by minisign 0.11 of Debian: keys with -G -W and with the password pw, and a signature of b"curate\n".
PUBLIC = "RWSLn++G9iMj6g80lfQUkdXISSMbBnnLbScJdDgbAWx6hHQG5eEJzvKI"
ID = "EA2323F686EF9F8B"
SECRET = """untrusted comment: minisign encrypted secret key
RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAi5/vhvYjI+p+1DRoqvz2wt7Zf1o+NrNMjrb7TWUaTC24\
jD0UDfQTmg80lfQUkdXISSMbBnnLbScJdDgbAWx6hHQG5eEJzvKIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
"""
SIGNED = """untrusted comment: signature of a release of curate
RUSLn++G9iMj6lK4Z2oIBG5Inr7AOel4GuKczeaf5RTxP59T+Q2uPjdkXcAgk9xwN2hxXp04qLO805gtOrkbI4BPmXnJtwdIng4=
trusted comment: tiny-1.0.0, version abc
5c+ubo9rcd2fcscLBi4O4b7kObJMAuB2ynYKVDBVmZ3oJD9CI0UAyQTvxhRtLO6wV8GdaE/2CvCa7Uy8p448Bw==
"""
LOCKED_ID = "05A23CEFBB7EB44E"
LOCKED = """untrusted comment: minisign encrypted secret key
RWRTY0IyGQfjF9jLpI0n5tbJrdmxlXUq+GGAroX6WCXp2S97FoMAAAACAAAAAAAAAEAAAAAA4DasnWpPDqaBpVwY6YDw+9Ij5hYa+FSEMkYMnuIFhSHb\
zbXqYD7+usxxgm1bG5jey38EV0t06AOuud8NQvvHCRvTZ2YHvw9A9QK8ErAHwpNHxPlr3/qkFQsaIvZ0F05Y0zM0lq5BaGY=
"""


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A secret key without a password, and its public key beside it."""
    (tmp_path / "lab.key").write_text(SECRET)
    (tmp_path / "lab.key.pub").write_text(f"untrusted comment: minisign public key {ID}\n{PUBLIC}\n")
    return tmp_path / "lab.key"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return released_copy("none", tmp_path)


@pytest.fixture
def signed(release: Path, key: Path) -> Path:
    sign(release, key, no_password)
    return release


def no_password() -> str:
    raise AssertionError("the key has no password")


def checked(folder: Path, key: str = PUBLIC) -> VerifyReport:
    return verify(folder, key=key)


def finding(folder: Path, key: str = PUBLIC) -> str:
    [found] = signature_findings(folder, key)
    assert (found.check, found.where) == ("signature", SIGNATURE)
    return found.what


def test_equal_bytes_of_minisign_itself(tmp_path: Path, key: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(b"curate\n")
    assert write_signature(tmp_path, key, "tiny-1.0.0, version abc", no_password) == ID
    assert (tmp_path / SIGNATURE).read_text() == SIGNED
    assert list(signature_findings(tmp_path, PUBLIC)) == []


def test_a_signature_changes_neither_release_nor_builds(tmp_path: Path, key: Path) -> None:
    store, _ = make_world(tmp_path)
    first = build(store, out=tmp_path / "out", config=with_media("none"))
    folder = folder_of(first)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    report = sign(folder, key, no_password)
    assert (report.key_id, report.version) == (ID, first.version)
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    content = after.pop(SIGNATURE)
    assert after == before
    assert build(store, out=tmp_path / "out", config=with_media("none")).reused
    sign(folder, key, no_password)
    assert (folder / SIGNATURE).read_bytes() == content, "equal releases and keys give equal bytes"
    assert f"trusted comment: tiny-{first.version}, version {first.version}\n".encode() in content
    [line] = releases_in(tmp_path / "out")
    assert (line.state, line.signed_by) == ("complete", ID)


def test_verify_says_whether_the_signature_was_checked(release: Path, key: Path) -> None:
    unsigned = checked(release, key="")
    assert (unsigned.signature, unsigned.signed_by, unsigned.findings) == ("none", "", ())
    sign(release, key, no_password)
    unchecked = checked(release, key="")
    assert (unchecked.signature, unchecked.signed_by, unchecked.findings) == ("not checked", ID, ())
    for given in (PUBLIC, f"{key}.pub"):
        valid = checked(release, given)
        assert (valid.signature, valid.signed_by, valid.findings) == ("valid", ID, ())
        assert valid.checks["signature"] == 1


def test_a_consistent_forgery_is_found_only_with_the_key(tmp_path: Path, key: Path) -> None:
    store, _ = make_world(tmp_path)
    config = with_media("none").model_copy(update={"version": "1.0.0"})
    genuine = folder_of(build(store, out=tmp_path / "lab", config=config))
    sign(genuine, key, no_password)
    (tmp_path / "forger").mkdir()
    shutil.copy(store, tmp_path / "forger" / "curate.duckdb")
    with Store.open(tmp_path / "forger" / "curate.duckdb") as opened:
        opened.execute("DELETE FROM published")
        opened.execute("DELETE FROM runs WHERE step = 'release'")
        opened.execute(  # two texts swapped: what is ranked best is not what annotators preferred
            """UPDATE responses SET text = CASE WHEN response_id LIKE '%-a' THEN 'answer 2 — “é”'
                WHEN response_id LIKE '%-c' THEN 'answer 0 — “é”' ELSE text END"""
        )
    forged = folder_of(build(tmp_path / "forger" / "curate.duckdb", out=tmp_path / "forger", config=config))
    shutil.copy(genuine / SIGNATURE, forged)
    assert read_release(forged).label == read_release(genuine).label
    assert read_release(forged).version != read_release(genuine).version
    assert checked(forged, key="").findings == ()
    report = checked(forged)
    assert report.signature == "invalid"
    assert [found.check for found in report.findings] == ["signature"]
    assert "does not fit the manifest" in report.findings[0].what
    assert checked(genuine).findings == ()


def test_every_change_of_signature_or_manifest_is_found(signed: Path) -> None:
    content, manifest = (signed / SIGNATURE).read_bytes(), (signed / MANIFEST).read_bytes()
    unsigned_comment = content.index(b"\n")
    for damaged in damages(content, unsigned_comment):
        (signed / SIGNATURE).write_bytes(damaged)
        assert finding(signed)
        signed_by(signed)
    (signed / SIGNATURE).write_bytes(content)
    (signed / MANIFEST).write_bytes(manifest + b"\n")
    assert "does not fit the manifest" in finding(signed)


def test_bits_of_base64_that_mean_nothing_are_a_change(signed: Path) -> None:
    """A last character before the padding has two such bits or four, which the library ignores."""
    lines = (signed / SIGNATURE).read_bytes().splitlines(keepends=True)
    raw = base64.b64decode(lines[1])
    digits = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    other = digits[digits.index(chr(lines[1][-3])) + 1].encode()
    lines[1] = lines[1][:-3] + other + lines[1][-2:]
    assert base64.b64decode(lines[1]) == raw
    (signed / SIGNATURE).write_bytes(b"".join(lines))
    assert "bits of its base64 that mean nothing" in finding(signed)


def damages(content: bytes, start: int) -> Iterator[bytes]:
    """The content cut off or with another byte at every place; before start only cut off."""
    for place in range(len(content) - 1):  # without the last line break it is the same signature
        yield content[:place]
        if place > start and content[place] not in b"\n":
            yield content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_other_keys_and_missing_signatures_are_named(release: Path, key: Path, tmp_path: Path) -> None:
    assert "is missing" in finding(release)
    assert checked(release).signature == "none"
    other = generate_key(tmp_path / "other.key", "")
    sign(release, tmp_path / "other.key", no_password)
    assert finding(release) == f"is by key {other}, not by the given key {ID}"
    assert list(signature_findings(release, str(tmp_path / "other.key.pub"))) == []
    with pytest.raises(CurateError, match=f"another key \\({other}\\)"):
        sign(release, key, no_password)
    (release / SIGNATURE).unlink()
    sign(release, key, no_password)
    raw = base64.b64decode((tmp_path / "other.key.pub").read_bytes().splitlines()[1])
    same_id = base64.b64encode(base64.b64decode(PUBLIC)[:10] + raw[10:]).decode()
    assert finding(release, same_id).endswith(f"another key with the id {ID} signed it")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "neither a file nor"),
        (b"", "not a public key"),
        (b"x\ny\n", "not a public key"),
        (SECRET.encode(), "is a secret key"),
    ],
)
def test_a_key_that_cannot_check_is_an_error(signed: Path, tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "given"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CurateError, match=message) as found:
        checked(signed, str(path))
    assert found.value.hint


def test_what_must_not_be_signed_is_refused(release: Path, key: Path, tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="is a public key"):
        sign(release, Path(f"{key}.pub"), no_password)
    with pytest.raises(CurateError, match="not a secret key"):
        sign(release, release / "README.md", no_password)
    with pytest.raises(CurateError, match="No such file"):
        sign(release, tmp_path / "none", no_password)
    with pytest.raises(CurateError, match=r"manifest\.json"):
        sign(tmp_path, key, no_password)
    manifest = (release / MANIFEST).read_text()
    document = json.loads(manifest)
    document["counts"]["annotators"] += 1
    (release / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(CurateError, match="sealed"):
        sign(release, key, no_password)
    (release / MANIFEST).write_text(manifest)
    (release / "train.jsonl").write_text("")
    with pytest.raises(CurateError, match=r"train\.jsonl differs"):
        sign(release, key, no_password)
    assert not (release / SIGNATURE).exists()


def test_keys_are_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "lab.key"
    generate_key(path, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(CurateError, match="never overwritten"):
        generate_key(path, "")
    path.unlink()
    with pytest.raises(CurateError, match=r"lab\.key\.pub"):
        generate_key(path, "")


def test_the_commands_and_their_exit_codes(
    release: Path, key: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = ["release", "verify", str(release), "--no-media", "--key"]
    assert run([*check, PUBLIC]) == 7
    assert "signature: manifest.json.minisig: is missing" in capsys.readouterr().out
    assert run(["release", "sign", str(release), "--key", str(key)]) == 0
    assert capsys.readouterr().out == f"{release / SIGNATURE}\n"
    assert run([*check, PUBLIC]) == 0
    assert f"valid, signed by key {ID}" in capsys.readouterr().err
    assert run(check[:-1]) == 0
    assert f"signed by key {ID}, not checked" in capsys.readouterr().err
    assert run([*check, "nothing"]) == 4
    assert run(["release", "ls", str(release.parent)]) == 0
    assert ID in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert run(["release", "keygen", str(release.parent / "new.key")]) == 2
    assert run(["release", "keygen", str(release.parent / "new.key"), "--no-password"]) == 0


@pytest.mark.slow
def test_a_key_with_a_password_of_minisign_itself(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "locked.key").write_text(LOCKED)
    command = ["release", "sign", str(release), "--key", str(tmp_path / "locked.key")]
    monkeypatch.setattr("sys.stdin", io.StringIO("wrong\n"))
    assert run(command) == 4
    assert "wrong password" in capsys.readouterr().err
    assert signed_by(release) == ""
    monkeypatch.setattr("sys.stdin", io.StringIO("pw\n"))
    assert run(command) == 0
    assert signed_by(release) == LOCKED_ID


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("minisign") is None, reason="minisign is not installed")
@pytest.mark.parametrize("password", ["", "pass word"])
def test_minisign_reads_ours_and_we_read_its_own(release: Path, tmp_path: Path, password: str) -> None:
    def minisign(*options: object) -> str:
        command = ["minisign", *map(str, options)]
        answers = f"{password}\n" * 2
        return subprocess.run(command, input=answers, capture_output=True, text=True, check=True).stdout

    ours, theirs, manifest = tmp_path / "ours.key", tmp_path / "theirs.key", release / MANIFEST
    key_id = generate_key(ours, password)
    sign(release, ours, lambda: password)
    assert f"version {read_release(release).version}" in minisign("-V", "-m", manifest, "-p", f"{ours}.pub")
    minisign("-S", "-m", manifest, "-s", ours)  # with its own comment, which has the time
    assert (signed_by(release), list(signature_findings(release, f"{ours}.pub"))) == (key_id, [])
    (release / SIGNATURE).unlink()
    minisign("-G", *(() if password else ("-W",)), "-s", theirs, "-p", tmp_path / "theirs.pub")
    sign(release, theirs, lambda: password)
    minisign("-V", "-m", manifest, "-p", tmp_path / "theirs.pub")


def test_the_signed_manifest_states_how_vote_files_were_read(tmp_path: Path) -> None:
    store, _ = make_world(tmp_path)
    read = {"mapping": {"sides": "unknown"}, "repeats": "all"}
    private = {"pseudonyms": "fingerprint", "limits": {"depth": 9}}
    files = {"files": [{"match": "/home/someone/votes/*.csv", "sides": "auto"}]}
    with Store.open(store) as opened:
        opened.execute("UPDATE batches SET config = ?", [json.dumps({**read, **private, **files})])
    release = read_release(folder_of(build(store, out=tmp_path / "out", config=with_media("none"))))
    [batch] = release.batches
    assert batch.config == {**read, "files": [{"match": "*.csv", "sides": "auto"}]}
    assert batch.files == (("votes.csv", "abc"),)
    assert release.upstream[0].inputs == {"votes": "abc"}
    assert release.run.inputs.keys() >= {"prompts", "media", "chosen", "previous"}
