"""Language-understanding files: what of them routing reads, and its bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skills_host.consumer.routing.lu import text_examples, utterances

FILE = b"""> !# @app.culture = en-us
> a comment
[import](./more.lu)
[import](https://elsewhere.example/evil.lu)
[import](../up.lu)

# Forecast
- what is the weather in {@city=Paris}
- will it rain {when={day=tomorrow} morning}
- [please] show the (forecast|outlook)
- weather for {city}
- [x](other.lu#Intent)

@ ml city
@ list unit =
\t- celsius :
\t\t- degrees

## Alarm
* wake me up
+ set an alarm
"""


def test_utterances_lose_their_labels_and_groups() -> None:
    assert utterances(FILE, intents=["forecast"]) == [
        "what is the weather in Paris",
        "will it rain tomorrow morning",
        "please show the forecast",
        "please show the outlook",
        "show the forecast",
        "show the outlook",
        "weather for",
    ]


def test_every_intent_counts_if_none_is_named() -> None:
    """Values of entities are no utterances."""
    found = utterances(FILE)

    assert found[-2:] == ["wake me up", "set an alarm"]
    assert "celsius :" not in found


def test_only_files_beside_it_are_imported() -> None:
    read: list[str] = []

    def beside(name: str) -> bytes | None:
        read.append(name)
        return b"# More\n- more words\n[import](./more.lu)\n"

    assert "more words" in utterances(FILE, read=beside)
    assert set(read) == {"more.lu"}
    assert len(read) <= 20


def test_groups_do_not_explode() -> None:
    assert len(utterances(b"# A\n- " + b"(a|b) " * 40)) <= 16


def test_lines_of_a_text() -> None:
    assert text_examples(b"# comment\n\nfirst\n second \nfirst\n") == ["first", "second"]


@given(st.binary(max_size=300))
def test_any_bytes_are_read(content: bytes) -> None:
    utterances(b"# A\n- " + content)
    text_examples(content)
