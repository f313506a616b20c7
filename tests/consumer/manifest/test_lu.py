"""Language-understanding files: what of them routing reads, and its bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skills_host.consumer.manifest.lu import LanguageText, linked, text_examples, utterances

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
    assert read == ["other.lu", "more.lu"]


MAIN = LanguageText(
    """[import](./more.lu)
# Book
- book it
- [what others say](other.lu#reserve)
- [again](#Cancel)
# Cancel
- call it off
""",
    {
        "other.lu": "# Reserve\n- reserve {what=it}\n- [on](third.lu#*utterances*)\n# Else\n- no",
        "third.lu": "# A\n- one\n# B\n- two\n- [round](other.lu#Reserve)\n",
        "more.lu": "# Book\n- get it\n[import](more.lu)\n[import](other.lu)",
    },
)


def test_utterances_of_other_files_are_of_the_intent_that_refers_to_them() -> None:
    """Of one of their intents, or of all; those of imported files keep their own."""
    assert MAIN.utterances(intents=["book"]) == [
        *["book it", "reserve it", "one", "two", "call it off", "get it"]
    ]
    assert MAIN.utterances(intents=["else"]) == ["no"]


def test_what_a_file_leads_to_is_told_once_and_as_it_is_written() -> None:
    assert linked(MAIN.text.encode()) == ["./more.lu", "other.lu"]


def test_files_that_lead_to_each_other_are_read_once() -> None:
    """However often, and in whatever circle."""
    read: list[str] = []

    def beside(name: str) -> bytes | None:
        read.append(name)
        return b"[import](a.lu)\n[import](b.lu)\n# X\n- say\n- [x](b.lu#X)\n- [x](a.lu#X)\n"

    assert utterances(beside("main.lu") or b"", read=beside) == ["say"]
    assert read == ["main.lu", "b.lu", "a.lu"]


def test_references_are_followed_so_many_times() -> None:
    """However many there are: each could lead to as many again."""
    numbers = range(300)
    other = "".join(f"# I{number}\n- say {number}\n" for number in numbers)
    file = LanguageText(
        "# X\n" + "".join(f"- [x](a.lu#I{number})\n" for number in numbers), {"a.lu": other}
    )

    assert file.utterances() == [f"say {number}" for number in range(200)]


def test_groups_do_not_explode() -> None:
    assert len(utterances(b"# A\n- " + b"(a|b) " * 40)) <= 16


def test_lines_of_a_text() -> None:
    assert text_examples(b"# comment\n\nfirst\n second \nfirst\n") == ["first", "second"]


@given(st.binary(max_size=300))
def test_any_bytes_are_read(content: bytes) -> None:
    utterances(b"# A\n- " + content)
    text_examples(content)
