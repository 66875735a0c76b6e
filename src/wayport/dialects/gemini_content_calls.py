"""Ids for Gemini's function calls, which may carry none: two calls of one function still need two ids elsewhere.

What must stay true: the same JSON gets the same ids, a longer history gives its beginning the same ids, and an id that
was made here never goes back to Google.
"""

import hashlib
import re

# The signature that Google documents for calls which a Gemini 3 model did not make itself (another model's history).
FOREIGN_CALL_SIGNATURE = "skip_thought_signature_validator"

_MADE = "gemini-call-"


def was_made(call_id: str) -> bool:
    """Whether an id is one that we gave to a call which came without."""
    return call_id.startswith(_MADE)


class AnswerCalls:
    """Ids for the calls of one answer that carry none: the same whether it is read whole or as a stream."""

    def __init__(self, response_id: str) -> None:
        self._seed = response_id
        self._count: dict[int, int] = {}

    def next_id(self, choice: int, name: str) -> str:
        number = self._count[choice] = self._count.get(choice, 0) + 1
        text = f"{self._seed}\n{choice}\n{number}\n{name}"
        return _MADE + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


class HistoryCalls:
    """Ids for the calls of a request's history, and the pairing of results that name no call: by name, in order."""

    def __init__(self) -> None:
        self._count = 0
        self._open: list[tuple[str, str]] = []

    def next_id(self, name: str) -> str:
        self._count += 1
        return f"{_MADE}{self._count}-{re.sub('[^A-Za-z0-9_-]', '_', name)[:40]}"

    def called(self, call_id: str, name: str) -> None:
        self._open.append((call_id, name))

    def answered(self, call_id: str | None, name: str) -> str:
        """The id of the call that a result belongs to."""
        at = None
        if call_id is not None:
            at = next((i for i, (known, _) in enumerate(self._open) if known == call_id), None)
            if at is None:
                at = next((i for i, (k, n) in enumerate(self._open) if n == name and was_made(k)), None)
        else:
            at = next((i for i, (_, n) in enumerate(self._open) if n == name), None)
            if at is None and self._open and not name:
                at = 0
        if at is not None:
            return self._open.pop(at)[0]
        return call_id if call_id is not None else self.next_id(name)
