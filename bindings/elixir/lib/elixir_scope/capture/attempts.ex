defmodule ElixirScope.Capture.Attempts do
  @moduledoc false
  # The earlier deliveries of events that are not settled: how often a writer died while the storage had them, and which of them are
  # stored or dead-lettered already. Without it, an event that ends its writer would be delivered for ever.
  #
  # One table for each consumer group, owned by the process that made the group, so that it outlives writers and pools. The key of a row is a
  # *place*: the group's source, a scope in it (the epoch of a ring, the id of a captured batch) and a position in that scope. Rows are
  # written only when a writer dies and when a batch is stored in parts. A batch that is stored whole leaves none.
  #
  # Before each call of the storage, the loop of a writer notes in its tally which positions the storage gets (the *range*). The AsyncWriter
  # monitors the loop and writes the rows when the loop ends by itself. If the AsyncWriter was killed first, the events are not the cause,
  # and no row is written.

  alias ElixirScope.Capture.{ConsumerGroup, Tally, Telemetry}

  # How long a redelivery waits for an AsyncWriter to report the end of its loop.
  @report_ms 1_000

  @typedoc "The positions in one call of the storage: from the first one to the one after the last."
  @type range :: {scope :: integer(), from :: integer(), to :: integer()}

  @typedoc "`deaths`: of writers with exactly this range; `total`: of writers with this event."
  @type fate ::
          nil | :stored | :dead_lettered | {:died, range(), deaths :: pos_integer(), total :: pos_integer(), term()}

  @spec new() :: :ets.tid()
  def new, do: :ets.new(:capture_attempts, [:set, :public, write_concurrency: true])

  # ---- loops that run ----

  @doc "The calling process is the loop of that AsyncWriter."
  @spec loop_started(ConsumerGroup.t(), pid()) :: :ok
  def loop_started(group, worker), do: insert(group, {:loop, worker}, self())

  @doc "The loop of that AsyncWriter, or nil."
  @spec loop_of(ConsumerGroup.t(), pid()) :: pid() | nil
  def loop_of(group, worker), do: lookup(group, {:loop, worker})

  @doc "That AsyncWriter has ended. Ends its loop too, in case a storage has removed the link between them."
  @spec worker_ended(ConsumerGroup.t(), pid()) :: :ok
  def worker_ended(group, worker) do
    for {_, loop} <- :ets.take(group.attempts, {:loop, worker}), do: Process.exit(loop, :kill)
    delete(group, {:control, worker})
  rescue
    ArgumentError -> :ok
  end

  @doc "The same for every AsyncWriter that has ended."
  @spec sweep(ConsumerGroup.t()) :: :ok
  def sweep(group) do
    for [worker, _] <- loops(group), not Process.alive?(worker), do: worker_ended(group, worker)
    :ok
  end

  @doc "The control of the loop of an AsyncWriter; only for `LoopControl`."
  @spec put_control(ConsumerGroup.t(), pid(), term()) :: :ok
  def put_control(group, worker, control), do: insert(group, {:control, worker}, control)

  @spec control(ConsumerGroup.t(), pid()) :: term()
  def control(group, worker), do: lookup(group, {:control, worker})

  # ---- a loop that died ----

  @doc "The calling AsyncWriter's loop has ended by itself: counts one more attempt for the events that the storage had."
  @spec loop_ended(ConsumerGroup.t(), Tally.t(), term()) :: :ok
  def loop_ended(group, tally, reason) do
    if Tally.get(tally, :storing_since) != 0 do
      range = {scope, from, to} = Tally.range(tally)
      for position <- from..(to - 1)//1, do: note_death(group, {group.number, scope, position}, range, reason)
      Tally.put(tally, :storing_since, 0)
      ConsumerGroup.count(group, tally, :error_count, 1)
      ConsumerGroup.count(group, :retries, 1)
      Telemetry.execute([:batch, :failed], %{count: to - from}, %{worker: self(), reason: {:writer_died, reason}})
    end

    Tally.put(tally, :busy_since, 0)
    delete(group, {:loop, self()})
  end

  defp note_death(group, place, range, reason) do
    case lookup(group, place) do
      {:died, ^range, deaths, total, _} -> insert(group, place, {:died, range, deaths + 1, total + 1, reason})
      {:died, _, _, total, _} -> insert(group, place, {:died, range, 1, total + 1, reason})
      nil -> insert(group, place, {:died, range, 1, 1, reason})
      _stored_or_dead_lettered -> :ok
    end
  end

  @doc """
  Waits until every living AsyncWriter has reported the end of its loop: a batch may be returned before that. Called only before a batch is
  delivered again.
  """
  @spec await_reports(ConsumerGroup.t()) :: :ok
  def await_reports(group), do: await_reports(group, System.monotonic_time(:millisecond) + @report_ms)

  defp await_reports(group, deadline) do
    rows = loops(group)
    missing = Enum.any?(rows, fn [worker, loop] -> not Process.alive?(loop) and Process.alive?(worker) end)

    if missing and System.monotonic_time(:millisecond) < deadline do
      receive do
      after
        1 -> await_reports(group, deadline)
      end
    else
      :ok
    end
  end

  defp loops(group) do
    :ets.match(group.attempts, {{:loop, :"$1"}, :"$2"})
  rescue
    ArgumentError -> []
  end

  # ---- the fate of events ----

  @spec fate(ConsumerGroup.t(), integer(), integer()) :: fate()
  def fate(group, scope, position), do: lookup(group, {group.number, scope, position})

  @doc "The event is done with before its batch is settled."
  @spec settled(ConsumerGroup.t(), integer(), integer(), :stored | :dead_lettered) :: :ok
  def settled(group, scope, position, fate), do: insert(group, {group.number, scope, position}, fate)

  @doc "The batch with these positions is settled: removes its rows."
  @spec forget(ConsumerGroup.t(), range()) :: :ok
  def forget(group, {scope, from, to}) do
    for position <- from..(to - 1)//1, do: delete(group, {group.number, scope, position})
    :ok
  end

  @doc "Removes all rows: the source is a new one, or its cursor was moved, so that events may be delivered again on purpose."
  @spec forget_all(ConsumerGroup.t()) :: :ok
  def forget_all(group) do
    :ets.match_delete(group.attempts, {{group.number, :_, :_}, :_})
    :ok
  rescue
    ArgumentError -> :ok
  end

  # ---- the table; it is gone when the process that made the group has ended, and then its writers are about to end ----

  defp lookup(group, key) do
    case :ets.lookup(group.attempts, key) do
      [{_, value}] -> value
      [] -> nil
    end
  rescue
    ArgumentError -> nil
  end

  defp insert(group, key, value) do
    :ets.insert(group.attempts, {key, value})
    :ok
  rescue
    ArgumentError -> :ok
  end

  defp delete(group, key) do
    :ets.delete(group.attempts, key)
    :ok
  rescue
    ArgumentError -> :ok
  end
end
