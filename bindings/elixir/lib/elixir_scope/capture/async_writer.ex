defmodule ElixirScope.Capture.AsyncWriter do
  @moduledoc """
  One writer: takes events from its source in batches, enriches them, passes them to the storage, and acknowledges them when the storage has
  stored them.

  The source (`:ring_buffer`) is an `ElixirScope.Capture.NativeRingBuffer`, an `ElixirScope.Capture.Capture`, or a struct of any
  module that exports `read_batch/3`. For the storage (`:storage`) see `ElixirScope.Capture.Storage`; without one, events go into an
  `ElixirScope.Capture.EtsStorage` of its own.

  The writer polls a ring every `:poll_interval_ms`. A full batch is followed by the next one at once, and a native ring wakes its writer. A capture
  sends its batches as messages, of the size that it was made with.

  In a ring of another module, positions that its writers have lapped are counted as overwritten and skipped, and positions that are claimed but not
  yet written are read again, as far as its `stats/1` tells. Reading frees no slot in it: a ring of the existing design with
  `:drop_newest` or `:block` takes `size` events in all and then refuses for ever. Use `:drop_oldest` there, or an
  `ElixirScope.Capture.NativeRingBuffer`, in which acknowledged events free their slots.

  A writer that is started alone has a cursor of its own, which begins at the oldest event held. In a pool the writers share a cursor, so that each event
  is taken once.

  The process itself never waits for the storage: it answers at any time. The storage is called in another process, the loop. When the loop dies, a
  writer in a pool dies too, and the pool replaces it. A writer that was started alone restarts its loop: at once after the first death, and
  after a pause of up to 100 ms after further ones. An event that ends the loop repeatedly is dead-lettered (`ElixirScope.Capture.Storage`).

  ## Options

  A keyword list, a map, or nil. An invalid value counts as the default. `:ring_buffer` (or `:ring_buffer_ref`), `:storage` (or `:storage_ref`), `:batch_size` (50),
  `:poll_interval_ms` (100), `:max_backlog` (1,000: more than that for a second is a reason for health to be degraded),
  `:correlation_enabled` (true: events without a correlation id get one), `:retry_limit` (5), `:retry_initial_ms` (10),
  `:retry_max_ms` (1,000), `:storage_timeout_ms` (of a call of a server; none by default), `:max_dead_letters` (10,000),
  `:max_stored_events` (100,000, of the default storage). `:max_backlog`, `:retry_limit`, `:storage_timeout_ms`, `:max_dead_letters` and
  `:max_stored_events` may be `:infinity`. Unknown options are kept in `config` and ignored.
  """

  use GenServer
  require Logger

  alias ElixirScope.Capture.{
    Attempts,
    ConsumerGroup,
    DeadLetters,
    Enrichment,
    Options,
    LoopControl,
    Rate,
    Remote,
    Source,
    Tally,
    Telemetry,
    WriterLoop
  }

  @defaults %{ring_buffer: nil, batch_size: 50, poll_interval_ms: 100, max_backlog: 1000}

  # How long a stop may go on storing events.
  @drain_ms 2_000
  # The longest pause before a loop is restarted. A loop that has lived for @long_life_ms dies for the first time.
  @pause_ms 100
  @long_life_ms 1_000

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

  @typedoc "The answer of `get_state/1`. Times are monotonic nanoseconds."
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

  @doc "Starts a writer that is linked to the caller. Returns `{:ok, pid}` for any ring buffer and storage."
  @spec start_link(keyword() | map() | nil) :: GenServer.on_start()
  def start_link(config \\ []), do: GenServer.start_link(__MODULE__, {config, nil})

  @doc false
  @spec start_link(map(), %{group: ConsumerGroup.t(), tally: Tally.t(), first_ms: non_neg_integer()}) ::
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
  Moves the cursor: the next batch begins at `position`. In a pool that is the cursor of all its writers. Events that were taken before are
  still stored. No effect on a capture, which has no positions.
  """
  @spec set_position(GenServer.server(), non_neg_integer()) :: :ok | {:error, term()}
  def set_position(server, position), do: GenServer.call(server, {:set_position, position})

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

  @doc """
  The same map or struct with the keys `:enriched_at` (monotonic nanoseconds), `:processed_by` (the node), `:processing_order`
  (a positive integer, unique), and `:correlation_id` if that was nil or absent. Returns any other term unchanged.
  """
  @spec enrich_event(term()) :: term()
  def enrich_event(event), do: Enrichment.enrich(event, Enrichment.common(true), 0)

  @doc "Stores the events that are there, for at most two seconds, and ends with reason `:normal`. Immediate when idle."
  @spec stop(GenServer.server()) :: :ok
  def stop(server), do: GenServer.stop(server, :normal)

  # For the pool.
  @doc false
  @spec leave(pid(), LoopControl.leave()) :: :ok
  def leave(server, how), do: GenServer.cast(server, {:leave, how})

  @doc false
  @spec configure(pid(), map()) :: :ok
  def configure(server, config), do: GenServer.cast(server, {:configure, config})

  # ---- the process ----

  @impl true
  def init({given, share}) do
    config = Options.config(given, @defaults)
    # The monitor reports the end of the loop. handle_info/2 handles the exits of other processes.
    Process.flag(:trap_exit, true)
    alone? = share == nil
    share = share || %{group: ConsumerGroup.new(config), tally: Tally.new(), first_ms: first_ms(config)}

    state = %{
      config: config,
      group: share.group,
      tally: share.tally,
      alone?: alone?,
      deaths: 0,
      leave: nil,
      # Loops whose exit signals have not come yet.
      loops: %{},
      start_time: System.monotonic_time(:nanosecond)
    }

    {:ok, start_loop(state, share.first_ms)}
  end

  defp start_loop(state, first_ms) do
    loop = WriterLoop.start_link(state.group, state.tally, state.config, first_ms)
    loops = Map.put(state.loops, loop, true)
    since = System.monotonic_time(:millisecond)
    Map.merge(state, %{loop: loop, loops: loops, monitor: Process.monitor(loop), since: since})
  end

  @doc false
  # A partial batch must be stored within one interval after the start.
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

    more = %{processing_rate: Rate.per_second(state.tally.rate), uptime_ms: ConsumerGroup.uptime_ms(state.start_time)}
    {:reply, Map.merge(counts, more), state}
  end

  def handle_call(:health_check, _from, state) do
    backlog = Source.backlog(state.group)
    over? = ConsumerGroup.backlogged?(state.group, backlog, Options.limit(state.config, :max_backlog, 1_000))
    reasons = Tally.reasons(state.tally, state.loop) ++ if(over?, do: [:backlog], else: [])
    status = if reasons == [], do: :healthy, else: :degraded
    uptime = ConsumerGroup.uptime_ms(state.start_time)
    {:reply, %{status: status, reasons: reasons, uptime_ms: uptime, backlog_size: backlog}, state}
  end

  def handle_call({:set_position, position}, _from, state) when is_integer(position) and position >= 0 do
    {:reply, Source.set_position(state.group, position), state}
  end

  def handle_call({:set_position, _}, _from, state), do: {:reply, {:error, :invalid_position}, state}
  def handle_call(:dead_letters, _from, state), do: {:reply, state.group.dead_letters, state}
  def handle_call(:get_storage, _from, state), do: {:reply, ConsumerGroup.storage(state.group, state.config), state}
  def handle_call(_, _from, state), do: {:reply, {:error, :unknown_call}, state}

  @impl true
  def handle_cast({:leave, _how}, %{loop: nil} = state), do: {:stop, :normal, state}

  def handle_cast({:leave, how}, state) do
    {:noreply, control_loop(%{state | leave: how})}
  end

  def handle_cast({:configure, config}, state) do
    {:noreply, control_loop(%{state | config: config})}
  end

  def handle_cast(_, state), do: {:noreply, state}

  defp control_loop(state) do
    if state.loop, do: LoopControl.set(state.group, state.tally, state.loop, state.config, state.leave)
    state
  end

  @impl true
  def handle_info({:DOWN, monitor, :process, _, reason}, %{monitor: monitor} = state) do
    Attempts.loop_ended(state.group, state.tally, reason)
    state = %{state | loop: nil, monitor: nil}

    cond do
      # It was asked to leave and has left.
      state.leave != nil and reason == :normal -> {:stop, :normal, state}
      state.alone? -> {:noreply, restart_loop(state, reason)}
      reason == :normal -> {:stop, :normal, state}
      true -> die(reason)
    end
  end

  def handle_info(:start_loop, %{loop: nil} = state), do: {:noreply, start_loop(state, 0)}

  # The same effect as without trapped exits. The parent's exit goes to terminate/2.
  def handle_info({:EXIT, pid, _}, %{loops: loops} = state) when is_map_key(loops, pid),
    do: {:noreply, %{state | loops: Map.delete(loops, pid)}}

  def handle_info({:EXIT, _pid, reason}, state) when reason != :normal do
    if state.loop, do: Process.exit(state.loop, :kill)
    die(reason)
  end

  def handle_info(_, state), do: {:noreply, state}

  defp restart_loop(state, reason) do
    ConsumerGroup.count(state.group, :worker_restarts, 1)
    Telemetry.execute([:worker, :restarted], %{count: 1}, %{pool: nil, worker: self(), reason: reason})
    lived = System.monotonic_time(:millisecond) - state.since
    deaths = if lived >= @long_life_ms, do: 1, else: state.deaths + 1

    if deaths == 1 do
      Logger.warning(
        "the loop of AsyncWriter #{inspect(self())} died (#{inspect(reason, limit: 10, structs: false)}), another takes its place"
      )

      start_loop(%{state | deaths: deaths}, 0)
    else
      Process.send_after(self(), :start_loop, min(5 * Integer.pow(2, min(deaths, 10)), @pause_ms))
      %{state | deaths: deaths}
    end
  end

  # Exits with that reason and without a crash report: the supervisor or the pool reports it.
  defp die(reason) do
    Process.flag(:trap_exit, false)
    Process.exit(self(), reason)
    # For a reason that ends no process by a signal, such as :normal.
    exit(reason)
  end

  @impl true
  def terminate(_reason, %{loop: nil}), do: :ok

  def terminate(reason, %{loop: loop, monitor: monitor} = state) do
    # Only an orderly stop leaves time to store the remaining events.
    if reason in [:normal, :shutdown] or match?({:shutdown, _}, reason) do
      control_loop(%{state | leave: {:drain, System.monotonic_time(:millisecond) + @drain_ms}})

      receive do
        {:DOWN, ^monitor, :process, _, _} -> :ok
      after
        # The storage does not answer. The events are returned through the cursor.
        @drain_ms + 200 -> end_loop(loop, monitor)
      end
    else
      end_loop(loop, monitor)
      die(reason)
    end
  end

  defp end_loop(loop, monitor) do
    Process.unlink(loop)
    Process.exit(loop, :kill)

    receive do
      {:DOWN, ^monitor, :process, _, _} -> :ok
    end
  end
end
