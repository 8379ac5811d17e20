defmodule ElixirScope.Capture.ConsumerGroup do
  @moduledoc false
  # The writers that share one cursor on a source, so that each event is read once: the cursor, the counters, the dead letters, the default storage. The
  # process at the top makes it (the manager, or a pool or a writer that was started alone) and passes it down. So it outlives workers
  # and pools: no counter goes back, no position is lost, and the claims of a dead worker are returned through the cursor.

  alias ElixirScope.Capture.{Attempts, DeadLetters, EtsStorage, NativeRingBuffer, Options, Rate, Tally}
  alias :elixir_scope_capture_pipeline_nif, as: Nif

  @counters [
    :events_read,
    :events_processed,
    :batches_processed,
    :error_count,
    :dead_lettered,
    :discarded,
    :overwritten,
    :skipped,
    :retries,
    :worker_restarts,
    :pool_starts
  ]

  # What the readers of a foreign ring share. `epoch` changes when its positions start again at 0.
  @marks [:seen, :epoch, :over_since]

  @enforce_keys [
    :source,
    :number,
    :id,
    :cursor,
    :counters,
    :marks,
    :rate,
    :dead_letters,
    :attempts,
    :default_storage,
    :started
  ]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          source: term(),
          number: integer(),
          id: term(),
          cursor: reference(),
          counters: :counters.counters_ref(),
          marks: :atomics.atomics_ref(),
          rate: Rate.t(),
          dead_letters: DeadLetters.t(),
          attempts: :ets.tid(),
          default_storage: EtsStorage.t() | nil,
          started: integer()
        }

  @doc "A group for the configured ring buffer. The calling process owns its default storage, its dead letters and its attempts."
  @spec new(map(), keyword()) :: t()
  def new(config, options \\ []) do
    source = Options.source(config)
    storage? = Keyword.get(options, :default_storage, source != nil and Options.storage(config) == nil)

    %__MODULE__{
      source: source,
      number: :erlang.unique_integer(),
      id: identity(source),
      cursor: cursor(source),
      counters: :counters.new(length(@counters), [:atomics]),
      marks: :atomics.new(length(@marks), signed: true),
      rate: Rate.new(),
      dead_letters: DeadLetters.new(Options.limit(config, :max_dead_letters, 10_000)),
      attempts: Attempts.new(),
      default_storage: if(storage?, do: EtsStorage.new(max_events: Options.limit(config, :max_stored_events, 100_000))),
      started: System.monotonic_time(:nanosecond)
    }
  end

  @doc "The group with the ring buffer of this configuration. A new ring buffer is read from its oldest event on."
  @spec with_source(t(), map()) :: t()
  def with_source(group, config) do
    case Options.source(config) do
      source when source === group.source ->
        group

      source ->
        Attempts.forget_all(group)

        %{
          group
          | source: source,
            number: :erlang.unique_integer(),
            id: identity(source),
            cursor: cursor(source),
            marks: :atomics.new(length(@marks), signed: true)
        }
    end
  end

  @doc "The storage of the configuration, or the default one."
  @spec storage(t(), map()) :: term()
  def storage(group, config) do
    case Options.storage(config) do
      nil -> group.default_storage
      storage -> storage
    end
  end

  @spec count(t(), atom(), integer()) :: :ok
  @spec total(t(), atom()) :: non_neg_integer()
  for {counter, index} <- Enum.with_index(@counters, 1) do
    def count(group, unquote(counter), n), do: :counters.add(group.counters, unquote(index), n)
    def total(group, unquote(counter)), do: :counters.get(group.counters, unquote(index))
  end

  @doc "All counters, and how often the pool was restarted. Without a group they are 0."
  @spec totals(t() | nil) :: %{atom() => non_neg_integer()}
  def totals(group) do
    {starts, totals} = @counters |> Map.new(&{&1, if(group, do: total(group, &1), else: 0)}) |> Map.pop!(:pool_starts)

    Map.put(totals, :pool_restarts, max(starts - 1, 0))
  end

  @doc "Counts for the group and for one of its writers."
  @spec count(t(), Tally.t(), atom(), integer()) :: :ok
  def count(group, tally, counter, n) do
    Tally.add(tally, counter, n)
    count(group, counter, n)
  end

  @spec mark(t(), atom()) :: integer()
  @spec set_mark(t(), atom(), integer()) :: :ok
  for {mark, index} <- Enum.with_index(@marks, 1) do
    def mark(group, unquote(mark)), do: :atomics.get(group.marks, unquote(index))
    def set_mark(group, unquote(mark), value), do: :atomics.put(group.marks, unquote(index), value)
  end

  @spec processing_rate(t()) :: float()
  def processing_rate(group), do: Rate.per_second(group.rate)

  @doc "Milliseconds since a monotonic time in nanoseconds; never 0."
  @spec uptime_ms(integer()) :: float()
  def uptime_ms(start_time), do: max(System.monotonic_time(:nanosecond) - start_time, 1) / 1_000_000

  @doc """
  Whether the backlog has been over its limit for a second or longer. A short burst does not degrade the health.
  """
  @spec backlogged?(t(), non_neg_integer(), pos_integer() | :infinity) :: boolean()
  def backlogged?(group, backlog, max) do
    now = System.monotonic_time(:millisecond)
    since = mark(group, :over_since)

    cond do
      backlog <= max ->
        set_mark(group, :over_since, 0)
        false

      since == 0 ->
        set_mark(group, :over_since, now)
        false

      true ->
        now - since >= 1_000
    end
  end

  defp cursor(%NativeRingBuffer{} = ring), do: ring |> NativeRingBuffer.native() |> Nif.cursor_new() |> made(ring)
  defp cursor(_), do: made(Nif.cursor_new(:none), nil)

  defp made({:ok, cursor}, _), do: cursor
  # A destroyed ring: its reads return the error.
  defp made({:error, _}, ring) when ring != nil, do: made(Nif.cursor_new(:none), nil)

  # Distinguishes the events of one ring from those of any other, as long as this VM runs: a reference to the tables or atomics that
  # the ring is kept in.
  defp identity(%_{} = ring) do
    ring |> Map.from_struct() |> Map.values() |> Enum.find(make_ref(), &is_reference/1)
  end

  defp identity(_), do: make_ref()
end
