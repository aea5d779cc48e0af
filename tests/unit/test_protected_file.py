"""Who is protected, as it lies in the state directory: for verbs, and for the next agent."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from synguard.readings import KnownParts, Protected
from synguard.status.protected_file import PROTECTED_FILE, ProtectedFile, read_protected_file

PARTS: KnownParts = {
    "[allow] addresses": {ip_network("192.0.2.7"): "allow-list of the configuration"},
    "the default gateways": {ip_network("2001:db8::1"): "default gateway via eth0"},
}
KNOWN = Protected(
    {**PARTS["[allow] addresses"], **PARTS["the default gateways"]},
    ("a problem",),
    ("a gap",),
    {ip_network("172.17.0.2"): "own address of web"},
    PARTS,
)


def test_what_is_written_reads_back_whole(tmp_path: Path) -> None:
    ProtectedFile(tmp_path).write(KNOWN)
    found = read_protected_file(tmp_path)
    assert found == KNOWN
    assert found is not None
    assert found.parts == PARTS


def test_a_part_that_did_not_change_is_written_again_with_one_that_did(tmp_path: Path) -> None:
    file = ProtectedFile(tmp_path)
    file.write(KNOWN)
    changed = {**PARTS, "the default gateways": {ip_network("192.0.2.1"): "default gateway via eth0"}}
    file.write(Protected({}, parts=changed))
    found = read_protected_file(tmp_path)
    assert found is not None
    assert found.parts == changed


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"parts": {"a": {"not an address": "x"}}}', '{"parts": {"a": 1}}'])
def test_a_file_that_is_none_of_ours_says_nothing(tmp_path: Path, text: str) -> None:
    assert read_protected_file(tmp_path) is None
    (tmp_path / PROTECTED_FILE).write_text(text)
    assert read_protected_file(tmp_path) is None
