"""`meterhub query`: asked in SQL, answered as a table, JSON, CSV or Parquet, and refused in words."""

import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exchange.cli.main import main
from jobs.stores.view_columns import VIEWS
from look_fixtures import Desk, Told, on_a_terminal, told_once

TYPED = (
    "select account, usage_date, received_at, wh_total, kwh[1:2] as kwh, kwh[1] as first, on_time, "
    "null::integer as nothing, list_sum(wh)::hugeint as much from usage where account = '1001' order by version"
)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    yield from told_once(tmp_path_factory)


@pytest.fixture
def desk(told: Told, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(told.hub, capsys, monkeypatch)


def test_people_are_shown_a_table_with_numbers_to_the_right(desk: Desk) -> None:
    answer = desk.ask(
        "query", "select account, count(*) as versions from usage group by 1 order by 1 limit 2"
    )
    assert answer.code == 0
    lines = [line.strip() for line in answer.out.splitlines() if line.strip()]
    assert lines[0] == "account   versions"
    assert lines[2:] == ["1001             2", "1002             1", "2 rows"]


def test_rows_of_many_columns_stand_upright_side_by_side_and_what_is_long_is_cut(
    desk: Desk, told: Told
) -> None:
    question = "from usage where account in ('1002', '1003') order by account"
    said = desk.ask("query", question).out
    (head,) = [line.split() for line in said.splitlines() if "row" in line and "rows" not in line]
    assert head == ["row", "1", "row", "2"]
    assert "[0.200, 0.200, … 96 in all]  [0.300, 0.300, … 96 in all]" in said
    assert re.search(r"status +A{12}… 96 in all +E{12}… 96 in all", said)
    assert "empty in all: start_reading, stop_reading, basic_unit, population, weight, text" in said
    assert max(map(len, on_a_terminal(told.hub, "query", question))) <= 80


def test_programs_are_given_values_of_their_types(desk: Desk) -> None:
    assert desk.ask("query", TYPED, "--json").json == [
        {
            "account": "1001",
            "usage_date": "2013-09-02",
            "received_at": "2013-09-03T10:00:00Z",
            "wh_total": 9600,
            "kwh": [0.1, 0.1],
            "first": 0.1,
            "on_time": True,
            "nothing": None,
            "much": 9600,
        },
        {
            "account": "1001",
            "usage_date": "2013-09-02",
            "received_at": "2013-09-03T10:35:00Z",
            "wh_total": 14400,
            "kwh": [0.15, 0.15],
            "first": 0.15,
            "on_time": True,
            "nothing": None,
            "much": 14400,
        },
    ]


def test_json_of_the_ledger_is_json_and_columns_of_one_name_are_told_apart(desk: Desk, told: Told) -> None:
    asked = f"select 1 as a, 2 as a, details from events where about = '{told.bucket.id}' order by id limit 1"
    (row,) = desk.ask("query", asked, "--json").json
    assert (row["a"], row["a_2"]) == (1, 2)
    assert row["details"]["bytes"] == told.bucket.bytes


def test_csv_has_a_header_and_lists_as_json(desk: Desk) -> None:
    said = desk.ask("query", TYPED, "--csv").out.splitlines()
    assert said == [
        "account,usage_date,received_at,wh_total,kwh,first,on_time,nothing,much",
        '1001,2013-09-02,2013-09-03T10:00:00Z,9600,"[0.1, 0.1]",0.100,true,,9600',
        '1001,2013-09-02,2013-09-03T10:35:00Z,14400,"[0.15, 0.15]",0.150,true,,14400',
    ]


def test_parquet_keeps_every_type(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "answer.parquet"
    assert desk.ask("query", TYPED, "--parquet", str(file)).out == f"2 rows in {file}\n"
    table = pq.read_table(file)
    assert table.schema.field("kwh").type.value_type == pa.decimal128(9, 3)
    assert table["received_at"][0].as_py() == datetime(2013, 9, 3, 10, tzinfo=UTC)
    assert table["usage_date"].to_pylist() == [date(2013, 9, 2)] * 2
    assert table["first"].to_pylist() == [Decimal("0.100"), Decimal("0.150")]


def test_a_file_that_is_there_is_never_written_over(desk: Desk, told: Told) -> None:
    file = next(told.hub.stores.lake.root.glob("usage/*/*.parquet"))
    before = file.read_bytes()
    answer = desk.ask("query", "select 1", "--parquet", str(file))
    assert (answer.code, file.read_bytes()) == (1, before)
    assert "there is a file" in answer.err


def test_what_parquet_cannot_hold_leaves_no_file(desk: Desk, tmp_path: Path) -> None:
    answer = desk.ask("query", "select interval 1 day as span", "--parquet", str(tmp_path / "a.parquet"))
    assert answer.code == 1
    assert "Parquet cannot hold this answer" in answer.err
    assert list(tmp_path.glob("*.parquet")) == []


@pytest.mark.parametrize(
    ("words", "rows", "below"),
    [
        ([], 100, "the first 100 rows; --limit 0 for all"),
        (["--limit", "3"], 3, "the first 3 rows; --limit 0 for all"),
        (["--limit", "0"], 250, "250 rows"),
        (["--limit", "250"], 250, "250 rows"),
    ],
)
def test_people_are_shown_a_hundred_rows_if_they_do_not_ask_for_more(
    desk: Desk, words: list[str], rows: int, below: str
) -> None:
    said = desk.ask("query", "select i as number from range(250) t(i)", *words).out.splitlines()
    assert said[-1] == below
    assert sum(line.strip().isdigit() for line in said) == rows


def test_programs_are_given_all_rows_or_as_many_as_they_ask_for(desk: Desk, tmp_path: Path) -> None:
    asked = "select i as number from range(25_000) t(i)"
    assert len(desk.ask("query", asked, "--json").json) == 25_000
    assert len(desk.ask("query", asked, "--csv", "--limit", "12000").out.splitlines()) == 12_001
    desk.ask("query", asked, "--parquet", str(tmp_path / "a.parquet"), "--limit", "12000")
    assert pq.read_table(tmp_path / "a.parquet")["number"].to_pylist() == list(range(12_000))


def test_a_question_may_come_from_standard_input(desk: Desk) -> None:
    desk.monkeypatch.setattr("sys.stdin", io.StringIO("select 41 + 1\n  as answer;\n"))
    assert desk.ask("query", "-", "--json").json == [{"answer": 42}]


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("selct * from drops", "syntax error"),
        ("select * from dropz", 'Did you mean "drops"?'),
        ("delete from drops", "found delete; wanted: a question that changes nothing"),
        ("select 1; select 2", "found 2 statements"),
        (
            "select account::integer from usage where account = '1001' union select 'a'::integer",
            "Could not convert",
        ),
    ],
)
def test_what_cannot_be_answered_is_refused_in_words_with_exit_code_1(
    desk: Desk, question: str, words: str
) -> None:
    answer = desk.ask("query", question)
    assert (answer.code, answer.out) == (1, "")
    assert words in answer.err
    assert "Traceback" not in answer.err
    told = json.loads(desk.ask("query", question, "--json").out)
    assert words in told["error"]["message"]


def test_an_answer_has_one_form(desk: Desk) -> None:
    assert desk.ask("query", "select 1", "--json", "--csv").code == 2


def test_the_help_names_every_view_with_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for name, view in VIEWS.items():
        assert f"{name}: {view.says}" in said
        columns = ", ".join(f"{column} {kind}" for column, kind in view.columns.items())
        assert columns in said
