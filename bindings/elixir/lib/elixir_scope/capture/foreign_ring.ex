defmodule ElixirScope.Capture.ForeignRing do
  @moduledoc false
  # Reads a ring buffer of another module, by `read_batch/3` and, if it has one, `stats/1`.
  #
  # Such a ring claims a position first and writes the event later. A reader in between gets nothing, or the event of the previous round. When
  # the writers have lapped the reader, it gets a newer event for an old position. `stats/1` tells both: positions that are more than `size`
  # behind `write_position` are overwritten; and while `total_writes` is behind `write_position`, some position is claimed but not written: a
  # *hole*.
  #
  # (A ring of the existing design with `drop_newest` or `block` takes `size` events in all, because reading frees no slot. That is its own
  # defect, which a reader cannot repair.)

  alias ElixirScope.Capture.ConsumerGroup

  # How long a reader waits for a hole to be written. A writer that was killed between the two steps leaves a hole for ever.
  @patience_ms 1_000

  # The state of one reader. Below `safe` every position is written or given up. `missing`: writes that will never complete. Since `since` the
  # reader has seen no moment without holes; `fewest` of them was the smallest number, and `then` the write position at the start.
  defstruct safe: 0, missing: 0, since: nil, fewest: nil, then: 0, hole: nil

  @type t :: %__MODULE__{}
  @type read ::
          {[{term(), non_neg_integer()}], from :: non_neg_integer(), to :: non_neg_integer(),
           overwritten :: non_neg_integer()}

  @doc "Up to `max` events from a position on, with their positions, and where they begin and end."
  @spec read(ConsumerGroup.t(), module(), struct(), non_neg_integer(), pos_integer(), t()) :: {read() | :cleared, t()}
  def read(group, module, ring, from, max, view) do
    case stats(module, ring) do
      nil ->
        {without_stats(module, ring, from, max), view}

      %{write_position: written} = stats ->
        if written < ConsumerGroup.mark(group, :seen) do
          ConsumerGroup.set_mark(group, :seen, written)
          ConsumerGroup.set_mark(group, :epoch, :erlang.unique_integer([:positive]))
          {:cleared, %__MODULE__{}}
        else
          ConsumerGroup.set_mark(group, :seen, written)
          oldest = max(from, written - stats.size)
          {limit, view} = written_below(module, ring, stats, oldest, view)
          read_below(module, ring, from, oldest, min(limit, oldest + max), view)
        end
    end
  end

  @doc "The events of a returned range, as far as they are still in the ring."
  @spec read_again(module(), struct(), non_neg_integer(), non_neg_integer()) :: read()
  def read_again(module, ring, from, to) do
    case stats(module, ring) do
      nil ->
        {events, _, _, _} = without_stats(module, ring, from, to - from)
        {Enum.take_while(events, fn {_, position} -> position < to end), from, to, 0}

      %{write_position: written, size: size} ->
        oldest = min(max(from, written - size), to)
        {read, _} = read_below(module, ring, from, oldest, to, %__MODULE__{})
        {events, _, _, overwritten} = read
        {events, from, to, overwritten}
    end
  end

  @doc "How many events are at the position and behind it; 0 if the ring does not tell."
  @spec backlog(module(), struct(), non_neg_integer()) :: non_neg_integer()
  def backlog(module, ring, position) do
    case stats(module, ring) do
      %{write_position: written, size: size} -> (written - position) |> max(0) |> min(size)
      nil -> 0
    end
  rescue
    _ -> 0
  end

  defp without_stats(module, ring, from, max) do
    {events, to} = module.read_batch(ring, from, max)
    first = max(to - length(events), from)
    {Enum.zip(events, Stream.iterate(first, &(&1 + 1))), from, to, first - from}
  end

  defp read_below(_module, _ring, from, oldest, limit, view) when limit <= oldest do
    {{[], from, oldest, oldest - from}, view}
  end

  defp read_below(module, ring, from, oldest, limit, view) do
    {events, _} = module.read_batch(ring, oldest, limit - oldest)

    {events, to, view} =
      if length(events) == limit - oldest do
        {Enum.zip(events, Stream.iterate(oldest, &(&1 + 1))), limit, %{view | hole: nil}}
      else
        up_to_hole(module, ring, oldest, limit, view)
      end

    # The writers may have overwritten events meanwhile.
    %{write_position: written, size: size} = stats(module, ring)
    intact = min(max(written - size, oldest), to)
    {{Enum.drop_while(events, fn {_, position} -> position < intact end), from, to, intact - from}, view}
  end

  # A batch does not tell which event was missing, so that they are read one by one. A hole that will never be written is skipped.
  defp up_to_hole(module, ring, oldest, limit, view) do
    read =
      Enum.reduce_while(oldest..(limit - 1), [], fn position, events ->
        case module.read_batch(ring, position, 1) do
          {[event], _} -> {:cont, [{event, position} | events]}
          _ -> {:halt, events}
        end
      end)

    hole = oldest + length(read)

    cond do
      read != [] -> {Enum.reverse(read), hole, view}
      hole < view.safe or lasting?(view.hole, hole) -> {[], hole + 1, %{view | hole: nil}}
      match?({^hole, _}, view.hole) -> {[], hole, view}
      true -> {[], hole, %{view | hole: {hole, now()}}}
    end
  end

  defp lasting?({hole, since}, hole), do: now() - since >= @patience_ms
  defp lasting?(_, _), do: false

  # The position below which everything is written, as far as the ring tells.
  defp written_below(module, ring, %{total_writes: completed} = stats, oldest, view) do
    # Positions claimed by now minus writes completed before: at least the number of holes.
    %{write_position: written, size: size} = stats(module, ring)
    lag = written - completed

    cond do
      lag <= view.missing ->
        {written, %{view | safe: written, missing: lag, since: nil}}

      # In the first round a hole is an empty slot.
      written <= size ->
        {stats.write_position, look_on(view, lag, written)}

      # These will soon be overwritten: a doubtful event is better than a lost one.
      written - oldest > div(size, 2) ->
        {stats.write_position, look_on(view, lag, written)}

      true ->
        view = look_on(view, lag, written)
        {max(view.safe, oldest), view}
    end
  end

  defp written_below(_module, _ring, %{write_position: written}, _oldest, view), do: {written, view}

  # Holes that stay for the whole patience will never be written.
  defp look_on(%{since: nil} = view, lag, written), do: %{view | since: now(), fewest: lag, then: written}

  defp look_on(view, lag, written) do
    view = %{view | fewest: min(view.fewest, lag)}

    if now() - view.since >= @patience_ms do
      %{view | missing: view.fewest, safe: max(view.safe, view.then), since: now(), fewest: lag, then: written}
    else
      view
    end
  end

  defp stats(module, ring) do
    if function_exported?(module, :stats, 1) do
      case module.stats(ring) do
        %{write_position: written, size: size} = stats when is_integer(written) and is_integer(size) -> stats
        _ -> nil
      end
    end
  end

  defp now, do: System.monotonic_time(:millisecond)
end
