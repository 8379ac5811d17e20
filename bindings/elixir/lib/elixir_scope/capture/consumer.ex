defmodule ElixirScope.Capture.Consumer do
  @moduledoc false
  # One consumer of one source: the cursor that its writers share and the counters that they add to. It is made by whoever is at
  # the top (the manager; a pool or a writer that was started alone) and handed down, so that it outlives workers and pools: no
  # counter goes back, no position is forgotten, and what a dead worker had claimed comes back through the cursor.

  alias ElixirScope.Capture.{DeadLetters, EtsStorage, NativeRingBuffer, Options, Rate, Tally}
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

  # Marks: what the readers of a foreign ring know together. `epoch` changes when its positions begin anew.
  @marks [:seen, :epoch, :over_since]

  @enforce_keys [:source, :id, :cursor, :counters, :marks, :rate, :letters, :default_storage, :started]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          source: term(),
          id: term(),
          cursor: reference(),
          counters: :counters.counters_ref(),
          marks: :atomics.atomics_ref(),
          rate: Rate.t(),
          letters: DeadLetters.t(),
          default_storage: EtsStorage.t() | nil,
          started: integer()
        }

  @doc "A consumer of the configured ring buffer. The calling process owns its default storage and its dead letters."
  @spec new(map(), keyword()) :: t()
  def new(config, options \\ []) do
    source = Options.source(config)
    storage? = Keyword.get(options, :default_storage, source != nil and Options.storage(config) == nil)

    %__MODULE__{
      source: source,
      id: identity(source),
      cursor: cursor(source),
      counters: :counters.new(length(@counters), [:atomics]),
      marks: :atomics.new(length(@marks), signed: true),
      rate: Rate.new(),
      letters: DeadLetters.new(Options.integer(config, :max_dead_letters, 10_000)),
      default_storage:
        if(storage?, do: EtsStorage.new(max_events: Options.integer(config, :max_stored_events, 100_000))),
      started: System.monotonic_time(:nanosecond)
    }
  end

  @doc "The same consumer for what the configuration now names as its ring buffer: another one is read from its oldest event on."
  @spec with_source(t(), map()) :: t()
  def with_source(consumer, config) do
    case Options.source(config) do
      source when source === consumer.source ->
        consumer

      source ->
        marks = :atomics.new(length(@marks), signed: true)
        %{consumer | source: source, id: identity(source), cursor: cursor(source), marks: marks}
    end
  end

  @doc "The storage that the configuration names, else the default one."
  @spec storage(t(), map()) :: term()
  def storage(consumer, config) do
    case Options.storage(config) do
      nil -> consumer.default_storage
      storage -> storage
    end
  end

  @spec count(t(), atom(), integer()) :: :ok
  @spec total(t(), atom()) :: non_neg_integer()
  for {counter, index} <- Enum.with_index(@counters, 1) do
    def count(consumer, unquote(counter), n), do: :counters.add(consumer.counters, unquote(index), n)
    def total(consumer, unquote(counter)), do: :counters.get(consumer.counters, unquote(index))
  end

  @doc "All counters, with how often the pool was started again; without a consumer they are 0."
  @spec totals(t() | nil) :: %{atom() => non_neg_integer()}
  def totals(consumer) do
    {starts, totals} =
      @counters |> Map.new(&{&1, if(consumer, do: total(consumer, &1), else: 0)}) |> Map.pop!(:pool_starts)

    Map.put(totals, :pool_restarts, max(starts - 1, 0))
  end

  @doc "Counts for the whole consumer and for one of its writers."
  @spec count(t(), Tally.t(), atom(), integer()) :: :ok
  def count(consumer, tally, counter, n) do
    Tally.add(tally, counter, n)
    count(consumer, counter, n)
  end

  @spec mark(t(), atom()) :: integer()
  @spec set_mark(t(), atom(), integer()) :: :ok
  for {mark, index} <- Enum.with_index(@marks, 1) do
    def mark(consumer, unquote(mark)), do: :atomics.get(consumer.marks, unquote(index))
    def set_mark(consumer, unquote(mark), value), do: :atomics.put(consumer.marks, unquote(index), value)
  end

  @spec processing_rate(t()) :: float()
  def processing_rate(consumer), do: Rate.per_second(consumer.rate)

  @doc "Milliseconds since that time (nanoseconds), never 0."
  @spec uptime_ms(integer()) :: float()
  def uptime_ms(start_time), do: max(System.monotonic_time(:nanosecond) - start_time, 1) / 1_000_000

  @doc """
  Whether the backlog has been over its limit for a second or longer: a burst is no illness, a backlog that stays is one.
  """
  @spec backlogged?(t(), non_neg_integer(), pos_integer()) :: boolean()
  def backlogged?(consumer, backlog, max) do
    now = System.monotonic_time(:millisecond)
    since = mark(consumer, :over_since)

    cond do
      backlog <= max ->
        set_mark(consumer, :over_since, 0)
        false

      since == 0 ->
        set_mark(consumer, :over_since, now)
        false

      true ->
        now - since >= 1_000
    end
  end

  defp cursor(%NativeRingBuffer{} = ring), do: ring |> NativeRingBuffer.native() |> Nif.cursor_new() |> made(ring)
  defp cursor(_), do: made(Nif.cursor_new(:none), nil)

  defp made({:ok, cursor}, _), do: cursor
  # A ring that is no more: its reads will say so.
  defp made({:error, _}, ring) when ring != nil, do: made(Nif.cursor_new(:none), nil)

  # What tells the events of one ring from those of any other, for as long as this VM runs: a ring that is kept in tables or
  # atomics has references to them.
  defp identity(%_{} = ring) do
    ring |> Map.from_struct() |> Map.values() |> Enum.find(make_ref(), &is_reference/1)
  end

  defp identity(_), do: make_ref()
end
