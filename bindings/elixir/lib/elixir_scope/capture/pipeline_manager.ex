defmodule ElixirScope.Capture.PipelineManager do
  @moduledoc """
  The supervisor at the top of a pipeline, with its configuration, figures, health and shutdown.

  It has one child, an `ElixirScope.Capture.AsyncWriterPool`. The manager owns the configuration, the shared cursor, all counters, the dead letters and
  the default storage, so that the successor of a dead pool goes on where that was.

      {:ok, ring} = ElixirScope.Capture.NativeRingBuffer.new(size: 65_536)
      {:ok, _} = ElixirScope.Capture.PipelineManager.start_link(ring_buffer: ring)

  ## Options

  A keyword list, a map, or nothing: `:name` (this module), `:async_writer_pool_size` (4), `:batch_size` (50), `:max_backlog` (5,000),
  `:correlation_enabled` (true), `:backpressure_enabled` (true; without effect: the `overflow_strategy` of a ring decides what happens when it is full),
  and all options of `ElixirScope.Capture.AsyncWriter`. `:sampling_max_weight`, `:sampling_hold_ms`, `:watermark_percent` and `:share` are given to the ring buffer, if it
  is an `ElixirScope.Capture.Capture`: see `ElixirScope.Capture.Capture.update/2`. Unknown options are kept in `config` and ignored.

  The functions take the server, by default the one that is registered as this module. For a server on another node (its pid, `{name, node}`, a
  global name) they run on that node, which needs this module. If that fails, they return `{:error, {:remote, node, reason}}`, and
  `health_check/1` a map with the status `:unknown`.
  """

  use Supervisor

  alias ElixirScope.Capture.Capture.UnderLoad
  alias ElixirScope.Capture.{AsyncWriterPool, ConsumerGroup, DeadLetters, Options, Remote, Source}

  @defaults %{
    async_writer_pool_size: 4,
    batch_size: 50,
    max_backlog: 5000,
    correlation_enabled: true,
    backpressure_enabled: true
  }

  @manager :"$elixir_scope_capture_manager"

  defstruct [:config, :start_time, :events_processed, :processing_rate, :children]

  @typedoc "The answer of `get_state/1`. `start_time` is in monotonic nanoseconds; `children` as of `Supervisor.which_children/1`."
  @type t :: %__MODULE__{
          config: map(),
          start_time: integer(),
          events_processed: non_neg_integer(),
          processing_rate: float(),
          children: [{term(), pid() | :restarting | :undefined, :worker | :supervisor, [module()] | :dynamic}]
        }

  @doc "The child specification; its id is the manager's name."
  @spec child_spec(keyword() | map() | nil) :: Supervisor.child_spec()
  def child_spec(opts) do
    %{
      id: name(opts),
      start: {__MODULE__, :start_link, [opts]},
      type: :supervisor,
      restart: :permanent,
      shutdown: :infinity
    }
  end

  @doc "Starts the pipeline, linked to the caller. Returns `{:ok, pid}` for any ring buffer and storage."
  @spec start_link(keyword() | map() | nil) :: Supervisor.on_start()
  def start_link(opts \\ []) do
    case name(opts) do
      nil -> Supervisor.start_link(__MODULE__, opts)
      name -> Supervisor.start_link(__MODULE__, opts, name: name)
    end
  end

  @doc "The state of the pipeline. If it does not run, the state of a new one."
  @spec get_state(Supervisor.supervisor()) :: t() | Remote.error()
  def get_state(server \\ __MODULE__), do: Remote.ask(server, __MODULE__, :get_state, [], fn -> state(server) end)

  defp state(server) do
    case find(server) do
      {:ok, manager} ->
        group = group(manager)

        %__MODULE__{
          config: config(manager),
          start_time: manager.start_time,
          events_processed: ConsumerGroup.total(group, :events_processed),
          processing_rate: ConsumerGroup.processing_rate(group),
          children: children(server)
        }

      :error ->
        now = System.monotonic_time(:nanosecond)
        %__MODULE__{config: @defaults, start_time: now, events_processed: 0, processing_rate: 0.0, children: []}
    end
  end

  @doc """
  Merges new values into the configuration. They are in effect when the call returns: the pool has its new size, and its writers use the new
  settings after their current call of the storage. A batch that waits for its next attempt is tried at once, with the new storage if there is
  one. So a new storage can replace one that will not come back. A new ring buffer is read from its oldest event on.

  An invalid value is `{:error, {:invalid_config, option, value}}`, and nothing is changed. (`start_link/1` keeps such a value in `config` and
  uses the default, because it always returns `{:ok, pid}`.) These are checked:
  `:async_writer_pool_size` (0 to 1,024); `:batch_size`, `:poll_interval_ms`, `:retry_initial_ms`, `:retry_max_ms` (1 or more); `:max_backlog`,
  `:retry_limit`, `:storage_timeout_ms`, `:max_dead_letters`, `:max_stored_events` (1 or more, or `:infinity`); `:correlation_enabled` and
  `:backpressure_enabled` (true or false); `:sampling_max_weight` (0, or a power of two up to 1,048,576), `:sampling_hold_ms` (1 to 86,400,000),
  `:watermark_percent` (1 to 100), `:share` (1 to 1,000). `:max_dead_letters` and `:max_stored_events` have an effect at the start only.
  """
  @spec update_config(Supervisor.supervisor(), map() | keyword()) ::
          :ok | {:error, :not_running | {:invalid_config, atom(), term()}} | Remote.error()
  def update_config(server \\ __MODULE__, new_config) do
    Remote.ask(server, __MODULE__, :update_config, [new_config], fn -> update(server, Options.to_map(new_config)) end)
  end

  defp update(server, new_config) do
    with {:ok, manager} <- find(server),
         :ok <- Options.check(new_config) do
      :ets.insert(manager.table, for({key, value} <- new_config, do: {{:config, key}, value}))
      # An option has two names; the value given last counts.
      for key <- Options.replaced(new_config), do: :ets.delete(manager.table, {:config, key})
      configure_source(group(manager).source, Options.source(new_config), new_config, manager)
      reload_pool(server, 20)
    else
      :error -> {:error, :not_running}
      {:error, _} = error -> error
    end
  end

  # A new ring buffer gets all options that the manager has for it, those of its start as well. Another one keeps what it was told otherwise meanwhile
  # (`Capture.update/2`), also when the pool is restarted.
  defp configure_source(present, new, new_config, _manager) when new in [nil, present],
    do: UnderLoad.configure(present, new_config)

  defp configure_source(_present, new, _new_config, manager), do: UnderLoad.configure(new, config(manager))

  @doc """
  `status` (`:healthy`, `:degraded`, `:down` if the pipeline does not run, or `:unknown` with the reason `{:remote, node, reason}` if its node
  cannot be asked), `children_count`, `uptime_ms`, `reasons` (those of
  `AsyncWriterPool.health_check/1`, `:pool_restarting`, `:not_running`), `worker_restarts`, `pool_restarts`, `workers`; `pressure` (0 to 100) of an
  `ElixirScope.Capture.Capture` or `ElixirScope.Capture.NativeRingBuffer`, and `sampling_weight`, for how many events a kept one of a new trace stands.
  """
  @spec health_check(Supervisor.supervisor()) :: map()
  def health_check(server \\ __MODULE__) do
    with {:error, reason} <- Remote.ask(server, __MODULE__, :health_check, [], fn -> health(server) end) do
      %{status: :unknown, reasons: [reason], workers: 0, children_count: 0, uptime_ms: 0.0}
      |> Map.merge(restarts(nil))
      |> Map.merge(Source.load(nil))
    end
  end

  defp health(server) do
    case find(server) do
      {:ok, manager} ->
        group = group(manager)
        children = children(server)
        {status, reasons, workers} = pool_health(children)

        %{
          status: status,
          reasons: reasons,
          workers: workers,
          children_count: length(children),
          uptime_ms: ConsumerGroup.uptime_ms(manager.start_time)
        }
        |> Map.merge(restarts(group))
        |> Map.merge(Source.load(group))

      :error ->
        %{
          status: :down,
          reasons: [:not_running],
          workers: 0,
          children_count: 0,
          uptime_ms: 0.0
        }
        |> Map.merge(restarts(nil))
        |> Map.merge(Source.load(nil))
    end
  end

  @doc """
  `events_processed`, `processing_rate` (events per second, over the last five seconds), `backlog_size` (captured and not yet
  stored); and `events_read`, `batches_processed`, `error_count`, `dead_lettered`, `discarded` (dead letters), `overwritten`,
  `skipped`, `retries`, `worker_restarts`, `pool_restarts`, `uptime_ms`. No counter ever decreases.

  Of the present ring buffer, if it is an `ElixirScope.Capture.Capture`: `dropped_full`, `dropped_sampled`, `dropped_rule` and
  `stored_priority`.
  """
  @spec get_metrics(Supervisor.supervisor()) :: map() | Remote.error()
  def get_metrics(server \\ __MODULE__), do: Remote.ask(server, __MODULE__, :get_metrics, [], fn -> metrics(server) end)

  defp metrics(server) do
    case find(server) do
      {:ok, manager} ->
        group = group(manager)

        group
        |> ConsumerGroup.totals()
        |> Map.merge(Source.left_out(group))
        |> Map.merge(%{
          processing_rate: ConsumerGroup.processing_rate(group),
          backlog_size: Source.backlog(group),
          uptime_ms: ConsumerGroup.uptime_ms(manager.start_time)
        })

      :error ->
        ConsumerGroup.totals(nil)
        |> Map.merge(Source.left_out(nil))
        |> Map.merge(%{processing_rate: 0.0, backlog_size: 0, uptime_ms: 0.0})
    end
  end

  @doc "The events that the storage refused, oldest first."
  @spec dead_letters(Supervisor.supervisor(), pos_integer() | :infinity) :: [DeadLetters.letter()] | Remote.error()
  def dead_letters(server \\ __MODULE__, limit \\ :infinity) do
    Remote.ask(server, __MODULE__, :dead_letters, [limit], fn -> letters(server, limit) end)
  end

  defp letters(server, limit) do
    with {:ok, manager} <- find(server), do: DeadLetters.list(group(manager).dead_letters, limit), else: (:error -> [])
  end

  @doc "The storage: the configured one, or the default `ElixirScope.Capture.EtsStorage`."
  @spec get_storage(Supervisor.supervisor()) :: term()
  def get_storage(server \\ __MODULE__), do: Remote.ask(server, __MODULE__, :get_storage, [], fn -> storage(server) end)

  defp storage(server) do
    with {:ok, manager} <- find(server),
         do: ConsumerGroup.storage(group(manager), config(manager)),
         else: (:error -> nil)
  end

  @doc "Stores the events that are there, for at most two seconds, and ends with reason `:normal`, children first. `:ok` also if the pipeline does not run."
  @spec shutdown(Supervisor.supervisor()) :: :ok | Remote.error()
  def shutdown(server \\ __MODULE__), do: Remote.ask(server, __MODULE__, :shutdown, [], fn -> stop(server) end)

  defp stop(server) do
    Supervisor.stop(server, :normal, 5_000)
  catch
    # It has ended meanwhile, or does not run.
    :exit, _ -> :ok
  end

  # ---- the supervisor ----

  @impl true
  def init(opts) do
    config = Options.config(opts, @defaults)
    table = :ets.new(:capture_manager, [:set, :public, read_concurrency: true])
    group = ConsumerGroup.new(config, default_storage: true)
    UnderLoad.configure(group.source, config)
    :ets.insert(table, {:group, group})
    :ets.insert(table, for({key, value} <- config, do: {{:config, key}, value}))
    Process.put(@manager, %{table: table, start_time: System.monotonic_time(:nanosecond)})

    pool = %{
      id: AsyncWriterPool,
      start: {AsyncWriterPool, :start_managed, [{__MODULE__, table}]},
      restart: :permanent,
      shutdown: 5_000,
      type: :worker
    }

    # The pool is restarted after any number of deaths, because a restart of the whole pipeline would repair nothing more.
    Supervisor.init([pool], strategy: :one_for_one, max_restarts: 1_000_000, max_seconds: 1)
  end

  @doc false
  # The configuration and the consumer group for the pool of the manager with that table.
  @spec pool_setup(:ets.tid()) :: {map(), ConsumerGroup.t()}
  def pool_setup(table) do
    manager = %{table: table}
    config = config(manager)
    group = ConsumerGroup.with_source(group(manager), config)
    :ets.insert(table, {:group, group})
    size = Options.integer(config, :async_writer_pool_size, 4, 0)
    {config |> Map.drop([:async_writer_pool_size, :name]) |> Map.put(:pool_size, size), group}
  end

  @doc false
  @spec pool_scaled(:ets.tid(), non_neg_integer()) :: true
  def pool_scaled(table, size), do: :ets.insert(table, {{:config, :async_writer_pool_size}, size})

  # ---- the manager's data ----

  defp name(opts), do: opts |> Options.to_map() |> Map.get(:name, __MODULE__)

  # The supervisor has it in its process dictionary, which can be read without a call.
  defp find(server) do
    with pid when is_pid(pid) and node(pid) == node() <- GenServer.whereis(server),
         {:dictionary, dictionary} <- Process.info(pid, :dictionary),
         {_, manager} <- List.keyfind(dictionary, @manager, 0),
         true <- :ets.info(manager.table, :size) != :undefined do
      {:ok, manager}
    else
      _ -> :error
    end
  end

  defp config(%{table: table}) do
    table |> :ets.match({{:config, :"$1"}, :"$2"}) |> Map.new(fn [key, value] -> {key, value} end)
  end

  defp group(%{table: table}), do: :ets.lookup_element(table, :group, 2)

  defp children(server) do
    Supervisor.which_children(server)
  catch
    :exit, _ -> []
  end

  defp pool(children) do
    case List.keyfind(children, AsyncWriterPool, 0) do
      {_, pid, _, _} when is_pid(pid) -> pid
      _ -> nil
    end
  end

  defp restarts(group), do: group |> ConsumerGroup.totals() |> Map.take([:worker_restarts, :pool_restarts])

  defp pool_health(children) do
    health = AsyncWriterPool.health_check(pool(children))
    {health.status, health.reasons, health.worker_count}
  catch
    :exit, _ -> {:degraded, [:pool_restarting], 0}
  end

  # If the pool dies meanwhile, its successor starts with the new configuration.
  defp reload_pool(_server, 0), do: :ok

  defp reload_pool(server, tries) do
    server |> children() |> pool() |> AsyncWriterPool.reload()
  catch
    :exit, _ -> reload_pool(server, tries - 1)
  end
end
