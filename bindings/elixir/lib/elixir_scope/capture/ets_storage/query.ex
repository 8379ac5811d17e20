defmodule ElixirScope.Capture.EtsStorage.Query do
  @moduledoc false
  # Finds stored events: by one index, or in the order in which they were stored, from either end.

  import ElixirScope.Capture.EtsStorage.Keys
  alias ElixirScope.Capture.Batch

  @typedoc "What is stored of an event. The number rises in the order of storing."
  @type row :: {identity :: term(), number :: pos_integer(), event :: term(), Batch.stamp() | nil}

  @indexed [:correlation_id, :node_id, :pid, :function]

  @doc """
  The rows that match all of the filters, which are those of `EtsStorage.query/2`, in the order of `:order`, lazily. With `:after` only those behind
  that number: not for a filter by time or function, nor for `:newest_first`.
  """
  @spec rows(ElixirScope.Capture.EtsStorage.t(), map()) :: Enumerable.t()
  def rows(storage, filters) do
    {how, filters} = Map.split(filters, [:order, :after, :limit])
    filters = bounds(filters)

    storage
    |> candidates(filters, how[:order] == :newest_first, how[:after] || 0)
    |> Stream.filter(fn {_, _, event, stamp} -> fits?(keys(event, stamp), filters) end)
    |> limited(how[:limit])
  end

  defp limited(rows, limit) when is_integer(limit) and limit >= 0, do: Stream.take(rows, limit)
  defp limited(rows, _), do: rows

  # The bounds in comparable form; nil is no bound.
  defp bounds(filters) do
    Enum.reduce([:since, :until], filters, fn key, filters ->
      case filters do
        %{^key => nil} -> Map.delete(filters, key)
        %{^key => time} -> %{filters | key => comparable(time)}
        _ -> filters
      end
    end)
  end

  # Candidates by the index of one filter's value. Events without a value are in no index.
  defp candidates(storage, filters, newest?, after_number) do
    case Enum.find(@indexed, &(Map.get(filters, &1) != nil)) do
      nil when is_map_key(filters, :since) or is_map_key(filters, :until) ->
        from = Map.get_lazy(filters, :since, fn -> earliest(filters.until) end)

        rows = walk(storage, :time, {:time, from, -1}, &:ets.next/2, &within?(&1, filters))
        if newest?, do: rows |> Enum.to_list() |> Enum.reverse(), else: rows

      nil ->
        walk_order(storage, newest?, after_number)

      :function ->
        function = filters.function
        # The index sorts by arity first, so that the events are sorted again.
        storage
        |> walk(:function, {:function, least(function), -1}, &:ets.next/2, &same_function?(&1, function))
        |> Enum.sort_by(&elem(&1, 1), if(newest?, do: :desc, else: :asc))

      key ->
        value = Map.fetch!(filters, key)
        # Any atom comes behind all numbers.
        {from, step} = if newest?, do: {:last, &:ets.prev/2}, else: {after_number, &:ets.next/2}
        walk(storage, key, {key, value, from}, step, &(&1 == value))
    end
  end

  defp within?(time, filters) do
    Enum.all?(filters, fn
      {:since, since} -> same_kind?(since, time) and time >= since
      {:until, until} -> same_kind?(until, time) and time <= until
      _ -> true
    end)
  end

  defp least({module, function}), do: {module, function, -1}
  defp least(function), do: function

  defp same_function?({module, function, _}, {module, function}), do: true
  defp same_function?(one, other), do: one == other

  # Walks through the index from a key on, while the value matches.
  defp walk(storage, key, from, step, while) do
    from
    |> Stream.iterate(&step.(storage.index, &1))
    |> Stream.drop(1)
    |> Stream.take_while(fn place -> match?({^key, _, _}, place) and while.(elem(place, 1)) end)
    |> Stream.flat_map(fn place ->
      case :ets.lookup(storage.index, place) do
        [{_, identity}] -> :ets.lookup(storage.events, identity)
        [] -> []
      end
    end)
  end

  defp walk_order(storage, newest?, after_number) do
    {from, step} = if newest?, do: {:last, &:ets.prev/2}, else: {after_number, &:ets.next/2}

    from
    |> Stream.iterate(&step.(storage.order, &1))
    |> Stream.drop(1)
    |> Stream.take_while(&(&1 != :"$end_of_table"))
    |> Stream.flat_map(fn number -> :ets.lookup(storage.order, number) end)
    |> Stream.flat_map(fn {_, identity} -> :ets.lookup(storage.events, identity) end)
  end

  defp fits?(keys, filters) do
    Enum.all?(filters, fn
      {key, _} when key in [:since, :until] -> keys[:time] != nil and within?(keys[:time], filters)
      {:function, function} -> same_function?(keys[:function], function)
      {key, value} -> keys[key] === value
    end)
  end
end
