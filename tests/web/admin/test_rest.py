"""The registry by REST: from a manifest that is sent in to a skill that runs, and back out."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from quart import Quart

from skills_host import Bot
from skills_host.consumer.registry.ledger import Ledger
from skills_host.transport import Response
from skills_host.web.server import Listeners, listening, serve_asgi
from tests.consumer.registry.shelf import manifest
from tests.web.admin.desk import Desk, problem
from tests.world import IDS, SKILLS, bot_settings

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_from_a_manifest_to_a_skill_that_runs(desk: Desk) -> None:
    """Sent in by an author, approved by an approver, and then on the allowlist of this host."""
    text = json.dumps(manifest("tale"), indent=3)
    sent = await desk.ask("POST", "/skills", {"name": "tale", "manifest": text}, role="author")
    told = json.loads(sent.body)
    [revision] = told["revisions"]
    path = f"/skills/tale/revisions/{revision['digest']}"
    raw = await desk.ask("GET", f"{path}/raw", role="auditor")
    again = await desk.ask("GET", f"{path}/raw", headers={"If-None-Match": raw.headers["etag"]})
    tag = sent.headers["etag"]
    submitted = await desk.change(f"{path}:submit", tag=tag, role="author")
    approved = await desk.change(
        f"{path}:approve", {"reason": "read it"}, tag=submitted.headers["etag"], role="approver"
    )
    listed = await allowed(desk, "tale")

    assert (sent.status, revision["trust"]) == (201, "validated")
    assert sent.headers["location"] == "/admin/v1/skills/tale"
    assert (raw.body.decode(), raw.headers["etag"]) == (text, f'"{revision["digest"]}"')
    assert (again.status, again.body) == (304, b"")
    assert json.loads(approved.body)["active"] == revision["digest"]
    assert listed["endpoint"] == "https://tale.example/api/messages"


async def allowed(desk: Desk, name: str) -> dict[str, str]:
    """A skill of the allowlist, as soon as it is on it."""
    async with asyncio.timeout(10):
        while True:
            told = json.loads((await desk.ask("GET", "/allowlist")).body)
            assert told["callers"] == {IDS["root"]: []}
            for skill in told["skills"]:
                if skill["name"] == name:
                    return dict(skill)


async def test_every_change_is_in_the_audit_trail_with_its_actor(desk: Desk) -> None:
    await desk.approved("heard")
    page = json.loads((await desk.ask("GET", "/audit?limit=500", role="auditor")).body)
    verified = await desk.ask("GET", "/audit:verify", role="auditor")
    verbs = [entry["verb"] for entry in page["entries"] if entry["skill"] == "heard"]

    assert verbs == ["add", "approve"]
    assert {entry["actor"] for entry in page["entries"]} >= {"token:all"}
    assert json.loads(verified.body)["epoch"] == page["entries"][-1]["n"]


@pytest.mark.parametrize(
    ("verb", "member", "value"),
    [
        ("disable", "operating", "disabled"),
        ("drain", "operating", "draining"),
        ("retire", "operating", "retired"),
        ("quarantine", "quarantine", "why not"),
    ],
)
async def test_an_operator_operates(desk: Desk, verb: str, member: str, value: str) -> None:
    name = f"op-{verb}"
    await desk.approved(name)
    answer = await desk.change(f"/skills/{name}:{verb}", {"reason": "why not"}, role="operator")

    assert json.loads(answer.body)[member] == value


async def test_a_revision_is_refused_revoked_and_rolled_back(desk: Desk) -> None:
    first = (await desk.approved("back"))["active"]
    changed = json.dumps(json.loads(await raw_of(desk, "back", first)) | {"version": "2.0"})
    sent = await desk.change("/skills/back/revisions", {"manifest": changed, "submit": True})
    second = json.loads(sent.body)["revisions"][1]["digest"]
    diff = json.loads((await desk.ask("GET", "/skills/back/diff")).body)
    await desk.change(f"/skills/back/revisions/{second}:approve", {})
    rolled = await desk.change("/skills/back:rollback", {})
    revoked = await desk.change(f"/skills/back/revisions/{first}:revoke", {"reason": "bad"})

    assert [one["pointer"] for one in diff["differences"]] == ["/version"]
    assert diff["change"] == json.loads(sent.body)["change"] == "descriptive"
    assert json.loads(rolled.body)["active"] == first
    assert json.loads(revoked.body)["active"] == ""


async def raw_of(desk: Desk, name: str, digest: str) -> bytes:
    """The bytes of a revision's manifest."""
    return (await desk.ask("GET", f"/skills/{name}/revisions/{digest}/raw")).body


