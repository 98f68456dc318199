"""Do all stated reasons rest on text that was read in the picture? Such text may be a poster, a book or a prank.

A heuristic over the model's English sentences. A reason rests on text if it speaks of writing or quotes it, and
names no other visible thing. Sentences that only conclude ("So this is France.") are neither. It errs towards
"no": one reason that it cannot place counts as other evidence.
"""

import re
from collections.abc import Sequence

_TEXT = re.compile(
    r"\b(?:text|texts|writing|written|words?|letters?|lettering|inscriptions?|inscribed|caption|captions|signs?|"
    r"signage|signpost|signposts|posters?|banners?|billboards?|labels?|plaques?|graffiti|script|alphabet|language|"
    r"reads?|reading|says|spells?|spelled|spelt|titles?|watermarks?|logo|headline|domain|url|phone number)\b"
    r"|[\"“”«»「」]",
    re.IGNORECASE,
)
_THING = re.compile(
    r"\b(?:buildings?|houses?|roofs?|walls?|facades?|bricks?|timber|tiles?|architecture|church(?:es)?|mosques?|temples?"
    r"|towers?|bridges?|castles?|skyline|roads?|streets?|lanes?|kerbs?|curbs?|bollards?|markings?|plates?|poles?|"
    r"driving|drives?|traffic|cars?|taxis?|buses|trams?|trains?|vehicles?|trees?|palms?|vegetation|forests?|grass|"
    r"plants?|flowers?|fields?|hills?|mountains?|coast|beach(?:es)?|sea|rivers?|desert|snow|soil|sand|rocks?|sky|sun|"
    r"light|climate|people|clothing|clothes|uniforms?|food|statues?|monuments?|landmarks?|boats?|animals?)\b",
    re.IGNORECASE,
)
_CONCLUSION = re.compile(
    r"^(?:so|thus|therefore|hence|this|that|these|those|it|together|all of this|taken together|(?:the|my) answer)"
    r"\b(?!.*\b(?:shows?|seen|visible)\b).*\b(?:is|are|means?|suggests?|points?|indicates?|fits?|places?|must be|"
    r"consistent|leads?|leaves?)\b",
    re.IGNORECASE,
)


def rests_on_text(cues: Sequence[str]) -> bool:
    """Is there a reason, and does every one that is not a mere conclusion rest on text alone?"""
    kinds = [_kind(cue) for cue in cues]
    return "text" in kinds and "other" not in kinds


def _kind(cue: str) -> str:
    if _TEXT.search(cue):
        return "other" if _THING.search(_without_quotes(cue)) else "text"
    return "conclusion" if _CONCLUSION.match(cue) and not _THING.search(cue) else "other"


def _without_quotes(cue: str) -> str:
    """Without what was quoted: "Beach Road" on a sign shows no beach."""
    return re.sub(r"[\"“«「][^\"”»」]*[\"”»」]", " ", cue)
