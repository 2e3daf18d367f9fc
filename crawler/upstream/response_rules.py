"""Response rules: what an answer means, as one ordered table of which the first rule that fits decides.

A deployment's own rules (RESPONSE_RULES) come before the built-in ones (upstream/builtin_rules.py) and have the same
form. A rule without an action only adds a pause, and the next one is asked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, get_args

import msgspec

from crawler.core.errors import BadSetting
from crawler.core.verdict import ABSENT, MISSING, Verdict, failed, refused, retry, throttled

if TYPE_CHECKING:
    from crawler.upstream.expression import Expression

SETTING = "RESPONSE_RULES"

Action = Literal["throttled", "retry", "failed", "refused", "missing", "found"]

_ACTIONS = get_args(Action)
_STATUSES = 'a status from 100 to 999, a class such as "4xx", or a list of these'
_WAITS = "a number of seconds from 0, or a JMESPath expression in a text"
_INSTANTS = "seconds or milliseconds since 1970 as a number, or a JMESPath expression in a text"


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule: what becomes of the answers that it fits.

    `statuses` and `when` are what it fits, None: all; `action` None: the next rule is asked. `error` is the word in the
    row, or for `refused` a sentence. `wait` counts seconds, `wait_until` names an instant; `alone`: the wait is this
    song's, and no pause of the crawl; `provisional`: the song ends by it only if another one still comes.
    `name` and `says` tell people which rule it is, and what stands in it.
    """

    name: str = ""
    says: str = ""
    statuses: frozenset[int] | None = None
    when: Expression | None = None
    action: Action | None = None
    error: str | None = None
    wait: Expression | float | None = None
    wait_until: Expression | float | None = None
    alone: bool = False
    provisional: bool = False

    def fits(self, answer: Mapping[str, Any]) -> bool:
        """Tell whether an answer is of the rule's statuses and `when` is true of it."""
        if self.statuses is not None and answer["status"] not in self.statuses:
            return False
        return self.when is None or self.when.holds(answer)

    def seconds(self, answer: Mapping[str, Any], now_epoch: float) -> float | None:
        """Return how long the rule waits after an answer, the longer of its two waits; None: it does not say."""
        if self.wait is None and self.wait_until is None:
            return None
        from crawler.upstream.waits import MOST_RETRY_AFTER_SECONDS, seconds_of, seconds_until  # 2 ms of a cold start

        waits = (
            seconds_of(_value(self.wait, answer)),
            seconds_until(_value(self.wait_until, answer), now_epoch),
        )
        told = [wait for wait in waits if wait is not None]
        return min(max(told), MOST_RETRY_AFTER_SECONDS) if told else None

    def verdict(self, status: int, wait: float | None, retry_after: float | None) -> Verdict:
        """Return the verdict on a song by any action but `found`, which takes a look at the body.

        A song that is to be asked for again waits as the rule says, else as Retry-After does.
        """
        error = self.error or f"http_{status}"
        if self.action == "throttled":
            return throttled(error, retry_after if wait is None else wait)
        if self.action == "retry":
            return retry(error, retry_after if wait is None else wait, alone=self.alone)
        if self.provisional and self.action == "failed" and retry_after is not None:  # whoever names a wait means us
            return retry(error, retry_after)
        if self.provisional:
            return ABSENT if self.action == "missing" else failed(error, provisional=True)
        if self.action == "refused":
            return paused(refused(_reason(status, self.error), f"http_{status}"), longer(wait, retry_after))
        return paused(MISSING if self.action == "missing" else failed(error), wait)


class Decision(NamedTuple):
    """The rule that decided, None if none did, how long it waits, and the pause that others asked for before.

    `paused_by` is the rule that asked for the pause.
    """

    rule: Rule | None = None
    wait: float | None = None
    pause: float | None = None
    paused_by: Rule | None = None


NO_DECISION = Decision()


class ResponseRules:
    """A deployment's rules, in order; raises BadSetting, naming rule and field, for one that can't be used."""

    def __init__(self, rules: Sequence[Any] = ()) -> None:
        self._rules = [_RuleReader(position, rule).read() for position, rule in enumerate(rules, 1)]

    def __bool__(self) -> bool:
        return bool(self._rules)

    def decide(self, answer: Mapping[str, Any], now_epoch: float) -> Decision:
        """Ask the rules in their order about an answer: `status`, `headers`, `body` and `asked`."""
        pause: float | None = None
        paused_by: Rule | None = None
        for rule in self._rules:
            if not rule.fits(answer):
                continue
            wait = rule.seconds(answer, now_epoch)
            if rule.action:
                return Decision(rule, wait, pause, paused_by)
            if wait is not None and longer(pause, wait) == wait:
                pause, paused_by = wait, rule
        return Decision(None, None, pause, paused_by)


