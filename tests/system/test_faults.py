"""Every row of faults.py: the fault is made, and status, event and what rmsctl
says are what the row and docs/FAULTS.md tell."""

import os

import pytest

import faults
from conftest import using
from relay_peers import own_error

WRITE = bool(os.environ.get("FAULTS_WRITE"))
_seen = {}


@pytest.fixture(scope="module")
def _world(module_lab, tmp_path_factory):
    world = faults.World(module_lab(workers=2), tmp_path_factory.mktemp("faults"))
    yield world
    world.end()


@pytest.fixture
def world(_world):
    for made in using(_world.lab):
        made.expected = {3101}
        _world.counters_before = made.counters()
        yield _world
        _world.end_row()
        made.wait_ready()


def the_event(world, row, reply):
    """The event that the row announces; that there is none where it says so."""
    request = reply.get("X-RMS-Request-Id") if row.status else None
    if row.event is None:
        if request:
            world.lab.access(reply)
            assert not [e for e in world.lab.new("EVENT_LOG") if e.get("request_id") == request]
        return None
    if row.event_match:
        return world.lab.wait_line("EVENT_LOG", lambda e: e["id"] == row.event
                                   and row.event_match(e), 10)
    return world.lab.event(row.event, 10, request_id=request)


@pytest.mark.parametrize("row", faults.FAULTS, ids=lambda row: row.name)
def test_fault(world, row):
    reply = row.run(world)
    event = the_event(world, row, reply)
    if row.status:
        assert reply.status == row.status, reply.body[:500]
    if row.cause and row.cause.isupper():
        own_error(reply, row.status, row.cause)
    elif row.cause:
        if row.status:
            own_error(reply, row.status, "AUTH_FAILED")
        assert f"({row.cause})" in event["reason"], event
    if row.says:
        says = row.says(world)
    else:
        says = faults.explain_request(world, reply) if row.status and row.status >= 400 else None
    line = faults.line(row, event, says)
    if WRITE:
        _seen[row.name] = line
    else:
        assert line in faults.kept_lines(), "docs/FAULTS.md tells another thing: see faults.py"


def test_document_is_the_rows():
    """No more, no less, in their order."""
    if WRITE:
        assert len(_seen) == len(faults.FAULTS)
        with open(faults.DOCUMENT, "w", encoding="utf-8") as file:
            file.write(faults.document(_seen))
    kept = faults.kept_lines()
    assert [l.split(" | ")[0] for l in kept] == [
        "| " + faults.plain(row.what) for row in faults.FAULTS]
    with open(faults.DOCUMENT, encoding="utf-8") as file:
        assert file.read() == faults.document(
            {row.name: line for row, line in zip(faults.FAULTS, kept)})
