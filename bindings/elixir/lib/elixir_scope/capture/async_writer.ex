defmodule ElixirScope.Capture.AsyncWriter do
  @moduledoc """
  One writer: takes events from its source in batches, enriches them, hands them to the storage, and acknowledges them when the
  storage has them.

  The source (`:ring_buffer`) is an `ElixirScope.Capture.NativeRingBuffer`, an `ElixirScope.Capture.Capture`, or a struct of any
  module that exports `read_batch/3`. For the storage (`:storage`) see `ElixirScope.Capture.Storage`; without one, events go into an
  `ElixirScope.Capture.EtsStorage` of its own.

  A ring is looked at every `:poll_interval_ms`; a full batch is followed by the next one at once, and a native ring
  wakes its writer. A capture sends its batches by itself, of the size that it was made with.

  Of a ring that is somebody else's, positions that its writers have gone round are counted as overwritten and jumped over, and
  positions that are handed out but not yet written are read again, as far as its `stats/1` tells. Reading frees no place in it:
  a ring of the existing design with `:drop_newest` or `:block` takes `size` events in all and then refuses for good. Take
  `:drop_oldest` there, or an `ElixirScope.Capture.NativeRingBuffer`, in which acknowledged events make room.

  Started alone it is a complete consumer with a cursor of its own, from the oldest event held on. In a pool the writers share a
  cursor, so that each event is taken once.

  The process itself never waits for the storage: it answers at any time.

  ## Options

  A keyword list, a map, or nil. `:ring_buffer` (or `:ring_buffer_ref`), `:storage` (or `:storage_ref`), `:batch_size` (50),
  `:poll_interval_ms` (100), `:max_backlog` (1,000: more than that for a second is a reason for health to be degraded),
  `:correlation_enabled` (true: events without a correlation id get one), `:retry_limit` (5), `:retry_initial_ms` (10),
  `:retry_max_ms` (1,000), `:storage_timeout_ms` (of a call of a server; none by default), `:max_dead_letters` (10,000),
  `:max_stored_events` (100,000, of the default storage). Others are kept in `config` and ignored.
  """

  use GenServer

  alias ElixirScope.Capture.{Consumer, DeadLetters, Enrichment, Options, Rate, Source, Tally, WriterLoop}

  @defaults %{ring_buffer: nil, batch_size: 50, poll_interval_ms: 100, max_backlog: 1000}

  # How long a stop may go on storing what there is.
  @drain_ms 2_000

  defstruct [
    :config,
    :current_position,
    :events_read,
    :events_processed,
    :batches_processed,
    :processing_rate,
    :error_count,
    :start_time,
    :last_poll_time,
    :processing_order
  ]

  @typedoc "What `get_state/1` answers. Times are monotonic nanoseconds."
  @type t :: %__MODULE__{
          config: map(),
          current_position: non_neg_integer(),
          events_read: non_neg_integer(),
          events_processed: non_neg_integer(),
          batches_processed: non_neg_integer(),
          processing_rate: float(),
          error_count: non_neg_integer(),
          start_time: integer(),
          last_poll_time: integer(),
          processing_order: non_neg_integer()
        }

  @doc "Starts a writer that is linked to the caller. Answers `{:ok, pid}` whatever the ring buffer or the storage is."
  @spec start_link(keyword() | map() | nil) :: GenServer.on_start()
  def start_link(config \\ []), do: GenServer.start_link(__MODULE__, {config, nil})

  @doc false
  @spec start_link(map(), %{consumer: Consumer.t(), tally: Tally.t(), first_ms: non_neg_integer()}) ::
          GenServer.on_start()
  def start_link(config, share), do: GenServer.start_link(__MODULE__, {config, share})

  @doc """
  The state of the writer. `current_position` is the position after the last event that it took (of a capture: how many it took).
  """
  @spec get_state(GenServer.server()) :: t()
  def get_state(server), do: GenServer.call(server, :get_state)

  @doc "`events_read`, `events_processed`, `batches_processed`, `processing_rate` (events per second), `error_count`, and more."
  @spec get_metrics(GenServer.server()) :: map()
  def get_metrics(server), do: GenServer.call(server, :get_metrics)

  @doc "`status` (`:healthy` or `:degraded`), `reasons` for the latter, `uptime_ms`."
  @spec health_check(GenServer.server()) :: map()
  def health_check(server), do: GenServer.call(server, :health_check)

  @doc """
  Moves the cursor: the next batch begins there. In a pool that is the cursor of all its writers. What was taken before is stored
  all the same. Nothing happens to a capture, which has no positions.
  """
  @spec set_position(GenServer.server(), non_neg_integer()) :: :ok | {:error, term()}
  def set_position(server, position), do: GenServer.call(server, {:set_position, position})

  @doc "The events that the storage would not take, oldest first."
  @spec dead_letters(GenServer.server(), pos_integer() | :infinity) :: [DeadLetters.letter()]
  def dead_letters(server, limit \\ :infinity), do: DeadLetters.list(GenServer.call(server, :dead_letters), limit)

  @doc "The storage that it uses: the one it was given, else its own `ElixirScope.Capture.EtsStorage`."
  @spec get_storage(GenServer.server()) :: term()
  def get_storage(server), do: GenServer.call(server, :get_storage)

  @doc """
  The same map or struct with the keys `:enriched_at` (monotonic nanoseconds), `:processed_by` (the node), `:processing_order`
  (a positive integer, unique), and `:correlation_id` if that was nil or absent. What is no map is answered unchanged.
  """
  @spec enrich_event(term()) :: term()
  def enrich_event(event), do: Enrichment.enrich(event, Enrichment.common(true), 0)

  @doc "Stores what there is, for two seconds at most, and ends with reason `:normal`. Immediate when idle."
  @spec stop(GenServer.server()) :: :ok
  def stop(server), do: GenServer.stop(server, :normal)

  # Of the pool: end when the batch in hand is done.
  @doc false
  @spec leave(pid(), WriterLoop.leave()) :: :ok
  def leave(server, how), do: GenServer.cast(server, {:leave, how})

  @doc false
  @spec configure(pid(), map()) :: :ok
  def configure(server, config), do: GenServer.cast(server, {:configure, config})

  # ---- the process ----

  @impl true
  def init({given, share}) do
    config = Options.config(given, @defaults)
    share = share || %{consumer: Consumer.new(config), tally: Tally.new(), first_ms: first_ms(config)}
    loop = WriterLoop.start_link(share.consumer, share.tally, config, share.first_ms)

    {:ok,
     %{
       config: config,
       consumer: share.consumer,
       tally: share.tally,
       loop: loop,
       monitor: Process.monitor(loop),
       start_time: System.monotonic_time(:nanosecond)
     }}
  end

  @doc false
  # A partial batch is to go out within one interval of the start.
  @spec first_ms(map()) :: pos_integer()
  def first_ms(config), do: config |> Options.integer(:poll_interval_ms, 100) |> div(2) |> max(1)

  @impl true
  def handle_call(:get_state, _from, state) do
    figure = &Tally.get(state.tally, &1)

    {:reply,
     %__MODULE__{
       config: state.config,
       current_position: figure.(:position),
       events_read: figure.(:events_read),
       events_processed: figure.(:events_processed),
       batches_processed: figure.(:batches_processed),
       processing_rate: Rate.per_second(state.tally.rate),
       error_count: figure.(:error_count),
       start_time: state.start_time,
       last_poll_time: figure.(:last_poll_time),
       processing_order: figure.(:processing_order)
     }, state}
  end

  def handle_call(:get_metrics, _from, state) do
    counts =
      for field <- [:events_read, :events_processed, :batches_processed, :error_count], into: %{} do
        {field, Tally.get(state.tally, field)}
      end

    more = %{processing_rate: Rate.per_second(state.tally.rate), uptime_ms: Consumer.uptime_ms(state.start_time)}
    {:reply, Map.merge(counts, more), state}
  end

  def handle_call(:health_check, _from, state) do
    backlog = Source.backlog(state.consumer)
    over? = Consumer.backlogged?(state.consumer, backlog, Options.integer(state.config, :max_backlog, 1_000))
    reasons = Tally.reasons(state.tally) ++ if(over?, do: [:backlog], else: [])
    status = if reasons == [], do: :healthy, else: :degraded
    uptime = Consumer.uptime_ms(state.start_time)
    {:reply, %{status: status, reasons: reasons, uptime_ms: uptime, backlog_size: backlog}, state}
  end

  def handle_call({:set_position, position}, _from, state) when is_integer(position) and position >= 0 do
    {:reply, Source.set_position(state.consumer, position), state}
  end

  def handle_call({:set_position, _}, _from, state), do: {:reply, {:error, :invalid_position}, state}
  def handle_call(:dead_letters, _from, state), do: {:reply, state.consumer.letters, state}
  def handle_call(:get_storage, _from, state), do: {:reply, Consumer.storage(state.consumer, state.config), state}
  def handle_call(_, _from, state), do: {:reply, {:error, :unknown_call}, state}

  @impl true
  def handle_cast({:leave, how}, state) do
    WriterLoop.leave(state.loop, how)
    {:noreply, state}
  end

  def handle_cast({:configure, config}, state) do
    WriterLoop.configure(state.loop, config)
    {:noreply, %{state | config: config}}
  end

  def handle_cast(_, state), do: {:noreply, state}

  @impl true
  def handle_info({:DOWN, monitor, :process, _, _reason}, %{monitor: monitor} = state) do
    # It was told to leave and has; any other death has come through the link.
    {:stop, :normal, %{state | loop: nil}}
  end

  def handle_info(_, state), do: {:noreply, state}

  @impl true
  def terminate(_reason, %{loop: nil}), do: :ok

  def terminate(_reason, %{loop: loop, monitor: monitor}) do
    WriterLoop.leave(loop, {:drain, System.monotonic_time(:millisecond) + @drain_ms})

    receive do
      {:DOWN, ^monitor, :process, _, _} -> :ok
    after
      @drain_ms + 200 ->
        # Its storage does not answer. What it holds comes back through the cursor.
        Process.unlink(loop)
        Process.exit(loop, :kill)

        receive do
          {:DOWN, ^monitor, :process, _, _} -> :ok
        end
    end
  end
end