async def test_grants_are_put_whole(desk: Desk) -> None:
    await desk.registered("given")
    path, grants = "/skills/given/grants", [{"channels": ["webchat"]}]
    put = await desk.change(path, {"grants": grants}, method="PUT", role="operator")
    none = await desk.change(path, {"grants": []}, method="PUT", role="operator")

    assert json.loads(put.body)["grants"][0]["channels"] == ["webchat"]
    assert problem(none) == (422, "bad-body")


async def test_a_skill_that_is_not_in_use_can_be_removed(desk: Desk) -> None:
    await desk.approved("gone")
    in_use = await desk.change("/skills/gone", method="DELETE")
    await desk.change("/skills/gone:retire")
    removed = await desk.change("/skills/gone", method="DELETE")
    after = await desk.ask("GET", "/skills/gone")

    assert problem(in_use) == (409, "wrong-state")
    assert (removed.status, removed.body) == (204, b"")
    assert problem(after) == (404, "not-registered")


# Preconditions


async def test_of_two_operators_at_once_one_is_told_that_it_changed(desk: Desk) -> None:
    told = await desk.approved("both")
    tag = f'"{told["version"]}"'
    answers = await asyncio.gather(
        desk.change("/skills/both:disable", tag=tag), desk.change("/skills/both:drain", tag=tag)
    )

    assert sorted(answer.status for answer in answers) == [200, 412]
    [late] = [answer for answer in answers if answer.status == 412]
    assert problem(late) == (412, "precondition-failed")


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        (None, (428, "precondition-required")),
        ('"999"', (412, "precondition-failed")),
        ('W/"1"', (412, "precondition-failed")),
        ('"other"', (412, "precondition-failed")),
        ("1", (400, "bad-header")),
    ],
)
async def test_a_change_says_what_it_starts_from(
    desk: Desk, tag: str | None, expected: tuple[int, str]
) -> None:
    headers = {} if tag is None else {"If-Match": tag}
    if (await desk.ask("GET", "/skills/start")).status == 404:
        await desk.registered("start")
    answer = await desk.ask("POST", "/skills/start:disable", headers=headers)

    assert problem(answer) == expected


async def test_a_dry_run_changes_nothing(desk: Desk) -> None:
    await desk.approved("dry")
    before = (await desk.ask("GET", "/skills/dry")).body
    ran = await desk.change("/skills/dry:retire?dryRun=true")
    told = json.loads(ran.body)

    assert (told["operating"], told["dry_run"], "etag" in ran.headers) == ("retired", True, False)
    assert (await desk.ask("GET", "/skills/dry")).body == before


# Repetitions


async def test_a_repetition_gets_the_first_answer(desk: Desk) -> None:
    body = {"name": "twice", "manifest": json.dumps(manifest("twice", version="t"))}
    key = {"Idempotency-Key": "k1"}
    first = await desk.ask("POST", "/skills", body, role="operator", headers=key)
    second = await desk.ask("POST", "/skills", body, role="operator", headers=key)
    other = await desk.ask("POST", "/skills", body | {"name": "x"}, role="operator", headers=key)
    somebody = await desk.ask("POST", "/skills", body, role="author", headers=key)

    assert (first.status, second.status, first.body == second.body) == (201, 201, True)
    assert first.headers["etag"] == second.headers["etag"]
    assert problem(other) == (422, "idempotency-reused")
    assert problem(somebody) == (409, "already-registered")


async def test_two_at_once_with_one_key_are_one(desk: Desk) -> None:
    """The other is told that it runs, or gets the same answer."""
    await desk.registered("once")
    asked = [
        desk.change("/skills/once:disable", headers={"Idempotency-Key": "k2"}) for _ in range(4)
    ]
    answers = await asyncio.gather(*asked)

    assert {answer.status for answer in answers} <= {200, 409}
    assert len({answer.body for answer in answers if answer.status == 200}) == 1


