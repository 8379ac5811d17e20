defmodule CapturePipeline.Bench.Wake do
  @moduledoc """
  From one capture on a pipeline in which nothing moves to the storage that has it, in microseconds; and how long single captures take,
  at the 99.9th percentile and at most (a NIF must not hold up its scheduler).
  """

  alias CapturePipeline.Bench.{Contender, Event, Figures}
  alias ElixirScope.Capture.{AsyncWriterPool, Capture}

  @spec run() :: map()
  def run do
    rounds = if System.get_env("QUICK"), do: 200, else: 2_000
    parent = self()

    tell = fn events ->
      send(parent, {:stored, System.monotonic_time(:nanosecond), length(events)})
      :ok
    end

    {:ok, capture} = Capture.new(batch_size: 512)
    {:ok, pool} = AsyncWriterPool.start_link(ring_buffer: capture, storage: tell, pool_size: 1)

    latencies =
      for number <- 1..rounds do
        Contender.pause(2)
        event = Event.new(number)
        began = System.monotonic_time(:nanosecond)
        :ok = Capture.event(capture, event)
        receive(do: ({:stored, at, 1} -> (at - began) / 1_000))
      end

    calls = calls(capture, rounds * 50)
    AsyncWriterPool.stop(pool)
    Capture.close(capture, 5_000)

    result = %{
      wake_us_p50: Figures.median(latencies) * 1.0,
      wake_us_p99: Figures.percentile(latencies, 0.99) * 1.0,
      call_us_p50: Figures.median(calls) * 1.0,
      call_us_p999: Figures.percentile(calls, 0.999) * 1.0,
      call_us_max: Enum.max(calls) * 1.0,
      checks: [{"every event came singly", length(latencies) == rounds}]
    }

    IO.puts("""

    One event on an idle pipeline is in the storage after #{Figures.show(result.wake_us_p50)} us (p50), \
    #{Figures.show(result.wake_us_p99)} us (p99)
    One capture under load takes #{Figures.show(result.call_us_p50)} us (p50), #{Figures.show(result.call_us_p999)} us (p99.9), \
    #{Figures.show(result.call_us_max)} us (most; the scheduler's own pauses included)\
    """)

    result
  end

  # Each capture is timed while the pipeline works. The time includes two readings of the clock.
  defp calls(capture, count) do
    event = Event.new(1)

    for _ <- 1..count do
      began = System.monotonic_time(:nanosecond)
      _ = Capture.event(capture, event)
      (System.monotonic_time(:nanosecond) - began) / 1_000
    end
  end
end
