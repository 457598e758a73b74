"""Tests that need root, for those who are not.

Mounts and the memory of processes that cannot be traced are root's, but a user
is root of a namespace of his own (user_namespaces(7)): where the kernel lets
one be made, a test that is marked with needs_root runs within one, in a pytest
of its own.  A namespace has one account, so what needs others (needs_accounts)
is skipped there, too."""

import functools
import os
import pwd
import subprocess
import sys

import pytest

ROOT = os.getuid() == 0
INTO = ["unshare", "--user", "--map-root-user", "--mount", "--"]
SECONDS = 300


def _is_mapped(uid):
    with open("/proc/self/uid_map", encoding="ascii") as file:
        rows = [list(map(int, line.split())) for line in file]
    return any(first <= uid < first + count for first, _, count in rows)


@functools.cache
def _has_namespace():
    try:
        return subprocess.run([*INTO, "true"], stderr=subprocess.DEVNULL, check=False,
                              timeout=10).returncode == 0
    except OSError:
        return False


def needs_root(test):
    skip = pytest.mark.skipif(not (ROOT or _has_namespace()),
                              reason="needs root, or a user namespace")
    return pytest.mark.root(skip(test))


def _has_accounts():
    try:
        return ROOT and _is_mapped(pwd.getpwnam("nobody").pw_uid)
    except KeyError:
        return False


needs_accounts = pytest.mark.skipif(not _has_accounts(),
                                    reason="needs root, of more than a user namespace, and nobody")


def pytest_configure(config):
    config.addinivalue_line("markers", "root: runs as root, or in a namespace (as_root.py)")


def _is_within(item):
    return not ROOT and item.get_closest_marker("root") is not None and _has_namespace()


def pytest_collection_modifyitems(items):
    """Fixtures are made where the test runs, not here."""
    for item in items:
        if _is_within(item):
            item.fixturenames.clear()


def pytest_pyfunc_call(pyfuncitem):
    """In the place of the test: it, in a namespace."""
    if not _is_within(pyfuncitem):
        return None
    name = pyfuncitem.nodeid.partition("::")[2]
    result = subprocess.run(
        [*INTO, "timeout", "--signal=INT", "--kill-after=20", str(SECONDS), sys.executable,
         "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", f"{pyfuncitem.path}::{name}"],
        env=dict(os.environ, RMS_LABS="within"), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode != 0 or "1 passed" not in result.stdout:
        pytest.fail(result.stdout, pytrace=False)
    return True
