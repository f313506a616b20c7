"""The routes of the Connector REST API: every operation, and ids of any kind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills_host.consumer.proxy import Page
from skills_host.errors import BadInput, SkillsHostError
from skills_host.settings import Operation
from skills_host.web.guard import WrongMethod
from skills_host.web.skills import Asked, operation_at, page_of

OPERATIONS = {
    "POST /v3/conversations": Asked(Operation.CREATE),
    "GET /v3/conversations": Asked(Operation.LIST),
    "POST /v3/conversations/c/activities": Asked(Operation.SEND, ("c",)),
    "POST /v3/conversations/c/activities/a": Asked(Operation.SEND, ("c", "a")),
    "PUT /v3/conversations/c/activities/a": Asked(Operation.UPDATE, ("c", "a")),
    "DELETE /v3/conversations/c/activities/a": Asked(Operation.DELETE, ("c", "a")),
    "POST /v3/conversations/c/activities/history": Asked(Operation.HISTORY, ("c",)),
    "PUT /v3/conversations/c/activities/history": Asked(Operation.UPDATE, ("c", "history")),
    "GET /v3/conversations/c/activities/a/members": Asked(Operation.ACTIVITY_MEMBERS, ("c", "a")),
    "GET /v3/conversations/c/members": Asked(Operation.MEMBERS, ("c",)),
    "GET /v3/conversations/c/members/m": Asked(Operation.MEMBER, ("c", "m")),
    "DELETE /v3/conversations/c/members/m": Asked(Operation.DELETE_MEMBER, ("c", "m")),
    "GET /v3/conversations/c/pagedmembers": Asked(Operation.PAGED_MEMBERS, ("c",)),
    "POST /v3/conversations/c/attachments": Asked(Operation.UPLOAD, ("c",)),
    "POST //v3/conversations/c/activities/": Asked(Operation.SEND, ("c",)),
    "POST /v3/conversations/a%2Fb%7Cc/activities/%2F%2F": Asked(Operation.SEND, ("a/b|c", "//")),
    "PUT /v3/conversations/c/activities/1%3A2;3@4%20%C3%A9": Asked(
        Operation.UPDATE, ("c", "1:2;3@4 é")
    ),
}


@pytest.mark.parametrize("line", OPERATIONS)
def test_operation_is_known(line: str) -> None:
    """Method and path name the operation and its ids, decoded once."""
    method, path = line.split()

    assert operation_at(method, path.encode()) == OPERATIONS[line]


def test_allowed_methods_are_named_once() -> None:
    """An address that fits two routes takes the methods of both."""
    with pytest.raises(WrongMethod) as caught:
        operation_at("GET", b"/v3/conversations/c/activities/history")

    assert caught.value.allowed == "DELETE, POST, PUT"


def test_empty_id_is_refused() -> None:
    """A missing id is not mended by what comes after it."""
    with pytest.raises(BadInput) as caught:
        operation_at("POST", b"/v3/conversations//activities")

    assert caught.value.code == "bad-id"


PAGES = {
    b"": Page(),
    b"pageSize=&continuationToken=": Page(),
    b"pageSize=7": Page(7),
    b"pageSize=501": Page(500),
    b"continuationToken=a%2Fb%20%C3%A9": Page(None, "a/b é"),
    b"$top=3&pageSize=2&x=%FF&continuationToken=c": None,
    b"x=y&pageSize=2&pagesize=9": Page(2),
    b"pageSize=0": None,
    b"pageSize=-1": None,
    b"pageSize=1e3": None,
    b"pageSize=\xd9\xa3": None,
    b"pageSize=9999999999": None,
    b"continuationToken=%FF": None,
    b"continuationToken=a%0D%0Ab": None,
    b"continuationToken=" + b"x" * 2049: None,
    b"&".join([b"x=1"] * 17): None,
}


@pytest.mark.parametrize("query", PAGES)
def test_page_is_all_that_counts_of_a_query(query: bytes) -> None:
    """None: it is refused."""
    expected = PAGES[query]
    if expected is not None:
        assert page_of(query) == expected
        return
    with pytest.raises(BadInput) as caught:
        page_of(query)
    assert caught.value.code == "bad-query"


@given(st.binary(max_size=40) | st.text(max_size=20).map(lambda t: f"pageSize={t}".encode()))
def test_any_query_is_a_page_or_refused(query: bytes) -> None:
    """And what is asked of the channel has no line breaks."""
    try:
        page = page_of(query)
    except BadInput:
        return
    assert page.query.isascii() and page.query.isprintable()


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"]),
    path=st.lists(
        st.sampled_from(["v3", "conversations", "activities", "members", "history", "", "%2F"])
        | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=9),
        max_size=8,
    ),
)
def test_any_path_is_decided(method: str, path: list[str]) -> None:
    """An operation, or an error with its status."""
    try:
        found = operation_at(method, "/".join(["", *path]).encode())
    except WrongMethod as exc:
        assert method not in exc.allowed.split(", ")
    except SkillsHostError as exc:
        assert exc.status in (400, 404)
    else:
        assert found.operation
