defmodule ElixirScope.Capture.EtsStorage do
  @moduledoc """
  Events in ETS: the default storage of a pipeline.

  Each instance has its own public tables without names. They belong to the process that called `new/1` and end with it. Writers insert directly and in
  parallel. The storage holds the newest `:max_events` (100,000 by default; `:infinity`: all, until there is no memory).

  The identity of an event is its key, so that an event that is delivered twice is stored once. Two different events with the same identity are both
  kept, and counted as `conflicts`.

  Events can be queried by time, process, function, correlation id and node id. Each of these has an ordered index, in which it takes logarithmic
  time to find, add or remove an event, for any number of events with the same value.
  """

  @behaviour ElixirScope.Capture.Storage

  alias ElixirScope.Capture.{Batch, Options}
  alias ElixirScope.Capture.EtsStorage.Query
  import ElixirScope.Capture.EtsStorage.Keys, only: [keys: 2]

  @enforce_keys [:events, :order, :index, :numbers, :max_events]
  defstruct @enforce_keys

  @opaque t :: %__MODULE__{
            events: :ets.tid(),
            order: :ets.tid(),
            index: :ets.tid(),
            numbers: :atomics.atomics_ref(),
            max_events: non_neg_integer() | :infinity
          }

  # Indexes of `numbers`: the number of the last event, and counters.
  @last 1
  @evicted 2
  @duplicates 3
  @conflicts 4

  @doc """
  A new, empty storage that belongs to the calling process. Option: `:max_events`, an integer of at least 0 or `:infinity`; any other value
  raises `ArgumentError`.
  """
  @spec new(keyword() | map()) :: t()
  def new(options \\ []) do
    max_events = options |> Options.to_map() |> Map.get(:max_events, 100_000)

    unless max_events == :infinity or (is_integer(max_events) and max_events >= 0) do
      raise ArgumentError, "max_events must be an integer of at least 0 or :infinity, got: #{inspect(max_events)}"
    end

    %__MODULE__{
      events: :ets.new(:capture_events, [:set, :public, write_concurrency: true, read_concurrency: true]),
      order: :ets.new(:capture_order, [:ordered_set, :public, write_concurrency: true]),
      index: :ets.new(:capture_index, [:ordered_set, :public, write_concurrency: true]),
      numbers: :atomics.new(4, []),
      max_events: max_events
    }
  end

  @doc "Stores events without an identity: each call stores them again."
  @impl true
  @spec store_events(t(), [term()]) :: :ok | {:error, :unavailable}
  def store_events(%__MODULE__{} = storage, events) do
    store_batch(storage, %Batch{entries: for(event <- events, do: {event, make_ref(), nil})})
  end

  @doc "Stores the events of a batch. Those that are stored already are not stored again."
  @impl true
  @spec store_batch(t(), Batch.t()) :: :ok | {:error, :unavailable}
  def store_batch(%__MODULE__{} = storage, %Batch{entries: entries}) do
    Enum.each(entries, fn {event, identity, stamp} -> insert(storage, identity, event, stamp) end)
    evict(storage)
  rescue
    error in ArgumentError ->
      if gone?(storage), do: {:error, :unavailable}, else: reraise(error, __STACKTRACE__)
  end

  # An event is stored when it is in the table of events. A writer that is killed before the indexes are complete has not settled its batch: the
  # next writer finds the event and completes them.
  defp insert(storage, identity, event, stamp) do
    if :ets.member(storage.events, identity) do
      insert_again(storage, identity, event, stamp)
    else
      number = :atomics.add_get(storage.numbers, @last, 1)

      if :ets.insert_new(storage.events, {identity, number, event, stamp}),
        do: list(storage, identity, number, event, stamp),
        else: insert_again(storage, identity, event, stamp)
    end
  end

  defp insert_again(storage, identity, event, stamp) do
    case :ets.lookup(storage.events, identity) do
      [{_, number, stored, stamp_stored}] ->
        list(storage, identity, number, stored, stamp_stored)
        # It may have been evicted meanwhile.
        unless :ets.member(storage.events, identity), do: unindex(storage, number, stored, stamp_stored)

        if same?(stored, event) do
          :atomics.add(storage.numbers, @duplicates, 1)
        else
          :atomics.add(storage.numbers, @conflicts, 1)
          insert(storage, {identity, :conflict, make_ref()}, event, stamp)
        end

      [] ->
        insert(storage, identity, event, stamp)
    end
  end

  # The keys of the enrichment differ between deliveries.
  defp same?(%{} = one, %{} = other), do: bare(one) === bare(other)
  defp same?(one, other), do: one === other

  defp bare(event) do
    case Map.drop(event, [:enriched_at, :processed_by, :processing_order]) do
      %{correlation_id: "corr_" <> _} = bare -> Map.delete(bare, :correlation_id)
      bare -> bare
    end
  end

  # The number in the order comes last: an event that has one is complete, and may be evicted.
  defp list(storage, identity, number, event, stamp) do
    :ets.insert(storage.index, for({key, value} <- keys(event, stamp), do: {{key, value, number}, identity}))
    :ets.insert(storage.order, {number, identity})
  end

  defp unindex(storage, number, event, stamp) do
    for {key, value} <- keys(event, stamp), do: :ets.delete(storage.index, {key, value, number})
  end

  # ---- eviction ----

  defp evict(%{max_events: :infinity}), do: :ok
  defp evict(storage), do: evict(storage, :atomics.get(storage.numbers, @last) - storage.max_events)

  # Evicts the events up to that number.
  defp evict(storage, number) do
    with first when is_integer(first) and first <= number <- :ets.first(storage.order) do
      remove(storage, first)
      evict(storage, number)
    else
      _ -> :ok
    end
  end

  # Several writers may evict the same event: each step may be done twice, and the one whose last step removes the row counts it. If a writer is
  # killed in between, the next one completes the eviction.
  defp remove(storage, number) do
    with [{_, identity}] <- :ets.lookup(storage.order, number) do
      with [{_, ^number, event, stamp}] <- :ets.lookup(storage.events, identity) do
        unindex(storage, number, event, stamp)
        :ets.match_delete(storage.events, {identity, number, :_, :_})
      end

      if :ets.take(storage.order, number) != [], do: :atomics.add(storage.numbers, @evicted, 1)
    end
  end

  # ---- reading ----

  @doc """
  The events that match all of the filters, oldest first. Filters: `:pid`, `:function` (`{module, function}` or
  `{module, function, arity}`), `:correlation_id`, `:node_id`, `:since` and `:until` (as the events' `:timestamp`), `:limit`. With
  `order: :newest_first` those that were stored last come first, and `:limit` leaves them.

  Times are compared only within their kind: numbers with numbers, a `DateTime` with those of any time zone, a `NaiveDateTime`, `Date` or `Time` with
  the same kind, other terms by the term order. An event with a time of another kind, or without a time, matches no `:since` and no `:until`. `false` is
  a value like any other. `nil` for `:pid`, `:function`, `:correlation_id` or `:node_id` matches the events that have none. For `:since`, `:until` or
  `:limit` it means no bound.
  """
  @spec query(t(), keyword() | map()) :: [term()]
  def query(%__MODULE__{} = storage, filters \\ []) do
    for {_, _, event, _} <- Query.rows(storage, Map.new(filters)), do: event
  end

  @doc "All stored events with their identities: `{identity, event}`, oldest first."
  @spec to_list(t()) :: [{term(), term()}]
  def to_list(%__MODULE__{} = storage) do
    for {_, identity} <- :ets.tab2list(storage.order), {_, _, event, _} <- :ets.lookup(storage.events, identity) do
      {identity, event}
    end
  end

  @doc "How many events are stored."
  @spec count(t()) :: non_neg_integer()
  def count(%__MODULE__{} = storage) do
    if gone?(storage), do: 0, else: :ets.info(storage.events, :size)
  end

  @doc "Figures: `events`, `max_events`, `evicted`, `duplicates`, `conflicts`, `memory_bytes`."
  @spec stats(t()) :: map()
  def stats(%__MODULE__{} = storage) do
    words =
      for table <- [storage.events, storage.order, storage.index], w = :ets.info(table, :memory), is_integer(w), do: w

    %{
      events: count(storage),
      max_events: storage.max_events,
      evicted: :atomics.get(storage.numbers, @evicted),
      duplicates: :atomics.get(storage.numbers, @duplicates),
      conflicts: :atomics.get(storage.numbers, @conflicts),
      memory_bytes: Enum.sum(words) * :erlang.system_info(:wordsize)
    }
  end

  @doc "Removes all events."
  @spec clear(t()) :: :ok
  def clear(%__MODULE__{} = storage) do
    for table <- [storage.index, storage.order, storage.events], do: :ets.delete_all_objects(table)
    :ok
  end

  defp gone?(storage), do: :ets.info(storage.events, :size) == :undefined
end
