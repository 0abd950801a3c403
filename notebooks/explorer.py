"""The explorer: any instrument, range, basis and moment of knowledge; bars, trades, quotes and SQL."""

import marimo

app = marimo.App(width="full", css_file="quiet.css", app_title="tickhouse · explorer")

with app.setup:
    from datetime import date, timedelta

    import marimo as mo
    import polars as pl

    from lake.errors import TickhouseError
    from lake.instants import parse_instant
    from lake.settings import load_settings
    from notebooks import charts, opening, views
    from serving import sql

    BASES = {"as traded": "none", "adjusted for splits": "splits", "splits and dividends": "all"}
    EXAMPLE = """SELECT session_date, close, adj_close, volume, provider
FROM adjusted.bars_1d
WHERE symbol = 'AAPL' AND session_date BETWEEN '2020-08-24' AND '2020-09-04'
ORDER BY session_date"""


@app.cell
def _():
    settings = load_settings()
    return (settings,)


@app.cell
def _(settings):
    lake = opening.lake_of(settings)
    return (lake,)


@app.cell
def _(lake):
    names = views.instruments(lake)
    mo.stop(not names, opening.say("The lake holds no instrument yet. Run `tickhouse demo`."))
    first = next((text for text in names if text.startswith("AAPL")), next(iter(names)))
    instrument = mo.ui.dropdown(names, value=first, searchable=True)
    basis = mo.ui.dropdown(BASES, value="adjusted for splits", label="prices")
    known = mo.ui.text(placeholder="2020-08-28", label="known as of", debounce=True)
    return basis, instrument, known


@app.cell
def _(instrument, lake):
    ranges = views.intervals(lake, instrument.value)
    interval = mo.ui.dropdown(list(ranges) or ["1d"], value=next(iter(ranges), "1d"), label="interval")
    return interval, ranges


@app.cell
def _(interval, ranges):
    first_day, last_day = ranges.get(interval.value, (date(2020, 1, 1), date(2020, 1, 1)))
    start = mo.ui.date(value=max(first_day, last_day - timedelta(days=365)), label="from")
    end = mo.ui.date(value=last_day + timedelta(days=1), label="until")
    return end, start


@app.cell
def _(basis, end, instrument, interval, known, lake, start):
    asked = {"interval": interval.value, "start": start.value, "end": end.value, "adjustment": basis.value}
    try:
        answer = views.bars(lake, instrument.value, known_as_of=known.value, **asked)
        found = answer.table
        is_daily = interval.value[-1] in "dko"
        parts = [charts.bars(found, is_daily=is_daily, currency=views.currency_of(found))] if found.num_rows else []
        told = answer.metadata
        line = f"{found.num_rows:,} bars · {told['basis'].replace('_', ' ')} · newest {views.minute(told['fresh'])}"
        bars_tab = mo.vstack([*parts, mo.md(f"<small>{line}</small>")], gap=0.2)
    except TickhouseError as error:
        answer, bars_tab = None, mo.callout(mo.md(str(error)), kind="neutral")
    return answer, bars_tab


@app.cell
def _(instrument, known, lake):
    try:
        executions = views.trades(lake, instrument.value, known.value)
        rows = executions.table
        count = f"{rows.num_rows:,} of {executions.metadata['total_count']:,} trades of session {rows['session_date'][0]}"
        chart = charts.trades(rows, currency=views.currency_of(rows))
        trades_tab = mo.vstack([chart, mo.md(f"<small>{count}, from {rows['provider'][0]} {rows['feed'][0]}</small>")], gap=0.2)
    except TickhouseError as error:
        trades_tab = mo.callout(mo.md(f"{error}. {views.having(lake, 'normalized.trades')}"), kind="neutral")
    return (trades_tab,)


@app.cell
def _(instrument, known, lake):
    try:
        quoted = views.quotes(lake, instrument.value, known.value)
        if quoted.num_rows:
            words = f"<small>{quoted.num_rows:,} quotes from {quoted['provider'][0]} {quoted['feed'][0]}</small>"
            quotes_tab = mo.vstack([charts.quotes(quoted, currency=views.currency_of(quoted)), mo.md(words)], gap=0.2)
        else:
            words = f"No quotes of this instrument here, or none known by then. {views.having(lake, 'normalized.quotes')}"
            quotes_tab = mo.callout(mo.md(words), kind="neutral")
    except TickhouseError as error:
        quotes_tab = mo.callout(mo.md(str(error)), kind="neutral")
    return (quotes_tab,)


@app.cell
def _():
    query = mo.ui.text_area(value=EXAMPLE, rows=5, full_width=True).form(submit_button_label="Run", bordered=False)
    return (query,)


@app.cell
def _(known, lake, query):
    text = query.value or EXAMPLE
    try:
        result = sql.answer(lake, text, known_as_of=parse_instant(known.value) if known.value else None)
        shown = mo.ui.table(
            pl.DataFrame(result.table),
            format_mapping=views.written(result.table),
            selection=None,
            page_size=8,
            show_download=False,
        )
        cut = ", cut off at the limit" if result.truncated else ""
        read = ", ".join(result.snapshots) or "nothing"
        told_rows = mo.md(f"<small>{result.table.num_rows:,} rows{cut} · read {read} · {result.elapsed_s * 1000:.0f} ms</small>")
        outcome = mo.vstack([told_rows, shown], gap=0.2)
    except TickhouseError as error:
        result, outcome = None, mo.callout(mo.md(str(error)), kind="danger")
    sql_tab = mo.vstack([query, outcome], gap=0.4)
    return result, sql_tab


@app.cell
def _(bars_tab, basis, end, instrument, interval, known, quotes_tab, sql_tab, start, trades_tab):
    controls = mo.hstack([instrument, interval, start, end, basis, known], justify="start", gap=0.7, align="end", wrap=True)
    tabs = mo.ui.tabs({"Bars": bars_tab, "Trades": trades_tab, "Quotes": quotes_tab, "SQL": sql_tab})
    mo.vstack([mo.md("## Explorer"), controls, tabs], gap=0.6)
    return


@app.cell
def _(answer, instrument):
    if mo.app_meta().mode == "script":
        print(f"{instrument.value}: {answer.table.num_rows if answer else 0} bars")
        if answer:
            print(pl.DataFrame(answer.table.select(["session_date", "close", "price_factor", "volume"])))
    return


if __name__ == "__main__":
    app.run()
