defmodule ElixirScope.Capture.PipelineManager do
  @moduledoc """
  The supervisor at the top of a pipeline, and its front: configuration, figures, health, shutdown.

  It has one child, an `ElixirScope.Capture.AsyncWriterPool`. The configuration, the consumer's cursor, all counters, the dead
  letters and the default storage are its own, so that a pool that dies is replaced by one that goes on where it was.

      {:ok, ring} = ElixirScope.Capture.NativeRingBuffer.new(size: 65_536)
      {:ok, _} = ElixirScope.Capture.PipelineManager.start_link(ring_buffer: ring)

  ## Options

  A keyword list, a map, or nothing: `:name` (this module), `:async_writer_pool_size` (4), `:batch_size` (50), `:max_backlog` (5,000),
  `:correlation_enabled` (true), `:backpressure_enabled` (true; what gives way when a ring is full is its own `overflow_strategy`),
  and all options of `ElixirScope.Capture.AsyncWriter`. Others are kept in `config` and ignored.

  Functions take the server, by default the one that is registered as this module.
  """

  use Supervisor
  require Logger

  alias ElixirScope.Capture.{AsyncWriterPool, Consumer, DeadLetters, Options, Source}

  @defaults %{
    async_writer_pool_size: 4,
    batch_size: 50,
    max_backlog: 5000,
    correlation_enabled: true,
    backpressure_enabled: true
  }

  @home :"$elixir_scope_capture_manager"

  defstruct [:config, :start_time, :events_processed, :processing_rate, :children]

  @typedoc "What `get_state/1` answers. `start_time` is in monotonic nanoseconds; `children` as of `Supervisor.which_children/1`."
  @type t :: %__MODULE__{
          config: map(),
          start_time: integer(),
          events_processed: non_neg_integer(),
          processing_rate: float(),
          children: [{term(), pid() | :restarting | :undefined, :worker | :supervisor, [module()] | :dynamic}]
        }

  @doc "The specification for a supervisor; its id is the manager's name."
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

  @doc "Starts the pipeline, linked to the caller. Answers `{:ok, pid}` whatever the ring buffer or the storage is."
  @spec start_link(keyword() | map() | nil) :: Supervisor.on_start()
  def start_link(opts \\ []) do
    case name(opts) do
      nil -> Supervisor.start_link(__MODULE__, opts)
      name -> Supervisor.start_link(__MODULE__, opts, name: name)
    end
  end

  @doc "The state of the pipeline; of one that does not run, that of a new one."
  @spec get_state(Supervisor.supervisor()) :: t()
  def get_state(server \\ __MODULE__) do
    case home(server) do
      {:ok, home} ->
        consumer = consumer(home)

        %__MODULE__{
          config: config(home),
          start_time: home.start_time,
          events_processed: Consumer.total(consumer, :events_processed),
          processing_rate: Consumer.processing_rate(consumer),
          children: children(server)
        }

      :error ->
        now = System.monotonic_time(:nanosecond)
        %__MODULE__{config: @defaults, start_time: now, events_processed: 0, processing_rate: 0.0, children: []}
    end
  end

  @doc """
  Merges new values into the configuration. When it answers, they hold: the pool has its new size, and its writers go on with the new
  settings after the batch in hand. Another ring buffer is read from its oldest event on.
  """
  @spec update_config(Supervisor.supervisor(), map() | keyword()) :: :ok | {:error, :not_running}
  def update_config(server \\ __MODULE__, new_config) do
    case home(server) do
      {:ok, home} ->
        rows = for {key, value} <- Options.to_map(new_config), do: {{:config, key}, value}
        :ets.insert(home.table, rows)
        tell_pool(server, 20)

      :error ->
        {:error, :not_running}
    end
  end

  @doc """
  `status` (`:healthy`, `:degraded`, or `:down` if it does not run), `children_count`, `uptime_ms`, `reasons` (those of
  `AsyncWriterPool.health_check/1`, `:pool_restarting`, `:not_running`), `worker_restarts`, `pool_restarts`, `workers`.
  """
  @spec health_check(Supervisor.supervisor()) :: map()
  def health_check(server \\ __MODULE__) do
    case home(server) do
      {:ok, home} ->
        consumer = consumer(home)
        children = children(server)
        {status, reasons, workers} = pool_health(children)

        %{
          status: status,
          reasons: reasons,
          workers: workers,
          children_count: length(children),
          uptime_ms: Consumer.uptime_ms(home.start_time)
        }
        |> Map.merge(restarts(consumer))

      :error ->
        %{
          status: :down,
          reasons: [:not_running],
          workers: 0,
          children_count: 0,
          uptime_ms: 0.0
        }
        |> Map.merge(restarts(nil))
    end
  end

  @doc """
  `events_processed`, `processing_rate` (events per second, over the last five seconds), `backlog_size` (captured and not yet
  stored); and `events_read`, `batches_processed`, `error_count`, `dead_lettered`, `discarded` (dead letters), `overwritten`,
  `skipped`, `retries`, `worker_restarts`, `pool_restarts`, `uptime_ms`. No counter ever goes back.
  """
  @spec get_metrics(Supervisor.supervisor()) :: map()
  def get_metrics(server \\ __MODULE__) do
    case home(server) do
      {:ok, home} ->
        consumer = consumer(home)

        consumer
        |> Consumer.totals()
        |> Map.merge(%{
          processing_rate: Consumer.processing_rate(consumer),
          backlog_size: Source.backlog(consumer),
          uptime_ms: Consumer.uptime_ms(home.start_time)
        })

      :error ->
        Map.merge(Consumer.totals(nil), %{processing_rate: 0.0, backlog_size: 0, uptime_ms: 0.0})
    end
  end

  @doc "The events that the storage would not take, oldest first."
  @spec dead_letters(Supervisor.supervisor(), pos_integer() | :infinity) :: [DeadLetters.letter()]
  def dead_letters(server \\ __MODULE__, limit \\ :infinity) do
    with {:ok, home} <- home(server), do: DeadLetters.list(consumer(home).letters, limit), else: (:error -> [])
  end

  @doc "The storage that it uses: the one it was given, else its own `ElixirScope.Capture.EtsStorage`."
  @spec get_storage(Supervisor.supervisor()) :: term()
  def get_storage(server \\ __MODULE__) do
    with {:ok, home} <- home(server), do: Consumer.storage(consumer(home), config(home)), else: (:error -> nil)
  end

  @doc "Stores what there is, for two seconds at most, and ends with reason `:normal`, children first. `:ok` also if it does not run."
  @spec shutdown(Supervisor.supervisor()) :: :ok
  def shutdown(server \\ __MODULE__) do
    Supervisor.stop(server, :normal, 5_000)
  catch
    # It ended meanwhile, or was not there.
    :exit, _ -> :ok
  end

  # ---- the supervisor ----

  @impl true
  def init(opts) do
    config = Options.config(opts, @defaults)
    table = :ets.new(:capture_manager, [:set, :public, read_concurrency: true])
    consumer = Consumer.new(config, default_storage: true)
    :ets.insert(table, {:consumer, consumer})
    :ets.insert(table, for({key, value} <- config, do: {{:config, key}, value}))
    Process.put(@home, %{table: table, start_time: System.monotonic_time(:nanosecond)})

    pool = %{
      id: AsyncWriterPool,
      start: {AsyncWriterPool, :start_managed, [{__MODULE__, table}]},
      restart: :permanent,
      shutdown: 5_000,
      type: :worker
    }

    # A pool may be killed as often as anyone likes: it comes back, and there is nothing that a restart of all would mend.
    Supervisor.init([pool], strategy: :one_for_one, max_restarts: 1_000_000, max_seconds: 1)
  end

  @doc false
  # What a pool of the manager with that table is to run with.
  @spec pool_setup(:ets.tid()) :: {map(), Consumer.t()}
  def pool_setup(table) do
    home = %{table: table}
    config = config(home)
    consumer = Consumer.with_source(consumer(home), config)
    :ets.insert(table, {:consumer, consumer})
    size = Options.integer(config, :async_writer_pool_size, 4, 0)
    {config |> Map.drop([:async_writer_pool_size, :name]) |> Map.put(:pool_size, size), consumer}
  end

  @doc false
  @spec pool_scaled(:ets.tid(), non_neg_integer()) :: true
  def pool_scaled(table, size), do: :ets.insert(table, {{:config, :async_writer_pool_size}, size})

  # ---- where its things are ----

  defp name(opts), do: opts |> Options.to_map() |> Map.get(:name, __MODULE__)

  # The supervisor keeps them in its process dictionary, which can be read without asking it.
  defp home(server) do
    with pid when is_pid(pid) and node(pid) == node() <- GenServer.whereis(server),
         {:dictionary, dictionary} <- Process.info(pid, :dictionary),
         {_, home} <- List.keyfind(dictionary, @home, 0),
         true <- :ets.info(home.table, :size) != :undefined do
      {:ok, home}
    else
      _ -> :error
    end
  end

  defp config(%{table: table}) do
    table |> :ets.match({{:config, :"$1"}, :"$2"}) |> Map.new(fn [key, value] -> {key, value} end)
  end

  defp consumer(%{table: table}), do: :ets.lookup_element(table, :consumer, 2)

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

  defp restarts(consumer), do: consumer |> Consumer.totals() |> Map.take([:worker_restarts, :pool_restarts])

  defp pool_health(children) do
    health = AsyncWriterPool.health_check(pool(children))
    {health.status, health.reasons, health.worker_count}
  catch
    :exit, _ -> {:degraded, [:pool_restarting], 0}
  end

  # A pool that dies meanwhile starts with the new configuration.
  defp tell_pool(_server, 0), do: :ok

  defp tell_pool(server, tries) do
    server |> children() |> pool() |> AsyncWriterPool.reload()
  catch
    :exit, _ -> tell_pool(server, tries - 1)
  end
end
