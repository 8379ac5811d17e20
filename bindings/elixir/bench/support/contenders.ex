defmodule CapturePipeline.Bench.Contender do
  @moduledoc """
  A way to get events from those who produce them to a storage.

  `start/1` is told the storage: `:nothing` only counts and sums, `:ets` inserts each event into a table under its number. `burst/3`
  offers the event so many times from the calling process and answers how many were taken. `drain/2` returns when that many have
  been stored since the start, and answers their sum. The number that is summed is the event's `arity`, or the first 8 bytes of a binary.
  """

  @callback name() :: String.t()
  @callback start(:nothing | :ets) :: term()
  @callback burst(context :: term(), event :: term(), count :: non_neg_integer()) :: non_neg_integer()
  @callback drain(context :: term(), count :: non_neg_integer()) :: :ok | {:error, term()}
  @callback stop(context :: term()) :: :ok
  @doc "Before each burst that is timed."
  @callback prepare(context :: term()) :: :ok
  @optional_callbacks prepare: 1

  @doc "Waits until the counter has got there."
  @spec await(:counters.counters_ref(), pos_integer(), non_neg_integer(), non_neg_integer()) :: :ok | {:error, term()}
  def await(counters, index, count, patience \\ 60_000) do
    cond do
      :counters.get(counters, index) >= count ->
        :ok

      patience == 0 ->
        {:error, {:stored, :counters.get(counters, index), :of, count}}

      true ->
        pause(1)
        await(counters, index, count, patience - 1)
    end
  end

  @doc "Leaves the processor for so many milliseconds."
  @spec pause(non_neg_integer()) :: :ok
  def pause(milliseconds) do
    receive do
    after
      milliseconds -> :ok
    end
  end
end

defmodule CapturePipeline.Bench.Keep do
  @moduledoc "What every contender's consumer does with a list of events: the same work, whoever brings them. Counts and sums, so that the result can be checked."

  @doc "`counters`: 1 events, 2 their sum."
  @spec events([term()], :nothing | :ets.tab(), :counters.counters_ref()) :: :ok
  def events(events, :nothing, counters) do
    {count, sum} = total(events, 0, 0)
    note(counters, count, sum)
  end

  def events(events, table, counters) do
    :ets.insert(table, numbered(events))
    {count, sum} = total(events, 0, 0)
    note(counters, count, sum)
  end

  @spec open(:nothing | :ets) :: :nothing | :ets.tab()
  def open(:nothing), do: :nothing
  def open(:ets), do: :ets.new(:kept, [:public, :set, write_concurrency: true])

  @doc "Empties the table, so that a long run does not measure its growth."
  @spec clear(:nothing | :ets.tab()) :: :ok
  def clear(:nothing), do: :ok

  def clear(table) do
    :ets.delete_all_objects(table)
    :ok
  end

  defp note(counters, count, sum) do
    :counters.add(counters, 2, sum)
    :counters.add(counters, 1, count)
  end

  defp total([%{arity: n} | rest], count, sum), do: total(rest, count + 1, sum + n)
  defp total([<<n::64, _::binary>> | rest], count, sum), do: total(rest, count + 1, sum + n)
  defp total([], count, sum), do: {count, sum}

  defp numbered(events), do: for(event <- events, do: {:erlang.unique_integer(), event})
end

defmodule CapturePipeline.Bench.Keeper do
  @moduledoc "A process that keeps what it is sent, `{:event, event}` or `{:events, events}`."
  alias CapturePipeline.Bench.{Contender, Keep}

  @spec start(:nothing | :ets) :: {pid(), :counters.counters_ref()}
  def start(storage) do
    counters = :counters.new(2, [:write_concurrency])
    kept = fn -> loop(Keep.open(storage), counters) end
    {:erlang.spawn_opt(kept, message_queue_data: :off_heap), counters}
  end

  @spec drain({pid(), :counters.counters_ref()}, non_neg_integer()) :: :ok | {:error, term()}
  def drain({_pid, counters}, count), do: Contender.await(counters, 1, count)

  @spec stop({pid(), :counters.counters_ref()}) :: :ok
  def stop({pid, _}) do
    Process.exit(pid, :kill)
    :ok
  end

  defp loop(table, counters) do
    receive do
      {:event, event} -> Keep.events([event], table, counters)
      {:events, events} -> Keep.events(events, table, counters)
    end

    loop(table, counters)
  end
end

defmodule CapturePipeline.Bench.Send do
  @moduledoc "Each event is sent to one process."
  @behaviour CapturePipeline.Bench.Contender
  alias CapturePipeline.Bench.Keeper

  @impl true
  def name, do: "send to a process"

  @impl true
  defdelegate start(storage), to: Keeper

  @impl true
  def burst(context, event, count), do: burst(context, event, count, count)
  defp burst(_context, _event, 0, all), do: all

  defp burst({pid, _} = context, event, count, all) do
    send(pid, {:event, event})
    burst(context, event, count - 1, all)
  end

  @impl true
  defdelegate drain(context, count), to: Keeper

  @impl true
  defdelegate stop(context), to: Keeper
end

defmodule CapturePipeline.Bench.Dictionary do
  @moduledoc "Each producer collects 512 events in its process dictionary and sends them as one message; they die with it."
  @behaviour CapturePipeline.Bench.Contender
  alias CapturePipeline.Bench.Keeper

  @batch 512

  @impl true
  def name, do: "512 in the process dictionary"

  @impl true
  defdelegate start(storage), to: Keeper

  @impl true
  def burst(context, event, count) do
    taken = burst(context, event, count, count)
    # Also stores a partial batch at the end of a burst.
    flush(context)
    taken
  end

  defp burst(_context, _event, 0, all), do: all

  defp burst(context, event, count, all) do
    case Process.get(:batch, {0, []}) do
      {number, events} when number + 1 < @batch -> Process.put(:batch, {number + 1, [event | events]})
      {_, events} -> deliver(context, [event | events])
    end

    burst(context, event, count - 1, all)
  end

  defp flush(context) do
    case Process.get(:batch, {0, []}) do
      {0, _} -> :ok
      {_, events} -> deliver(context, events)
    end
  end

  defp deliver({pid, _}, events) do
    send(pid, {:events, events})
    Process.put(:batch, {0, []})
  end

  @impl true
  defdelegate drain(context, count), to: Keeper

  @impl true
  defdelegate stop(context), to: Keeper
end
