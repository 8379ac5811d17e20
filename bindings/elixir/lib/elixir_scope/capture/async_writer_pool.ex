defmodule ElixirScope.Capture.AsyncWriterPool do
  @moduledoc """
  A pool of `ElixirScope.Capture.AsyncWriter` processes that share one cursor: each event of the source is taken by one of them.

  A writer that dies is replaced at once, and what it held is taken by another; one that dies again and again is replaced
  after a short pause (100 ms at most). The other writers keep their pids. Scaling takes effect before `scale_pool/2` answers:
  surplus writers finish the batch in hand beside the new pool, for a second at most, then what they hold comes back.

  The pool never waits for a writer: its figures are counters that all share, so a slow storage slows nobody who asks.

  Options are those of the writers, `:pool_size` (4; 0 starts none, 1,024 at most) and `:max_backlog`.
  """

  use GenServer
  require Logger

  alias ElixirScope.Capture.{AsyncWriter, Consumer, DeadLetters, Options, Source, Tally, Telemetry}

  @defaults %{pool_size: 4, ring_buffer: nil, batch_size: 50, poll_interval_ms: 100, max_backlog: 1000}
  @most 1_024
  @drain_ms 2_000
  @finish_ms 1_000
  @pause_ms 100
  # A writer that has lived for so long did not die of its start.
  @long_life_ms 1_000

  defstruct [:config, :workers, :worker_assignments, :start_time, :worker_monitors]

  @typedoc """
  What `get_state/1` answers. A segment is `{index, size of the pool}`. `start_time` is in monotonic nanoseconds.
  """
  @type t :: %__MODULE__{
          config: map(),
          workers: [pid()],
          worker_assignments: %{pid() => segment()},
          start_time: integer(),
          worker_monitors: %{pid() => reference()}
        }
  @type segment :: {non_neg_integer(), pos_integer()}

  @doc "Starts a pool that is linked to the caller. Answers `{:ok, pid}` whatever the ring buffer or the storage is."
  @spec start_link(keyword() | map() | nil) :: GenServer.on_start()
  def start_link(opts \\ []), do: GenServer.start_link(__MODULE__, {:alone, opts})

  # Under a manager: `home` tells the configuration and the consumer, which outlive the pool.
  @doc false
  @spec start_managed(home :: {module(), term()}) :: GenServer.on_start()
  def start_managed(home), do: GenServer.start_link(__MODULE__, {:managed, home})

  @doc "The state of the pool."
  @spec get_state(GenServer.server()) :: t()
  def get_state(server), do: GenServer.call(server, :get_state)

  @doc "Makes it so many writers (0 to 1,024), at once."
  @spec scale_pool(GenServer.server(), non_neg_integer()) :: :ok | {:error, :invalid_pool_size | :too_many_workers}
  def scale_pool(server, size), do: GenServer.call(server, {:scale_pool, size})

  @doc """
  `total_events_read`, `total_events_processed`, `total_batches_processed`, `total_errors` (these never go back),
  `average_processing_rate` (events per second and writer), `worker_count`; and `processing_rate` of all, `dead_lettered`,
  `discarded` (dead letters), `overwritten`, `skipped` (holes), `worker_restarts`, `backlog_size`.
  """
  @spec get_metrics(GenServer.server()) :: map()
  def get_metrics(server), do: GenServer.call(server, :get_metrics)

  @doc "Which writer has which segment."
  @spec get_worker_assignments(GenServer.server()) :: %{pid() => segment()}
  def get_worker_assignments(server), do: GenServer.call(server, :get_worker_assignments)

  @doc """
  `status` (`:healthy` or `:degraded`), `worker_count`, `healthy_workers`, `failed_workers`, `uptime_ms`, `reasons`:

    * `:workers_down`: a writer is about to be replaced;
    * `:invalid_ring_buffer`, `:ring_buffer_failing`: it is no ring, or reading it fails;
    * `:storage_unavailable`, `:storage_failing`, `:storage_slow`: it is not there, refuses, or has held a batch for five seconds;
    * `:backlog`: more than `:max_backlog` events have been waiting for a second.
  """
  @spec health_check(GenServer.server()) :: map()
  def health_check(server), do: GenServer.call(server, :health_check)

  @doc "The events that the storage would not take, oldest first."
  @spec dead_letters(GenServer.server(), pos_integer() | :infinity) :: [DeadLetters.letter()]
  def dead_letters(server, limit \\ :infinity), do: DeadLetters.list(GenServer.call(server, :dead_letters), limit)

  @doc "The storage that it uses: the one it was given, else an `ElixirScope.Capture.EtsStorage`."
  @spec get_storage(GenServer.server()) :: term()
  def get_storage(server), do: GenServer.call(server, :get_storage)

  @doc "Stores what there is, for two seconds at most, and ends with reason `:normal`, writers first."
  @spec stop(GenServer.server()) :: :ok
  def stop(server), do: GenServer.stop(server, :normal)

  # The manager's configuration has changed.
  @doc false
  @spec reload(pid()) :: :ok
  def reload(server), do: GenServer.call(server, :reload)

  # ---- the process ----

  @impl true
  def init(how) do
    Process.flag(:trap_exit, true)
    {home, config, consumer} = origin(how)
    Consumer.count(consumer, :pool_starts, 1)

    pool = %{
      config: config,
      consumer: consumer,
      home: home,
      start_time: System.monotonic_time(:nanosecond),
      # Segment index => the writer, or the times that it has died in a row while its next one is due.
      workers: %{},
      deaths: %{},
      leaving: %{}
    }

    first_ms = if Consumer.total(consumer, :pool_starts) > 1, do: 0, else: AsyncWriter.first_ms(config)
    {:ok, resize(pool, size_of(config), first_ms)}
  end

  defp origin({:alone, opts}) do
    config = Options.config(opts, @defaults)
    {nil, config, Consumer.new(config)}
  end

  defp origin({:managed, {module, key} = home}) do
    {given, consumer} = module.pool_setup(key)
    {home, Options.config(given, @defaults), consumer}
  end

  defp size_of(config), do: config |> Options.integer(:pool_size, 4, 0) |> min(@most)

  @impl true
  def handle_call(:get_state, _from, pool), do: {:reply, state(pool), pool}

  def handle_call({:scale_pool, size}, _from, pool) when is_integer(size) and size in 0..@most do
    Telemetry.execute([:pool, :scaled], %{size: size}, %{pool: self(), previous: size_of(pool.config)})
    with {module, key} <- pool.home, do: module.pool_scaled(key, size)
    pool = resize(pool, size, 0)
    {:reply, :ok, %{pool | config: Map.put(pool.config, :pool_size, size)}}
  end

  def handle_call({:scale_pool, size}, _from, pool) when is_integer(size) and size > 0,
    do: {:reply, {:error, :too_many_workers}, pool}

  def handle_call({:scale_pool, _}, _from, pool), do: {:reply, {:error, :invalid_pool_size}, pool}
  def handle_call(:get_metrics, _from, pool), do: {:reply, metrics(pool), pool}
  def handle_call(:get_worker_assignments, _from, pool), do: {:reply, assignments(pool), pool}
  def handle_call(:health_check, _from, pool), do: {:reply, health(pool), pool}
  def handle_call(:dead_letters, _from, pool), do: {:reply, pool.consumer.letters, pool}
  def handle_call(:get_storage, _from, pool), do: {:reply, Consumer.storage(pool.consumer, pool.config), pool}

  def handle_call(:reload, _from, %{home: {_, _} = home} = pool) do
    {_, config, consumer} = origin({:managed, home})

    # Writers of another source end with what they have taken from it.
    pool = if consumer.cursor == pool.consumer.cursor, do: pool, else: dismiss(pool, Map.keys(pool.workers))

    for {_, %{pid: pid}} <- pool.workers, do: AsyncWriter.configure(pid, worker_config(config))
    {:reply, :ok, resize(%{pool | config: config, consumer: consumer}, size_of(config), 0)}
  end

  def handle_call(_, _from, pool), do: {:reply, {:error, :unknown_call}, pool}

  @impl true
  def handle_cast(_, pool), do: {:noreply, pool}

  @impl true
  def handle_info({:DOWN, monitor, :process, pid, reason}, pool) do
    case Enum.find(pool.workers, fn {_, worker} -> worker.monitor == monitor end) do
      {index, worker} -> {:noreply, replace(pool, index, worker, reason)}
      nil -> {:noreply, %{pool | leaving: Map.delete(pool.leaving, pid)}}
    end
  end

  def handle_info({:start_worker, index}, pool) do
    if index < size_of(pool.config) and not is_map_key(pool.workers, index),
      do: {:noreply, hire(pool, index, 0)},
      else: {:noreply, pool}
  end

  def handle_info({:too_late, pid}, pool) do
    if is_map_key(pool.leaving, pid), do: Process.exit(pid, :kill)
    {:noreply, pool}
  end

  # Exits of writers come as :DOWN too; the parent's is seen to by GenServer.
  def handle_info(_, pool), do: {:noreply, pool}

  @impl true
  def terminate(reason, pool) do
    # Only who is asked to stop has time to store what there is.
    deadline = now() + if(orderly?(reason), do: @drain_ms, else: 0)
    if orderly?(reason), do: for({_, %{pid: pid}} <- pool.workers, do: AsyncWriter.leave(pid, {:drain, deadline}))
    monitors = Map.merge(pool.leaving, Map.new(pool.workers, fn {_, worker} -> {worker.pid, worker.monitor} end))
    left = await(monitors, deadline + if(orderly?(reason), do: 200, else: 0))
    for {pid, _} <- left, do: Process.exit(pid, :kill)
    await(left, :infinity)
    :ok
  end

  defp orderly?(reason), do: reason in [:normal, :shutdown] or match?({:shutdown, _}, reason)

  defp await(monitors, _deadline) when map_size(monitors) == 0, do: monitors

  defp await(monitors, deadline) do
    receive do
      {:DOWN, _, :process, pid, _} -> await(Map.delete(monitors, pid), deadline)
    after
      if(deadline == :infinity, do: :infinity, else: max(deadline - now(), 0)) -> monitors
    end
  end

  # ---- writers ----

  defp resize(pool, size, first_ms) do
    pool = dismiss(pool, Enum.filter(Map.keys(pool.workers), &(&1 >= size)))
    pool = %{pool | deaths: Map.filter(pool.deaths, fn {index, _} -> index < size end)}
    Enum.reduce(0..(size - 1)//1, pool, fn index, pool -> hire(pool, index, first_ms) end)
  end

  defp hire(%{workers: workers} = pool, index, _first_ms) when is_map_key(workers, index), do: pool

  defp hire(pool, index, first_ms) do
    tally = Tally.new()
    share = %{consumer: pool.consumer, tally: tally, first_ms: first_ms}
    # Linked: a writer ends with its pool, however that ends.
    {:ok, pid} = AsyncWriter.start_link(worker_config(pool.config), share)
    worker = %{pid: pid, monitor: Process.monitor(pid), tally: tally, since: now()}
    %{pool | workers: Map.put(pool.workers, index, worker)}
  end

  defp dismiss(pool, indexes) do
    Enum.reduce(indexes, pool, fn index, pool ->
      {%{pid: pid, monitor: monitor}, workers} = Map.pop!(pool.workers, index)
      AsyncWriter.leave(pid, {:finish, now() + @finish_ms})
      Process.send_after(self(), {:too_late, pid}, @finish_ms)
      %{pool | workers: workers, leaving: Map.put(pool.leaving, pid, monitor)}
    end)
  end

  defp replace(pool, index, worker, reason) do
    Consumer.count(pool.consumer, :worker_restarts, 1)
    Telemetry.execute([:worker, :restarted], %{count: 1}, %{pool: self(), worker: worker.pid, reason: reason})
    pool = %{pool | workers: Map.delete(pool.workers, index)}
    deaths = if now() - worker.since >= @long_life_ms, do: 1, else: Map.get(pool.deaths, index, 0) + 1
    pool = %{pool | deaths: Map.put(pool.deaths, index, deaths)}

    if deaths == 1 do
      Logger.warning("AsyncWriter #{inspect(worker.pid)} died (#{inspect(reason, limit: 10)}), another takes its place")
      hire(pool, index, 0)
    else
      Process.send_after(self(), {:start_worker, index}, min(5 * Integer.pow(2, min(deaths, 10)), @pause_ms))
      pool
    end
  end

  defp worker_config(config), do: Map.delete(config, :pool_size)

  # ---- what it tells ----

  defp state(pool) do
    workers = in_order(pool)

    %__MODULE__{
      config: pool.config,
      workers: Enum.map(workers, & &1.pid),
      worker_assignments: assignments(pool),
      start_time: pool.start_time,
      worker_monitors: Map.new(workers, &{&1.pid, &1.monitor})
    }
  end

  defp in_order(pool), do: pool.workers |> Enum.sort_by(&elem(&1, 0)) |> Enum.map(&elem(&1, 1))

  defp assignments(pool) do
    size = size_of(pool.config)
    Map.new(pool.workers, fn {index, worker} -> {worker.pid, {index, size}} end)
  end

  defp metrics(pool) do
    totals = Consumer.totals(pool.consumer)
    rate = Consumer.processing_rate(pool.consumer)
    count = map_size(pool.workers)

    totals
    |> Map.take([:dead_lettered, :discarded, :overwritten, :skipped, :worker_restarts])
    |> Map.merge(%{
      total_events_read: totals.events_read,
      total_events_processed: totals.events_processed,
      total_batches_processed: totals.batches_processed,
      average_processing_rate: rate / max(count, 1),
      total_errors: totals.error_count,
      worker_count: count,
      processing_rate: rate,
      backlog_size: Source.backlog(pool.consumer)
    })
  end

  defp health(pool) do
    target = size_of(pool.config)
    alive = Enum.count(pool.workers, fn {_, worker} -> Process.alive?(worker.pid) end)
    backlog = Source.backlog(pool.consumer)
    over? = Consumer.backlogged?(pool.consumer, backlog, Options.integer(pool.config, :max_backlog, 1_000))

    reasons =
      if(alive < target, do: [:workers_down], else: []) ++
        if(over?, do: [:backlog], else: []) ++
        Enum.flat_map(pool.workers, fn {_, worker} -> Tally.reasons(worker.tally) end)

    %{
      status: if(reasons == [], do: :healthy, else: :degraded),
      reasons: Enum.uniq(reasons),
      worker_count: target,
      healthy_workers: alive,
      failed_workers: target - alive,
      uptime_ms: Consumer.uptime_ms(pool.start_time),
      backlog_size: backlog
    }
  end

  defp now, do: System.monotonic_time(:millisecond)
end
