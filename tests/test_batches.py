"""Tests that calls in batches get the replies of live calls, at a batch's price, and that nothing is sent twice."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.plan.queues import make_station
from autodata.recipes.models import Batch, Endpoint, Price
from autodata.serving.journal import Journal, read_replies
from autodata.serving.llm import Client, Draining
from autodata.serving.measured import EndpointClosed, EndpointError, NotMeasured
from autodata.serving.wire import batches
from autodata.serving.wire.batch_files import (
    BATCHES,
    BatchRecords,
    SentBatch,
    has_open_calls,
    read_id,
    read_results,
    read_status,
)
from autodata.serving.wire.faults import BadShape, Fault, HttpError
from autodata.types import Outcome
from tests.helpers.fake_batches import batch_server
from tests.helpers.fake_server import Scripted, completion, fake_server
from tests.helpers.recipes import models_at, request
from tests.test_hostile_input import VALUES

pytestmark = pytest.mark.slow

SOON = Batch(quiet_s=0.02)


@pytest.fixture(autouse=True)
def _looks_are_frequent(monkeypatch):
    monkeypatch.setattr(batches, "_FIRST_LOOK_S", 0.005)
    monkeypatch.setattr(batches, "_STEP_S", 0.02)


def echo(body: dict, count: int) -> Scripted:
    return completion(f"reply to seed {body['seed']}")


def ask_all(server, path, *seeds: int, batch: Batch | None = SOON, at_most_s: float = 20.0, **endpoint: object):
    """Ask once for each seed with a client of its own; return what came, replies or errors, and the client."""
    journal = Journal(path / "journal.sqlite")
    client = Client(models_at(server.url, batch=batch, **endpoint), journal)

    async def go() -> list:
        try:
            async with asyncio.timeout(at_most_s):
                return await asyncio.gather(*(client.ask(request(seed=s)) for s in seeds), return_exceptions=True)
        finally:
            await client.close()

    try:
        return asyncio.run(go()), client
    finally:
        journal.close()


def texts(replies: list) -> list[str]:
    return [reply.content for reply in replies]


def test_a_batch_brings_the_replies_of_live_calls(tmp_path):
    (tmp_path / "live").mkdir()
    with fake_server(echo) as server:
        live, _ = ask_all(server, tmp_path / "live", 1, 2, 3, batch=None)
    with batch_server(echo, looks=3) as server:
        replies, client = ask_all(server, tmp_path, 1, 2, 3)
        assert server.provider.sizes == [3]
        again, _ = ask_all(server, tmp_path, 1, 2, 3)
        assert len(server.requests) == 3
    assert texts(replies) == texts(live) == texts(again)
    stored = [sorted(r.content for r, _ in read_replies(p / "journal.sqlite")) for p in (tmp_path, tmp_path / "live")]
    assert stored[0] == stored[1]
    assert client.counts["calls"] == 3
    assert client.counts["completion_tokens"] == 21
    assert all(reply.latency_s == 0 for reply in replies)


def test_a_batch_is_sent_when_it_is_full(tmp_path):
    with batch_server(echo) as server:
        replies, _ = ask_all(server, tmp_path, *range(5), batch=Batch(requests=2, quiet_s=0.1))
        assert sorted(server.provider.sizes) == [1, 2, 2]
    assert texts(replies) == [f"reply to seed {seed}" for seed in range(5)]


def test_a_batch_costs_its_share_of_the_price():
    price = Price(input=2.0, output=8.0, cached=1.0)
    assert Endpoint("m", price=price).charged == price
    assert Endpoint("m", price=price, batch=Batch()).charged == Price(1.0, 4.0, 0.5)
    assert Endpoint("m", price=Price(2.0, 8.0), batch=Batch(price_factor=1.0)).charged == Price(2.0, 8.0)
    assert Endpoint("m", batch=Batch()).charged is None


def test_the_ledger_counts_the_price_of_a_batch(tmp_path):
    with batch_server(echo) as server:
        _, client = ask_all(server, tmp_path, 1, 2, price=Price(input=2.0, output=8.0))
    # 22 tokens read at 1 dollar a million, 14 written at 4.
    assert {cost.nano_usd for cost in client.ledger().values() if cost.calls} == {22_000 + 56_000}


def test_what_an_expired_batch_has_not_answered_is_asked_again(tmp_path):
    with batch_server(echo, expires=1) as server:
        replies, client = ask_all(server, tmp_path, *range(6))
        assert server.provider.sizes == [6, 3]
        assert len(server.batched) == 6
    assert texts(replies) == [f"reply to seed {seed}" for seed in range(6)]
    assert client.counts["retried_lost_in_batch"] == 3


def test_calls_that_no_batch_answers_end_after_the_retries(tmp_path):
    with batch_server(echo, expires=9) as server:
        replies, _ = ask_all(server, tmp_path, 1, retries=1)
        assert server.provider.sizes == [1, 1]
    (error,) = replies
    assert isinstance(error, EndpointError)
    assert "could not be executed in time" in str(error)
    assert "lower batch.requests, or leave out `batch`" in str(error)


def test_errors_of_single_calls_mean_what_they_mean_live(tmp_path):
    errors = {
        1: Scripted({"error": {"message": "content management policy"}}, 400),
        2: Scripted({"error": {"message": "maximum context length is 100 tokens"}}, 400),
        3: completion("", "stop"),
        4: Scripted({"error": {"message": "overloaded"}}, 503),
    }

    def script(body: dict, count: int) -> Scripted:
        return errors.pop(4) if body["seed"] == 4 and 4 in errors else errors.get(body["seed"]) or echo(body, count)

    with batch_server(script) as server:
        filtered, overflow, empty, passing, fine = ask_all(server, tmp_path, 1, 2, 3, 4, 5)[0]
    assert [e.outcome for e in (filtered, overflow, empty)] == [
        Outcome.FILTERED,
        Outcome.CONTEXT_OVERFLOW,
        Outcome.EMPTY,
    ]
    assert all(isinstance(e, NotMeasured) for e in (filtered, overflow, empty))
    assert texts([passing, fine]) == ["reply to seed 4", "reply to seed 5"]


def test_a_batch_under_way_is_taken_up_by_the_next_session(tmp_path):
    with batch_server(echo, looks=10**9) as server:
        with pytest.raises(TimeoutError):
            ask_all(server, tmp_path, 1, 2, at_most_s=0.3)
        assert server.provider.posts == 1
        server.provider.looks = 1
        replies, _ = ask_all(server, tmp_path, 1, 2, 3)
        assert server.provider.sizes == [2, 1]
        assert len(server.batched) == 3
    assert texts(replies) == [f"reply to seed {seed}" for seed in (1, 2, 3)]


def test_a_batch_that_was_created_unheard_is_found(tmp_path):
    with batch_server(echo, forgets=1) as server:
        replies, _ = ask_all(server, tmp_path, 1, 2)
        assert (server.provider.posts, server.provider.sizes) == (1, [2])
    assert texts(replies) == ["reply to seed 1", "reply to seed 2"]


def test_a_batch_whose_id_was_lost_in_a_crash_is_found(tmp_path):
    with batch_server(echo) as server:
        ask_all(server, tmp_path, 1, 2)
        records = tmp_path / "journal.batches.jsonl"
        kept = [line for line in records.read_text().splitlines() if '"url"' in line]
        records.write_text("\n".join(kept) + '\n{"file": "fi')  # killed before the id was on disk
        (tmp_path / "journal.sqlite").unlink()
        replies, _ = ask_all(server, tmp_path, 1, 2)
        assert server.provider.posts == 1
    assert texts(replies) == ["reply to seed 1", "reply to seed 2"]


def test_failures_that_were_told_are_asked_anew_and_answers_never(tmp_path):
    with batch_server(
        lambda body, count: completion("", "stop") if body["seed"] == 1 else echo(body, count)
    ) as server:
        (error, _), _ = ask_all(server, tmp_path, 1, 2, retries=0)
        assert isinstance(error, NotMeasured)
        server.script = echo  # the server was repaired
        replies, _ = ask_all(server, tmp_path, 1, 2, retries=0)
        assert server.provider.sizes == [2, 1]
    assert texts(replies) == ["reply to seed 1", "reply to seed 2"]


def test_results_that_a_stopped_session_has_not_used_are_kept(tmp_path):
    with batch_server(echo, looks=10**9) as server:
        with pytest.raises(TimeoutError):
            ask_all(server, tmp_path, 1, 2, 3, at_most_s=0.3)
        server.provider.looks = 1
        ask_all(server, tmp_path, 1)  # 2 and 3 arrive as well, and nobody asks for them
        replies, _ = ask_all(server, tmp_path, 2, 3)
        assert server.provider.posts == 1
        downloads = server.provider.downloads
        ask_all(server, tmp_path, 1, 2, 3, 4)
        assert server.provider.downloads == downloads + 1
    assert texts(replies) == ["reply to seed 2", "reply to seed 3"]


def test_a_stopping_run_leaves_its_batch_and_sends_nothing(tmp_path):
    async def stop_soon(client: Client) -> None:
        await asyncio.sleep(0.1)
        client.draining = True

    for batch, sent in ((Batch(quiet_s=60.0), 0), (SOON, 1)):
        with batch_server(echo, looks=10**9) as server:
            journal = Journal(tmp_path / f"{sent}.sqlite")
            client = Client(models_at(server.url, batch=batch), journal)

            async def go(client=client) -> None:
                try:
                    await asyncio.gather(client.ask(request(seed=1)), stop_soon(client))
                finally:
                    await client.close()

            with pytest.raises(Draining):
                asyncio.run(go())
            journal.close()
            assert server.provider.posts == sent


@pytest.mark.parametrize(
    ("words", "advice"),
    [("Enqueued token limit reached", "lower batch.requests"), ("Invalid model for batch", "leave out `batch`")],
)
def test_a_refused_batch_ends_with_the_providers_words(tmp_path, words, advice):
    with batch_server(echo, refuses=words) as server:
        replies, _ = ask_all(server, tmp_path, 1, 2)
        assert all(isinstance(error, EndpointClosed) for error in replies)
        assert words in str(replies[0])
        assert advice in str(replies[0])
        server.provider.refuses = ""
        assert texts(ask_all(server, tmp_path, 1, 2)[0]) == ["reply to seed 1", "reply to seed 2"]


def test_a_provider_without_a_batch_api_is_named(tmp_path):
    with batch_server(echo, is_there=False) as server:
        (error,), _ = ask_all(server, tmp_path, 1)
    assert isinstance(error, EndpointClosed)
    assert "no such route" in str(error)
    assert "leave out `batch`" in str(error)


def leave_under_way(server, path) -> None:
    """Send a batch of two calls and stop waiting for it."""
    server.provider.looks = 10**9
    with pytest.raises(TimeoutError):
        ask_all(server, path, 1, 2, at_most_s=0.3)
    server.provider.looks = 1


def test_a_batch_that_the_provider_has_forgotten_is_named_and_not_sent_twice_unasked(tmp_path):
    with batch_server(echo) as server:
        leave_under_way(server, tmp_path)
        server.provider.batches.clear()
        replies, _ = ask_all(server, tmp_path, 1, 2)
        assert all(isinstance(error, EndpointClosed) for error in replies)
        assert "no such batch; the provider does not know batch batch_0: set api_key_env" in str(replies[0])
        records = tmp_path / "journal.batches.jsonl"
        assert f"remove the lines of file-0 from {records}" in str(replies[0])
        records.write_text("\n".join(line for line in records.read_text().splitlines() if '"file-0"' not in line))
        assert texts(ask_all(server, tmp_path, 1, 2)[0]) == ["reply to seed 1", "reply to seed 2"]


def test_calls_whose_results_the_provider_has_deleted_are_sent_again(tmp_path):
    with batch_server(echo) as server:
        leave_under_way(server, tmp_path)
        server.answer(server.provider.batches["batch_0"])
        del server.provider.files[server.provider.batches["batch_0"]["output_file_id"]]
        replies, client = ask_all(server, tmp_path, 1, 2)
        assert server.provider.sizes == [2, 2]
    assert texts(replies) == ["reply to seed 1", "reply to seed 2"]
    assert client.counts["retried_lost_in_batch"] == 2


def test_a_batch_is_known_with_and_without_a_slash_after_its_address(tmp_path):
    with batch_server(echo) as server:
        leave_under_way(server, tmp_path)
        replies, _ = ask_all(server, tmp_path, 1, 2, base_url=f"{server.url}/")
        assert server.provider.posts == 1
    assert texts(replies) == ["reply to seed 1", "reply to seed 2"]


def test_a_batch_that_was_sent_pins_its_run_until_its_results_are_taken(tmp_path):
    records = BatchRecords(tmp_path / f"journal{BATCHES}", "here")
    assert not has_open_calls(records.path)
    records.append(file="f1", url="here", keys=["a", "b"])
    records.append(file="f1", taken=["a"])
    assert has_open_calls(records.path)
    records.append(file="f1", taken=["b"])
    assert not has_open_calls(records.path)


def test_the_record_knows_the_latest_batch_of_a_call(tmp_path):
    records = BatchRecords(tmp_path / "records", "here")
    records.append(file="f1", url="here", keys=["a", "b"])
    records.append(file="f1", batch="b1")
    records.append(file="f2", url="here", keys=["b"])
    records.append(file="f3", url="elsewhere", keys=["c"])
    first = SentBatch("f1", ("a", "b"), "b1")
    assert records.read() == {"a": first, "b": SentBatch("f2", ("b",))}
    records.append(file="f2", taken=["b"])
    records.append(file="f1", taken=["a"])
    assert records.read() == {"b": SentBatch("f1", ("b",), "b1")}


@pytest.mark.parametrize("value", [None, 3, "", "../x", "a b", "x?y", "x#y"])
def test_an_id_that_is_no_part_of_a_url_is_refused(value):
    with pytest.raises(BadShape):
        read_id({"id": value})


def test_results_are_read_whatever_a_provider_sends():
    lines = [
        {"custom_id": "fine", "response": {"status_code": 200, "body": {"choices": []}}},
        {"custom_id": "fine", "response": {"status_code": 200, "body": {"choices": [1]}}},
        {"custom_id": "error", "response": {"status_code": 429, "body": {"error": {"message": "slow"}}}},
        {"custom_id": "text", "response": {"status_code": 200, "body": "text"}},
        {"custom_id": "a text", "response": {"status_code": "200", "body": '{"choices": [1]}'}},
        {"custom_id": "status as a text", "response": {"status_code": "429", "body": {"error": "slow"}}},
        {"custom_id": "none", "response": None, "error": {"message": "lost"}},
        {"custom_id": 7},
        [],
    ]
    results = read_results(b"\n".join(json.dumps(line).encode() for line in lines) + b"\n{damaged")
    assert results["fine"] == {"choices": []}
    assert isinstance(results["error"], HttpError)
    assert isinstance(results["text"], BadShape)
    assert str(results["none"]) == "lost"
    assert results["a text"] == {"choices": [1]}
    assert isinstance(results["status as a text"], HttpError)
    assert len(results) == 6


@given(records=st.lists(VALUES))
def test_hostile_results_and_records_are_left_out(records, tmp_path_factory):
    rows = [r | {"custom_id": "a"} if isinstance(r, dict) else r for r in records]
    content = b"\n".join(json.dumps(row).encode() for row in rows)
    assert all(isinstance(result, dict | Fault) for result in read_results(content).values())
    path = tmp_path_factory.mktemp("records") / "records"
    named = ("file", "url", "keys", "taken", "batch")
    path.write_bytes(b"\n".join(json.dumps(dict.fromkeys(named, record)).encode() for record in records))
    assert BatchRecords(path, "here").read() == {}


def test_a_plan_counts_with_the_price_of_a_batch():
    price = Price(input=2.0, output=8.0)
    stations = [make_station("m", Endpoint("m", price=price, batch=batch), None) for batch in (None, Batch())]
    assert [station.price for station in stations] == [price, Price(1.0, 4.0)]


def test_an_unknown_status_is_not_an_end():
    assert not read_status({"status": "finalizing"}).is_end
    assert read_status({"status": "expired"}).is_end
    for status in ("COMPLETED", "canceled", "SUCCESS", "ended", "TIMEOUT_EXCEEDED"):
        assert read_status({"status": status}).is_end
    with pytest.raises(BadShape):
        read_status({})
