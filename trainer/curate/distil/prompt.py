"""What teachers are asked: the worker's own question, and three things beside it.

The same rules, the same words about what to look at and the same answer lines as in serving, so that the worker's
grammar reads the place. Beside it: a verdict on locatability with its probability, and a list of visible things,
one a line. GLOBE (arXiv 2506.14674) does not publish its prompts; these are ours.
"""

import hashlib

from worker.reason.engines import Prompt
from worker.reason.prompt import ANSWER_FORM, build_prompt

TEACHER_PROMPT_VERSION = 1

_FORM = ANSWER_FORM.replace(
    "</think>\n",
    "</think>\n<visible>the visible things that your reasoning rests upon, one a line</visible>\n",
)

_MORE = f"""\


You are asked as a teacher: others will learn from what you write. So say more than the answer:

Before you reason, judge whether this photograph shows enough to tell where it was taken. `locatable` is yes \
where somebody who knows the world well could tell at least the country from what is visible, and no otherwise. \
`probability` is how probable it is, from 0 to 1, that such a person could tell it down to the city or region.

After you have reasoned, list the visible things that your reasoning rests upon, each in a few plain words that \
name a thing and not a conclusion, one a line. List nothing that is not in the photograph.

Write in English, whatever language the photograph shows. So the whole has this form, with nothing after it:

<verdict>locatable: yes or no
probability: a number from 0 to 1</verdict>
{_FORM}"""


def teacher_prompt() -> Prompt:
    """The one question that every language teacher is asked about every photograph."""
    base = build_prompt()
    return Prompt(system=base.system, user=base.user + _MORE)


def _hash() -> str:
    prompt = teacher_prompt()
    asked = "\x00".join([str(TEACHER_PROMPT_VERSION), prompt.system, prompt.user])
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


PROMPT_HASH = _hash()
"""Sixteen hex digits that change with any letter of the prompt; stored with each answer."""