async def test_a_failure_is_not_kept(desk: Desk) -> None:
    key = {"Idempotency-Key": "k3"}
    missing = await desk.change("/skills/later:disable", headers=key)
    await desk.registered("later")
    there = await desk.change("/skills/later:disable", headers=key)

    assert (missing.status, there.status) == (404, 200)


# What is refused


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nowhere", (404, "not-found")),
        ("GET", "/skills/UPPER", (404, "not-found")),
        ("GET", "/skills/%C3%A4", (404, "not-found")),
        ("PATCH", "/skills", (405, "method")),
        ("OPTIONS", "/skills", (405, "method")),
        ("GET", "/skills?limit=0", (400, "bad-query")),
        ("GET", "/skills?limit=x", (400, "bad-query")),
        ("GET", "/skills?limit=1&limit=2", (400, "bad-query")),
        ("GET", "/skills?color=red", (400, "bad-query")),
        ("GET", "/audit?after=x", (400, "bad-query")),
        ("POST", "/skills?dryRun=maybe", (400, "bad-query")),
    ],
)
async def test_a_request_that_is_none_is_refused(
    desk: Desk, method: str, path: str, expected: tuple[int, str]
) -> None:
    assert problem(await desk.ask(method, path)) == expected


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b"{", {}, (400, "bad-json")),
        (b"[]", {}, (400, "bad-json")),
        (b'{"name": "a", "name": "b", "manifest": "x"}', {}, (400, "duplicate-member")),
        (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", {}, (400, "too-deep")),
        (b"{}", {}, (422, "bad-body")),
        (b'{"name": "a", "manifest": "x", "color": 1}', {}, (422, "bad-body")),
        (b'{"name": "../x", "manifest": "x"}', {}, (422, "bad-body")),
        (b"x" * (1024 * 1024 + 1), {}, (413, "too-large")),
        (b"{}", {"Content-Type": "text/plain"}, (415, "content-type")),
        (b"{}", {"Idempotency-Key": "a b"}, (400, "bad-header")),
    ],
)
async def test_a_body_that_is_none_is_refused(
    desk: Desk, body: bytes, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    assert problem(await desk.ask("POST", "/skills", body, headers=headers)) == expected


async def test_a_manifest_with_errors_is_told_by_its_findings(desk: Desk) -> None:
    text = json.dumps(manifest("bad", endpoints=[]))
    answer = await desk.ask("POST", "/skills", {"name": "bad", "manifest": text})
    told = json.loads(answer.body)

    assert problem(answer) == (422, "manifest-invalid")
    assert "/endpoints" in [finding["pointer"] for finding in told["findings"]]


async def test_a_skill_that_cannot_be_reached_is_down_and_known_to_be(desk: Desk) -> None:
    given = manifest("quiet")
    given["endpoints"][0]["msAppId"] = IDS["echo"]
    await desk.ask("POST", "/skills", {"name": "quiet", "manifest": json.dumps(given)})
    unknown = await desk.ask("POST", "/skills/nobody:ping")
    pinged = json.loads((await desk.ask("POST", "/skills/quiet:ping", role="operator")).body)
    known = await Ledger(desk.store, now=desk.town.now).health("quiet")

    assert (pinged["health"], pinged["note"]) == ("down", known.note)
    assert known.health == "down" and known.note
    assert problem(unknown) == (404, "not-registered")


async def test_the_health_of_a_skill_is_what_it_answers_now(desk: Desk) -> None:
    """A real one, as it comes and goes; what is thought of its revision is another matter."""
    at, town, bot = SKILLS["booking"], desk.town, Bot()
    given = manifest("well")
    given["endpoints"][0] |= {"msAppId": IDS["booking"], "endpointUrl": f"{at}/api/messages"}
    sent = await desk.ask("POST", "/skills", {"name": "well", "manifest": json.dumps(given)})
    assert sent.status == 201, sent.body

    async def seen() -> tuple[str, str]:
        answer = await desk.ask("POST", "/skills/well:ping", role="operator")
        told = json.loads(answer.body)
        known = await Ledger(desk.store, now=town.now).health("well")
        assert (told["health"], told["note"]) == (known.health, known.note)
        return told["health"], told["note"]

    await town.start_skill("booking", bot)
    assert await seen() == ("healthy", "")
    town.send.faults[at] = lambda _: Response(500)
    assert await seen() == ("degraded", "it answers 500")
    del town.send.faults[at]
    await town.stop(at)
    assert (await seen())[0] == "down"
    alone = {"bots": {"booking": bot_settings("skill", "booking", allowed_callers=[])}}
    await town.start(at, "booking", alone, {"booking": bot})
    health, note = await seen()
    assert (health, IDS["root"] in note) == ("unauthorized", True)
    await town.stop(at)
    await town.start_skill("booking", bot)
    assert await seen() == ("healthy", "")
    told = json.loads((await desk.ask("GET", "/skills/well")).body)
    assert told["revisions"][0]["trust"] == "validated"


async def test_a_route_is_explained_by_approved_skills(desk: Desk) -> None:
    await desk.registered("waits")
    await desk.approved("chosen")
    await allowed(desk, "chosen")
    chosen, waits = [await explained(desk, text=f"@{name} x") for name in ("chosen", "waits")]
    asked = await explained(desk, text="help", root="root", locale="en", user="ada")

    assert (chosen["kind"], chosen["skill"], chosen["policy"]) == ("skill", "chosen", "addressed")
    assert (waits["kind"], waits["skill"]) == ("unknown", None)
    assert asked["kind"] == "help"


@pytest.mark.parametrize("member", ["root", "active"])
async def test_a_route_through_what_is_not_there_is_refused(desk: Desk, member: str) -> None:
    answer = await desk.ask("POST", "/route:explain", {"text": "x", member: "nobody"})

    assert problem(answer) == (422, "bad-body")


async def explained(desk: Desk, **body: str) -> dict[str, Any]:
    """What would be done with words."""
    answer = await desk.ask("POST", "/route:explain", body)
    return dict(json.loads(answer.body)["decision"])


async def test_a_manifest_is_fetched_from_its_address_and_again(desk: Desk) -> None:
    """By the rules for where skills may be; what runs stays until it is approved."""
    app = Quart("publisher")
    text = {"now": json.dumps(manifest("fetched", version="1.0"))}

    @app.get("/manifest.json")
    async def published() -> tuple[str, int, dict[str, str]]:
        return text["now"], 200, {"Content-Type": "application/json"}

    with listening("127.0.0.1:0") as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/manifest.json"
        stop = asyncio.Event()
        config = Listeners([listener])
        task = asyncio.create_task(serve_asgi(app, config, shutdown=stop.wait))
        sent = await desk.ask("POST", "/skills", {"name": "fetched", "url": url})
        same = await desk.change("/skills/fetched:refresh")
        text["now"] = json.dumps(manifest("fetched", version="2.0"))
        dry = await desk.change("/skills/fetched:refresh?dryRun=true")
        again = await desk.change("/skills/fetched:refresh")
        stop.set()
        await task
    gone = await desk.change("/skills/fetched:refresh")

    assert (sent.status, json.loads(sent.body)["source"]) == (201, url)
    assert len(json.loads(same.body)["revisions"]) == 1
    assert problem(dry) == (400, "bad-query")
    assert [one["trust"] for one in json.loads(again.body)["revisions"]][1:] == ["pending"]
    assert json.loads(gone.body)["note"]


async def test_an_address_where_no_skill_may_be_is_refused(desk: Desk) -> None:
    """A metadata address is not for anybody to have fetched."""
    body = {"name": "meta", "url": "http://169.254.169.254/latest"}
    answer = await desk.ask("POST", "/skills", body)
    both = await desk.ask("POST", "/skills", body | {"manifest": "{}"})

    assert problem(answer)[0] in (502, 409, 422)
    assert problem(both) == (422, "bad-body")


async def test_pages_follow_each_other(desk: Desk) -> None:
    for name in ("page-a", "page-b", "page-c"):
        await desk.registered(name)
    names: list[str] = []
    path = "/skills?limit=2&after=page-"
    while path:
        page = json.loads((await desk.ask("GET", path)).body)
        names += [skill["name"] for skill in page["skills"]]
        path = page["next"].removeprefix("/admin/v1")

    assert names[:3] == ["page-a", "page-b", "page-c"] and names == sorted(set(names))


async def test_nothing_is_kept_by_others_and_nothing_is_for_other_sites(desk: Desk) -> None:
    for answer in (
        await desk.ask("GET", "/skills", headers={"Origin": "https://evil.example"}),
        await desk.ask("GET", "/skills", role=""),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert not [name for name in answer.headers if name.startswith("access-control")]
