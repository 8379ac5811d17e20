defmodule ElixirScope.Capture.Source do
  @moduledoc false
  # The source of a writer's events: the next batch of a ring, native or foreign, through the cursor that all writers of a group share.

  alias ElixirScope.Capture.{Attempts, Capture, ConsumerGroup, ForeignRing, NativeRingBuffer}
  alias :elixir_scope_capture_pipeline_nif, as: Nif

  @type t ::
          :none
          | {:native, NativeRingBuffer.t()}
          | {:foreign, module(), struct()}
          | {:capture, Capture.t()}
          | {:invalid, term()}

  @typedoc "A batch that was taken, to be settled or returned by its claim."
  @type taken :: %{
          claim: term(),
          from: non_neg_integer(),
          to: non_neg_integer(),
          events: [{term(), non_neg_integer()}],
          epoch: integer(),
          attempt: pos_integer(),
          overwritten: non_neg_integer(),
          skipped: non_neg_integer()
        }

  @doc "The source that a `ring_buffer` option means. Dispatches on the struct's module, so that rings of several kinds work in one VM."
  @spec resolve(term()) :: t()
  def resolve(nil), do: :none
  def resolve(%NativeRingBuffer{} = ring), do: {:native, ring}
  def resolve(%Capture{} = capture), do: {:capture, capture}

  def resolve(%module{} = ring) do
    if Code.ensure_loaded?(module) and function_exported?(module, :read_batch, 3),
      do: {:foreign, module, ring},
      else: {:invalid, ring}
  end

  def resolve(other), do: {:invalid, other}

  @doc """
  Takes up to `max` events. `view`: the reader's state for a foreign ring (nil at first).

  `:busy`: another worker has the turn.
  """
  @spec take(ConsumerGroup.t(), t(), pos_integer(), term()) ::
          {:ok, taken(), term()} | {:empty, term()} | {:busy, term()} | {:error, term(), term()}
  def take(group, source, max, view) do
    case Nif.cursor_begin(group.cursor, max) do
      {:read, from} -> take_new(group, source, from, max, view)
      {:again, claim, from, to} -> take_again(group, source, claim, from, to, view)
      :busy -> {:busy, view}
      {:error, reason} -> {:error, reason, view}
    end
  end

  defp take_new(group, source, from, max, view) do
    case read(group, source, from, max, view) do
      {:ok, {events, _from, to, overwritten}, view} ->
        claim(group, source, events, from, to, overwritten, view, max)

      {:cleared, view} ->
        Nif.cursor_set(group.cursor, 0)
        take(group, source, max, view)

      {:error, reason} ->
        # Ends the turn.
        Nif.cursor_claim(group.cursor, from, from)
        {:error, reason, view}
    end
  end

  defp claim(group, source, events, from, to, overwritten, view, max) do
    first = if events == [], do: to, else: events |> hd() |> elem(1)

    case Nif.cursor_claim(group.cursor, first, to) do
      {:ok, claim} ->
        skipped = to - from - overwritten - length(events)
        {:ok, taken(group, source, claim, {first, to}, events, 1, overwritten, skipped), view}

      :empty ->
        if to > from,
          do: {:ok, taken(group, source, :none, {to, to}, [], 1, overwritten, to - from - overwritten), view},
          else: {:empty, view}

      :stale ->
        take(group, source, max, view)

      {:error, reason} ->
        {:error, reason, view}
    end
  end

  defp take_again(group, source, claim, from, to, view) do
    case read_again(source, from, to) do
      {:ok, {events, _, _, overwritten}} ->
        skipped = to - from - overwritten - length(events)
        {:ok, taken(group, source, claim, {from, to}, events, 2, overwritten, skipped), view}

      {:error, reason} ->
        Nif.cursor_return(group.cursor, claim)
        {:error, reason, view}
    end
  end

  defp taken(group, source, claim, {from, to}, events, attempt, overwritten, skipped) do
    %{
      claim: claim,
      from: from,
      to: to,
      events: events,
      epoch: epoch(group, source),
      attempt: attempt,
      overwritten: overwritten,
      skipped: max(skipped, 0)
    }
  end

  # ---- reading ----

  defp read(group, {:foreign, module, ring}, from, max, view) do
    case ForeignRing.read(group, module, ring, from, max, view || %ForeignRing{}) do
      {:cleared, view} -> {:cleared, view}
      {read, view} -> {:ok, read, view}
    end
  rescue
    error -> {:error, error}
  catch
    kind, reason -> {:error, {kind, reason}}
  end

  defp read(_group, {:native, ring}, from, max, view) do
    case Nif.ring_read_batch(NativeRingBuffer.native(ring), from, max) do
      {events, first, next} -> {:ok, {positions(events, first), from, next, max(first - from, 0)}, view}
      {:error, reason} -> {:error, reason}
    end
  end

  defp read_again({:foreign, module, ring}, from, to) do
    {:ok, ForeignRing.read_again(module, ring, from, to)}
  rescue
    error -> {:error, error}
  catch
    kind, reason -> {:error, {kind, reason}}
  end

  defp read_again({:native, ring}, from, to), do: read_range(NativeRingBuffer.native(ring), from, to, from, [])

  # The work of one read is bounded, so that a range may need several.
  defp read_range(native, from, to, at, read) when at < to do
    case Nif.ring_read_batch(native, at, to - at) do
      {[], _first, _next} -> {:ok, range(from, to, read)}
      {events, first, next} -> read_range(native, from, to, next, [positions(events, first) | read])
      {:error, reason} -> {:error, reason}
    end
  end

  defp read_range(_native, from, to, _at, read), do: {:ok, range(from, to, read)}

  defp range(from, to, read) do
    events = read |> Enum.reverse() |> Enum.concat() |> Enum.filter(fn {_, position} -> position < to end)
    {events, from, to, to - from - length(events)}
  end

  defp positions([], _first), do: []
  defp positions([event | rest], position), do: [{event, position} | positions(rest, position + 1)]

  # ---- settle and return ----

  @doc "All events of the batch are stored or dead-lettered."
  @spec settle(ConsumerGroup.t(), taken()) :: :ok
  def settle(_group, %{claim: :none}), do: :ok

  def settle(group, %{claim: claim}) do
    Nif.cursor_settle(group.cursor, claim)
    :ok
  end

  @doc "Returns the batch, to be taken again by any worker."
  @spec give_back(ConsumerGroup.t(), taken()) :: :ok
  def give_back(_group, %{claim: :none}), do: :ok

  def give_back(group, %{claim: claim}) do
    Nif.cursor_return(group.cursor, claim)
    :ok
  end

  @doc "Requests a `{:ring_ready, ref}` message for the next write, if the source can send it. `:ready`: there is an event already."
  @spec wait(ConsumerGroup.t(), t()) :: :ready | :waiting | :unsupported
  def wait(group, {:native, _}) do
    case Nif.cursor_wait(group.cursor) do
      :ready -> :ready
      {:ok, _ref} -> :waiting
      _ -> :unsupported
    end
  end

  def wait(_group, _source), do: :unsupported

  @doc "Moves the cursor of the group."
  @spec set_position(ConsumerGroup.t(), non_neg_integer()) :: :ok | {:error, term()}
  def set_position(group, position) do
    Attempts.forget_all(group)
    Nif.cursor_set(group.cursor, position)
  end

  @doc "How many events are captured and not yet stored."
  @spec backlog(ConsumerGroup.t()) :: non_neg_integer()
  def backlog(group) do
    case resolve(group.source) do
      {:capture, capture} ->
        Capture.backlog(capture)

      {:native, ring} ->
        ring |> written() |> behind(ring.size, info(group))

      {:foreign, module, ring} ->
        info = info(group)
        module |> ForeignRing.backlog(ring, next(info)) |> Kernel.+(taken(info))

      _ ->
        0
    end
  end

  @left_out %{dropped_full: 0, dropped_sampled: 0, dropped_rule: 0, stored_priority: 0}
  @load %{pressure: 0, sampling_weight: 1}

  @doc "How many events the source has left out, and how many with priority were stored. A ring that is no capture has zeros."
  @spec left_out(ConsumerGroup.t() | nil) :: map()
  def left_out(group), do: figures(group, @left_out)

  @doc "How urgently the source needs relief, and for how many events a kept one of a new trace stands."
  @spec load(ConsumerGroup.t() | nil) :: %{pressure: 0..100, sampling_weight: pos_integer()}
  def load(group) do
    with %{source: source} <- group, {:native, ring} <- resolve(source) do
      %{@load | pressure: pressure(NativeRingBuffer.pressure(ring))}
    else
      _ -> figures(group, @load)
    end
  end

  defp figures(group, default) do
    with %{source: source} <- group,
         {:capture, capture} <- resolve(source),
         {:ok, metrics} <- Capture.metrics(capture) do
      Map.take(metrics, Map.keys(default))
    else
      _ -> default
    end
  end

  defp pressure(percent) when is_integer(percent), do: percent
  defp pressure(_destroyed), do: 0

  defp info(group), do: Nif.cursor_info(group.cursor)

  defp written(ring) do
    case NativeRingBuffer.stats(ring) do
      %{write_position: written} -> written
      _ -> 0
    end
  end

  defp behind(written, size, %{next: next} = info),
    do: (written - next) |> max(0) |> min(size) |> Kernel.+(taken(info))

  defp behind(_, _, _), do: 0

  defp next(%{next: next}), do: next
  defp next(_), do: 0

  # Claimed by a writer, or returned.
  defp taken(%{claimed: claimed, returned: returned}), do: claimed + returned
  defp taken(_), do: 0

  defp epoch(group, {:native, _}), do: Map.get(info(group), :epoch, 0)
  defp epoch(group, _), do: ConsumerGroup.mark(group, :epoch)
end
