defmodule ElixirScope.Capture.PipelineManagerTest do
  # ELIXIR.md, "PipelineManager".
  use ExUnit.Case, async: false

  import CapturePipeline.Test.Wait
  alias CapturePipeline.Test.{KeyedStorage, Sources}
  alias ElixirScope.Capture.{AsyncWriterPool, PipelineManager}

  setup do
    Process.flag(:trap_exit, true)
    on_exit(fn -> PipelineManager.shutdown() end)
  end

  defp pool(manager) do
    [{AsyncWriterPool, pool, :worker, _}] = Supervisor.which_children(manager)
    pool
  end

  test "functions of arity 0 and 1: the default server is the module's name, registered unless a name is given" do
    {:ok, manager} = PipelineManager.start_link([])
    assert Process.whereis(PipelineManager) == manager

    assert PipelineManager.get_state() |> Map.put(:start_time, 0) ==
             PipelineManager.get_state(manager) |> Map.put(:start_time, 0)

    assert PipelineManager.health_check().status == :healthy
    assert PipelineManager.get_metrics().events_processed == 0
    assert PipelineManager.update_config(%{batch_size: 9}) == :ok
    assert PipelineManager.get_state().config.batch_size == 9
    assert {:error, {:already_started, ^manager}} = PipelineManager.start_link([])

    {:ok, other} = PipelineManager.start_link(name: :another_pipeline)
    assert Process.whereis(:another_pipeline) == other
    assert PipelineManager.update_config(:another_pipeline, batch_size: 11) == :ok

    assert {PipelineManager.get_state().config.batch_size, PipelineManager.get_state(other).config.batch_size} ==
             {9, 11}

    {:ok, unnamed} = PipelineManager.start_link(name: nil)
    assert Process.info(unnamed, :registered_name) == {:registered_name, []}

    for server <- [unnamed, :another_pipeline], do: assert(PipelineManager.shutdown(server) == :ok)
    assert PipelineManager.shutdown() == :ok
    refute Process.alive?(manager)
  end

  test "a manager that does not run has the state of a new one, and can be shut down" do
    assert %PipelineManager{events_processed: 0, children: []} = PipelineManager.get_state()
    assert PipelineManager.get_metrics().backlog_size == 0
    assert PipelineManager.health_check().status == :down
    assert PipelineManager.update_config(%{batch_size: 1}) == {:error, :not_running}
    assert PipelineManager.shutdown() == :ok
  end

  test "start_link returns the supervisor's pid" do
    {:ok, manager} = PipelineManager.start_link([])
    assert %{active: 1, supervisors: 0, workers: 1} = Supervisor.count_children(manager)
    PipelineManager.shutdown()
  end

  test "default configuration and state" do
    {:ok, _} = PipelineManager.start_link()
    state = PipelineManager.get_state()

    assert state.config == %{
             async_writer_pool_size: 4,
             batch_size: 50,
             max_backlog: 5000,
             correlation_enabled: true,
             backpressure_enabled: true
           }

    assert state |> Map.from_struct() |> Map.keys() |> Enum.sort() ==
             [:children, :config, :events_processed, :processing_rate, :start_time]

    assert [{AsyncWriterPool, pid, _, _}] = state.children
    assert length(AsyncWriterPool.get_state(pid).workers) == 4
    PipelineManager.shutdown()
  end

  test "the start options reach the pool" do
    {:ok, manager} =
      PipelineManager.start_link(async_writer_pool_size: 2, batch_size: 5, max_backlog: 77, poll_interval_ms: 33)

    assert %{pool_size: 2, batch_size: 5, max_backlog: 77, poll_interval_ms: 33} =
             AsyncWriterPool.get_state(pool(manager)).config

    PipelineManager.shutdown()
  end

  test "each direct child is a live pid; a killed pool is back at the first attempt, within 50 ms, whatever its predecessor held" do
    source = Sources.fill(Sources.new(:foreign), Sources.events(1..500))
    stuck = fn _ -> receive do: (:never -> :ok) end
    {:ok, manager} = PipelineManager.start_link(ring_buffer: source, storage: stuck, poll_interval_ms: 2)

    took =
      for _ <- 1..21 do
        old = pool(manager)
        workers = AsyncWriterPool.get_state(old).workers
        killed_at = System.monotonic_time(:millisecond)
        Process.exit(old, :kill)
        assert eventually(fn -> pool(manager) != old && Process.alive?(pool(manager)) end)
        took = System.monotonic_time(:millisecond) - killed_at
        ended(workers)
        took
      end

    # The quickest, because a busy machine may delay any of them.
    assert Enum.min(took) < 50

    assert PipelineManager.health_check(manager).pool_restarts == 21
    PipelineManager.shutdown()
  end

  for kind <- [:foreign, :native, :capture] do
    @kind kind
    test "counters, cursor and claims outlive the pool: #{kind}" do
      source = Sources.fill(Sources.new(@kind, size: 4096), Sources.events(1..1000))
      storage = KeyedStorage.new()
      # Some batches are with writers that will never finish them.
      gate = :atomics.new(1, [])

      store = fn events, batch ->
        if :atomics.add_get(gate, 1, 1) in 4..6, do: receive(do: (:never -> :ok))
        _ = events
        KeyedStorage.store_batch(storage, batch)
      end

      {:ok, manager} =
        PipelineManager.start_link(ring_buffer: source, storage: store, poll_interval_ms: 5, async_writer_pool_size: 3)

      eventually(fn -> :atomics.get(gate, 1) >= 6 end)
      before = PipelineManager.get_metrics(manager)
      Process.exit(pool(manager), :kill)
      eventually(fn -> PipelineManager.get_metrics(manager).events_processed >= 1000 end)
      after_ = PipelineManager.get_metrics(manager)

      assert for({key, value} <- before, key not in [:processing_rate, :backlog_size], after_[key] < value, do: key) ==
               []

      assert KeyedStorage.numbers(storage) == Enum.to_list(1..1000)
      assert after_.events_processed == 1000
      assert after_.backlog_size == 0
      PipelineManager.shutdown()
    end

    test "backlog, rate and counts are real: #{kind}" do
      source = Sources.fill(Sources.new(@kind), Sources.events(1..300))
      gate = :atomics.new(1, [])

      store = fn _ ->
        if :atomics.get(gate, 1) == 1, do: :ok, else: {:error, :unavailable}
      end

      {:ok, _} = PipelineManager.start_link(ring_buffer: source, storage: store, poll_interval_ms: 5, retry_max_ms: 20)
      eventually(fn -> PipelineManager.get_metrics().error_count > 0 end)
      assert %{backlog_size: 300, events_processed: 0, processing_rate: rate} = PipelineManager.get_metrics()
      assert rate == 0
      :atomics.put(gate, 1, 1)
      eventually(fn -> PipelineManager.get_metrics().events_processed == 300 end)
      assert %{backlog_size: 0, processing_rate: rate} = eventually(fn -> settled(PipelineManager.get_metrics()) end)
      assert rate > 0
      assert PipelineManager.get_state().events_processed == 300
      PipelineManager.shutdown()
    end

    test "no call waits for a slow worker: #{kind}" do
      source = Sources.fill(Sources.new(@kind), Sources.events(1..300))
      stuck = fn _ -> receive do: (:never -> :ok) end

      {:ok, manager} =
        PipelineManager.start_link(ring_buffer: source, storage: stuck, poll_interval_ms: 2, async_writer_pool_size: 2)

      eventually(fn -> PipelineManager.get_metrics().events_read >= 100 end)
      pool = pool(manager)

      calls = [
        fn -> PipelineManager.get_state() end,
        fn -> PipelineManager.get_metrics() end,
        fn -> PipelineManager.health_check() end,
        fn -> AsyncWriterPool.get_state(pool) end,
        fn -> AsyncWriterPool.get_metrics(pool) end,
        fn -> AsyncWriterPool.health_check(pool) end,
        fn -> AsyncWriterPool.get_worker_assignments(pool) end,
        fn -> Enum.map(AsyncWriterPool.get_state(pool).workers, &ElixirScope.Capture.AsyncWriter.get_state/1) end,
        fn -> AsyncWriterPool.scale_pool(pool, 1) end,
        fn -> PipelineManager.update_config(%{async_writer_pool_size: 3}) end
      ]

      for call <- calls do
        # A call that waited for a worker would never return.
        call.()
      end

      PipelineManager.shutdown()
    end
  end

  test "the events of a scaled-down worker are returned" do
    source = Sources.fill(Sources.new(:foreign), Sources.events(1..100))
    storage = KeyedStorage.new()
    gate = :atomics.new(1, [])

    store = fn _, batch ->
      if :atomics.add_get(gate, 1, 1) <= 2,
        do: receive(do: (:never -> :ok)),
        else: KeyedStorage.store_batch(storage, batch)
    end

    {:ok, manager} =
      PipelineManager.start_link(ring_buffer: source, storage: store, poll_interval_ms: 2, async_writer_pool_size: 2)

    eventually(fn -> :atomics.get(gate, 1) >= 2 end)
    :ok = AsyncWriterPool.scale_pool(pool(manager), 0)
    :ok = AsyncWriterPool.scale_pool(pool(manager), 1)
    eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..100) end)
    PipelineManager.shutdown()
  end

  test "a pool that was scaled and is killed comes back with its size" do
    {:ok, manager} = PipelineManager.start_link(async_writer_pool_size: 2)
    old = pool(manager)
    :ok = AsyncWriterPool.scale_pool(old, 7)
    Process.exit(old, :kill)
    new = eventually(fn -> pool(manager) != old && pool(manager) end)
    assert length(AsyncWriterPool.get_state(new).workers) == 7
    PipelineManager.shutdown()
  end

  test "a new ring buffer is read from its oldest event on; events taken from the old one are stored" do
    storage = KeyedStorage.new()
    first = Sources.fill(Sources.new(:native), Sources.events(1..200))
    second = Sources.fill(Sources.new(:foreign), Sources.events(201..400))
    {:ok, _} = PipelineManager.start_link(storage: storage, poll_interval_ms: 5)
    :ok = PipelineManager.update_config(ring_buffer: first)
    eventually(fn -> KeyedStorage.count(storage) == 200 end)
    :ok = PipelineManager.update_config(ring_buffer: second)
    eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..400) end)
    assert PipelineManager.get_metrics().events_processed == 400
    PipelineManager.shutdown()
  end

  test "concurrent changes of the configuration are all kept" do
    {:ok, _} = PipelineManager.start_link()
    keys = for n <- 1..30, do: :"key_#{n}"

    keys
    |> Task.async_stream(&PipelineManager.update_config(%{&1 => 1}), max_concurrency: 30, timeout: :infinity)
    |> Stream.run()

    assert Enum.all?(keys, &(PipelineManager.get_state().config[&1] == 1))
    PipelineManager.shutdown()
  end

  test "a value that an option cannot have is an error, and changes nothing" do
    {:ok, manager} = PipelineManager.start_link(async_writer_pool_size: 2, batch_size: 7)
    workers = AsyncWriterPool.get_state(pool(manager)).workers
    config = PipelineManager.get_state().config

    for {key, values} <- [
          async_writer_pool_size: [-3, -1, 1_025, 2.0, "4", nil, :many],
          batch_size: [0, -1, 1.5, nil, :infinity],
          poll_interval_ms: [0, -5, nil, "soon"],
          retry_initial_ms: [0, -1, 0.5],
          retry_max_ms: [0, -1, :never],
          max_backlog: [-1, 0, 1.0],
          retry_limit: [0, -1, nil],
          storage_timeout_ms: [-1, 0, nil],
          max_dead_letters: [-1, "all"],
          max_stored_events: [-1, :many],
          correlation_enabled: [nil, 1, "no"],
          backpressure_enabled: [:yes],
          sampling_max_weight: [-1, 3, 2_097_152, nil],
          sampling_hold_ms: [0, 86_400_001],
          watermark_percent: [0, 101],
          share: [0, 1_001, 1.5]
        ],
        value <- values do
      # Together with a valid value.
      assert PipelineManager.update_config(%{key => value, :unheard_of => 1}) == {:error, {:invalid_config, key, value}}
    end

    assert PipelineManager.get_state().config == config
    assert AsyncWriterPool.get_state(pool(manager)).workers == workers
    assert PipelineManager.update_config([]) == :ok
    assert PipelineManager.update_config(unheard_of: -1) == :ok
    assert PipelineManager.update_config(async_writer_pool_size: 0) == :ok
    assert AsyncWriterPool.get_state(pool(manager)).workers == []
    PipelineManager.shutdown()
  end

  test "the ring buffer and the storage that were given last count, under either of their names" do
    for {ring_names, storage_names} <- [
          {[:ring_buffer, :ring_buffer_ref], [:storage, :storage_ref]},
          {[:ring_buffer_ref, :ring_buffer], [:storage_ref, :storage]}
        ] do
      [ring_first, ring_then] = ring_names
      [storage_first, storage_then] = storage_names
      [one, two] = for _ <- 1..2, do: KeyedStorage.new()
      first = Sources.fill(Sources.new(:native), Sources.events(1..20))
      {:ok, manager} = PipelineManager.start_link([{ring_first, first}, {storage_first, one}, {:poll_interval_ms, 5}])
      eventually(fn -> KeyedStorage.count(one) == 20 end)
      second = Sources.fill(Sources.new(:native), Sources.events(21..30))
      :ok = PipelineManager.update_config(manager, [{ring_then, second}, {storage_then, two}])
      assert PipelineManager.get_storage(manager) == two
      eventually(fn -> KeyedStorage.numbers(two) == Enum.to_list(21..30) end)
      # An empty update changes nothing.
      :ok = PipelineManager.update_config(manager, [{storage_first, nil}])
      assert %ElixirScope.Capture.EtsStorage{} = PipelineManager.get_storage(manager)
      :ok = PipelineManager.update_config(manager, [{ring_first, nil}])
      assert PipelineManager.get_metrics(manager).backlog_size == 0
      assert KeyedStorage.count(one) == 20
      PipelineManager.shutdown(manager)
    end
  end

  test "an option without a bound may be :infinity" do
    source = Sources.fill(Sources.new(:native), Sources.events(1..900))
    tries = :atomics.new(1, [])
    # More attempts than the default limit allows.
    store = fn events ->
      if length(events) > 1 or :atomics.add_get(tries, 1, 1) < 40, do: {:error, :not_yet}, else: :ok
    end

    {:ok, _} =
      PipelineManager.start_link(
        ring_buffer: source,
        storage: store,
        batch_size: 4,
        async_writer_pool_size: 1,
        max_backlog: :infinity,
        retry_limit: :infinity,
        storage_timeout_ms: :infinity,
        max_dead_letters: :infinity,
        max_stored_events: :infinity,
        poll_interval_ms: 5,
        retry_max_ms: 1
      )

    eventually(fn -> PipelineManager.get_metrics().events_processed == 900 end)
    assert PipelineManager.get_metrics().dead_lettered == 0

    for key <- [:max_backlog, :retry_limit, :storage_timeout_ms, :max_dead_letters, :max_stored_events] do
      assert PipelineManager.update_config([{key, :infinity}]) == :ok
    end

    PipelineManager.shutdown()
    # The default storage, and the dead letters.
    source = Sources.fill(Sources.new(:native), Sources.events(1..20))
    {:ok, manager} = PipelineManager.start_link(ring_buffer: source, max_stored_events: :infinity)
    eventually(fn -> PipelineManager.get_metrics().events_processed == 20 end)
    assert ElixirScope.Capture.EtsStorage.stats(PipelineManager.get_storage(manager)).max_events == :infinity
    PipelineManager.shutdown()
    source = Sources.fill(Sources.new(:native), Sources.events(1..20))
    store = fn _ -> {:error, :never} end

    {:ok, manager} =
      PipelineManager.start_link(ring_buffer: source, storage: store, retry_limit: 1, max_dead_letters: :infinity)

    eventually(fn -> PipelineManager.get_metrics().dead_lettered == 20 end)
    assert length(PipelineManager.dead_letters(manager)) == 20
    assert PipelineManager.get_metrics().discarded == 0
    PipelineManager.shutdown()
  end

  defp settled(metrics), do: if(metrics.backlog_size == 0, do: metrics)
end
