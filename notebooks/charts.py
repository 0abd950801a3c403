"""Charts in one quiet style: greys, one accent, axis titles with units. Arrow in, Altair out; nothing is read here.

Values become floats for drawing only. Sessions lie on a time axis; instants are shown in UTC.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import pyarrow as pa
import pyarrow.compute as pc

ACCENT, SOFT, INK, GRID = "#1f5f8b", "#8a939c", "#3c444c", "#e7e9eb"
UP, DOWN = "#2e7d6b", "#b5483d"
FATES = {"published": ACCENT, "repeated": "#b9c3cb", "quarantined": "#d9a441", "held": DOWN}
"""What became of a fact, and its colour."""
VERDICTS = {"passed": "#9db8ca", "failed": DOWN}
CANDLES = 160
"""More bars than these are drawn as a line of closes."""
WIDTH = 1080
"""Of a plot that fills a page 1280 wide."""


_LABELS = 12
"""Dates of a width of 1280 that do not touch."""
_LINE = 17
"""Height of a row with its own label, in pixels."""


def quiet(chart: Any) -> Any:
    """Return the chart in the style of all."""
    font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', Arial, sans-serif"
    return (
        chart.properties(usermeta={"embedOptions": {"actions": False}})
        .configure(font=font, background="transparent", padding=4)
        .configure_view(stroke=None)
        .configure_axis(
            gridColor=GRID, domain=False, ticks=False, labelColor=SOFT, titleColor=SOFT, titleFontWeight="normal",
            labelFontSize=11, titleFontSize=11, labelPadding=6,
        )
        .configure_legend(labelColor=SOFT, titleColor=SOFT, titleFontWeight="normal", orient="top", symbolType="square")
        .configure_title(color=INK, fontSize=13, fontWeight=600, anchor="start", subtitleColor=SOFT, subtitleFontSize=12)
    )  # fmt: skip


def drawable(table: pa.Table) -> pa.Table:
    """Return the table with decimals as floats, which is what a screen can show."""
    for place, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(place, field.name, pc.cast(table[field.name], pa.float64()))
    return table


def bars(found: pa.Table, *, is_daily: bool, currency: str, width: int = WIDTH, height: int = 340) -> Any:
    """Return a chart of bars: candles while they fit, else closes, with their volume below."""
    of = "session_date:T" if is_daily else "ts_open:T"
    time = alt.X(of, title=None, scale=_time(is_daily), axis=alt.Axis(grid=False, labels=False))
    shown = drawable(found.select(["session_date", "ts_open", "open", "high", "low", "close", "volume", "price_factor"]))
    told = [alt.Tooltip("session_date:T", title="session")] if is_daily else [alt.Tooltip("ts_open:T", title="open (UTC)")]
    told += [alt.Tooltip(f"{name}:Q", format=",.6~f") for name in ("open", "high", "low", "close", "volume", "price_factor")]
    chart = alt.Chart(shown).encode(x=time, tooltip=told).properties(width=width)
    price = alt.Y("close:Q", title=f"price ({currency})", scale=alt.Scale(zero=False))
    if found.num_rows > CANDLES:
        above = chart.mark_line(color=ACCENT, strokeWidth=1.5).encode(y=price)
    else:
        colour = alt.condition("datum.close >= datum.open", alt.value(UP), alt.value(DOWN))
        low = alt.Y("low:Q", title=f"price ({currency})", scale=alt.Scale(zero=False))
        size = max(1.5, min(9.0, 0.6 * width / max(found.num_rows, 1)))
        body = chart.mark_bar(size=size).encode(y="open:Q", y2="close:Q", color=colour)
        flat = chart.mark_tick(orient="horizontal", thickness=1.5, size=size).encode(y="close:Q", color=colour)  # open = close
        above = chart.mark_rule().encode(y=low, y2="high:Q", color=colour) + body + flat
    thick = max(1.0, min(9.0, 0.6 * width / max(found.num_rows, 1)))
    volume = alt.Y("volume:Q", title="volume (units)", axis=alt.Axis(format="~s", tickCount=3))
    time_below = time.title("session" if is_daily else "open of the bar (UTC)").axis(_dates(shown, is_daily))
    below = chart.mark_bar(size=thick, color=SOFT, opacity=0.6).encode(x=time_below, y=volume).properties(height=84)
    return quiet(alt.vconcat(above.properties(height=height), below, spacing=8))


def trades(found: pa.Table, *, currency: str, width: int = WIDTH, height: int = 340) -> Any:
    """Return a chart of executions: price over time, area by size, colour by the side that took."""
    shown = _with_clock(drawable(found.select(["ts_event", "ts_recv", "price", "size", "side", "trade_id"])))
    side = alt.Color("side:N", title="taker", scale=alt.Scale(domain=["buy", "sell"], range=[UP, DOWN]))
    size = alt.Size("size:Q", title="size (units)", scale=alt.Scale(range=[8, 400]), legend=alt.Legend(symbolType="circle"))
    told = [alt.Tooltip("clock:T", title="time (UTC)", format="%H:%M:%S.%L"), "price:Q", "size:Q", "side:N", "trade_id:N"]
    chart = alt.Chart(shown).mark_circle(opacity=0.55).encode(
        x=alt.X("clock:T", title="time of the venue (UTC)", scale=_time(False), axis=_clock_axis()),
        y=alt.Y("price:Q", title=f"price ({currency})", scale=alt.Scale(zero=False)), color=side, size=size, tooltip=told,
    )  # fmt: skip
    return quiet(chart.properties(width=width, height=height))


def quotes(found: pa.Table, *, currency: str, width: int = WIDTH, height: int = 340) -> Any:
    """Return a chart of best bid and offer as steps."""
    shown = _with_clock(drawable(found.select(["ts_event", "ts_recv", "bid_price", "bid_size", "ask_price", "ask_size"])))
    colour = alt.Color(
        "of:N", title=None, scale=alt.Scale(domain=["bid", "ask"], range=[UP, DOWN]), legend=alt.Legend(symbolType="stroke")
    )
    told = [alt.Tooltip("clock:T", title="time (UTC)", format="%H:%M:%S.%L")]
    told += [alt.Tooltip(f"{name}:Q") for name in ("bid_price", "bid_size", "ask_price", "ask_size")]
    chart = alt.Chart(shown)
    lines = [
        chart.transform_calculate(of=f"'{side}'").mark_line(interpolate="step-after", strokeWidth=1.4).encode(
            x=alt.X("clock:T", title="time (UTC), ours if the venue has none", scale=_time(False), axis=_clock_axis()),
            y=alt.Y(f"{side}_price:Q", title=f"price ({currency})", scale=alt.Scale(zero=False)), color=colour, tooltip=told,
        )
        for side in ("bid", "ask")
    ]  # fmt: skip
    return quiet(alt.layer(*lines).properties(width=width, height=height))


def fates(layers: pa.Table, *, width: int = 365, least_height: int = 165) -> Any:
    """Return what became of every decoded fact: shares of each table and provider.

    layers   columns where, fate, rows, share (percent), place (its order)
    """
    colour = alt.Color("fate:N", title=None, scale=alt.Scale(domain=list(FATES), range=list(FATES.values())))
    chart = alt.Chart(layers).mark_bar(height=alt.RelativeBandSize(0.75)).encode(
        x=alt.X("share:Q", title="share of decoded facts (%)", scale=alt.Scale(domain=[0, 100]), axis=alt.Axis(tickCount=5)),
        y=alt.Y("where:N", title=None, sort=None, axis=alt.Axis(labelLimit=220, grid=False)),
        color=colour, order="place:Q", tooltip=["where:N", "fate:N", alt.Tooltip("rows:Q", format=",")],
    )  # fmt: skip
    return quiet(chart.properties(width=width, height=_height(layers, least_height)))


def gate(runs: pa.Table, *, width: int = 365, least_height: int = 165) -> Any:
    """Return every batch that stood before the gate: when, of which table, how large, and the verdict.

    runs   columns recorded_at, where, verdict, row_count, failed_checks
    """
    colour = alt.Color("verdict:N", title=None, scale=alt.Scale(domain=list(VERDICTS), range=list(VERDICTS.values())))
    told = ["run_id:N", "verdict:N", alt.Tooltip("row_count:Q", format=","), "failed_checks:N"]
    chart = alt.Chart(runs).mark_circle(opacity=0.8).encode(
        x=alt.X("recorded_at:T", title="audited (UTC)", scale=alt.Scale(type="utc", nice=False, padding=10), axis=_clock_axis(4)),
        y=alt.Y("where:N", title=None, axis=alt.Axis(labelLimit=220)), color=colour, tooltip=told,
        size=alt.Size("row_count:Q", legend=None, scale=alt.Scale(range=[40, 420])),
    )  # fmt: skip
    return quiet(chart.properties(width=width, height=_height(runs, least_height)))


def split(traded: pa.Table, adjusted: pa.Table, ex_date: object, *, currency: str, width: int = 790, height: int = 205) -> Any:
    """Return closes as traded and adjusted over one split; a rule stands at the ex-date, when it is known."""
    names = {"as traded": traded, "adjusted for splits": adjusted}
    parts = [
        drawable(view.select(["session_date", "close"])).append_column("of", pa.array([name] * view.num_rows, pa.string()))
        for name, view in names.items()
    ]
    colour = alt.Color(
        "of:N", title=None, scale=alt.Scale(domain=list(names), range=["#b9c3cb", ACCENT]), legend=alt.Legend(symbolType="stroke")
    )
    lines = alt.Chart(pa.concat_tables(parts)).mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=14)).encode(
        x=alt.X("session_date:T", title="session", scale=_time(True), axis=_dates(traded, True)),
        y=alt.Y("close:Q", title=f"close ({currency})", scale=alt.Scale(zero=False)), color=colour,
        tooltip=[alt.Tooltip("session_date:T", title="session"), alt.Tooltip("close:Q", format=",.4~f"), "of:N"],
    )  # fmt: skip
    if ex_date is None:
        return quiet(lines.properties(width=width, height=height))
    day = alt.Chart(pa.table({"ex_date": pa.array([ex_date], pa.date32())}))
    rule = day.mark_rule(color=SOFT, strokeDash=[3, 3]).encode(x="ex_date:T")
    return quiet((rule + lines).properties(width=width, height=height))


def _height(table: pa.Table, least: int) -> int:
    """Return a height in which every `where` has a line of its own."""
    return max(least, _LINE * len(table["where"].unique()))


def _time(is_daily: bool) -> Any:
    return alt.Scale(type="utc", nice=False, padding=14 if is_daily else 6)


def _dates(shown: pa.Table, is_daily: bool) -> Any:
    """Label sessions that there are: Vega's own choice is Sundays."""
    if not is_daily:
        return alt.Axis(grid=False)
    days = sorted(set(shown["session_date"].to_pylist()))
    step = max(1, -(-len(days) // _LABELS))
    marked = [alt.DateTime(year=day.year, month=day.month, date=day.day, utc=True) for day in days[::step]]
    return alt.Axis(grid=False, labelOverlap=True, format="%Y-%m-%d", values=marked)


def _clock_axis(tick_count: int = 10) -> Any:
    return alt.Axis(grid=False, format="%H:%M:%S", tickCount=tick_count, labelOverlap=True)


def _with_clock(table: pa.Table) -> pa.Table:
    """Add `clock`: the venue's time, ours where it gives none."""
    return table.append_column("clock", pc.coalesce(table["ts_event"], table["ts_recv"]))
