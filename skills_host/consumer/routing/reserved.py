"""Reserved words, by language: what users say to the root itself, whichever skill has the floor.

A message is reserved only if it is nothing but the words: “cancel” is, “cancel my trip” is not.
Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from skills_host.consumer.routing.rules import words_of

__all__ = ["LANGUAGES", "LONGEST", "Phrases", "Reserved", "ReservedKind", "ReservedWords"]

FALLBACK = "en"
LONGEST = 4096  # characters that are looked at: megabytes of words would keep others waiting
NAME = "{skill}"


class ReservedKind(StrEnum):
    """What reserved words ask for."""

    CANCEL = "cancel"
    START_OVER = "start_over"
    HELP = "help"
    LIST = "list"
    SWITCH = "switch"


@dataclass(frozen=True, slots=True)
class Reserved:
    """What was asked for; `name` is what the user wants to switch to, as words."""

    kind: ReservedKind
    name: str = ""


Phrases = Mapping[ReservedKind, Collection[str]]
"""The phrases of one language by kind; in those of `SWITCH`, `{skill}` stands for a name."""


def _phrases(cancel: str, start_over: str, help: str, list: str, switch: str) -> Phrases:
    """A language's phrases, each kind's between bars."""
    kinds = zip(ReservedKind, (cancel, start_over, help, list, switch), strict=True)
    return MappingProxyType({kind: tuple(text.split("|")) for kind, text in kinds})


LANGUAGES: Mapping[str, Phrases] = MappingProxyType(
    {
        "en": _phrases(
            "cancel|quit|exit",
            "start over|restart|begin again",
            "help",
            "which skills|what can you do|list skills|skills",
            "switch to {skill}|go to {skill}",
        ),
        "de": _phrases(
            "abbrechen|abbruch|beenden",
            "von vorn|von vorne|neu anfangen|neu beginnen|neustart",
            "hilfe",
            "welche skills|was kannst du|was können sie|skills anzeigen",
            "wechsle zu {skill}|wechseln zu {skill}|gehe zu {skill}",
        ),
        "fr": _phrases(
            "annuler|annule|quitter",
            "recommencer|recommence|repartir de zéro",
            "aide",
            "quelles compétences|que peux-tu faire|que pouvez-vous faire",
            "passer à {skill}|passe à {skill}|aller à {skill}",
        ),
        "es": _phrases(
            "cancelar|cancela|salir",
            "empezar de nuevo|volver a empezar|reiniciar",
            "ayuda",
            "qué habilidades|qué puedes hacer|que puedes hacer",
            "cambiar a {skill}|cambia a {skill}|ir a {skill}",
        ),
        "it": _phrases(
            "annulla|annullare|esci",
            "ricomincia|ricominciare|da capo",
            "aiuto",
            "quali abilità|cosa puoi fare|cosa sai fare",
            "passa a {skill}|vai a {skill}",
        ),
        "pt": _phrases(
            "cancelar|cancela|sair",
            "começar de novo|recomeçar|reiniciar",
            "ajuda",
            "quais habilidades|o que você pode fazer|o que podes fazer",
            "mudar para {skill}|ir para {skill}",
        ),
        "nl": _phrases(
            "annuleren|annuleer|stoppen",
            "opnieuw beginnen|begin opnieuw",
            "hulp|help",
            "welke skills|wat kun je|wat kan je",
            "ga naar {skill}|wissel naar {skill}",
        ),
        "sv": _phrases(
            "avbryt|avbryta",
            "börja om",
            "hjälp",
            "vilka skills|vad kan du göra",
            "byt till {skill}|gå till {skill}",
        ),
        "da": _phrases(
            "annuller|afbryd",
            "start forfra|begynd forfra",
            "hjælp",
            "hvilke skills|hvad kan du",
            "skift til {skill}|gå til {skill}",
        ),
        "nb": _phrases(
            "avbryt|avbryte",
            "start på nytt|begynn på nytt",
            "hjelp",
            "hvilke skills|hva kan du",
            "bytt til {skill}|gå til {skill}",
        ),
        "fi": _phrases(
            "peruuta|keskeytä",
            "aloita alusta|alusta uudelleen",
            "apua|ohje",
            "mitkä taidot|mitä osaat",
            "vaihda taitoon {skill}|siirry taitoon {skill}",
        ),
        "pl": _phrases(
            "anuluj|przerwij",
            "zacznij od nowa|od nowa",
            "pomoc",
            "jakie umiejętności|co potrafisz",
            "przełącz na {skill}|przejdź do {skill}",
        ),
        "cs": _phrases(
            "zrušit|zruš",
            "začít znovu|znovu od začátku",
            "pomoc|nápověda",
            "jaké dovednosti|co umíš",
            "přepnout na {skill}|přejít na {skill}",
        ),
        # A capital İ folds to two characters.
        "tr": _phrases(
            "iptal|İptal|iptal et|İptal et|vazgeç",
            "baştan başla|yeniden başla",
            "yardım",
            "hangi beceriler|neler yapabilirsin",
            "{skill} becerisine geç",
        ),
        "ru": _phrases(
            "отмена|отменить|отмени",
            "начать заново|начать сначала|заново",
            "помощь|справка",
            "какие навыки|что ты умеешь|что вы умеете",
            "переключиться на {skill}|переключись на {skill}|перейти к {skill}",
        ),
        "uk": _phrases(
            "скасувати|скасуй",
            "почати спочатку|почати знову",
            "допомога|довідка",
            "які навички|що ти вмієш",
            "перейти до {skill}|перемкнутися на {skill}",
        ),
        "ja": _phrases(
            "キャンセル|中止|やめる|取り消し",
            "最初から|やり直す|最初からやり直す",
            "ヘルプ",
            "スキル一覧|何ができますか|何ができる",
            "{skill}に切り替えて|{skill}に切り替え|{skill}に切り替える",
        ),
        "zh": _phrases(
            "取消|退出",
            "重新开始|重来|重新開始",
            "帮助|幫助",
            "有哪些技能|你能做什么|你能做什麼",
            "切换到{skill}|切換到{skill}",
        ),
        "ko": _phrases(
            "취소|취소해|그만",
            "다시 시작|처음부터",
            "도움말",
            "어떤 기능|무엇을 할 수 있어",
            "{skill}로 전환|{skill} 로 전환|{skill}으로 전환",
        ),
        "ar": _phrases(
            "إلغاء|الغاء",
            "ابدأ من جديد|البدء من جديد",
            "مساعدة",
            "ما هي المهارات|ماذا يمكنك أن تفعل",
            "انتقل إلى {skill}",
        ),
    }
)
"""The words that are known without any setting, by language."""


@dataclass(frozen=True, slots=True)
class _Spoken:
    """The phrases of one language, ready to be compared: whole ones, and what is around a name."""

    whole: Mapping[str, ReservedKind]
    around: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, phrases: Phrases) -> _Spoken:
        whole = {
            words_of(phrase): kind
            for kind, listed in phrases.items()
            if kind is not ReservedKind.SWITCH
            for phrase in listed
        }
        # The longest first: the end of one may be the end of another.
        around = sorted(map(_around, phrases.get(ReservedKind.SWITCH, ())), key=_length)
        return cls(MappingProxyType({text: whole[text] for text in whole if text}), tuple(around))

    def heard(self, said: str) -> Reserved | None:
        kind = self.whole.get(said)
        if kind is not None:
            return Reserved(kind)
        for before, after in self.around:
            name = said.removeprefix(before).removesuffix(after).strip()
            if name and said.startswith(before) and said.endswith(after):
                return Reserved(ReservedKind.SWITCH, name)
        return None


class ReservedWords:
    """Words by language, and by kind in each; those of `words` replace those known without them.

    `cancel` replaces what cancels and what starts over in every language. A language is a tag such
    as `de` or `de-CH`. Raises `ValueError` for a phrase to switch with that has no name in it.
    """

    def __init__(
        self,
        words: Mapping[str, Phrases] = MappingProxyType({}),
        *,
        cancel: Collection[str] | None = None,
    ) -> None:
        tables: dict[str, dict[ReservedKind, Collection[str]]] = {
            language: dict(phrases) for language, phrases in LANGUAGES.items()
        }
        if cancel is not None:
            for table in tables.values():
                table |= {ReservedKind.CANCEL: cancel, ReservedKind.START_OVER: ()}
        self._use(tables, words)

    def replaced(self, words: Mapping[str, Phrases]) -> ReservedWords:
        """The same with other words in some languages."""
        copy = ReservedWords()
        copy._use(self._tables, words)
        return copy

    def heard(self, text: str, locale: str | None = None) -> Reserved | None:
        """What a user asks for who says only that; None if it is for somebody else.

        The words are those of the locale, of its language, and English. Where the channel does not
        say what language the user speaks, they are those of every language.
        """
        if len(text) > LONGEST:
            return None
        said = words_of(text)
        if not said:
            return None
        for language in self._languages(locale):
            found = self._spoken(language).heard(said) if language in self._tables else None
            if found is not None:
                return found
        return None

    def _use(self, tables: Mapping[str, Phrases], words: Mapping[str, Phrases]) -> None:
        self._tables = {tag: dict(phrases) for tag, phrases in tables.items()}
        for tag, phrases in words.items():
            own = {ReservedKind(kind): tuple(listed) for kind, listed in phrases.items()}
            for phrase in own.get(ReservedKind.SWITCH, ()):
                _around(phrase)
            self._tables.setdefault(tag.lower(), {}).update(own)
        self._ready: dict[str, _Spoken] = {}

    def _spoken(self, language: str) -> _Spoken:
        # Few hosts hear more than a few of the languages.
        found = self._ready.get(language)
        if found is None:
            found = self._ready[language] = _Spoken.of(self._tables[language])
        return found

    def _languages(self, locale: str | None) -> Iterable[str]:
        if not locale:
            return (FALLBACK, *(tag for tag in self._tables if tag != FALLBACK))
        tag = locale.lower().replace("_", "-")
        return (tag, tag.partition("-")[0], FALLBACK)


def _around(pattern: str) -> tuple[str, str]:
    """What stands before and after the name in a phrase; with a space, where it is spaced."""
    before, name, after = pattern.partition(NAME)
    first, last = words_of(before), words_of(after)
    if not name or not (first or last):
        raise ValueError(f"a phrase to switch with needs words and {NAME}: {pattern}")
    return (
        first + " " if first and before[-1].isspace() else first,
        " " + last if last and after[0].isspace() else last,
    )


def _length(around: tuple[str, str]) -> int:
    return -len(around[0]) - len(around[1])
