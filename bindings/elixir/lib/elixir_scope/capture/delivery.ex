defmodule ElixirScope.Capture.Delivery do
  @moduledoc false
  # One batch on its way into the storage: the retry policy. It ends when every event is stored or dead, or when the writer is told
  # to leave; then nothing is settled and the whole batch is delivered again by somebody else.

  alias ElixirScope.Capture.{Batch, Consumer, DeadLetters, Storage, Tally, Telemetry}

  @enforce_keys [:consumer, :tally, :storage, :pause]
  defstruct [
    :consumer,
    :tally,
    :storage,
    # Waits so many milliseconds; answers :leave if the writer is to stop.
    :pause,
    retry_limit: 5,
    initial_ms: 10,
    max_ms: 1_000,
    timeout: :infinity
  ]

  @type t :: %__MODULE__{pause: (pos_integer() -> :ok | :leave)}

  @doc "Answers how many events are stored, and the indexes of those that went to the dead letters."
  @spec deliver(t(), Batch.t()) :: {:done, stored :: non_neg_integer(), dead :: [non_neg_integer()]} | :leave
  def deliver(_way, %Batch{entries: []}), do: {:done, 0, []}

  def deliver(way, batch) do
    case offer(way, batch, 1) do
      :leave ->
        :leave

      :ok ->
        {:done, length(batch.entries), []}

      {:partial, n} ->
        batch.entries |> Enum.with_index() |> Enum.drop(n) |> singly(way, batch, 0, n)

      {:failed, reason} ->
        failed(way, length(batch.entries), reason)
        # A batch of one has had its first attempt.
        attempts = if match?([_], batch.entries), do: 1, else: 0

        case attempts < way.retry_limit and attempts > 0 && way.pause.(way.initial_ms) do
          :leave -> :leave
          _ -> batch.entries |> Enum.with_index() |> singly(way, batch, attempts, 0)
        end
    end
  end

  # Round by round each event that is left, alone.
  defp singly([], _way, _batch, _attempts, stored), do: {:done, stored, []}

  defp singly(left, way, batch, attempts, stored) do
    case round(left, way, batch, [], stored) do
      :leave ->
        :leave

      {[], stored} ->
        {:done, stored, []}

      {failing, stored} when attempts + 1 >= way.retry_limit ->
        Enum.each(failing, fn {entry, _index, reason} -> bury(way, entry, reason) end)
        {:done, stored, for({_, index, _} <- failing, do: index)}

      {failing, stored} ->
        case way.pause.(back_off(way, attempts)) do
          :leave -> :leave
          :ok -> singly(for({entry, index, _} <- failing, do: {entry, index}), way, batch, attempts + 1, stored)
        end
    end
  end

  defp round([], _way, _batch, failing, stored), do: {Enum.reverse(failing), stored}

  defp round([{entry, index} | rest], way, batch, failing, stored) do
    case offer(way, %{batch | entries: [entry]}, 1) do
      :leave ->
        :leave

      :ok ->
        round(rest, way, batch, failing, stored + 1)

      {:partial, _} ->
        round(rest, way, batch, [{entry, index, :not_stored} | failing], stored)

      {:failed, reason} ->
        failed(way, 1, reason)
        round(rest, way, batch, [{entry, index, reason} | failing], stored)
    end
  end

  # A storage that is not there is waited for, however long that is.
  defp offer(way, batch, tries) do
    Tally.put(way.tally, :storing_since, nonzero(System.monotonic_time(:millisecond)))
    answer = Storage.store(way.storage, batch, way.timeout)
    Tally.put(way.tally, :storing_since, 0)

    case answer do
      {:unavailable, reason} ->
        Tally.set_trouble(way.tally, :storage_trouble, :storage_unavailable)
        failed(way, length(batch.entries), reason)

        case way.pause.(back_off(way, tries - 1)) do
          :leave -> :leave
          :ok -> offer(way, batch, tries + 1)
        end

      {:failed, _} = failure ->
        Tally.set_trouble(way.tally, :storage_trouble, :storage_failing)
        failure

      fine ->
        Tally.set_trouble(way.tally, :storage_trouble, nil)
        fine
    end
  end

  defp failed(way, count, reason) do
    Consumer.count(way.consumer, way.tally, :error_count, 1)
    Consumer.count(way.consumer, :retries, 1)
    Telemetry.execute([:batch, :failed], %{count: count}, %{worker: worker(), reason: reason})
  end

  defp bury(way, {event, identity, _stamp}, reason) do
    discarded = DeadLetters.put(way.consumer.letters, event, identity, reason)
    Consumer.count(way.consumer, :dead_lettered, 1)
    Consumer.count(way.consumer, :discarded, discarded)
    Telemetry.execute([:event, :dead_lettered], %{count: 1}, %{worker: worker(), reason: reason})
  end

  @doc "The AsyncWriter that this loop belongs to."
  @spec worker() :: pid() | nil
  def worker, do: Process.get(:capture_worker)

  # A little apart from each other, so that the writers of a pool do not come back all at once.
  defp back_off(way, tries) do
    pause = min(way.initial_ms * Integer.pow(2, min(tries, 20)), way.max_ms)
    pause + :rand.uniform(div(pause, 4) + 1) - 1
  end

  defp nonzero(0), do: 1
  defp nonzero(time), do: time
end
