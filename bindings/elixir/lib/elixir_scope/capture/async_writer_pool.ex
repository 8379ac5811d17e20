defmodule ElixirScope.Capture.AsyncWriterPool do
  @moduledoc """
  A pool of `ElixirScope.Capture.AsyncWriter` processes that share one cursor: one of them takes each event of the source.

  A writer that dies is replaced at once, and another one takes its events. A writer that dies repeatedly is replaced after a short pause (at most
  100 ms). The other writers keep their pids. Scaling takes effect before `scale_pool/2` answers. Surplus writers finish their current batch
  beside the new pool, for at most a second. Then their events are returned.

  The pool never waits for a writer: its figures are shared counters, so that a slow storage delays no answer.

  Options are those of the writers, `:pool_size` (4; 0 starts none, 1,024 at most) and `:max_backlog`.
  """

  use GenServer
  require Logger

  alias ElixirScope.Capture.{
    AsyncWriter,
    Attempts,
    ConsumerGroup,
    DeadLetters,
    Options,
    Remote,
    Source,
    Tally,
    Telemetry
  }

  @defaults %{pool_size: 4, ring_buffer: nil, batch_size: 50, poll_interval_ms: 100, max_backlog: 1000}
  @max_size 1_024
  @drain_ms 2_000
  @finish_ms 1_000
  @pause_ms 100
  # The death of a writer that has lived for so long counts as a first one.
  @long_life_ms 1_000

  defstruct [:config, :workers, :worker_assignments, :start_time, :worker_monitors]

  @typedoc """
  The answer of `get_state/1`. A segment is `{index, size of the pool}`. `start_time` is in monotonic nanoseconds.
  """
  @type t :: %__MODULE__{
          config: map(),
          workers: [pid()],
          worker_assignments: %{pid() => segment()},
          start_time: integer(),
          worker_monitors: %{pid() => reference()}
        }
  @type segment :: {non_neg_integer(), pos_integer()}

  @doc "Starts a pool that is linked to the caller. Returns `{:ok, pid}` for any ring buffer and storage."
  @spec start_link(keyword() | map() | nil) :: GenServer.on_start()
  def start_link(opts \\ []), do: GenServer.start_link(__MODULE__, {:alone, opts})

  # Under a manager: `module.pool_setup(key)` of it returns the configuration and the consumer group, which outlive the pool.
  @doc false
  @spec start_managed(manager :: {module(), term()}) :: GenServer.on_start()
  def start_managed(manager), do: GenServer.start_link(__MODULE__, {:managed, manager})

  @doc "The state of the pool."
  @spec get_state(GenServer.server()) :: t()
  def get_state(server), do: GenServer.call(server, :get_state)

  @doc "Sets the number of writers (0 to 1,024), with immediate effect."
  @spec scale_pool(GenServer.server(), non_neg_integer()) :: :ok | {:error, :invalid_pool_size | :too_many_workers}
  def scale_pool(server, size), do: GenServer.call(server, {:scale_pool, size})

  @doc """
  `total_events_read`, `total_events_processed`, `total_batches_processed`, `total_errors` (these never go back),
  `average_processing_rate` (events per second and writer), `worker_count`; and `processing_rate` of all, `dead_lettered`,
  `discarded` (dead letters), `overwritten`, `skipped` (holes), `worker_restarts`, `backlog_size`.
  """
  @spec get_metrics(GenServer.server()) :: map()
  def get_metrics(server), do: GenServer.call(server, :get_metrics)

  @doc "The segment of each writer."
  @spec get_worker_assignments(GenServer.server()) :: %{pid() => segment()}
  def get_worker_assignments(server), do: GenServer.call(server, :get_worker_assignments)

  @doc """
  `status` (`:healthy` or `:degraded`), `worker_count`, `healthy_workers`, `failed_workers`, `uptime_ms`, `reasons`:

    * `:workers_down`: a dead writer is not replaced yet;
    * `:invalid_ring_buffer`, `:ring_buffer_failing`: the ring buffer is none, or reading it fails;
    * `:storage_unavailable`, `:storage_failing`, `:storage_slow`: the storage is not there, refuses events, or has had a batch for five seconds;
    * `:storage_function_purged`: the storage is a function whose code is gone; `PipelineManager.update_config/2` sets another;
    * `:writer_suspended`, `:writer_stuck`: the process that stores is suspended, or has had a batch for five seconds outside the storage (in a
      telemetry handler that hangs, for example);
    * `:backlog`: more than `:max_backlog` events have been waiting for a second.
  """
  @spec health_check(GenServer.server()) :: map()
  def health_check(server), do: GenServer.call(server, :health_check)

  @doc "The events that the storage refused, oldest first."
  @spec dead_letters(GenServer.server(), pos_integer() | :infinity) :: [DeadLetters.letter()] | Remote.error()
  def dead_letters(server, limit \\ :infinity) do
    # They are in a table of the server's node.
    here = fn -> DeadLetters.list(GenServer.call(server, :dead_letters), limit) end
    Remote.ask(server, __MODULE__, :dead_letters, [limit], here)
  end

  @doc "The storage: the configured one, or the default `ElixirScope.Capture.EtsStorage`."
  @spec get_storage(GenServer.server()) :: term()
  def get_storage(server), do: GenServer.call(server, :get_storage)

  @doc "Stores the events that are there, for at most two seconds, and ends with reason `:normal`, writers first."
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
    {manager, config, group} = origin(how)
    ConsumerGroup.count(group, :pool_starts, 1)
    Attempts.sweep(group)

    pool = %{
      config: config,
      group: group,
      manager: manager,
      start_time: System.monotonic_time(:nanosecond),
      # By segment index: the writers, and how often each has died in a row. `leaving`: writers that finish their last batch.
      workers: %{},
      deaths: %{},
      leaving: %{}
    }

    first_ms = if ConsumerGroup.total(group, :pool_starts) > 1, do: 0, else: AsyncWriter.first_ms(config)
    {:ok, resize(pool, size_of(config), first_ms)}
  end

  defp origin({:alone, opts}) do
    config = Options.config(opts, @defaults)
    {nil, config, ConsumerGroup.new(config)}
  end

  defp origin({:managed, {module, key} = manager}) do
    {given, group} = module.pool_setup(key)
    {manager, Options.config(given, @defaults), group}
  end

  defp size_of(config), do: config |> Options.integer(:pool_size, 4, 0) |> min(@max_size)

  @impl true
  def handle_call(:get_state, _from, pool), do: {:reply, state(pool), pool}

  def handle_call({:scale_pool, size}, _from, pool) when is_integer(size) and size in 0..@max_size do
    Telemetry.execute([:pool, :scaled], %{size: size}, %{pool: self(), previous: size_of(pool.config)})
    with {module, key} <- pool.manager, do: module.pool_scaled(key, size)
    pool = resize(pool, size, 0)
    {:reply, :ok, %{pool | config: Map.put(pool.config, :pool_size, size)}}
  end

  def handle_call({:scale_pool, size}, _from, pool) when is_integer(size) and size > 0,
    do: {:reply, {:error, :too_many_workers}, pool}

  def handle_call({:scale_pool, _}, _from, pool), do: {:reply, {:error, :invalid_pool_size}, pool}
  def handle_call(:get_metrics, _from, pool), do: {:reply, metrics(pool), pool}
  def handle_call(:get_worker_assignments, _from, pool), do: {:reply, assignments(pool), pool}
  def handle_call(:health_check, _from, pool), do: {:reply, health(pool), pool}
  def handle_call(:dead_letters, _from, pool), do: {:reply, pool.group.dead_letters, pool}
  def handle_call(:get_storage, _from, pool), do: {:reply, ConsumerGroup.storage(pool.group, pool.config), pool}

  def handle_call(:reload, _from, %{manager: {_, _} = manager} = pool) do
    {_, config, group} = origin({:managed, manager})

    # Writers of the old source finish their current batch and end.
    pool = if group.cursor == pool.group.cursor, do: pool, else: retire(pool, Map.keys(pool.workers))

    for {_, %{pid: pid}} <- pool.workers, do: AsyncWriter.configure(pid, worker_config(config))
    {:reply, :ok, resize(%{pool | config: config, group: group}, size_of(config), 0)}
  end

  def handle_call(_, _from, pool), do: {:reply, {:error, :unknown_call}, pool}

  @impl true
  def handle_cast(_, pool), do: {:noreply, pool}

  @impl true
  def handle_info({:DOWN, monitor, :process, pid, reason}, pool) do
    Attempts.worker_ended(pool.group, pid)

    case Enum.find(pool.workers, fn {_, worker} -> worker.monitor == monitor end) do
      {index, worker} -> {:noreply, replace(pool, index, worker, reason)}
      nil -> {:noreply, %{pool | leaving: Map.delete(pool.leaving, pid)}}
    end
  end

  def handle_info({:start_worker, index}, pool) do
    if index < size_of(pool.config) and not is_map_key(pool.workers, index),
      do: {:noreply, start_worker(pool, index, 0)},
      else: {:noreply, pool}
  end

  def handle_info({:finish_timeout, pid}, pool) do
    if is_map_key(pool.leaving, pid), do: Process.exit(pid, :kill)
    {:noreply, pool}
  end

  # The exits of writers also come as :DOWN. GenServer handles the parent's exit.
  def handle_info(_, pool), do: {:noreply, pool}

  @impl true
  def terminate(reason, pool) do
    # Only an orderly stop leaves time to store the remaining events.
    deadline = now() + if(orderly?(reason), do: @drain_ms, else: 0)
    if orderly?(reason), do: for({_, %{pid: pid}} <- pool.workers, do: AsyncWriter.leave(pid, {:drain, deadline}))
    monitors = Map.merge(pool.leaving, Map.new(pool.workers, fn {_, worker} -> {worker.pid, worker.monitor} end))
    left = await(monitors, deadline + if(orderly?(reason), do: 200, else: 0))
    # An exit that the writer can handle: it kills its loop, also a loop in which a storage traps exits.
    for {pid, _} <- left, do: Process.exit(pid, :killed)
    left = await(left, now() + 200)
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
    pool = retire(pool, Enum.filter(Map.keys(pool.workers), &(&1 >= size)))
    pool = %{pool | deaths: Map.filter(pool.deaths, fn {index, _} -> index < size end)}
    Enum.reduce(0..(size - 1)//1, pool, fn index, pool -> start_worker(pool, index, first_ms) end)
  end

  defp start_worker(%{workers: workers} = pool, index, _first_ms) when is_map_key(workers, index), do: pool

  defp start_worker(pool, index, first_ms) do
    tally = Tally.new()
    share = %{group: pool.group, tally: tally, first_ms: first_ms}
    # Linked, so that a writer ends with its pool in every case.
    {:ok, pid} = AsyncWriter.start_link(worker_config(pool.config), share)
    worker = %{pid: pid, monitor: Process.monitor(pid), tally: tally, since: now()}
    %{pool | workers: Map.put(pool.workers, index, worker)}
  end

  defp retire(pool, indexes) do
    Enum.reduce(indexes, pool, fn index, pool ->
      {%{pid: pid, monitor: monitor}, workers} = Map.pop!(pool.workers, index)
      AsyncWriter.leave(pid, {:finish, now() + @finish_ms})
      Process.send_after(self(), {:finish_timeout, pid}, @finish_ms)
      %{pool | workers: workers, leaving: Map.put(pool.leaving, pid, monitor)}
    end)
  end

  defp replace(pool, index, worker, reason) do
    ConsumerGroup.count(pool.group, :worker_restarts, 1)
    Telemetry.execute([:worker, :restarted], %{count: 1}, %{pool: self(), worker: worker.pid, reason: reason})
    pool = %{pool | workers: Map.delete(pool.workers, index)}
    deaths = if now() - worker.since >= @long_life_ms, do: 1, else: Map.get(pool.deaths, index, 0) + 1
    pool = %{pool | deaths: Map.put(pool.deaths, index, deaths)}

    if deaths == 1 do
      Logger.warning(
        "AsyncWriter #{inspect(worker.pid)} died (#{inspect(reason, limit: 10, structs: false)}), another takes its place"
      )

      start_worker(pool, index, 0)
    else
      Process.send_after(self(), {:start_worker, index}, min(5 * Integer.pow(2, min(deaths, 10)), @pause_ms))
      pool
    end
  end

  defp worker_config(config), do: Map.delete(config, :pool_size)

  # ---- answers ----

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
    totals = ConsumerGroup.totals(pool.group)
    rate = ConsumerGroup.processing_rate(pool.group)
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
      backlog_size: Source.backlog(pool.group)
    })
  end

  defp health(pool) do
    target = size_of(pool.config)
    alive = Enum.count(pool.workers, fn {_, worker} -> Process.alive?(worker.pid) end)
    backlog = Source.backlog(pool.group)
    over? = ConsumerGroup.backlogged?(pool.group, backlog, Options.limit(pool.config, :max_backlog, 1_000))

    reasons =
      if(alive < target, do: [:workers_down], else: []) ++
        if(over?, do: [:backlog], else: []) ++
        Enum.flat_map(pool.workers, fn {_, worker} -> reasons(pool, worker) end)

    %{
      status: if(reasons == [], do: :healthy, else: :degraded),
      reasons: Enum.uniq(reasons),
      worker_count: target,
      healthy_workers: alive,
      failed_workers: target - alive,
      uptime_ms: ConsumerGroup.uptime_ms(pool.start_time),
      backlog_size: backlog
    }
  end

  defp reasons(pool, worker), do: Tally.reasons(worker.tally, Attempts.loop_of(pool.group, worker.pid))

  defp now, do: System.monotonic_time(:millisecond)
end
