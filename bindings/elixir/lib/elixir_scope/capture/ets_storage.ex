defmodule ElixirScope.Capture.EtsStorage do
  @moduledoc """
  Events in ETS: the storage that a pipeline has if it is given none.

  Each instance has tables of its own, without names; they are public and belong to the process that called `new/1`, and end with
  it. There is no process in between: writers insert in parallel. It holds the newest `:max_events` (100,000 by default).

  It is keyed by the identity of an event, so an event that is delivered twice is stored once. Two different events under one
  identity are both kept, and counted as `conflicts`.

  Events are found by time, process, function, correlation id and node id; each of these is an ordered index in which
  finding, adding and removing one event takes logarithmic time, however many share a value.
  """

  @behaviour ElixirScope.Capture.Storage

  alias ElixirScope.Capture.Batch

  @enforce_keys [:events, :order, :index, :numbers, :max_events]
  defstruct @enforce_keys

  @opaque t :: %__MODULE__{
            events: :ets.tid(),
            order: :ets.tid(),
            index: :ets.tid(),
            numbers: :atomics.atomics_ref(),
            max_events: pos_integer()
          }

  # Numbers: the last event's, evicted, duplicates, conflicts.
  @last 1
  @evicted 2
  @duplicates 3
  @conflicts 4

  @doc "A new, empty storage that belongs to the calling process. Option: `:max_events`."
  @spec new(keyword()) :: t()
  def new(options \\ []) do
    %__MODULE__{
      events: :ets.new(:capture_events, [:set, :public, write_concurrency: true, read_concurrency: true]),
      order: :ets.new(:capture_order, [:ordered_set, :public, write_concurrency: true]),
      index: :ets.new(:capture_index, [:ordered_set, :public, write_concurrency: true]),
      numbers: :atomics.new(4, []),
      max_events: Keyword.get(options, :max_events, 100_000)
    }
  end

  @doc "Stores events that have no identity: each call stores them anew."
  @impl true
  @spec store_events(t(), [term()]) :: :ok | {:error, :unavailable}
  def store_events(%__MODULE__{} = storage, events) do
    store_batch(storage, %Batch{entries: for(event <- events, do: {event, make_ref(), nil})})
  end

  @doc "Stores the events of a batch, those that it has already once."
  @impl true
  @spec store_batch(t(), Batch.t()) :: :ok | {:error, :unavailable}
  def store_batch(%__MODULE__{} = storage, %Batch{entries: entries}) do
    Enum.each(entries, fn {event, identity, stamp} -> insert(storage, identity, event, stamp) end)
    evict(storage, :atomics.get(storage.numbers, @last) - storage.max_events)
  rescue
    error in ArgumentError ->
      if gone?(storage), do: {:error, :unavailable}, else: reraise(error, __STACKTRACE__)
  end

  # The insertion of the event is what counts; a writer that is killed between it and the indexes has not settled its
  # batch, and the next one finds the event and completes them.
  defp insert(storage, identity, event, stamp) do
    if :ets.member(storage.events, identity) do
      again(storage, identity, event, stamp)
    else
      number = :atomics.add_get(storage.numbers, @last, 1)

      if :ets.insert_new(storage.events, {identity, number, event, stamp}),
        do: list(storage, identity, number, event, stamp),
        else: again(storage, identity, event, stamp)
    end
  end

  defp again(storage, identity, event, stamp) do
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

  # Enrichment differs from one delivery to the next.
  defp same?(%{} = one, %{} = other), do: bare(one) === bare(other)
  defp same?(one, other), do: one === other

  defp bare(event) do
    case Map.drop(event, [:enriched_at, :processed_by, :processing_order]) do
      %{correlation_id: "corr_" <> _} = bare -> Map.delete(bare, :correlation_id)
      bare -> bare
    end
  end

  # The place in the order comes last: an event that has one is complete, and may be evicted.
  defp list(storage, identity, number, event, stamp) do
    :ets.insert(storage.index, for({key, value} <- keys(event, stamp), do: {{key, value, number}, identity}))
    :ets.insert(storage.order, {number, identity})
  end

  defp unindex(storage, number, event, stamp) do
    for {key, value} <- keys(event, stamp), do: :ets.delete(storage.index, {key, value, number})
  end

  # ---- eviction ----

  # The events up to that number have had their time.
  defp evict(storage, number) do
    with first when is_integer(first) and first <= number <- :ets.first(storage.order) do
      remove(storage, first)
      evict(storage, number)
    else
      _ -> :ok
    end
  end

  # Several writers may work on the same one: each step can be done twice, the last one tells who counts it. Who is killed
  # on the way leaves it to the next.
  defp remove(storage, number) do
    with [{_, identity}] <- :ets.lookup(storage.order, number) do
      with [{_, ^number, event, stamp}] <- :ets.lookup(storage.events, identity) do
        unindex(storage, number, event, stamp)
        :ets.match_delete(storage.events, {identity, number, :_, :_})
      end

      if :ets.take(storage.order, number) != [], do: :atomics.add(storage.numbers, @evicted, 1)
    end
  end

  # ---- what an event is found by ----

  defp keys(event, stamp) do
    [
      time: time(event, stamp),
      pid: field(event, [:pid, :caller_pid, :from_pid, :server_pid]),
      function: function(event),
      correlation_id: field(event, [:correlation_id]) || captured(stamp, :correlation_id),
      node_id: field(event, [:ast_node_id, :node_id]) || captured(stamp, :node_id)
    ]
    |> Enum.reject(fn {_, value} -> is_nil(value) end)
  end

  defp time(event, stamp), do: field(event, [:timestamp]) || captured(stamp, :timestamp) || field(event, [:enriched_at])

  defp function(%{module: module, function: function} = event) when module != nil and function != nil do
    case event do
      %{arity: arity} when is_integer(arity) -> {module, function, arity}
      %{args: args} when is_list(args) -> {module, function, proper_length(args)}
      _ -> {module, function, 0}
    end
  end

  defp function(_), do: nil

  defp proper_length(list) do
    length(list)
  rescue
    ArgumentError -> 0
  end

  defp field(%{} = event, names), do: Enum.find_value(names, fn name -> Map.get(event, name) end)
  defp field(_, _), do: nil

  defp captured(%{} = stamp, key) do
    case stamp do
      %{^key => 0} -> nil
      %{^key => value} -> value
    end
  end

  defp captured(_, _), do: nil

  # ---- reading ----

  @doc """
  The events that fit all of the given filters, oldest first: `:pid`, `:function` (`{module, function}` or
  `{module, function, arity}`), `:correlation_id`, `:node_id`, `:since` and `:until` (as the events' `:timestamp`), `:limit`.
  """
  @spec query(t(), keyword() | map()) :: [term()]
  def query(%__MODULE__{} = storage, filters \\ []) do
    filters = Map.new(filters)

    storage
    |> candidates(filters)
    |> Stream.filter(fn {_, _, event, stamp} -> fits?(keys(event, stamp), filters) end)
    |> Stream.map(fn {_, _, event, _} -> event end)
    |> limited(filters)
  end

  @doc "What is stored, with identities: `{identity, event}`, oldest first."
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

  @doc "Forgets all events."
  @spec clear(t()) :: :ok
  def clear(%__MODULE__{} = storage) do
    for table <- [storage.index, storage.order, storage.events], do: :ets.delete_all_objects(table)
    :ok
  end

  defp gone?(storage), do: :ets.info(storage.events, :size) == :undefined

  defp candidates(storage, filters) do
    case Enum.find([:correlation_id, :node_id, :pid, :function], &Map.has_key?(filters, &1)) do
      nil when is_map_key(filters, :since) or is_map_key(filters, :until) ->
        walk(storage, :time, {:time, Map.get(filters, :since, -1.0e300), -1}, &(&1 <= Map.get(filters, :until, &1)))

      nil ->
        walk_order(storage)

      :function ->
        function = filters.function
        # Of a function of several arities one comes after the other.
        storage
        |> walk(:function, {:function, least(function), -1}, &same_function?(&1, function))
        |> Enum.sort_by(&elem(&1, 1))

      key ->
        value = Map.fetch!(filters, key)
        walk(storage, key, {key, value, -1}, &(&1 == value))
    end
  end

  defp least({module, function}), do: {module, function, -1}
  defp least(function), do: function

  defp same_function?({module, function, _}, {module, function}), do: true
  defp same_function?(one, other), do: one == other

  # Through the index from a key on, while its value fits.
  defp walk(storage, key, from, while) do
    from
    |> Stream.iterate(&:ets.next(storage.index, &1))
    |> Stream.drop(1)
    |> Stream.take_while(fn place -> match?({^key, _, _}, place) and while.(elem(place, 1)) end)
    |> Stream.flat_map(fn place ->
      case :ets.lookup(storage.index, place) do
        [{_, identity}] -> :ets.lookup(storage.events, identity)
        [] -> []
      end
    end)
  end

  defp walk_order(storage) do
    -1
    |> Stream.iterate(&:ets.next(storage.order, &1))
    |> Stream.drop(1)
    |> Stream.take_while(&(&1 != :"$end_of_table"))
    |> Stream.flat_map(fn number -> :ets.lookup(storage.order, number) end)
    |> Stream.flat_map(fn {_, identity} -> :ets.lookup(storage.events, identity) end)
  end

  defp fits?(keys, filters) do
    Enum.all?(filters, fn
      {:limit, _} -> true
      {:since, since} -> keys[:time] >= since
      {:until, until} -> keys[:time] <= until
      {:function, function} -> keys[:function] != nil and same_function?(keys[:function], function)
      {key, value} -> keys[key] === value
    end)
  end

  defp limited(stream, %{limit: limit}) when is_integer(limit) and limit >= 0, do: Enum.take(stream, limit)
  defp limited(stream, _), do: Enum.to_list(stream)
end
