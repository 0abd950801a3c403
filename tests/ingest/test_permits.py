"""Leave to call: waited for, refused without a call, given back when another permit refuses."""

from dataclasses import dataclass, field

from ingest.asks import Request
from ingest.permits import GRANTED, Impatient, Leave, Together

QUOTE = Request("GET", "/api/v1/quote", endpoint="quote")


@dataclass
class Scripted:
    """A permit that answers by a list."""

    leaves: list[Leave]
    told: list[str] = field(default_factory=list)

    def before(self, request: Request) -> Leave:
        self.told.append(f"before {request.what}")
        return self.leaves.pop(0)

    def after(self, request: Request, call: object) -> None:
        self.told.append(f"after {request.what}")

    def unspent(self, request: Request) -> None:
        self.told.append(f"unspent {request.what}")


def test_all_must_give_leave_and_what_was_given_is_given_back():
    first, second = Scripted([GRANTED, GRANTED]), Scripted([Leave(2.0), GRANTED])
    both = Together([first, second])
    assert both.before(QUOTE) == Leave(2.0)
    assert first.told == ["before quote", "unspent quote"]
    assert both.before(QUOTE).is_given
    assert second.told == ["before quote", "before quote"]


def test_a_refusal_is_no_leave_whatever_the_wait():
    assert not Leave(0.0, "the breaker is open").is_given
    assert Request("GET", "/path").what == "/path"


def test_who_cannot_wait_is_refused_leave_that_comes_later_and_the_next_provider_may_be_asked():
    inner = Scripted([Leave(1.0), Leave(61.0), Leave(61.0, "the breaker is open"), GRANTED])
    impatient = Impatient(inner, 2.5)
    assert impatient.before(QUOTE) == Leave(1.0)
    assert impatient.before(QUOTE) == Leave(61.0, "leave to call comes in 61 s, later than is waited for")
    assert impatient.before(QUOTE).refused == "the breaker is open"
    assert impatient.before(QUOTE).is_given
    impatient.after(QUOTE, None)
    impatient.unspent(QUOTE)
    assert inner.told == [*["before quote"] * 4, "after quote", "unspent quote"]
