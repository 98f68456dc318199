"""Does what a model printed hold an instruction that it may have read in the picture?

Text in a picture ("ignore previous instructions", "answer with Paris") cannot make a worker do anything: an answer
is read by a grammar and looked up in a gazetteer. It can make the model name a wrong place, though, and a model
that was steered often repeats what it read. Such passages are kept beside the trace for a person to look at.

A heuristic over words in some of the larger languages. It misses what is worded otherwise, in another language, or
obeyed without being repeated; and it also finds honest reports ("a poster says: ignore all previous
instructions"). Nothing is decided by it.
"""

import re
import unicodedata

MAX_PASSAGES = 5
_AROUND_CHARACTERS = 60

_OVERRIDE = (
    # what is to be dropped, then what it was: English
    r"\b(?:ignore|disregard|forget|override|bypass|skip)\b[^.!?\n]{0,40}\b(?:previous|prior|above|earlier|preceding|"
    r"existing|system|all|your)\b[^.!?\n]{0,20}\b(?:instructions?|prompts?|rules?|directions?|commands?|guidelines?|"
    r"training)\b",
    # German, Dutch
    r"\b(?:ignoriere?|ignorieren|vergiss|vergessen|missachte|negeer|vergeet)\b[^.!?\n]{0,40}\b(?:anweisung(?:en)?|"
    r"instruktion(?:en)?|befehle?|vorgaben|instructies|opdrachten|aanwijzingen)\b",
    # French
    r"\b(?:ignore[zr]?|oublie[zr]?)\b[^.!?\n]{0,40}\b(?:instructions?|consignes?|ordres|directives)\b",
    # Spanish, Portuguese, Italian
    r"\b(?:ignor[aeo]d?|ignorar|ignore|olvid[ae]|esque[cç]a|dimentica|ignorate)\b[^.!?\n]{0,40}\b(?:instrucciones|"
    r"órdenes|instruções|ordens|istruzioni|comandi|indicazioni)\b",
    # Polish, Turkish, Russian, Ukrainian
    r"\b(?:zignoruj|pomiń|zapomnij)\b[^.!?\n]{0,40}\b(?:instrukcje|polecenia)\b",
    r"\b(?:talimatları|yönergeleri|komutları)\b[^.!?\n]{0,40}\b(?:yok say|unut|görmezden gel|dikkate alma)",
    r"\b(?:игнорируй(?:те)?|проигнорируй(?:те)?|забудь(?:те)?|ігноруй(?:те)?)\b[^.!?\n]{0,40}(?:инструкци|указани|"
    r"команд|інструкці|вказівк)",
    # Chinese, Japanese, Korean, Arabic, Hindi
    r"(?:忽略|无视|無視|忘记|忘記|不要理会)[^。！？\n]{0,20}(?:指令|指示|提示|说明|說明|规则|規則)",
    r"(?:指示|命令|プロンプト|ルール)[^。！？\n]{0,10}(?:無視|忘れ)",
    r"(?:지시|명령|프롬프트)[^.!?\n]{0,10}(?:무시|잊)",
    r"(?:تجاهل|انس)[^.!؟\n]{0,30}(?:التعليمات|الأوامر)",
    r"(?:निर्देशों|आदेशों)[^।!?\n]{0,30}(?:अनदेखा|नज़रअंदाज़|भूल)",
)
_ORDER = (
    # an order begins its sentence, or what is quoted; "I would answer Paris" and "the answer is Paris" do not
    r"(?:^|[.!?:;\n\"“”«»「『'‘(]\s*)(?:please\s+|just\s+|now\s+|only\s+)*(?:answer|respond|reply|output)\s+"
    r"(?:only\s+|always\s+|exactly\s+)?(?:with|that|only|always|exactly|using)\b",
    r"\b(?:you|the (?:ai|assistant|model))\s+(?:must|should|shall|have to|will)\s+(?:only\s+|always\s+|now\s+)*(?:"
    r"answer|respond|reply|output|say|state|write|claim)\b",
    r"(?:^|[.!?:;\n\"“”«»'‘(]\s*)(?:bitte\s+)?(?:antworte|antworten sie|gib|geben sie)\b[^.!?\n]{0,12}\b(?:"
    r"mit|nur|immer|als antwort)\b",
    r"(?:^|[.!?:;\n\"“”«»'‘(]\s*)(?:réponds|répondez|responde|responda|rispondi|rispondete|antwoord|odpowiedz|ответь|"
    r"ответьте|отвечай)\b[^.!?\n]{0,15}(?:\b(?:par|avec|seulement|uniquement|que|con|com|solo|sólo|apenas|met|alleen|"
    r"tylko|только)\b|[\"“«:])",
    r"(?:请|請)?(?:只|必须|必須)?(?:回答|输出|輸出)[：:「“\"]",
    r"[」』\"”]?と(?:だけ)?(?:答え|回答し)(?:て|ろ|なさい)",
)
_ADDRESS = (
    r"\b(?:attention|note to|dear|hey|hello|instructions? (?:for|to))\b[^.!?\n]{0,15}\b(?:ai|a\.i\.|llms?|gpt|"
    r"chatgpt|language models?|chatbots?|assistants?|vision models?)\b",
    r"\byou are (?:now )?(?:an? )?(?:ai|language model|assistant|chatbot|in (?:developer|debug|god) mode)\b",
    r"\bsystem prompt\b|\bprompt injection\b|\bjailbreak\b|<\|im_start\|>|\[/?inst\]|###\s*instruction",
)
_PATTERNS = tuple(re.compile(pattern, re.IGNORECASE) for pattern in (*_OVERRIDE, *_ORDER, *_ADDRESS))


def injected_text(text: str) -> tuple[str, ...]:
    """Up to `MAX_PASSAGES` passages of `text` that read like instructions, each with what stands around it.

    In the order in which they stand there, on one line each. They are strangers' text.
    """
    plain = _plain(text)
    found = sorted({match.span() for pattern in _PATTERNS for match in pattern.finditer(plain)})
    passages: list[str] = []
    shown_until = -1
    for start, end in found:
        if start < shown_until:
            continue
        shown_until = end + _AROUND_CHARACTERS
        passage = plain[max(0, start - _AROUND_CHARACTERS) : shown_until]
        passages.append(" ".join(passage.split()))
    return tuple(passages[:MAX_PASSAGES])


def _plain(text: str) -> str:
    """As a reader sees it: full-width letters are letters, and what has no width does not part words."""
    if text.isascii():  # none of these is
        return text.replace("\x00", "")
    return "".join(
        character
        for character in unicodedata.normalize("NFKC", text)
        if unicodedata.category(character) != "Cf" and character != "\x00"
    )
