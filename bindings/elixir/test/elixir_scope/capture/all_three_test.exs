defmodule ElixirScope.Capture.AllThreeTest do
  # ELIXIR.md, "All three": the promises of the manager, the pool and the writer alike.
  use ExUnit.Case, async: false

  import CapturePipeline.Test.Wait
  alias CapturePipeline.Test.{KeyedStorage, Sources}
  alias ElixirScope.Capture.{AsyncWriter, AsyncWriterPool, EtsStorage, PipelineManager}

  @modules [PipelineManager, AsyncWriterPool, AsyncWriter]

  setup do
    Process.flag(:trap_exit, true)
    on_exit(fn -> PipelineManager.shutdown() end)
  end

  defp start!(module, opts) do
    {:ok, pid} = module.start_link(opts)
    pid
  end

  defp stop(PipelineManager, pid), do: PipelineManager.shutdown(pid)
  defp stop(module, pid), do: module.stop(pid)

  defp processed(PipelineManager, pid), do: PipelineManager.get_metrics(pid).events_processed
  defp processed(AsyncWriterPool, pid), do: AsyncWriterPool.get_metrics(pid).total_events_processed
  defp processed(AsyncWriter, pid), do: AsyncWriter.get_metrics(pid).events_processed

  defp errors(PipelineManager, pid), do: PipelineManager.get_metrics(pid).error_count
  defp errors(AsyncWriterPool, pid), do: AsyncWriterPool.get_metrics(pid).total_errors
  defp errors(AsyncWriter, pid), do: AsyncWriter.get_metrics(pid).error_count

  # All processes below one, including the loops of the writers.
  defp tree(pid) do
    {:links, links} = Process.info(pid, :links)
    Enum.filter(links, &(is_pid(&1) and &1 != self()))
  end

  defp whole_tree(PipelineManager, pid) do
    [{_, pool, _, _}] = Supervisor.which_children(pid)
    [pid | whole_tree(AsyncWriterPool, pool)]
  end

  defp whole_tree(AsyncWriterPool, pid),
    do: [pid | Enum.flat_map(AsyncWriterPool.get_state(pid).workers, &whole_tree(AsyncWriter, &1))]

  defp whole_tree(AsyncWriter, pid), do: [pid | Enum.filter(tree(pid), &loop?/1)]

  defp loop?(pid) do
    {:dictionary, dictionary} = Process.info(pid, :dictionary)
    match?({ElixirScope.Capture.WriterLoop, _, _}, dictionary[:"$initial_call"])
  end

  for module <- @modules do
    describe inspect(module) do
      @module module

      test "start_link takes a keyword list, a map, or nothing; unknown keys are kept in config and ignored" do
        for opts <- [[batch_size: 7, unheard_of: :x], %{batch_size: 7, unheard_of: :x}] do
          pid = start!(@module, opts)
          config = @module.get_state(pid).config
          assert %{batch_size: 7, unheard_of: :x} = config
          assert Enum.all?(Map.keys(config), &is_atom/1)
          assert stop(@module, pid) == :ok
        end

        {:ok, pid} = @module.start_link()
        assert @module.get_state(pid).config.batch_size == 50
        assert stop(@module, pid) == :ok
        pid = start!(@module, nil)
        assert stop(@module, pid) == :ok
      end

      test "config is the defaults with the given values as given" do
        pid = start!(@module, %{"text" => 1, batch_size: -3, poll_interval_ms: "soon", max_backlog: nil})
        config = @module.get_state(pid).config
        assert %{batch_size: -3, poll_interval_ms: "soon", max_backlog: nil} = config
        refute Map.has_key?(config, "text")
        stop(@module, pid)
      end

      test "takes ring_buffer or ring_buffer_ref, storage or storage_ref" do
        for source_key <- [:ring_buffer, :ring_buffer_ref], storage_key <- [:storage, :storage_ref] do
          source = Sources.fill(Sources.new(:foreign), Sources.events(1..20))
          storage = KeyedStorage.new()
          pid = start!(@module, [{source_key, source}, {storage_key, storage}, {:poll_interval_ms, 10}])
          eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..20) end)
          stop(@module, pid)
        end
      end

      test "start_link answers {:ok, pid} whatever the ring buffer is; it raises error_count, lives, and is degraded with a reason" do
        for bad <- [:invalid_buffer, 17, %{}, %URI{}, {:ring}, self(), "ring"] do
          pid = start!(@module, ring_buffer: bad, poll_interval_ms: 10)
          eventually(fn -> errors(@module, pid) > 0 end)
          assert Process.alive?(pid)
          assert %{status: :degraded, reasons: [:invalid_ring_buffer]} = eventually(fn -> degraded(@module, pid) end)
          stop(@module, pid)
        end
      end

      test "start_link answers {:ok, pid} whatever the storage is; it raises error_count, lives, and is degraded with a reason" do
        dead = spawn(fn -> :ok end)
        ended(dead)

        for bad <- [:no_such_storage, 17, %{}, %URI{}, {:no, :storage}, dead, "storage", {dead, dead}] do
          source = Sources.fill(Sources.new(:foreign), Sources.events(1..3))
          pid = start!(@module, ring_buffer: source, storage: bad, poll_interval_ms: 10)
          eventually(fn -> errors(@module, pid) > 0 end)
          assert Process.alive?(pid)
          assert %{status: :degraded, reasons: [:storage_unavailable]} = eventually(fn -> degraded(@module, pid) end)
          kill(pid)
        end
      end

      test "no ring buffer at all is an idle, healthy pipeline" do
        pid = start!(@module, poll_interval_ms: 5)
        holds(fn -> @module.health_check(pid).status == :healthy end, 50)
        assert errors(@module, pid) == 0
        stop(@module, pid)
      end

      for kind <- [:foreign, :native, :capture] do
        @kind kind
        test "with a #{kind} source and no storage, events are read, enriched, put in the default bounded storage, and counted" do
          source = Sources.fill(Sources.new(@kind), Sources.events(1..120))
          pid = start!(@module, ring_buffer: source, poll_interval_ms: 10, max_stored_events: 100)
          eventually(fn -> processed(@module, pid) == 120 end)
          storage = @module.get_storage(pid)
          # Either batch may come last, but the number is bounded.
          stored = EtsStorage.query(storage)
          assert length(stored) == 100
          assert Enum.all?(stored, &match?(%{n: _, enriched_at: _, correlation_id: "corr_" <> _, processed_by: _}, &1))
          assert EtsStorage.stats(storage).evicted == 20
          stop(@module, pid)
        end
      end

      test "stop, shutdown and GenServer.stop end the tree with reason :normal, answer :ok, and are immediate when idle" do
        for stop <- [&stop(@module, &1), &GenServer.stop/1] do
          # One of some, because a busy machine may delay any of them.
          assert Enum.any?(1..20, fn _ ->
                   pid = start!(@module, ring_buffer: Sources.new(:foreign))
                   tree = whole_tree(@module, pid)
                   {micros, answer} = :timer.tc(fn -> stop.(pid) end)
                   assert answer == :ok
                   assert_receive {:EXIT, ^pid, :normal}
                   refute Enum.any?(tree, &Process.alive?/1)
                   micros < 500_000
                 end)
        end
      end

      for kind <- [:foreign, :native, :capture] do
        @kind kind
        test "a stop stores the events of a #{kind} source" do
          source = Sources.fill(Sources.new(@kind), Sources.events(1..700))
          storage = KeyedStorage.new()
          pid = start!(@module, ring_buffer: source, storage: storage, poll_interval_ms: 60_000)
          assert stop(@module, pid) == :ok
          assert KeyedStorage.numbers(storage) == Enum.to_list(1..700)
        end
      end

      test "a stop is bounded well under 5 s for any storage, and its events are returned" do
        source = Sources.fill(Sources.new(:foreign), Sources.events(1..10))
        test = self()

        stuck = fn _ ->
          send(test, :stuck)
          receive do: (:never -> :ok)
        end

        # One of some, because a busy machine may delay any of them.
        assert Enum.any?(1..10, fn _ ->
                 pid = start!(@module, ring_buffer: source, storage: stuck, poll_interval_ms: 5)
                 assert_receive :stuck
                 tree = whole_tree(@module, pid)
                 {micros, :ok} = :timer.tc(fn -> stop(@module, pid) end)
                 assert_receive {:EXIT, ^pid, :normal}
                 eventually(fn -> not Enum.any?(tree, &Process.alive?/1) end)
                 micros < 4_000_000
               end)
      end

      test "no process of the tree outlives its top, however that ends" do
        source = Sources.fill(Sources.new(:foreign), Sources.events(1..10))
        stuck = fn _ -> receive do: (:never -> :ok) end

        for reason <- [:kill, :crash, :shutdown] do
          pid = start!(@module, ring_buffer: source, storage: stuck, poll_interval_ms: 5)
          tree = whole_tree(@module, pid)
          Process.exit(pid, reason)
          ended(tree)
        end
      end

      test "metrics are numbers >= 0, present from the first call; uptime_ms is greater than 0 from the first call on" do
        {:ok, pid} = @module.start_link([])
        metrics = @module.get_metrics(pid)
        assert map_size(metrics) >= 3
        assert Enum.all?(metrics, fn {_, value} -> is_number(value) and value >= 0 end)
        uptime = @module.health_check(pid).uptime_ms
        assert uptime > 0 and uptime < 5_000
        assert eventually(fn -> @module.health_check(pid).uptime_ms >= uptime + 20 end)
        stop(@module, pid)
      end

      test "health is :healthy when start_link returns" do
        for source <- [nil, Sources.fill(Sources.new(:native), Sources.events(1..900))] do
          pid = start!(@module, ring_buffer: source, max_backlog: 10)
          assert @module.health_check(pid).status == :healthy
          stop(@module, pid)
        end
      end

      test "a backlog that stays is a reason" do
        source = Sources.fill(Sources.new(:native), Sources.events(1..900))
        pid = start!(@module, ring_buffer: source, max_backlog: 10, storage: :nowhere, poll_interval_ms: 5)
        assert eventually(fn -> :backlog in @module.health_check(pid).reasons end)
        stop(@module, pid)
      end

      test "has a child_spec and runs under a supervisor" do
        opts = if @module == PipelineManager, do: [name: :under_supervisor], else: []
        {:ok, supervisor} = Supervisor.start_link([{@module, opts}], strategy: :one_for_one)
        assert [{id, pid, type, _}] = Supervisor.which_children(supervisor)
        assert Process.alive?(pid)
        if @module == PipelineManager, do: assert({id, type} == {:under_supervisor, :supervisor})
        assert Supervisor.stop(supervisor) == :ok
        refute Process.alive?(pid)
      end
    end
  end

  # A stop would try to store the remaining events until its deadline.
  defp kill(pid) do
    Process.exit(pid, :kill)
    ended(pid)
  end

  defp degraded(module, pid) do
    health = module.health_check(pid)
    if health.status == :degraded, do: health
  end

  # How many milliseconds it takes.
  defp health_after_a_kill do
    pool = start!(AsyncWriterPool, pool_size: 3)
    [first | others] = AsyncWriterPool.get_state(pool).workers
    killed_at = System.monotonic_time(:millisecond)
    Process.exit(first, :kill)

    eventually(fn ->
      first not in AsyncWriterPool.get_state(pool).workers and AsyncWriterPool.health_check(pool).status == :healthy
    end)

    took = System.monotonic_time(:millisecond) - killed_at
    assert [_, _, _] = workers = AsyncWriterPool.get_state(pool).workers
    assert others -- workers == []
    assert AsyncWriterPool.get_metrics(pool).worker_restarts == 1
    AsyncWriterPool.stop(pool)
    took
  end

  test "a killed worker: healthy again within 200 ms, counted, no back-off, the others keep their pids" do
    # One of some, because a busy machine may delay any of them.
    assert Enum.any?(1..20, fn _ -> health_after_a_kill() < 200 end)
  end

  test "start_link, scale_pool and update_config are synchronous" do
    manager = start!(PipelineManager, async_writer_pool_size: 3)
    [{_, pool, _, _}] = Supervisor.which_children(manager)

    shows = fn size, key, value ->
      state = AsyncWriterPool.get_state(pool)
      assert length(state.workers) == size and Enum.all?(state.workers, &Process.alive?/1)
      assert length(Enum.uniq(Map.values(state.worker_assignments))) == size
      assert Map.keys(state.worker_monitors) |> Enum.sort() == Enum.sort(state.workers)
      assert state.config[key] == value
    end

    shows.(3, :batch_size, 50)

    for size <- [1, 32, 0, 5, 4] do
      assert AsyncWriterPool.scale_pool(pool, size) == :ok
      shows.(size, :pool_size, size)
    end

    for size <- [0, 6, 2] do
      assert PipelineManager.update_config(manager, async_writer_pool_size: size, batch_size: 10 + size) == :ok
      shows.(size, :batch_size, 10 + size)
      assert PipelineManager.get_state(manager).config.async_writer_pool_size == size
    end

    [worker | _] = AsyncWriterPool.get_state(pool).workers
    eventually(fn -> AsyncWriter.get_state(worker).config.batch_size == 12 end)
    PipelineManager.shutdown(manager)
  end
end
