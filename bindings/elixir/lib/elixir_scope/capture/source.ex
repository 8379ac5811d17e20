defmodule ElixirScope.Capture.Source do
  @moduledoc false
  # Where a writer's events come from: the next batch of a ring, ours or somebody else's, through the cursor that all writers
  # of a consumer share.

  alias ElixirScope.Capture.{Capture, Consumer, ForeignRing, NativeRingBuffer}
  alias :elixir_scope_capture_pipeline_nif, as: Nif

  @type t ::
          :none
          | {:native, NativeRingBuffer.t()}
          | {:foreign, module(), struct()}
          | {:capture, Capture.t()}
          | {:invalid, term()}

  @typedoc "What was taken: to be settled or given back under its claim."
  @type taken :: %{
          claim: term(),
          to: non_neg_integer(),
          events: [{term(), non_neg_integer()}],
          epoch: integer(),
          attempt: pos_integer(),
          overwritten: non_neg_integer(),
          skipped: non_neg_integer()
        }

  @doc "What `ring_buffer` stands for. By the struct's own module, so that rings of several makers work in one VM."
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
  Takes up to `max` events. `view` is what this reader remembers of a foreign ring (nil at first).

  `:busy`: another worker is reading at this moment.
  """
  @spec take(Consumer.t(), t(), pos_integer(), term()) ::
          {:ok, taken(), term()} | {:empty, term()} | {:busy, term()} | {:error, term(), term()}
  def take(consumer, source, max, view) do
    case Nif.cursor_begin(consumer.cursor, max) do
      {:read, from} -> take_new(consumer, source, from, max, view)
      {:again, claim, from, to} -> take_again(consumer, source, claim, from, to, view)
      :busy -> {:busy, view}
      {:error, reason} -> {:error, reason, view}
    end
  end

  defp take_new(consumer, source, from, max, view) do
    case read(consumer, source, from, max, view) do
      {:ok, {events, _from, to, overwritten}, view} ->
        claim(consumer, source, events, from, to, overwritten, view, max)

      {:cleared, view} ->
        Nif.cursor_set(consumer.cursor, 0)
        take(consumer, source, max, view)

      {:error, reason} ->
        # The turn goes to the next one.
        Nif.cursor_claim(consumer.cursor, from, from)
        {:error, reason, view}
    end
  end

  defp claim(consumer, source, events, from, to, overwritten, view, max) do
    first = if events == [], do: to, else: events |> hd() |> elem(1)

    case Nif.cursor_claim(consumer.cursor, first, to) do
      {:ok, claim} ->
        skipped = to - from - overwritten - length(events)
        {:ok, taken(consumer, source, claim, to, events, 1, overwritten, skipped), view}

      :empty ->
        if to > from,
          do: {:ok, taken(consumer, source, :none, to, [], 1, overwritten, to - from - overwritten), view},
          else: {:empty, view}

      :stale ->
        take(consumer, source, max, view)

      {:error, reason} ->
        {:error, reason, view}
    end
  end

  defp take_again(consumer, source, claim, from, to, view) do
    case read_again(source, from, to) do
      {:ok, {events, _, _, overwritten}} ->
        skipped = to - from - overwritten - length(events)
        {:ok, taken(consumer, source, claim, to, events, 2, overwritten, skipped), view}

      {:error, reason} ->
        Nif.cursor_return(consumer.cursor, claim)
        {:error, reason, view}
    end
  end

  defp taken(consumer, source, claim, to, events, attempt, overwritten, skipped) do
    %{
      claim: claim,
      to: to,
      events: events,
      epoch: epoch(consumer, source),
      attempt: attempt,
      overwritten: overwritten,
      skipped: max(skipped, 0)
    }
  end

  # ---- reading ----

  defp read(consumer, {:foreign, module, ring}, from, max, view) do
    case ForeignRing.read(consumer, module, ring, from, max, view || %ForeignRing{}) do
      {:cleared, view} -> {:cleared, view}
      {read, view} -> {:ok, read, view}
    end
  rescue
    error -> {:error, error}
  catch
    kind, reason -> {:error, {kind, reason}}
  end

  defp read(_consumer, {:native, ring}, from, max, view) do
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

  # One read is bounded in work, a range may need several.
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

  # ---- afterwards ----

  @doc "What was taken is stored, or dead."
  @spec settle(Consumer.t(), taken()) :: :ok
  def settle(_consumer, %{claim: :none}), do: :ok

  def settle(consumer, %{claim: claim}) do
    Nif.cursor_settle(consumer.cursor, claim)
    :ok
  end

  @doc "What was taken is to be taken again, by anybody."
  @spec give_back(Consumer.t(), taken()) :: :ok
  def give_back(_consumer, %{claim: :none}), do: :ok

  def give_back(consumer, %{claim: claim}) do
    Nif.cursor_return(consumer.cursor, claim)
    :ok
  end

  @doc "Asks to be told (`{:ring_ready, ref}`) when there is something to take, where that can be had; `:ready` if there is."
  @spec wait(Consumer.t(), t()) :: :ready | :waiting | :unsupported
  def wait(consumer, {:native, _}) do
    case Nif.cursor_wait(consumer.cursor) do
      :ready -> :ready
      {:ok, _ref} -> :waiting
      _ -> :unsupported
    end
  end

  def wait(_consumer, _source), do: :unsupported

  @doc "Moves the cursor of the consumer."
  @spec set_position(Consumer.t(), non_neg_integer()) :: :ok | {:error, term()}
  def set_position(consumer, position), do: Nif.cursor_set(consumer.cursor, position)

  @doc "How many events are captured and not yet stored."
  @spec backlog(Consumer.t()) :: non_neg_integer()
  def backlog(consumer) do
    case resolve(consumer.source) do
      {:capture, capture} ->
        Capture.backlog(capture)

      {:native, ring} ->
        ring |> written() |> behind(ring.size, info(consumer))

      {:foreign, module, ring} ->
        module |> ForeignRing.backlog(ring, next(info(consumer))) |> Kernel.+(claimed(info(consumer)))

      _ ->
        0
    end
  end

  defp info(consumer), do: Nif.cursor_info(consumer.cursor)

  defp written(ring) do
    case NativeRingBuffer.stats(ring) do
      %{write_position: written} -> written
      _ -> 0
    end
  end

  defp behind(written, size, %{next: next} = info),
    do: (written - next) |> max(0) |> min(size) |> Kernel.+(claimed(info))

  defp behind(_, _, _), do: 0

  defp next(%{next: next}), do: next
  defp next(_), do: 0

  defp claimed(%{claimed: claimed}), do: claimed
  defp claimed(_), do: 0

  defp epoch(consumer, {:native, _}), do: Map.get(info(consumer), :epoch, 0)
  defp epoch(consumer, _), do: Consumer.mark(consumer, :epoch)
end
