defmodule ElixirScope.Capture.HostileStoragesTest do
  # A storage function runs in the writer's process. The promises hold for everything that it may do to that process.
  use ExUnit.Case, async: false

  import CapturePipeline.Test.Wait
  alias CapturePipeline.Test.{KeyedStorage, Sources}
  alias ElixirScope.Capture.{AsyncWriterPool, PipelineManager}

  @moduletag capture_log: true

  setup do
    Process.flag(:trap_exit, true)
    on_exit(fn -> PipelineManager.shutdown() end)
  end

  defp start!(source, store, opts) do
    opts = [ring_buffer: source, storage: store, poll_interval_ms: 5, pool_size: 1] ++ opts
    {:ok, pool} = AsyncWriterPool.start_link(opts)
    on_exit(fn -> Process.exit(pool, :kill) end)
    pool
  end

  defp queue(pid) do
    case Process.info(pid, :message_queue_len) do
      {:message_queue_len, length} -> length
      nil -> :gone
    end
  end

  for kind <- [:foreign, :native, :capture] do
    @kind kind
    test "messages that a storage leaves are gone with the next attempt: #{kind}" do
      source = Sources.fill(Sources.new(@kind), Sources.events(1..10))
      storage = KeyedStorage.new()
      test = self()
      gate = :atomics.new(1, [])

      store = fn _, batch ->
        send(test, {:queue, self(), queue(self())})
        for n <- 1..100, do: send(self(), {:late_answer, n})
        send(self(), "text")
        send(self(), {})
        if :atomics.get(gate, 1) == 0, do: {:error, :unavailable}, else: KeyedStorage.store_batch(storage, batch)
      end

      pool = start!(source, store, retry_max_ms: 10)

      for _ <- 1..30 do
        assert_receive {:queue, _, length}
        assert length < 102
      end

      :atomics.put(gate, 1, 1)
      eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..10) end)
      assert_receive {:queue, loop, _}
      eventually(fn -> queue(loop) == 0 end)
      AsyncWriterPool.stop(pool)
    end

    test "a storage that changes its process does not stop the pipeline: #{kind}" do
      for {what, hurt} <- [
            {"erases the process dictionary", fn -> :erlang.erase() end},
            {"traps exits", fn -> Process.flag(:trap_exit, true) end},
            {"removes its links",
             fn ->
               {:links, links} = Process.info(self(), :links)
               Enum.each(links, &Process.unlink/1)
             end},
            {"gives itself a group leader that is dead",
             fn ->
               {dead, monitor} = spawn_monitor(fn -> :ok end)
               receive do: ({:DOWN, ^monitor, _, _, _} -> :ok)
               Process.group_leader(self(), dead)
             end},
            {"monitors", fn -> Process.monitor(spawn(fn -> :ok end)) end},
            {"links to what ends normally", fn -> spawn_link(fn -> :ok end) end},
            {"takes all messages", fn -> take_all() end}
          ] do
        source = Sources.fill(Sources.new(@kind), Sources.events(1..200))
        storage = KeyedStorage.new()
        tries = :atomics.new(1, [])

        store = fn _, batch ->
          hurt.()
          # Refused once, so that the test includes a pause and a retry.
          if :atomics.add_get(tries, 1, 1) == 2,
            do: {:error, :unavailable},
            else: KeyedStorage.store_batch(storage, batch)
        end

        pool = start!(source, store, pool_size: 2)
        eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..200) end)
        eventually(fn -> AsyncWriterPool.get_metrics(pool).backlog_size == 0 end)
        metrics = AsyncWriterPool.get_metrics(pool)

        figures = Map.take(metrics, [:total_events_processed, :dead_lettered, :worker_restarts])
        assert {what, figures} == {what, %{total_events_processed: 200, dead_lettered: 0, worker_restarts: 0}}

        assert [] == for({_, _, n} <- :ets.tab2list(storage.table), n != 1, do: n)
        # It is asked to stop, and stops.
        workers = AsyncWriterPool.get_state(pool).workers
        assert AsyncWriterPool.stop(pool) == :ok
        refute Enum.any?(workers, &Process.alive?/1)
      end
    end
  end

  defp take_all do
    receive do
      _ -> take_all()
    after
      0 -> :ok
    end
  end

  for kind <- [:foreign, :native, :capture] do
    @kind kind
    test "orders reach a writer whose storage takes all messages: #{kind}" do
      source = Sources.fill(Sources.new(@kind), Sources.events(1..50))
      storage = KeyedStorage.new()
      test = self()

      # It receives all messages while it runs.
      store = fn _ ->
        send(test, {:holds, self()})
        receive do: (:go -> take_all())
        {:error, :unavailable}
      end

      {:ok, manager} =
        PipelineManager.start_link(
          ring_buffer: source,
          storage: store,
          poll_interval_ms: 5,
          async_writer_pool_size: 1,
          retry_initial_ms: 60_000,
          retry_max_ms: 60_000
        )

      assert_receive {:holds, loop}
      :ok = PipelineManager.update_config(manager, storage: storage)
      [{_, pool, _, _}] = Supervisor.which_children(manager)
      # The request was sent before this call, so it has been handled when the writer answers.
      [worker] = AsyncWriterPool.get_state(pool).workers
      ElixirScope.Capture.AsyncWriter.get_state(worker)
      send(loop, :go)
      eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..50) end)

      # Also the request to leave.
      :ok = PipelineManager.update_config(manager, storage: store)
      Sources.fill(source, Sources.events(51..60))
      assert_receive {:holds, ^loop}
      :ok = AsyncWriterPool.scale_pool(pool, 0)
      ElixirScope.Capture.AsyncWriter.get_state(worker)
      monitor = Process.monitor(worker)
      send(loop, :go)
      assert_receive {:DOWN, ^monitor, _, _, :normal}
      PipelineManager.shutdown(manager)
    end
  end

  test "a storage that traps exits or removes its links outlives neither a killed writer nor a killed pool" do
    for hurt <- [
          fn -> Process.flag(:trap_exit, true) end,
          fn ->
            {:links, links} = Process.info(self(), :links)
            Enum.each(links, &Process.unlink/1)
          end
        ],
        victim <- [:worker, :pool, :manager] do
      source = Sources.fill(Sources.new(:native), Sources.events(1..10))
      storage = KeyedStorage.new()
      test = self()
      gate = :atomics.new(1, [])

      store = fn _, batch ->
        if :atomics.add_get(gate, 1, 1) == 1 do
          hurt.()
          send(test, {:holds, self()})
          receive do: (:never -> :ok)
        end

        KeyedStorage.store_batch(storage, batch)
      end

      {:ok, manager} =
        PipelineManager.start_link(ring_buffer: source, storage: store, poll_interval_ms: 5, async_writer_pool_size: 1)

      [{_, pool, _, _}] = Supervisor.which_children(manager)
      [worker] = AsyncWriterPool.get_state(pool).workers
      assert_receive {:holds, loop}
      Process.exit(%{worker: worker, pool: pool, manager: manager}[victim], :kill)
      ended(loop)

      unless victim == :manager do
        eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..10) end)
        eventually(fn -> PipelineManager.get_metrics(manager).events_processed == 10 end)
      end

      PipelineManager.shutdown(manager)
    end
  end

  for kind <- [:foreign, :native, :capture] do
    @kind kind
    test "a writer that is suspended with a batch is named by health: #{kind}" do
      source = Sources.fill(Sources.new(@kind), Sources.events(1..10))
      storage = KeyedStorage.new()
      test = self()

      store = fn _, batch ->
        send(test, {:holds, self()})
        receive do: (:go -> KeyedStorage.store_batch(storage, batch))
      end

      {:ok, manager} =
        PipelineManager.start_link(ring_buffer: source, storage: store, poll_interval_ms: 5, async_writer_pool_size: 1)

      assert_receive {:holds, loop}
      assert PipelineManager.health_check(manager).status == :healthy
      :erlang.suspend_process(loop)
      assert %{status: :degraded, reasons: [:writer_suspended]} = PipelineManager.health_check(manager)
      [{_, pool, _, _}] = Supervisor.which_children(manager)
      [worker] = AsyncWriterPool.get_state(pool).workers
      assert %{reasons: [:writer_suspended]} = ElixirScope.Capture.AsyncWriter.health_check(worker)
      :erlang.resume_process(loop)
      send(loop, :go)
      eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..10) end)
      eventually(fn -> PipelineManager.health_check(manager).status == :healthy end)
      PipelineManager.shutdown(manager)
    end
  end
end
