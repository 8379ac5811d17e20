defmodule ElixirScope.Capture.CaptureTest do
  use ExUnit.Case, async: false

  import CapturePipeline.Test.Wait
  alias CapturePipeline.Test.{JournalFile, KeyedStorage}
  alias ElixirScope.Capture.{AsyncWriterPool, Capture, EtsStorage, NativeStorage}

  defmodule Call do
    defstruct [:id, :module, :correlation_id]
  end

  setup do
    Process.flag(:trap_exit, true)
    :ok
  end

  defp new!(opts \\ []) do
    {:ok, capture} = Capture.new(opts)
    capture
  end

  defp pool!(capture, storage, opts \\ []) do
    {:ok, pool} = AsyncWriterPool.start_link([ring_buffer: capture, storage: storage] ++ opts)
    on_exit(fn -> Process.exit(pool, :kill) end)
    pool
  end

  # The stored events of these calls, with their stamps.
  defp stored(capture, count) do
    test = self()

    store = fn _, batch ->
      send(test, {:entries, batch.entries})
      :ok
    end

    pool = pool!(capture, store, pool_size: 1)
    eventually(fn -> AsyncWriterPool.get_metrics(pool).total_events_processed == count end)
    AsyncWriterPool.stop(pool)
    received([]) |> Enum.sort_by(fn {_, {_, ring, sequence}, stamp} -> {stamp.timestamp, ring, sequence} end)
  end

  defp received(all) do
    receive do
      {:entries, entries} -> received(all ++ entries)
    after
      0 -> all
    end
  end

  test "event/2..5 and binary/2..5" do
    capture = new!()
    assert Capture.event(capture, {:term, 1}) == :ok
    assert Capture.event(capture, 7, {:term, 2}) == :ok
    assert Capture.event(capture, 7, {:term, 3}, 33) == :ok
    assert Capture.event(capture, 7, {:term, 4}, 33, 44) == :ok
    assert Capture.binary(capture, "one") == :ok
    assert Capture.binary(capture, 8, "two") == :ok
    assert Capture.binary(capture, 8, "three", 0xFFFFFFFFFFFFFFFF) == :ok
    assert Capture.binary(capture, 8, "four", 33, 44) == :ok
    assert Capture.event(capture, "binary") == :ok
    entries = stored(capture, 9)
    events = for {event, _, stamp} <- entries, do: {event, stamp.kind, stamp.correlation_id, stamp.node_id}

    assert Enum.sort(events) ==
             Enum.sort([
               {{:term, 1}, 0, 0, 0},
               {{:term, 2}, 7, 0, 0},
               {{:term, 3}, 7, 33, 0},
               {{:term, 4}, 7, 33, 44},
               {"one", 0, 0, 0},
               {"two", 8, 0, 0},
               {"three", 8, 0xFFFFFFFFFFFFFFFF, 0},
               {"four", 8, 33, 44},
               {"binary", 0, 0, 0}
             ])
  end

  test "any term arrives as it was" do
    capture = new!()
    remote = :erlang.binary_to_term(<<131, 88, 119, 4, "a@bc"::binary, 0, 0, 0, 90, 0, 0, 0, 0, 0, 0, 0, 1>>)
    n = 5

    terms = [
      [],
      [1 | 2],
      %{},
      %{{1} => [a: 1.5]},
      Map.new(1..100, &{&1, &1}),
      1.0e300,
      2 ** 200,
      -(2 ** 70),
      self(),
      remote,
      make_ref(),
      hd(Port.list()),
      &is_nil/1,
      fn x -> x + n end,
      <<5::3>>,
      String.duplicate("x", 1000),
      [String.duplicate("y", 100)],
      %Call{id: 1, module: __MODULE__}
    ]

    for term <- terms, do: assert(Capture.event(capture, {:wrapped, term}) == :ok)
    got = for {{:wrapped, term}, _, _} <- stored(capture, length(terms)), do: term
    assert Enum.all?(terms, fn term -> Enum.any?(got, &(&1 === term)) end)
  end

  test "maps and structs get the ids that they were captured with, where they have none" do
    capture = new!()
    :ok = Capture.event(capture, 1, %{n: 1}, 5, 6)
    :ok = Capture.event(capture, 1, %{n: 2, correlation_id: :own}, 5)
    :ok = Capture.event(capture, 1, %Call{id: 3}, 5)
    :ok = Capture.event(capture, %{n: 4})
    assert [one, two, three, four] = for({event, _, _} <- stored(capture, 4), do: event)
    assert %{n: 1, correlation_id: 5, ast_node_id: 6} = one
    assert %{n: 2, correlation_id: :own} = two
    assert %Call{id: 3, correlation_id: 5} = three
    assert %{n: 4, correlation_id: "corr_" <> _} = four
  end

  test "the ingest helpers capture tuples; the maps are built by the writer" do
    capture = new!()
    me = self()
    before = System.monotonic_time(:nanosecond)
    wall = System.system_time(:nanosecond)
    :ok = Capture.ingest_function_call(capture, String, :upcase, ["a"], me, "trace-1")
    :ok = Capture.ingest_function_return(capture, "A", 1_200, 99)
    :ok = Capture.ingest_process_spawn(capture, me, me)
    :ok = Capture.ingest_message_send(capture, me, me, :hello)
    :ok = Capture.ingest_message_receive(capture, me, :hello)
    :ok = Capture.ingest_state_change(capture, me, 1, 2)
    :ok = Capture.ingest_performance_metric(capture, :load, 0.5)
    :ok = Capture.ingest_error(capture, :badarg, "no", [])
    entries = stored(capture, 8)
    events = for {event, _, _} <- entries, do: event
    later = System.monotonic_time(:nanosecond)

    assert [
             %{
               event_type: :call,
               module: String,
               function: :upcase,
               arity: 1,
               args: ["a"],
               pid: ^me,
               caller_pid: ^me,
               correlation_id: "trace-1"
             },
             %{event_type: :return, return_value: "A", duration_ns: 1_200, pid: ^me, correlation_id: 99},
             %{event_type: :spawn, pid: ^me, parent_pid: ^me},
             %{event_type: :send, from_pid: ^me, to_pid: ^me, message: :hello},
             %{event_type: :receive, pid: ^me, message: :hello},
             %{event_type: :state_change, server_pid: ^me, old_state: 1, new_state: 2},
             %{event_type: :metric, metric_name: :load, value: 0.5, metadata: %{}},
             %{event_type: :error, error_type: :badarg, message: "no", stacktrace: []}
           ] = events

    assert events |> Enum.uniq_by(& &1.id) |> length() == 8
    slack = 50_000_000
    assert Enum.all?(events, &(&1.timestamp in (before - slack)..(later + slack)))
    assert Enum.all?(events, &(abs(&1.wall_time - wall) < 5_000_000_000))
    assert [{_, _, %{correlation_id: 0}}, {_, _, %{correlation_id: 99}} | _] = entries
  end

  test "ingest_batch stops at the first that is refused" do
    capture = new!(max_event_bytes: 4_096)
    assert Capture.ingest_batch(capture, [1, "two", %{three: 3}]) == {:ok, 3}
    large = Enum.to_list(1..10_000)
    assert Capture.ingest_batch(capture, [1, large, 3]) == {:ok, 1}
    assert Capture.ingest_batch(capture, [large]) == {:error, :too_large}
    assert Capture.ingest_batch(capture, []) == {:ok, 0}
    assert {:ok, %{captured: 4}} = Capture.metrics(capture)
  end

  test "bad input is a tagged error, never a raise" do
    capture = new!()
    for kind <- [-1, 1.0, nil, "1", 0x80000000], do: assert({:error, _} = Capture.event(capture, kind, :term))
    for id <- [-1, nil, :x, 2 ** 64], do: assert({:error, _} = Capture.event(capture, 1, :term, id, 0))
    for binary <- [:atom, 1, <<1::3>>, nil], do: assert({:error, _} = Capture.binary(capture, binary))
    assert Capture.event(capture, Enum.to_list(1..1_000_000)) == {:error, :too_large}
    assert {:ok, %{refused_too_large: 1, captured: 0}} = Capture.metrics(capture)

    for bad <- [
          [ring_bytes: -1],
          [overflow: :sometimes],
          [nonsense: 1],
          [storage: :x],
          [overflow: :block, block_timeout_ms: -1]
        ] do
      assert {:error, _} = Capture.new(bad)
    end
  end

  test "a closed capture refuses events, and has stored those that it had" do
    capture = new!()
    storage = KeyedStorage.new()
    pool = pool!(capture, storage)
    for n <- 1..100, do: :ok = Capture.event(capture, %{n: n})
    assert Capture.close(capture) == :ok
    assert KeyedStorage.numbers(storage) == Enum.to_list(1..100)
    assert Capture.event(capture, %{n: 101}) == {:error, :closed}
    assert Process.alive?(pool)
    assert {:ok, %{captured: 100, stored: 100, refused_closed: 1}} = Capture.metrics(capture)
  end

  test "the ledger holds after a flush" do
    # One scheduler may run all of them before an event is stored: its ring must hold all.
    capture = new!(ring_bytes: 4_194_304)
    storage = KeyedStorage.new()
    pool!(capture, storage)

    1..4
    |> Task.async_stream(fn w -> for n <- 1..2_500, do: :ok = Capture.event(capture, %{n: {w, n}}) end,
      timeout: :infinity
    )
    |> Stream.run()

    assert Capture.flush(capture) == :ok
    assert {:ok, metrics} = Capture.metrics(capture)
    assert %{offered: 10_000, captured: 10_000, stored: 10_000, buffered: 0, in_flight: 0, in_doubt: 0} = metrics
    assert KeyedStorage.count(storage) == 10_000
    assert {:ok, %{status: :healthy}} = Capture.health(capture)
  end

  test "a full ring refuses; under :block the caller waits, up to a deadline" do
    opts = [ring_bytes: 65_536, max_event_bytes: 8_192]
    newest = new!(opts)
    fill(newest)
    assert Capture.event(newest, %{n: 0}) == {:error, :full}

    block = new!(opts ++ [overflow: :block, block_timeout_ms: 50])
    fill(block)
    {micros, answer} = :timer.tc(fn -> Capture.event(block, %{n: 0}) end)
    assert answer == {:error, :full}
    # The first millisecond of the timeout may be a partial one.
    assert micros >= 49_000

    patient = new!(opts ++ [overflow: :block, block_timeout_ms: :infinity])
    fill(%{patient | block_ms: 0})
    waiting = Task.async(fn -> Capture.event(patient, %{n: :last}) end)
    storage = KeyedStorage.new()
    pool!(patient, storage)
    assert Task.await(waiting, 60_000) == :ok
    eventually(fn -> :last in KeyedStorage.numbers(storage) end)
  end

  test "drop_oldest overwrites the oldest events" do
    capture = new!(ring_bytes: 65_536, max_event_bytes: 8_192, overflow: :drop_oldest)
    for n <- 1..5_000, do: :ok = Capture.event(capture, %{n: n, filling: Enum.to_list(1..20)})
    storage = KeyedStorage.new()
    pool!(capture, storage)
    :ok = Capture.flush(capture)
    assert {:ok, %{captured: 5_000, overwritten: overwritten, stored: stored}} = Capture.metrics(capture)
    assert overwritten > 0 and overwritten + stored == 5_000
    assert KeyedStorage.count(storage) == stored
    assert 5_000 in KeyedStorage.numbers(storage)
  end

  test "may be kept anywhere" do
    capture = new!()
    {:ok, agent} = Agent.start_link(fn -> capture end)
    :persistent_term.put({__MODULE__, :capture}, capture)
    Application.put_env(:elixir_scope_capture_pipeline, :a_capture, capture)
    Process.put(:capture, capture)
    kept = [Agent.get(agent, & &1), :persistent_term.get({__MODULE__, :capture}), Process.get(:capture)]

    for capture <- [Application.get_env(:elixir_scope_capture_pipeline, :a_capture) | kept],
        do: assert(Capture.event(capture, 1) == :ok)

    assert {:ok, %{captured: 4}} = Capture.metrics(capture)
    Application.delete_env(:elixir_scope_capture_pipeline, :a_capture)
    :persistent_term.erase({__MODULE__, :capture})
  end

  test "without writers it buffers; a killed writer's batch is delivered again, to another" do
    capture = new!(batch_size: 50)
    for n <- 1..500, do: :ok = Capture.event(capture, %{n: n})
    assert Capture.backlog(capture) == 500
    storage = KeyedStorage.new()
    killed = :atomics.new(1, [])

    store = fn _, batch ->
      if :atomics.add_get(killed, 1, 1) in [1, 3],
        do: Process.exit(self(), :kill),
        else: KeyedStorage.store_batch(storage, batch)
    end

    pool = pool!(capture, store, pool_size: 2)
    eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..500) end)
    assert eventually(fn -> AsyncWriterPool.get_metrics(pool).worker_restarts == 2 end)
    assert eventually(fn -> Capture.backlog(capture) == 0 end)
  end

  @tag :tmp_dir
  test "with a native storage events never come to the writers", %{tmp_dir: dir} do
    path = Path.join(dir, "events.db")
    capture = new!(storage: NativeStorage.sqlite(path))
    pool = pool!(capture, nil)
    for n <- 1..1_000, do: :ok = Capture.event(capture, 3, %{n: n}, n)
    assert Capture.flush(capture) == :ok
    assert {:ok, %{stored: 1_000}} = Capture.metrics(capture)
    assert %{total_events_read: 0} = AsyncWriterPool.get_metrics(pool)
    assert AsyncWriterPool.health_check(pool).status == :healthy
    assert Capture.close(capture) == :ok
    assert dir |> File.ls!() |> Enum.map(&File.stat!(Path.join(dir, &1)).size) |> Enum.sum() > 10_000
  end

  @tag :tmp_dir
  test "a journal has every event as it was captured", %{tmp_dir: dir} do
    path = Path.join(dir, "journal")
    capture = new!(storage: NativeStorage.journal(path, segment_bytes: 65_536))
    for n <- 1..1_000, do: :ok = Capture.binary(capture, 3, <<n::64>>, n)
    :ok = Capture.event(capture, 4, %{n: 0}, 5)
    assert Capture.close(capture) == :ok
    assert {:ok, %{stored: 1_001}} = Capture.metrics(capture)
    {terms, binaries} = path |> JournalFile.events() |> Enum.split_with(&(elem(&1, 0) == 4))
    assert Enum.sort(binaries) == for(n <- 1..1_000, do: {3, n, <<n::64>>})
    assert [{4, 5, term}] = terms
    assert :erlang.binary_to_term(term) == %{n: 0}

    assert {:error, {:invalid, "pipeline_journal_options_t.max_bytes" <> _}} =
             Capture.new(storage: NativeStorage.journal(path, max_bytes: 1))
  end

  test "events in the default storage are found by their captured values" do
    capture = new!()
    pool = pool!(capture, nil)
    :ok = Capture.ingest_function_call(capture, String, :upcase, ["a"], self(), 77)
    :ok = Capture.event(capture, 4, {:term, 1}, 88, 99)
    storage = AsyncWriterPool.get_storage(pool)
    eventually(fn -> EtsStorage.count(storage) == 2 end)
    assert [%{function: :upcase}] = EtsStorage.query(storage, function: {String, :upcase, 1})
    assert [%{function: :upcase}] = EtsStorage.query(storage, correlation_id: 77, pid: self())
    assert [{:term, 1}] = EtsStorage.query(storage, node_id: 99)
  end

  defp fill(capture) do
    case Capture.event(capture, %{n: 1, filling: Enum.to_list(1..50)}) do
      :ok -> fill(capture)
      {:error, :full} -> fill_small(capture)
    end
  end

  defp fill_small(capture), do: if(Capture.event(capture, %{n: 0}) == :ok, do: fill_small(capture), else: :ok)
end
