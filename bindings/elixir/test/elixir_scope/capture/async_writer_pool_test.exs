defmodule ElixirScope.Capture.AsyncWriterPoolTest do
  # ELIXIR.md, "AsyncWriterPool".
  use ExUnit.Case, async: false

  import CapturePipeline.Test.Wait
  alias CapturePipeline.Test.{KeyedStorage, Sources}
  alias ElixirScope.Capture.{AsyncWriter, AsyncWriterPool}

  setup do
    Process.flag(:trap_exit, true)
    :ok
  end

  defp start!(opts) do
    {:ok, pool} = AsyncWriterPool.start_link(opts)
    pool
  end

  defp workers(pool), do: AsyncWriterPool.get_state(pool).workers

  test "has no registered name" do
    assert Process.info(start!([]), :registered_name) == {:registered_name, []}
  end

  test "state and defaults" do
    state = AsyncWriterPool.get_state(start!([]))

    assert state |> Map.from_struct() |> Map.keys() |> Enum.sort() ==
             [:config, :start_time, :worker_assignments, :worker_monitors, :workers]

    assert state.config == %{pool_size: 4, ring_buffer: nil, batch_size: 50, poll_interval_ms: 100, max_backlog: 1000}
    assert [_, _, _, _] = state.workers
    assert Enum.all?(state.workers, &is_pid/1)
    assert Enum.all?(state.workers, &is_reference(state.worker_monitors[&1]))
    assert state.worker_assignments |> Map.values() |> Enum.uniq() |> length() == 4
    assert Map.keys(state.worker_assignments) -- state.workers == []
  end

  test "segments change when the pool is scaled" do
    pool = start!(pool_size: 2)
    before = AsyncWriterPool.get_worker_assignments(pool)
    assert map_size(before) == 2
    :ok = AsyncWriterPool.scale_pool(pool, 4)
    later = AsyncWriterPool.get_worker_assignments(pool)
    assert map_size(later) == 4
    assert Enum.all?(before, fn {pid, segment} -> later[pid] not in [nil, segment] end)
    assert later |> Map.values() |> Enum.uniq() |> length() == 4
  end

  test "pool_size 0 starts none" do
    pool = start!(pool_size: 0)
    assert %{workers: [], worker_assignments: none, worker_monitors: none} = AsyncWriterPool.get_state(pool)
    assert none == %{}
    assert %{status: :healthy, worker_count: 0, failed_workers: 0} = AsyncWriterPool.health_check(pool)
    assert AsyncWriterPool.get_metrics(pool).average_processing_rate == 0
  end

  test "metrics and health have their keys" do
    pool = start!(pool_size: 2)

    assert %{
             total_events_read: 0,
             total_events_processed: 0,
             total_batches_processed: 0,
             average_processing_rate: rate,
             total_errors: 0,
             worker_count: 2
           } = AsyncWriterPool.get_metrics(pool)

    assert rate == 0

    assert %{status: :healthy, worker_count: 2, healthy_workers: 2, failed_workers: 0, uptime_ms: uptime} =
             AsyncWriterPool.health_check(pool)

    assert is_float(uptime)
  end

  test "a size that makes no sense is an error and changes nothing" do
    pool = start!(pool_size: 2)
    before = workers(pool)

    for size <- [-1, :many, 2.0, nil, "3", 1_000_000] do
      assert {:error, _} = AsyncWriterPool.scale_pool(pool, size)
    end

    assert workers(pool) == before
  end

  test "scaling keeps the workers that stay" do
    pool = start!(pool_size: 3)
    [one, two, three] = workers(pool)
    :ok = AsyncWriterPool.scale_pool(pool, 2)
    assert workers(pool) == [one, two]
    ended(three)
    :ok = AsyncWriterPool.scale_pool(pool, 4)
    assert [^one, ^two, _, _] = workers(pool)
  end

  for kind <- [:foreign, :native, :capture] do
    @kind kind

    test "workers share one cursor, each event is processed once: #{kind}" do
      source = Sources.fill(Sources.new(@kind, size: 4096), Sources.events(1..3000))
      storage = KeyedStorage.new()
      test = self()

      store = fn events, batch ->
        send(test, {:from, self()})
        assert Enum.map(batch.entries, &elem(&1, 0)) == events
        KeyedStorage.store_batch(storage, batch)
      end

      pool = start!(ring_buffer: source, storage: store, pool_size: 4, poll_interval_ms: 10)
      eventually(fn -> AsyncWriterPool.get_metrics(pool).total_events_processed == 3000 end)
      assert KeyedStorage.numbers(storage) == Enum.to_list(1..3000)
      metrics = AsyncWriterPool.get_metrics(pool)
      assert metrics.total_events_read == 3000
      assert metrics.total_batches_processed >= 60
      assert metrics.average_processing_rate > 0
      AsyncWriterPool.stop(pool)
    end

    test "a storm of scaling loses nothing and stores nothing twice: #{kind}" do
      source = Sources.new(@kind, size: 8192)
      storage = KeyedStorage.new()
      pool = start!(ring_buffer: source, storage: storage, pool_size: 2, poll_interval_ms: 5)

      for {size, n} <- Enum.with_index(List.flatten(List.duplicate([0, 1, 32, 3], 8))) do
        Sources.fill(source, Sources.events((n * 100 + 1)..(n * 100 + 100)))
        assert AsyncWriterPool.scale_pool(pool, size) == :ok
      end

      eventually(fn -> KeyedStorage.count(storage) == 3200 end)
      assert KeyedStorage.numbers(storage) == Enum.to_list(1..3200)
      # No process was killed, so no event was delivered twice.
      assert AsyncWriterPool.get_metrics(pool).total_events_processed == 3200
      assert [] == for({_, _, n} <- :ets.tab2list(storage.table), n != 1, do: n)
      AsyncWriterPool.stop(pool)
    end
  end

  test "the pids in workers answer AsyncWriter.get_state/1; current_position is behind the last event that the worker took" do
    source = Sources.fill(Sources.new(:foreign), Sources.events(1..130))
    pool = start!(ring_buffer: source, storage: KeyedStorage.new(), pool_size: 3, batch_size: 20, poll_interval_ms: 10)
    eventually(fn -> AsyncWriterPool.get_metrics(pool).total_events_processed == 130 end)
    states = Enum.map(workers(pool), &AsyncWriter.get_state/1)
    assert states |> Enum.map(& &1.current_position) |> Enum.max() == 130

    assert Enum.all?(
             states,
             &(&1.current_position == 0 or &1.current_position == 130 or rem(&1.current_position, 20) == 0)
           )

    assert states |> Enum.map(& &1.events_read) |> Enum.sum() == 130
    AsyncWriterPool.stop(pool)
  end

  for kind <- [:foreign, :native] do
    @kind kind
    test "two pools on one ring each see every event: #{kind}" do
      source = Sources.fill(Sources.new(@kind), Sources.events(1..500))
      one = KeyedStorage.new()
      two = KeyedStorage.new()
      pool_one = start!(ring_buffer: source, storage: one, poll_interval_ms: 5)
      pool_two = start!(ring_buffer: source, storage: two, poll_interval_ms: 5)
      for storage <- [one, two], do: eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..500) end)
      for pool <- [pool_one, pool_two], do: AsyncWriterPool.stop(pool)
    end

    test "a new consumer starts at the oldest event held: #{kind}" do
      source = Sources.fill(Sources.new(@kind, size: 64), Sources.events(1..100))
      storage = KeyedStorage.new()
      pool = start!(ring_buffer: source, storage: storage, poll_interval_ms: 5)
      eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(37..100) end)
      AsyncWriterPool.stop(pool)
    end
  end

  test "a full batch goes on at once: one poll interval does for everything" do
    source = Sources.fill(Sources.new(:foreign, size: 32_768), Sources.events(1..30_000))
    storage = KeyedStorage.new()
    # The configuration of the existing app, but for the interval, which would allow one poll a minute.
    pool = start!(ring_buffer: source, storage: storage, pool_size: 4, batch_size: 50, poll_interval_ms: 1_000)
    eventually(fn -> AsyncWriterPool.get_metrics(pool).total_events_processed == 30_000 end)
    assert KeyedStorage.numbers(storage) == Enum.to_list(1..30_000)
    AsyncWriterPool.stop(pool)
  end

  test "the first restart has no back-off: a call after the news of the death finds the new worker" do
    pool = start!(pool_size: 2)
    [dies, stays] = workers(pool)
    :ok = :sys.suspend(pool)
    Process.exit(dies, :kill)
    # Its exit signal and the message of its monitor.
    eventually(fn -> Process.info(pool, :message_queue_len) == {:message_queue_len, 2} end)
    asked = Task.async(fn -> workers(pool) end)
    eventually(fn -> Process.info(pool, :message_queue_len) == {:message_queue_len, 3} end)
    :ok = :sys.resume(pool)
    assert [new, ^stays] = Task.await(asked)
    assert new != dies and Process.alive?(new)
    AsyncWriterPool.stop(pool)
  end

  test "a worker that dies again and again is replaced again and again" do
    source = Sources.fill(Sources.new(:foreign), Sources.events(1..10))
    gate = :atomics.new(1, [])
    storage = KeyedStorage.new()

    store = fn _, batch ->
      if :atomics.add_get(gate, 1, 1) < 6,
        do: Process.exit(self(), :kill),
        else: KeyedStorage.store_batch(storage, batch)
    end

    pool = start!(ring_buffer: source, storage: store, pool_size: 1, poll_interval_ms: 5)
    eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..10) end)
    assert AsyncWriterPool.get_metrics(pool).worker_restarts == 5
    assert eventually(fn -> AsyncWriterPool.health_check(pool).status == :healthy end)
    AsyncWriterPool.stop(pool)
  end

  test "a storage that takes its time is named, and the others go on" do
    source = Sources.fill(Sources.new(:native), Sources.events(1..200))
    storage = KeyedStorage.new()
    gate = :atomics.new(1, [])

    store = fn _, batch ->
      if :atomics.add_get(gate, 1, 1) == 1,
        do: receive(do: (:never -> :ok)),
        else: KeyedStorage.store_batch(storage, batch)
    end

    pool = start!(ring_buffer: source, storage: store, pool_size: 2, poll_interval_ms: 5)
    eventually(fn -> KeyedStorage.count(storage) == 150 end)
    assert %{reasons: [:storage_slow]} = eventually(fn -> degraded(pool) end)
    AsyncWriterPool.stop(pool)
  end

  defp degraded(pool) do
    health = AsyncWriterPool.health_check(pool)
    if health.status == :degraded, do: health
  end
end
