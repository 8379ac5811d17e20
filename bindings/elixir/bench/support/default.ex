defmodule CapturePipeline.Bench.Default do
  @moduledoc """
  The configuration that the existing app has: a pool of 4 writers, batches of 50, a look every 100 ms, its own pure-Elixir ring buffer as the source. A
  pool that waits for the next look after each batch gets 500 distinct events a second through, whoever its writers are.
  """

  alias CapturePipeline.Bench.{Event, Figures}
  alias CapturePipeline.Test.ForeignRing
  alias ElixirScope.Capture.AsyncWriterPool

  @spec run() :: map()
  def run do
    count = if System.get_env("QUICK"), do: 32_768, else: 262_144
    {:ok, ring} = ForeignRing.new(size: count, overflow_strategy: :drop_newest)
    for number <- 1..count, do: :ok = ForeignRing.write(ring, Event.new(number))

    seen = :ets.new(:seen, [:public, :set, write_concurrency: true])
    stored = :counters.new(1, [])

    keep = fn events ->
      :ets.insert(seen, for(event <- events, do: {event.arity}))
      :counters.add(stored, 1, length(events))
      :ok
    end

    began = System.monotonic_time(:nanosecond)
    {:ok, pool} = AsyncWriterPool.start_link(ring_buffer: ring, storage: keep)
    waited = CapturePipeline.Bench.Contender.await(stored, 1, count)
    rate = count * 1.0e9 / (System.monotonic_time(:nanosecond) - began)
    AsyncWriterPool.stop(pool)
    once = :ets.info(seen, :size) == count and :counters.get(stored, 1) == count

    IO.puts(
      "\nThe app's default configuration over its own ring buffer: #{Figures.show(rate)} distinct events a second, each #{if once, do: "exactly once", else: "NOT once"}"
    )

    %{events_per_second: rate, against_500: rate / 500, checks: [{"each event once", waited == :ok and once}]}
  end
end

defmodule CapturePipeline.Bench.ElixirRing do
  @moduledoc "A ring buffer of atomics and an ETS table, as the existing app has it; it overwrites the oldest, and nobody reads."
  @behaviour CapturePipeline.Bench.Contender
  alias CapturePipeline.Test.ForeignRing

  @impl true
  def name, do: "pure-Elixir ring"

  @impl true
  def start(_storage) do
    {:ok, ring} = ForeignRing.new(size: 4096)
    ring
  end

  @impl true
  def burst(ring, event, count), do: burst(ring, event, count, count)
  defp burst(_ring, _event, 0, all), do: all

  defp burst(ring, event, count, all) do
    :ok = ForeignRing.write(ring, event)
    burst(ring, event, count - 1, all)
  end

  # With two writing processes the design counts some writes twice, so only a lower bound is checked.
  @impl true
  def drain(ring, count) do
    if ForeignRing.stats(ring).total_writes >= count, do: :ok, else: {:error, ForeignRing.stats(ring)}
  end

  @impl true
  def stop(ring), do: ForeignRing.destroy(ring)
end
