defmodule ElixirScope.Capture.DeathsTest do
  # The fate of a batch whose writer dies while the storage has it, for each kind of source.
  use ExUnit.Case, async: false

  import CapturePipeline.Test.Wait
  alias CapturePipeline.Test.{Deadly, KeyedStorage, Sources}
  alias ElixirScope.Capture.{AsyncWriter, AsyncWriterPool, Capture, PipelineManager}

  @moduletag capture_log: true

  setup do
    Process.flag(:trap_exit, true)
    on_exit(fn -> PipelineManager.shutdown() end)
  end

  # Ways in which an event ends the process that stores it.
  @ways [
    kill: quote(do: Process.exit(self(), :kill)),
    linked_task: quote(do: Task.await(Task.async(fn -> raise "poison" end))),
    linked_process:
      quote do
        spawn_link(fn -> exit(:poison) end)
        receive(do: (:never -> :ok))
      end,
    exit_normal: quote(do: Process.exit(self(), :normal)),
    unlinked:
      quote do
        unlink_all()
        Process.exit(self(), :kill)
      end
  ]

  def unlink_all do
    {:links, links} = Process.info(self(), :links)
    Enum.each(links, &Process.unlink/1)
    true
  end

  # Stores into a keyed storage. The events with these numbers end the writer.
  defp store(storage, poison, die) do
    fn events, batch ->
      if Enum.any?(events, &(&1.n in poison)), do: die.()
      KeyedStorage.store_batch(storage, batch)
    end
  end

  # How often each event was offered to the storage, if more than once.
  defp twice(storage), do: for({_, event, times} <- :ets.tab2list(storage.table), times != 1, do: event.n)

  # How many events have left a source as stored and as dead-lettered, by its own figures.
  defp settled(%Capture{} = capture, stored, dead) do
    eventually(fn -> Capture.backlog(capture) == 0 end)
    assert {:ok, %{stored: ^stored, dead_lettered: ^dead, discarded: 0, in_doubt: 0}} = Capture.metrics(capture)
  end

  defp settled(ring, _stored, _dead), do: ring

  for kind <- [:foreign, :native, :capture], {way, quoted} <- @ways do
    @kind kind
    test "an event that ends its writer is dead-lettered alone, the others are stored once: #{kind}, #{way}" do
      source = Sources.fill(Sources.new(@kind), Sources.events(1..100))
      storage = KeyedStorage.new()

      {:ok, manager} =
        PipelineManager.start_link(
          ring_buffer: source,
          storage: store(storage, [42], fn -> unquote(quoted) end),
          poll_interval_ms: 5
        )

      eventually(fn -> PipelineManager.get_metrics(manager).events_processed == 99 end)
      assert KeyedStorage.numbers(storage) == Enum.to_list(1..100) -- [42]
      assert twice(storage) == []
      assert [%{event: %{n: 42}, reason: {:writer_died, _}}] = PipelineManager.dead_letters(manager)
      metrics = eventually(fn -> done(PipelineManager.get_metrics(manager)) end)
      assert %{dead_lettered: 1, discarded: 0, backlog_size: 0} = metrics
      # The batch twice, log2(50) parts, the event three times: each death is an error.
      assert metrics.worker_restarts in 3..12
      assert metrics.error_count == metrics.worker_restarts
      settled(source, 99, 1)
      PipelineManager.shutdown(manager)
    end
  end

  for kind <- [:foreign, :native, :capture] do
    @kind kind
    test "several events that end their writers, and one that is refused: #{kind}" do
      source = Sources.fill(Sources.new(@kind), Sources.events(1..200))
      storage = KeyedStorage.new()
      inner = store(storage, [1, 50, 51, 120], fn -> Process.exit(self(), :kill) end)

      store = fn events, batch ->
        if Enum.any?(events, &(&1.n == 60)), do: {:error, :refused}, else: inner.(events, batch)
      end

      {:ok, manager} =
        PipelineManager.start_link(
          ring_buffer: source,
          storage: store,
          poll_interval_ms: 5,
          retry_limit: 2,
          retry_max_ms: 20
        )

      eventually(fn -> PipelineManager.get_metrics(manager).events_processed == 195 end)
      assert KeyedStorage.numbers(storage) == Enum.to_list(1..200) -- [1, 50, 51, 60, 120]
      assert twice(storage) == []
      metrics = eventually(fn -> done(PipelineManager.get_metrics(manager)) end)
      assert %{dead_lettered: 5, discarded: 0, backlog_size: 0} = metrics
      letters = PipelineManager.dead_letters(manager)
      assert letters |> Enum.map(& &1.event.n) |> Enum.sort() == [1, 50, 51, 60, 120]
      settled(source, 195, 5)
      PipelineManager.shutdown(manager)
    end

    test "while a batch comes back again and again, backlog_size and error_count are true: #{kind}" do
      source = Sources.fill(Sources.new(@kind), Sources.events(1..10))
      test = self()

      store = fn _, batch ->
        send(test, {:attempt, self(), batch.attempt, length(batch.entries)})
        receive do: (:go -> Process.exit(self(), :kill))
      end

      {:ok, manager} =
        PipelineManager.start_link(ring_buffer: source, storage: store, poll_interval_ms: 5, async_writer_pool_size: 1)

      for {attempt, size} <- [{1, 10}, {2, 10}, {3, 5}, {4, 2}, {5, 1}, {6, 1}, {7, 1}] do
        assert_receive {:attempt, loop, ^attempt, ^size}
        assert %{backlog_size: 10, error_count: errors} = PipelineManager.get_metrics(manager)
        assert errors == attempt - 1
        send(loop, :go)
        ended(loop)
        # Also between two writers.
        assert PipelineManager.get_metrics(manager).backlog_size == 10
      end

      eventually(fn -> PipelineManager.get_metrics(manager).dead_lettered >= 1 end)
      assert [%{event: %{n: 1}} | _] = PipelineManager.dead_letters(manager)
      Process.exit(manager, :kill)
      ended(manager)
    end

    test "a writer that is killed from outside is no attempt: #{kind}" do
      source = Sources.fill(Sources.new(@kind), Sources.events(1..10))
      storage = KeyedStorage.new()
      test = self()
      gate = :atomics.new(1, [])

      store = fn _, batch ->
        if :atomics.get(gate, 1) == 0 do
          send(test, {:holds, self()})
          receive do: (:never -> :ok)
        end

        KeyedStorage.store_batch(storage, batch)
      end

      {:ok, pool} =
        AsyncWriterPool.start_link(
          ring_buffer: source,
          storage: store,
          poll_interval_ms: 5,
          pool_size: 1,
          retry_limit: 1
        )

      for _ <- 1..8 do
        assert_receive {:holds, loop}

        [worker] =
          eventually(fn ->
            with [_] = workers <- AsyncWriterPool.get_state(pool).workers, do: workers, else: (_ -> nil)
          end)

        Process.exit(worker, :kill)
        ended([worker, loop])
      end

      assert_receive {:holds, loop}
      :atomics.put(gate, 1, 1)
      Process.exit(loop, :kill)
      eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..10) end)
      assert twice(storage) == []
      assert %{dead_lettered: 0, total_errors: 1} = AsyncWriterPool.get_metrics(pool)
      AsyncWriterPool.stop(pool)
    end

    test "a writer that was started alone starts its loop again, and is rid of the event that ends it: #{kind}" do
      source = Sources.fill(Sources.new(@kind), Sources.events(1..60))
      storage = KeyedStorage.new()
      store = store(storage, [7], fn -> Process.exit(self(), :kill) end)
      {:ok, writer} = AsyncWriter.start_link(ring_buffer: source, storage: store, poll_interval_ms: 5)
      eventually(fn -> AsyncWriter.get_metrics(writer).events_processed == 59 end)
      assert KeyedStorage.numbers(storage) == Enum.to_list(1..60) -- [7]
      assert twice(storage) == []
      assert [%{event: %{n: 7}}] = AsyncWriter.dead_letters(writer)
      eventually(fn -> AsyncWriter.health_check(writer).backlog_size == 0 end)
      settled(source, 59, 1)
      assert AsyncWriter.stop(writer) == :ok
    end
  end

  test "events that were stored one by one before their writer died are not stored again" do
    source = Sources.fill(Sources.new(:native), Sources.events(1..20))
    storage = KeyedStorage.new()
    died = :atomics.new(1, [])

    store = fn
      [_, _ | _], _ -> {:ok, 0}
      [%{n: 15}], _ -> if :atomics.add_get(died, 1, 1) == 1, do: Process.exit(self(), :kill), else: :ok
      _, batch -> KeyedStorage.store_batch(storage, batch)
    end

    {:ok, pool} = AsyncWriterPool.start_link(ring_buffer: source, storage: store, poll_interval_ms: 5)
    eventually(fn -> AsyncWriterPool.get_metrics(pool).total_events_processed == 20 end)
    assert KeyedStorage.numbers(storage) == Enum.to_list(1..20) -- [15]
    assert twice(storage) == []
    assert %{dead_lettered: 0, worker_restarts: 1} = AsyncWriterPool.get_metrics(pool)
    AsyncWriterPool.stop(pool)
  end

  test "an exit reason that kills each process that inspects it kills no pool" do
    source = Sources.fill(Sources.new(:native), Sources.events(1..20))
    storage = KeyedStorage.new()

    store =
      store(storage, [4], fn ->
        spawn_link(fn -> exit(%Deadly{n: 4}) end)
        receive(do: (:never -> :ok))
      end)

    {:ok, manager} = PipelineManager.start_link(ring_buffer: source, storage: store, poll_interval_ms: 5)
    eventually(fn -> PipelineManager.get_metrics(manager).events_processed == 19 end)
    assert %{dead_lettered: 1, pool_restarts: 0} = PipelineManager.get_metrics(manager)
    PipelineManager.shutdown(manager)
    # A writer that was started alone.
    source = Sources.fill(Sources.new(:native), Sources.events(1..20))
    {:ok, writer} = AsyncWriter.start_link(ring_buffer: source, storage: store, poll_interval_ms: 5)
    eventually(fn -> AsyncWriter.get_metrics(writer).events_processed == 19 end)
    AsyncWriter.stop(writer)
  end

  test "a settled batch leaves no rows" do
    source = Sources.fill(Sources.new(:native), Sources.events(1..100))
    store = store(KeyedStorage.new(), [9, 77], fn -> Process.exit(self(), :kill) end)
    {:ok, pool} = AsyncWriterPool.start_link(ring_buffer: source, storage: store, poll_interval_ms: 5, pool_size: 2)
    eventually(fn -> AsyncWriterPool.get_metrics(pool).total_events_processed == 98 end)
    # Two loops.
    eventually(fn -> :ets.info(:sys.get_state(pool).group.attempts, :size) == 2 end)
    AsyncWriterPool.stop(pool)
  end

  defp done(metrics), do: if(metrics.backlog_size == 0, do: metrics)
end
