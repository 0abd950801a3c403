"""The command line: verbs, exit codes, JSON on stdout, words on stderr; never a traceback for an expected error."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.simulator.recorded import FOLDER
from lake.catalog import Lake
from serving.cli.app import make_app, run
from serving.outcomes import EXIT_CODES

VERBS = [
    "notebooks",
    "init",
    "demo",
    "import",
    "feeds",
    "capture",
    "land",
    "promote",
    "rebuild",
    "sql",
    "bars",
    "explain",
    "resolve",
    "calendars",
    "book",
    "books",
    "alerts",
    "gaps",
    "backfill",
    "plan",
    "providers",
    "watch",
    "fetch",
    "holds",
    "release",
    "reject",
    "verify",
    "maintain",
    "serve",
    "doctor",
    "settings",
    "up",
    "backup",
    "restore",
    "drill",
]
FILES = FOLDER / "ice_reorg"
PAGE = Path(__file__).parents[2] / "serving" / "README.md"
Captured = pytest.CaptureFixture[str]


def home_of(lake: Lake) -> list[str]:
    return ["--home", str(lake.settings.home)]


def told(capsys: Captured, *arguments: str, code: int = 0) -> dict[str, object]:
    assert run([*arguments, "--json"]) == code
    out, _ = capsys.readouterr()
    return dict(json.loads(out))


def test_every_verb_is_there_with_help_and_json(capsys: Captured) -> None:
    names = {command.name for command in make_app().registered_commands}
    assert names == set(VERBS)
    for verb in VERBS:
        assert run([verb, "--help"]) == 0
        out, _ = capsys.readouterr()
        assert "--json" in out, verb
        assert re.search(rf"tickhouse {verb}", out), verb


def test_every_exit_code_is_in_the_help_and_on_the_page(capsys: Captured) -> None:
    run(["--help"])
    out, _ = capsys.readouterr()
    page = PAGE.read_text(encoding="utf-8")
    codes = page.partition("## Exit codes")[2].partition("##")[0]
    for code in EXIT_CODES:
        assert re.search(rf"(^|\D){code} ", out), code
        assert re.search(rf"(^|\D){code} ", codes), code


def test_the_pages_verbs_exist() -> None:
    written = set(re.findall(r"^tickhouse (\S+)", PAGE.read_text(encoding="utf-8"), re.M))
    assert len(written) >= 5
    assert written <= set(VERBS)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, ""),
        (["nonsense"], 2, "No such command"),
        (["sql"], 2, "Missing argument"),
        (["sql", "HOME", "DROP TABLE x"], 2, "only one SELECT"),
        (["sql", "HOME", "SELECT * FROM nothing"], 3, "no table"),
        (["sql", "HOME", "SELECT 1", "--as-of", "yesterday"], 2, "ISO 8601"),
        (["sql", "HOME", "SELECT 1", "--format", "xml"], 2, "xml"),
        (["sql", "--home", "NOWHERE", "SELECT 1"], 3, "tickhouse init"),
        (["explain", "HOME", "x"], 2, "CAPTURE:MESSAGE:ORDINAL"),
        (["explain", "HOME", "x:1:2"], 3, "no message"),
        (["release", "HOME", "x"], 2, "--reason"),
        (["release", "HOME", "x", "--reason", "y"], 3, "no hold"),
        (["reject", "HOME", "x", "--reason", "y"], 3, "no hold"),
        (["import", "HOME", "csv", "bars", "NOWHERE", "--mapping", "NOWHERE"], 3, "no mapping file"),
        (["import", "HOME", "nobody", "bars", "NOWHERE"], 3, "nobody"),
        (["promote", "HOME", "nobody"], 3, "no provider"),
        (["rebuild", "HOME", "raw.messages"], 2, "not made from raw"),
        (["capture", "HOME", "nobody"], 3, "cannot be captured"),
        (["backup", "HOME"], 2, "no place for backups"),
        (["drill", "HOME", "--from", "NOWHERE"], 1, ""),
        (["restore", "HOME", "--from", "NOWHERE"], 3, "holds no backup"),
        (["verify", "--backup", "NOWHERE"], 3, "holds no backup"),
        (["serve", "HOME", "--host", "256.0.0.1"], 2, "cannot listen"),
        (["backup", "HOME", "--to", __file__], 5, "the place refused"),
        (["replica", "sync", "HOME", "--to", f"{__file__}/x"], 5, "the place refused"),
        (["explain", "HOME", "nosuch"], 2, "nor TABLE/KEY, like adjusted.bars_1d/AAPL"),
        (["release", "HOME", "nosuch", "--reason", "x"], 3, "`tickhouse holds` lists"),
        (["sql", "HOME", "SELECT * FROM normalized.trade"], 3, "did you mean normalized.trades? SHOW TABLES"),
        (["import", "HOME", "nosuch", "feed", __file__], 3, "providers are alpaca, alpha_vantage,"),
        (["import", "HOME", "yahoo", "feed", __file__], 3, "of yahoo there are chart,"),
        (["plan", "HOME", "bars", "-s", "AAPL", "--start", "2999-01-01", "--end", "2999-02-01"], 2, "is in the future"),
        (["backfill", "HOME", "bars", "-s", "A", "--start", "2999-01-01", "--end", "2999-02-01"], 2, "it is in the future"),
        (["book", "HOME", "BTCUSDT"], 2, "`tickhouse book --help` tells"),
    ],
)
def test_an_expected_error_has_its_code_and_no_traceback(
    lake: Lake, tmp_path: Path, capsys: Captured, arguments: list[str], code: int, words: str
) -> None:
    given: list[str] = []
    for word in arguments:
        given += home_of(lake) if word == "HOME" else [word.replace("NOWHERE", str(tmp_path / "nowhere"))]
    assert run(given) == code
    _, err = capsys.readouterr()
    assert words in " ".join(err.split())
    assert "Traceback" not in err


def test_an_error_is_json_too(lake: Lake, capsys: Captured) -> None:
    assert run(["sql", *home_of(lake), "SELECT * FROM nothing", "--json"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["type"] == "urn:tickhouse:problem:not-found"


def test_sql_in_every_format(lake: Lake, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    query = "SELECT session_date, close FROM adjusted.bars_1d ORDER BY 1"

    def asked(*more: str) -> bytes:
        assert run(["sql", *home_of(lake), query, *more]) == 0
        return capfdbinary.readouterr().out

    assert list(csv.reader(io.StringIO(asked("--format", "csv").decode())))[1] == ["2020-08-27", "500.04"]
    assert json.loads(asked("--format", "json"))["columns"]["close"] == ["500.04", "499.23", "129.04"]
    assert pa.ipc.open_stream(asked("--format", "arrow")).read_all().num_rows == 3
    assert pq.read_table(io.BytesIO(asked("--format", "parquet"))).num_rows == 3
    table = asked().decode()
    assert "500.04" in table
    assert "\x1b" not in table


def test_the_past_can_be_asked(lake: Lake, capsys: Captured) -> None:
    found = told(
        capsys,
        "sql",
        *home_of(lake),
        "SELECT adj_close FROM adjusted.bars_1d ORDER BY session_date",
        "--known-as-of",
        "2020-08-28",
    )
    assert found["columns"] == {"adj_close": ["500.04", "499.23"]}


def test_rows_beyond_the_limit_are_announced(lake: Lake, capsys: Captured) -> None:
    assert run(["sql", *home_of(lake), "SELECT * FROM range(100)", "--max-rows", "3", "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == ["range", "0", "1", "2"]
    assert "cut off after 3 rows" in err


def test_explain_draws_the_way_back(lake: Lake, capsys: Captured) -> None:
    assert run(["explain", *home_of(lake), "adjusted.bars_1d/AAPL/2020-08-28"]) == 0
    out, _ = capsys.readouterr()
    assert "bar: adjusted.agreed_bars/" in out
    assert "proved again now" in out
    assert "Epoch,Close" in out


def test_settings_feeds_holds_and_doctor(lake: Lake, capsys: Captured) -> None:
    settings = told(capsys, "settings", *home_of(lake))["settings"]
    assert isinstance(settings, list)
    assert {"setting": "home", "value": str(lake.settings.home), "from": "--home", "variable": "TICKHOUSE_HOME"} in settings
    feeds = told(capsys, "feeds")["feeds"]
    assert isinstance(feeds, list)
    assert {"binance", "csv", "ice", "yahoo"} <= {feed["provider"] for feed in feeds}
    assert told(capsys, "holds", *home_of(lake)) == {"holds": [], "factors": []}
    assert told(capsys, "doctor", *home_of(lake))["healthy"] is True


def test_the_password_of_a_database_is_not_shown(capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKHOUSE_STATE_URL", "postgresql://me:hunter2@db/tickhouse")
    assert "hunter2" not in json.dumps(told(capsys, "settings", "--home", str(tmp_path)))


def test_a_wrong_setting_is_named(capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKHOUSE_API_PORT", "many")
    assert run(["settings", "--home", str(tmp_path)]) == 2
    assert "TICKHOUSE_API_PORT" in capsys.readouterr().err


def test_a_lake_is_made_once_and_files_come_in_once(tmp_path: Path, capsys: Captured) -> None:
    home = ["--home", str(tmp_path / "lake")]
    assert told(capsys, "init", *home)["created"] is True
    assert told(capsys, "init", *home)["created"] is False
    given = ["import", "csv", "bars", str(FILES / "aapl_raw.csv"), "--mapping", str(FILES / "aapl_raw.toml"), *home]
    first = told(capsys, *given)
    tables = first["promoted"]["csv"]["tables"]  # type: ignore[index]
    assert tables["normalized.bars"]["rows"] == 43
    assert first["quarantined"] == []
    assert tomllib.loads((FILES / "aapl_raw.toml").read_text(encoding="utf-8"))["symbol"] == "AAPL"
    again = told(capsys, *given)
    assert again["imported"]["appended"] == 0  # type: ignore[index]
    count = told(capsys, "sql", *home, "SELECT count(*) n, min(close) low FROM adjusted.bars_1d WHERE symbol = 'AAPL'")
    assert count["columns"] == {"n": [43], "low": ["106.84"]}
    assert told(capsys, "verify", *home)["is_ok"] is True
    assert run(["import", "csv", "bars", str(FILES / "reorg.20200731"), "--mapping", str(FILES / "aapl_raw.toml"), *home]) == 2


def whole_object(stream: IO[bytes]) -> bytes:
    """Return the JSON object that a process prints, as soon as it is whole."""
    text = b""
    while b"}" not in text:
        line = stream.readline()
        assert line, f"it ended, having said only {text!r}"
        text += line
    return text


def test_a_process_leaves_with_the_code_and_serves_until_told_to_stop(lake: Lake) -> None:
    command = [sys.executable, "-m", "serving.cli.main"]
    wrong = subprocess.run([*command, "sql", *home_of(lake), "SELECT"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr
    with subprocess.Popen([*command, "serve", *home_of(lake), "--port", "0", "--json"], stdout=subprocess.PIPE) as serving:
        assert serving.stdout is not None
        text = whole_object(serving.stdout)
        address = json.loads(text)["address"]
        with urllib.request.urlopen(f"{address}/api/v1/bars/AAPL?adjustment=splits") as response:
            assert json.loads(response.read())["columns"]["close"][0] == "125.01"
        serving.send_signal(signal.SIGINT)
        assert serving.wait(timeout=120) in (0, 130)


def test_everything_is_up_and_stops_cleanly(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "serving.cli.main", "up", "--home", str(tmp_path / "lake")]
    with subprocess.Popen([*command, "--port", "0", "--provider", "finnhub", "--json"], stdout=subprocess.PIPE) as system:
        assert system.stdout is not None
        text = whole_object(system.stdout)
        with urllib.request.urlopen(f"{json.loads(text)['address']}/api/v1/health") as response:
            assert json.loads(response.read())["status"] == "ok"
        system.send_signal(signal.SIGTERM)
        assert system.wait(timeout=240) == 0
