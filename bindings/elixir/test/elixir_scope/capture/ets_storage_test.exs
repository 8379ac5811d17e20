defmodule ElixirScope.Capture.EtsStorageTest do
  use ExUnit.Case, async: true

  import CapturePipeline.Test.Wait
  alias ElixirScope.Capture.{Batch, EtsStorage}

  defp batch(events, from \\ 0) do
    %Batch{entries: for({event, n} <- Enum.with_index(events, from), do: {event, {:test, n}, nil})}
  end

  defp event(n, more \\ %{}), do: Map.merge(%{n: n, timestamp: n * 10, pid: self()}, more)
  defp numbers(events), do: Enum.map(events, & &1.n)

  test "instances are apart" do
    one = EtsStorage.new()
    two = EtsStorage.new()
    :ok = EtsStorage.store_events(one, [event(1)])
    assert {EtsStorage.count(one), EtsStorage.count(two)} == {1, 0}
  end

  test "the identity is the key: an event that is delivered twice is stored once, an equal event is stored too" do
    storage = EtsStorage.new()
    :ok = EtsStorage.store_batch(storage, batch([event(1), event(1)]))

    :ok =
      EtsStorage.store_batch(
        storage,
        batch([event(1, %{enriched_at: 99, processing_order: 4, correlation_id: "corr_9"}), event(1)])
      )

    assert %{events: 2, duplicates: 2, conflicts: 0} = EtsStorage.stats(storage)
    :ok = EtsStorage.store_batch(storage, batch([event(2)]))
    assert %{events: 3, conflicts: 1} = EtsStorage.stats(storage)
  end

  test "holds the newest, and nothing of the others" do
    storage = EtsStorage.new(max_events: 10)

    for n <- 1..95//5,
        do:
          EtsStorage.store_batch(
            storage,
            batch(Enum.map(n..(n + 4), &event(&1, %{module: M, function: :f, args: []})), n)
          )

    assert storage |> EtsStorage.query() |> numbers() == Enum.to_list(86..95)
    assert %{events: 10, evicted: 85} = EtsStorage.stats(storage)
    assert :ets.info(storage.index, :size) == 30
    assert :ets.info(storage.order, :size) == 10
  end

  test "events are found by time, process, function, correlation id and node id" do
    storage = EtsStorage.new()
    other = spawn(fn -> :ok end)

    events = [
      event(1, %{module: M, function: :f, args: [1, 2], correlation_id: "a"}),
      event(2, %{module: M, function: :f, arity: 1, ast_node_id: "node_1"}),
      event(3, %{module: M, function: :g, pid: other, correlation_id: "a"}),
      Map.delete(event(4, %{caller_pid: other}), :pid),
      {:no, :map}
    ]

    :ok = EtsStorage.store_batch(storage, batch(events))
    query = fn filters -> storage |> EtsStorage.query(filters) |> numbers() end
    assert query.(since: 20) == [2, 3, 4]
    assert query.(until: 20) == [1, 2]
    assert query.(since: 20, until: 30) == [2, 3]
    assert query.(pid: self()) == [1, 2]
    assert query.(pid: other) == [3, 4]
    assert query.(function: {M, :f}) == [1, 2]
    assert query.(function: {M, :f, 1}) == [2]
    assert query.(correlation_id: "a") == [1, 3]
    assert query.(correlation_id: "a", pid: other) == [3]
    assert query.(node_id: "node_1") == [2]
    assert query.(correlation_id: "b") == []
    assert query.(pid: self(), limit: 1) == [1]
    assert storage |> EtsStorage.query() |> List.last() == {:no, :map}
    assert EtsStorage.clear(storage) == :ok
    assert EtsStorage.query(storage, since: 0) == []
  end

  test "an event is found by the stamp that a capture recorded beside it" do
    storage = EtsStorage.new()
    stamp = %{timestamp: 77, wall_time: 1, kind: 3, correlation_id: 12, node_id: 13}
    :ok = EtsStorage.store_batch(storage, %Batch{entries: [{:term, {1, 1, 1}, stamp}]})

    for filter <- [[since: 77, until: 77], [correlation_id: 12], [node_id: 13]],
        do: assert(EtsStorage.query(storage, filter) == [:term])
  end

  test "calendar times are compared as times, not by the order of their fields" do
    storage = EtsStorage.new()
    # A sort by the names of the fields would compare the day before the month and the year.
    times = [~U[2023-12-31 23:59:59Z], ~U[2024-01-01 00:00:00.5Z], ~U[2024-02-29 12:00:00Z], ~U[2025-01-01 00:00:00Z]]
    berlin = %{~U[2024-02-29 13:00:00Z] | time_zone: "Europe/Berlin", zone_abbr: "CET", utc_offset: 3600}

    for {sort, from, convert} <- [
          {:utc, 0, & &1},
          {:naive, 10, &DateTime.to_naive/1},
          {:date, 20, &DateTime.to_date/1},
          {:number, 30, &DateTime.to_unix/1},
          {:text, 40, &DateTime.to_iso8601/1}
        ] do
      events =
        for {time, n} <- Enum.with_index(times, from + 1), do: %{n: n, timestamp: convert.(time), correlation_id: sort}

      :ok = EtsStorage.store_batch(storage, batch(Enum.shuffle(events), from))

      query = fn filters ->
        storage |> EtsStorage.query(filters) |> numbers() |> Enum.map(&(&1 - from)) |> Enum.sort()
      end

      [first, second, third, last] = Enum.map(times, convert)
      # Times of other kinds are in the same storage and are not found.
      for with <- [[], [correlation_id: sort]] do
        assert {sort, query.([since: first] ++ with)} == {sort, [1, 2, 3, 4]}
        assert {sort, query.([since: second] ++ with)} == {sort, [2, 3, 4]}
        assert {sort, query.([until: second] ++ with)} == {sort, [1, 2]}
        assert {sort, query.([since: second, until: third] ++ with)} == {sort, [2, 3]}
        assert {sort, query.([since: last] ++ with)} == {sort, [4]}
      end
    end

    # The same moment in two time zones.
    assert storage |> EtsStorage.query(since: berlin, until: berlin) |> numbers() == [3]
    :ok = EtsStorage.store_events(storage, [%{n: 99, timestamp: %{berlin | hour: :noon}}])
    assert storage |> EtsStorage.query(since: berlin) |> numbers() |> Enum.sort() == [3, 4]
    assert storage |> EtsStorage.query(since: ~T[00:00:00]) == []
  end

  test "a filter of false finds false, nil finds events without a value" do
    storage = EtsStorage.new()

    for key <- [:correlation_id, :ast_node_id, :node_id, :pid] do
      filter = if key == :ast_node_id, do: :node_id, else: key
      EtsStorage.clear(storage)

      events = [
        %{:n => 1, key => false},
        %{:n => 2, key => true},
        %{:n => 3, key => nil},
        %{n: 4},
        %{:n => 5, key => 0}
      ]

      :ok = EtsStorage.store_events(storage, events)
      assert {key, storage |> EtsStorage.query([{filter, false}]) |> numbers()} == {key, [1]}
      assert {key, storage |> EtsStorage.query([{filter, nil}]) |> numbers()} == {key, [3, 4]}
      assert {key, storage |> EtsStorage.query([{filter, 0}]) |> numbers()} == {key, [5]}
    end

    :ok = EtsStorage.store_events(storage, [event(6, %{module: M, function: :f, args: []})])
    assert storage |> EtsStorage.query(function: nil) |> numbers() == [1, 2, 3, 4, 5]
    assert storage |> EtsStorage.query(function: {M, :f}) |> numbers() == [6]
    # No bound.
    assert storage |> EtsStorage.query(since: nil, until: nil, limit: nil) |> length() == 6
    assert storage |> EtsStorage.query(since: 0, until: nil) |> numbers() == [6]
  end

  test "events without a time fit no bound of time, whatever else is asked for" do
    storage = EtsStorage.new()
    events = [%{n: 1, correlation_id: "a"}, %{n: 2, correlation_id: "a", timestamp: 5}, %{n: 3, timestamp: 7}]
    :ok = EtsStorage.store_events(storage, events)

    for {filters, expected} <- [
          {[correlation_id: "a", since: 0], [2]},
          {[correlation_id: "a", until: 100], [2]},
          {[correlation_id: "a", since: 6], []},
          {[since: 0], [2, 3]},
          {[until: 5], [2]},
          {[correlation_id: nil, since: 0], [3]}
        ] do
      assert {filters, storage |> EtsStorage.query(filters) |> numbers()} == {filters, expected}
    end
  end

  test "max_events may be :infinity; new/1 refuses an invalid bound" do
    storage = EtsStorage.new(max_events: :infinity)
    for n <- 1..300, do: :ok = EtsStorage.store_batch(storage, batch([event(n)], n))
    assert %{events: 300, evicted: 0, max_events: :infinity} = EtsStorage.stats(storage)

    for bad <- [-1, 1.5, nil, "10", :many] do
      assert_raise ArgumentError, ~r/max_events .*#{Regex.escape(inspect(bad))}/, fn ->
        EtsStorage.new(max_events: bad)
      end
    end

    assert EtsStorage.store_events(EtsStorage.new(%{max_events: 0}), [event(1)]) == :ok
  end

  test "is not quadratic in anything: twice as many events that share all values take no more than a few times as long" do
    time = fn count ->
      storage = EtsStorage.new(max_events: div(count, 2))

      events =
        for n <- 1..count, do: event(0, %{module: M, function: :f, arity: 0, correlation_id: 1, ast_node_id: 1, n: n})

      batches = events |> Enum.with_index() |> Enum.chunk_every(50)

      {work, _} =
        :timer.tc(fn ->
          for [{_, from} | _] = chunk <- batches,
              do: EtsStorage.store_batch(storage, batch(Enum.map(chunk, &elem(&1, 0)), from))
        end)

      work
    end

    time.(10_000)
    small = Enum.min(for _ <- 1..3, do: time.(10_000))
    large = Enum.min(for _ <- 1..3, do: time.(40_000))
    # Linear would be 4, quadratic 16.
    assert large / small < 10
  end

  test "says that it is unavailable when its owner has ended" do
    test = self()
    owner = spawn(fn -> send(test, EtsStorage.new()) end)
    assert_receive storage
    ended(owner)
    assert EtsStorage.store_events(storage, [event(1)]) == {:error, :unavailable}
    assert EtsStorage.count(storage) == 0
  end

  test "is exact when several writers insert and evict at once" do
    storage = EtsStorage.new(max_events: 500)

    1..8
    |> Task.async_stream(
      fn w ->
        for n <- 1..100,
            do: EtsStorage.store_batch(storage, %Batch{entries: for(k <- 1..10, do: {event(n), {w, n, k}, nil})})
      end,
      timeout: :infinity
    )
    |> Stream.run()

    assert %{events: 500, evicted: 7_500, duplicates: 0} = EtsStorage.stats(storage)
    assert :ets.info(storage.order, :size) == 500
    assert :ets.info(storage.index, :size) == 1_000
  end
end
