"""The life of skills, held against a model that knows nothing of how it is stored."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from skills_host.consumer.registry.catalogue import Catalogue
from skills_host.consumer.registry.live import LiveCatalogue
from skills_host.consumer.registry.records import Actor, Order
from skills_host.errors import NotRegistered, RegistryRefused
from skills_host.settings import Settings
from skills_host.store.sqlite import SqliteStore
from tests.consumer.registry.shelf import OWN, manifest, registry_on, submission

NAMES = st.sampled_from(["one", "two"])
TEXTS = st.sampled_from(["first", "second", "third"])
PEOPLE = st.sampled_from(["ada", "bob"])
HOST = Settings.model_validate(
    {
        "host": {"public_url": "https://root.example"},
        "bots": {"root": {"kind": "root", "app_id": OWN, "credential": {"secret": "s"}}},
    }
)


@dataclass
class Expected:
    """A skill as the model has it: the trust of each text, in order, and what runs."""

    trust: dict[str, str] = field(default_factory=dict)
    by: dict[str, set[str]] = field(default_factory=dict)
    was_approved: set[str] = field(default_factory=set)
    running: str = ""
    operation: str = "enabled"
    held: bool = False

    @property
    def amounts_to(self) -> str:
        if not self.running:
            gone = any(self.trust[one] == "revoked" for one in self.was_approved)
            return "revoked" if gone else "unknown"
        if self.held or self.operation in ("disabled", "retired"):
            return "suspended"
        return "draining" if self.operation == "draining" else "running"

    def latest(self, trust: str) -> str:
        return [text for text, one in self.trust.items() if one == trust][-1]


GOES = {
    "enable": ("enabled", {"enabled", "disabled", "draining"}),
    "disable": ("disabled", {"enabled", "disabled", "draining"}),
    "drain": ("draining", {"enabled", "draining"}),
    "retire": ("retired", {"enabled", "disabled", "draining", "retired"}),
}


class LifeCycle(RuleBasedStateMachine):
    """What operators do in any order comes to what the model says, or is refused by both."""

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = Path(mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.store = SqliteStore(self.folder / "host.db", now=lambda: 1000.0)
        self.run(self.store.open())
        self.registry = registry_on(self.store, four_eyes=True)
        self.live = LiveCatalogue(self.registry.ledger, HOST)
        self.run(self.live.load())
        self.skills: dict[str, Expected] = {}
        self.digests: dict[tuple[str, str], str] = {}
        self.entries = 0

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.run(self.store.close())
            self.loop.close()
            shutil.rmtree(self.folder)

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def did(self, work: Any, *, allowed: bool) -> Any:
        """Do it: it is done exactly where the model allows it."""
        try:
            found = self.run(work)
        except (RegistryRefused, NotRegistered):
            assert not allowed
            return None
        assert allowed
        return found

    def sent(self, name: str, text: str) -> Any:
        app_id = f"b0000000-0000-4000-8000-00000000000{1 if name == 'one' else 2}"
        endpoints = [{**manifest(name)["endpoints"][0], "msAppId": app_id}]
        return submission(manifest(name, description=text, endpoints=endpoints), source="upload")

    @rule(name=NAMES, text=TEXTS, who=PEOPLE)
    def send_in(self, name: str, text: str, who: str) -> None:
        expected, sent = self.skills.get(name), self.sent(name, text)
        verb = self.registry.add if expected is None else self.registry.revise
        before = expected.trust.get(text) if expected else None
        is_open = expected is None or expected.operation != "retired"
        is_known = before in ("validated", "pending", "approved")
        allowed = is_known or (is_open and before != "revoked")
        found = self.did(verb(name, sent, order=Order(Actor(who)), submit=True), allowed=allowed)
        if found is None or is_known:
            return
        expected = self.skills.setdefault(name, Expected())
        expected.trust.pop(text, None)
        expected.trust[text], expected.by[text] = "pending", {who}
        expected.was_approved.discard(text)
        self.digests[name, text] = found.revision.digest

    @rule(name=NAMES, text=TEXTS, who=PEOPLE)
    def approve(self, name: str, text: str, who: str) -> None:
        expected, digest = self.skills.get(name), self.digests.get((name, text), "0" * 64)
        allowed = (
            expected is not None
            and expected.trust.get(text) == "pending"
            and expected.operation != "retired"
            and who not in expected.by[text]
        )
        work = self.registry.approve(name, digest, order=Order(Actor(who)))
        if self.did(work, allowed=allowed) and expected:
            self.now_runs(expected, text)
            expected.was_approved.add(text)

    @rule(name=NAMES, text=TEXTS)
    def reject(self, name: str, text: str) -> None:
        expected, digest = self.skills.get(name), self.digests.get((name, text), "0" * 64)
        allowed = expected is not None and expected.trust.get(text) == "pending"
        work = self.registry.reject(name, digest, order=Order(Actor("ada")))
        if self.did(work, allowed=allowed) and expected:
            expected.trust[text] = "rejected"

    @rule(name=NAMES, text=TEXTS)
    def revoke(self, name: str, text: str) -> None:
        expected, digest = self.skills.get(name), self.digests.get((name, text), "0" * 64)
        allowed = expected is not None and text in expected.trust
        work = self.registry.revoke(name, digest, order=Order(Actor("ada")))
        if self.did(work, allowed=allowed) and expected:
            expected.trust[text] = "revoked"
            expected.running = "" if expected.running == text else expected.running

    @rule(name=NAMES, text=TEXTS)
    def roll_back(self, name: str, text: str) -> None:
        expected, digest = self.skills.get(name), self.digests.get((name, text), "0" * 64)
        allowed = (
            expected is not None
            and expected.trust.get(text) == "superseded"
            and expected.operation != "retired"
        )
        work = self.registry.rollback(name, digest, order=Order(Actor("ada")))
        if self.did(work, allowed=allowed) and expected:
            self.now_runs(expected, text)

    @rule(name=NAMES, verb=st.sampled_from(sorted(GOES)))
    def operate(self, name: str, verb: str) -> None:
        expected, (to, origins) = self.skills.get(name), GOES[verb]
        allowed = expected is not None and expected.operation in origins
        work = getattr(self.registry, verb)(name, order=Order(Actor("ada")))
        if self.did(work, allowed=allowed) and expected:
            expected.operation = to

    @rule(name=NAMES, held=st.booleans())
    def hold(self, name: str, held: bool) -> None:
        expected = self.skills.get(name)
        allowed = expected is not None and (
            expected.operation != "retired" if held else expected.held
        )
        verb = self.registry.quarantine if held else self.registry.release
        if self.did(verb(name, order=Order(Actor("ada"))), allowed=allowed) and expected:
            expected.held = held

    def now_runs(self, expected: Expected, text: str) -> None:
        for other, trust in expected.trust.items():
            if trust == "approved":
                expected.trust[other] = "superseded"
        expected.trust[text] = "approved"
        expected.running = text

    @invariant()
    def the_registry_is_as_expected(self) -> None:
        if not hasattr(self, "loop"):
            return
        found = {record.name: record for record in self.run(self.registry.ledger.skills())}
        assert found.keys() == self.skills.keys()
        for name, expected in self.skills.items():
            texts = {self.digests[name, text]: trust for text, trust in expected.trust.items()}
            assert {one.digest: one.trust for one in found[name].revisions} == texts
            assert found[name].active == self.digests.get((name, expected.running), "")

    @invariant()
    def a_host_goes_by_it(self) -> None:
        if not hasattr(self, "loop"):
            return
        self.run(self.live.check())
        now: Catalogue = self.live.now
        standing = {name: one.amounts_to for name, one in self.skills.items()}
        usable = {name for name, one in standing.items() if one in ("running", "draining")}
        assert set(now.skills) == set(now.snapshot.skills) == usable
        assert {name for name in usable if now.skills[name].draining} == {
            name for name, one in standing.items() if one == "draining"
        }
        texts = {name: self.skills[name].running for name in usable}
        assert {name: now.skills[name].description for name in usable} == texts
        barred = {
            name: f"skill-{one}"
            for name, one in standing.items()
            if one in ("suspended", "revoked")
        }
        assert {name: one.barred for name, one in now.barred.items()} == barred

    @invariant()
    def the_trail_is_whole(self) -> None:
        if hasattr(self, "loop"):
            epoch = self.run(self.registry.ledger.verify()).epoch
            assert epoch == self.live.now.epoch >= self.entries
            self.entries = epoch


LifeCycle.TestCase.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
test_life_cycle = LifeCycle.TestCase
