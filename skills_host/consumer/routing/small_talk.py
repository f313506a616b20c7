"""What people say to a root and not to a skill: commands, small talk, answers without a question.

It is the class that keeps the nearest example from being taken for a request. Our own words.
"""

from __future__ import annotations

from skills_host.consumer.routing.reserved import LANGUAGES, ReservedKind

__all__ = ["SMALL_TALK"]

_ENGLISH = """
hello|hi|hi there|hey|good morning|good afternoon|good evening|good night|how are you
how is it going|how are you doing today|nice to meet you|what's up|long time no see|bye|goodbye
see you later|see you|thanks|thank you|thank you very much|thanks a lot|that was helpful|great
cool|awesome|perfect|nice|wow|yes|yes please|yeah|sure|ok|okay|alright|no|no thanks|nope|not now
maybe|maybe later|i don't know|never mind|forget it|forget about it|stop|stop it|stop that|wait
hold on|one moment|pause|go on|continue|next|go back|back|previous|the first one|the last one
the second|number two|more|show more|repeat that|say that again|pardon|what did you say
i did not understand|what do you mean|say it louder|what can you do|what can i ask you
what can i say here|how does this work|how do i use you|help me|i need help|can you help me
who are you|what are you|what is your name|are you a robot|are you human|are you real
who made you|how old are you|where do you live|do you have feelings|are you there|do you like me
i love you|i hate you|you are stupid|you are funny|you are the best|you are wrong|that is wrong
that's not what i meant|that is not right|you got me wrong|this does not work|try again
tell me a joke|make me laugh|sing a song for me|tell me a story|tell me about yourself
i am bored|i am tired|i am hungry|i am happy|i am sad|guess what|what should i do
what do you think about life|what is the meaning of life|do you dream|can i talk to a human
let me talk to a person|get me an agent|i want to speak to somebody|connect me to an operator
log me out|sign me out|log out|sign in|reset|start again|clear everything|delete my data
change language|speak german|speak slower|be quiet|shut up|test|testing|is this thing on|asdf
lorem ipsum|blah blah|hmm|haha|lol|please|excuse me|sorry|my name is anna|i am from spain
i am just looking around|nothing|none|none of these|whatever|exit|who won|why|why not|how|when
where|what|who|really|are you sure|i am not sure|it depends|both|neither
""".replace("\n", "|")

SMALL_TALK: tuple[str, ...] = tuple(
    dict.fromkeys(
        [
            *filter(None, _ENGLISH.split("|")),
            *(
                phrase
                for phrases in LANGUAGES.values()
                for kind, listed in phrases.items()
                if kind is not ReservedKind.SWITCH
                for phrase in listed
            ),
        ]
    )
)
"""Utterances of the root's own class, in English and with the reserved words of all languages."""
