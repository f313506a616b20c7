"""A bot: what to do with each kind of activity, registered with decorators."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, overload

from skills_host.activity import Activity
from skills_host.bot.dialog import PROPERTY, Dialog
from skills_host.bot.turn import Place, Sending, Turn

__all__ = ["Bot", "Handler", "Middleware", "folded"]

# Longer texts are compared as they are: folding megabytes would keep others waiting.
FOLDED = 4096

Handler = Callable[[Turn], Awaitable[None]]
"""Handles a turn."""

Continue = Callable[[Place, Handler], Awaitable[None]]
"""Runs a handler in a conversation that was begun earlier."""

Middleware = Callable[[Turn, Handler], Awaitable[None]]
"""Wraps the handling of a turn: `async def layer(turn, call_next)`."""


def folded(text: str) -> str:
    """Text as it is compared: no case, single spaces, no closing punctuation."""
    return " ".join(text.casefold().split()).rstrip(".!?").rstrip()


class Bot:
    """Handlers, middleware and dialogs of one bot; the same code runs as a skill or on a channel.

    For a message the order is: the dialog the session is in, `on_message("…")` with the very
    words, plain `on_message`. Where nothing fits, an invoke is answered with 501 and anything
    else is ignored.
    """

    def __init__(self) -> None:
        self.middleware: list[Middleware] = []
        self.hooks: list[Sending] = []
        self._handlers: dict[tuple[str, str | None], Handler] = {}
        self._dialogs: dict[str, Dialog] = {}
        self._continue: Continue | None = None

    # Registering

    @overload
    def on_message(self, handler: Handler, /) -> Handler: ...
    @overload
    def on_message(self, *words: str) -> Callable[[Handler], Handler]: ...
    def on_message(self, *given: Any) -> Any:
        """Handle messages: all of them (`@bot.on_message`), or those with exactly these words."""
        if len(given) == 1 and callable(given[0]):
            return self._on("message", (None,))(given[0])
        return self._on("message", tuple(folded(words) for words in given) or (None,))

    def on_event(self, *names: str) -> Callable[[Handler], Handler]:
        """Handle events with one of these names; all events if none is given."""
        return self._on("event", names or (None,))

    def on_invoke(self, *names: str) -> Callable[[Handler], Handler]:
        """Handle invokes with one of these names; answer with `turn.respond(status, body)`."""
        return self._on("invoke", names or (None,))

    def on_end(self, handler: Handler) -> Handler:
        """Handle an end: at a skill, that its caller stops it; at a root, that a skill is done."""
        return self._on("endOfConversation", (None,))(handler)

    def on_activity(self, *types: str) -> Callable[[Handler], Handler]:
        """Handle activities of these types."""

        def register(handler: Handler) -> Handler:
            for type in types:
                self._on(type, (None,))(handler)
            return handler

        return register

    def add(self, dialog: Dialog) -> Dialog:
        """Let the bot continue this dialog when the user answers."""
        self._dialogs[dialog.name] = dialog
        return dialog

    def use(self, *layers: Middleware) -> None:
        """Wrap the handling of every turn; the first layer is outermost."""
        self.middleware.extend(layers)

    def use_on_send(self, *hooks: Sending) -> None:
        """See, change, hold or drop everything that goes out; the first hook is outermost."""
        self.hooks.extend(hooks)

    # Speaking first

    async def continue_conversation(self, place: Place, handler: Handler) -> None:
        """Run `handler` in a conversation of an earlier turn (its `turn.place`).

        What it sends goes to where the conversation was, with tokens for who was there. Raises
        `TypeError` while the bot is not served, and what sending raises.
        """
        if self._continue is None:
            raise TypeError("the bot is not served yet")
        await self._continue(place, handler)

    def speak_through(self, continue_conversation: Continue) -> None:
        """Take the way to speak first that the host gives this bot when it opens."""
        self._continue = continue_conversation

    # Handling

    def overtakes(self, activity: Activity) -> bool:
        """True for what must not wait for the turn before it: an end from the caller. Pure."""
        return activity.type == "endOfConversation"

    async def run(self, turn: Turn) -> None:
        """Handle one turn."""
        if not await self.handled(turn) and turn.activity.type == "invoke":
            turn.respond(501)

    async def handled(self, turn: Turn, *, catch_all: bool = True) -> bool:
        """Handle the turn if something was registered for it; False if nothing was.

        Without `catch_all`, plain `on_message` does not count.
        """
        type = turn.activity.type
        # An end of the caller's is the bot's own; one of a skill's is not.
        if type == "endOfConversation" and turn.speaker is None:
            self.leave_dialog(turn)
        if type in ("message", "event") and await self._in_dialog(turn):
            return True
        handler = self._handlers.get((type, self._subject(turn)))
        if handler is None and (catch_all or type != "message"):
            handler = self._handlers.get((type, None))
        if handler is None:
            return False
        await handler(turn)
        return True

    def leave_dialog(self, turn: Turn) -> None:
        """Forget the dialog that the session is in, if it is in one."""
        if self._dialogs:
            turn.state.delete(PROPERTY)

    def _on(self, type: str, subjects: tuple[str | None, ...]) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            for subject in subjects:
                if (type, subject) in self._handlers:
                    raise TypeError(f"{type} {subject or ''} has a handler already")
                self._handlers[type, subject] = handler
            return handler

        return register

    @staticmethod
    def _subject(turn: Turn) -> str | None:
        if turn.activity.type == "message":
            return folded(turn.text) if len(turn.text) <= FOLDED else turn.text
        return turn.activity.name

    async def _in_dialog(self, turn: Turn) -> bool:
        if not self._dialogs:
            return False
        reprompts = turn.activity.name == "repromptDialog"
        if turn.activity.type == "event" and not reprompts:
            return False
        stored = await turn.state.get(PROPERTY)
        dialog = self._dialogs.get(stored["name"]) if stored else None
        if dialog is None:
            return False
        await (dialog.reprompt(turn) if reprompts else dialog.take(turn))
        return True