def longer(wait: float | None, other: float | None) -> float | None:
    """Return the longer of two waits, either of which may be none."""
    return other if wait is None or (other is not None and other > wait) else wait


def paused(verdict: Verdict, pause: float | None) -> Verdict:
    """Return a verdict after which the crawl pauses so long at least."""
    if not pause:
        return verdict
    return msgspec.structs.replace(verdict, retry_after=longer(verdict.retry_after, pause), alone=False)


def _reason(status: int, own: str | None) -> str:
    why = own or "RESPONSE_RULES takes that for a refusal"
    return why if why.endswith(".") else f"The upstream answers {status}: {why}."


def _value(wait: Expression | float | None, answer: Mapping[str, Any]) -> Any:
    return wait if wait is None or isinstance(wait, (int, float)) else wait.search(answer)


class _RuleReader:
    """The reader of one rule as it stands in JSON, a method for each kind of field."""

    def __init__(self, position: int, fields: Any) -> None:
        self._name = f"{SETTING}, rule {position}"
        if not isinstance(fields, Mapping):
            raise BadSetting(f"{self._name} is {_shown(fields)}; allowed: an object with the fields {_FIELDS}.")
        self._fields = fields

    def read(self) -> Rule:
        read: dict[str, Any] = {}
        for field in self._fields:
            if field not in _READERS:
                raise BadSetting(f"{self._name}: {_shown(field)} is no field; allowed: {_FIELDS}.")
            read["statuses" if field == "status" else field] = _READERS[field](self, field)
        if not read.keys() & {"action", "wait", "wait_until"}:
            raise BadSetting(
                f"{self._name} is {_shown(self._fields)}, which does nothing; "
                f"allowed: an action ({', '.join(_ACTIONS)}), a wait, a wait_until."
            )
        return Rule(name=self._name, says=_shown(self._fields), **read)

    def statuses(self, field: str) -> frozenset[int]:
        value = self._fields[field]
        statuses: set[int] = set()
        for status in value if isinstance(value, list) and value else [value]:
            if type(status) is int and 100 <= status <= 999:
                statuses.add(status)
            elif isinstance(status, str) and re.fullmatch(r"[1-9][xX]{2}", status, re.ASCII):
                statuses.update(range(int(status[0]) * 100, int(status[0]) * 100 + 100))
            else:
                self._refuse(field, _STATUSES)
        return frozenset(statuses)

    def expression(self, field: str, allowed: str = "a JMESPath expression in a text") -> Expression:
        from crawler.upstream.expression import Expression  # 3 ms of a cold start, for those alone who set one

        text = self._fields[field]
        if not isinstance(text, str):
            self._refuse(field, allowed)
        try:
            return Expression(f"{self._name}: {field}", text)
        except BadSetting as error:
            raise BadSetting(f"{str(error).removesuffix('.')}; allowed: {allowed}.") from None

    def action(self, field: str) -> str:
        action = self._fields[field]
        if action not in _ACTIONS:
            self._refuse(field, ", ".join(_ACTIONS))
        return str(action)

    def error(self, field: str) -> str:
        word = self._fields[field]
        if not isinstance(word, str) or not re.fullmatch(r"\S(.{0,98}\S)?", word):
            self._refuse(field, "a text of 1 to 100 characters on one line")
        return str(word)

    def wait(self, field: str) -> Expression | float:
        """Read a number, which stands for itself, or an expression that picks one."""
        value, allowed = self._fields[field], _WAITS if field == "wait" else _INSTANTS
        if isinstance(value, str):
            return self.expression(field, allowed)
        if type(value) not in (int, float) or not 0 <= value < math.inf:
            self._refuse(field, allowed)
        return float(value)

    def _refuse(self, field: str, allowed: str) -> NoReturn:
        raise BadSetting(f"{self._name}: {field} is {_shown(self._fields[field])}; allowed: {allowed}.")


_READERS: dict[str, Callable[[_RuleReader, str], Any]] = {
    "status": _RuleReader.statuses,
    "when": _RuleReader.expression,
    "action": _RuleReader.action,
    "error": _RuleReader.error,
    "wait": _RuleReader.wait,
    "wait_until": _RuleReader.wait,
}
_FIELDS = ", ".join(_READERS)


def _shown(value: Any) -> str:
    """Write a value as it stands in the setting, cut where it is long."""
    try:
        text = msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError):
        text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"
