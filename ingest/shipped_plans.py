"""The plans that are known as shipped, by provider, the free or default one first. Sources: PROVIDERS.md sections 1 to 8.

Vendors change them: an operator's configuration (`providers.X.windows`) says better.
"""

from __future__ import annotations

from collections.abc import Mapping

from ingest.configuration import Configuration
from ingest.plans import STREAM, Plan, Told, Window, configured
from lake.errors import InvalidValueError

_ALPACA_TOLD = Told("60 s", "x-ratelimit-limit", "x-ratelimit-remaining", reset="x-ratelimit-reset")
_BINANCE_WEIGHTS = {
    "depth?limit=5000": 250, "depth?limit=1000": 50, "depth?limit=500": 25, "depth": 20, "klines": 10, "aggTrades": 20,
    "historicalTrades": 25, "trades": 25, "ticker/bookTicker": 2, "exchangeInfo": 20, STREAM: 1,
}  # fmt: skip
"""The heavier of the two markets': their endpoints have one name."""
_US_DAY = "America/New_York"


def _alpha_vantage(name: str, per_minute: int) -> Plan:
    return Plan(name, (Window(per_minute, 60.0),), cool_down_s=60.0)


def _finnhub(name: str, per_minute: int) -> Plan:
    told = Told("60 s", "x-ratelimit-limit", "x-ratelimit-remaining", reset="x-ratelimit-reset")
    return Plan(
        name, (Window(per_minute, 60.0), Window(30, 1.0)), weights={"stock/profile": 6, "stock/profile2": 6}, told=(told,),
        sockets=1,
    )  # fmt: skip


PLANS: Mapping[str, tuple[Plan, ...]] = {
    # 25 a day and 5 a minute; the fifth of a minute fails already, and so does the second of a second. The day ends in New York.
    "alpha_vantage": (
        Plan("free", (Window(25, calendar="day", zone=_US_DAY), Window(4, 60.0), Window(1, 1.0)), at_once=1, live_share=0.2),
        *(_alpha_vantage(f"premium{calls}", calls) for calls in (75, 150, 300, 600, 1200)),
    ),
    "finnhub": (_finnhub("free", 60), _finnhub("basic", 150), _finnhub("standard", 300), _finnhub("professional", 900)),
    # One address, not one key, is counted; a throttle sticks for minutes to hours.
    "yahoo": (
        Plan("public", (Window(2, 1.0), Window(60, 60.0)), at_once=2, cool_down_s=900.0, cool_down_ceiling_s=6 * 3600.0),
    ),
    "alpaca": (
        Plan("free", (Window(200, 60.0),), told=(_ALPACA_TOLD,), sockets=1, is_socket_of_feed=True),
        Plan("paid", (Window(10_000, 60.0),), told=(_ALPACA_TOLD,), sockets=1, is_socket_of_feed=True),
    ),
    "polygon": (
        Plan("free", (Window(5, 60.0),), cool_down_s=60.0, sockets=1),
        Plan("paid", (Window(100, 1.0),), cool_down_s=10.0, sockets=1),
    ),
    "tiingo": (
        Plan(
            "free",
            (
                Window(50, 3600.0),
                Window(1_000, calendar="day", zone=_US_DAY),
                Window(500, calendar="month", zone=_US_DAY, counts="symbols"),
                Window(1_000_000_000, calendar="month", zone=_US_DAY, counts="bytes"),
            ),
            cool_down_s=300.0,
        ),
        Plan("power", (Window(10_000, 3600.0), Window(100_000, calendar="day", zone=_US_DAY)), cool_down_s=60.0),
    ),
    "binance": (
        Plan(
            "public",
            # of the futures; spot lets 6,000 pass. Attempts to connect are counted by address; one weighs 1 in both windows.
            (Window(2_400, 60.0), Window(300, 300.0, endpoints=(STREAM,))),
            weights=_BINANCE_WEIGHTS,
            told=(Told("60 s", used="x-mbx-used-weight-1m"),),
            cool_down_s=120.0,
        ),
    ),
    # Paid by the gigabyte: the price is the data set's own, this one is of an order of magnitude and to be configured.
    "databento": (
        Plan(
            "usage",
            (
                Window(100, 1.0, endpoints=("timeseries.get_range",)),
                Window(100, 1.0, endpoints=("symbology.resolve",)),
                Window(20, 1.0, endpoints=("metadata.get_cost", "metadata.get_record_count", "metadata.get_billable_size")),
                Window(20, 60.0, endpoints=("batch.submit_job",)),
            ),
            at_once=100,
            cool_down_s=1.0,
            usd_per_gb=20.0,
        ),
    ),
    "ibkr": (Plan("tws", (Window(60, 600.0), Window(6, 2.0)), weights={"BID_ASK": 2}, at_once=50, cool_down_s=600.0),),
    "iex": (Plan("files", (Window(1, 1.0),), at_once=2),),
}  # fmt: skip
"""By provider."""


def plans_of(configuration: Configuration) -> dict[str, Plan]:
    """Return the plan in force of each provider; one that names an unknown plan stands as shipped."""
    found = {}
    for name in {*PLANS, *configuration.providers}:
        shipped = PLANS.get(name, ())
        try:
            found[name] = configured(shipped, configuration.provider(name))
        except InvalidValueError:
            found[name] = configured(shipped, Configuration().provider(name))
    return found
