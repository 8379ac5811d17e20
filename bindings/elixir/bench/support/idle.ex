defmodule CapturePipeline.Bench.Idle do
  @moduledoc "The processor time that pipelines take in which nothing happens: a whole tree and a bare capture, and the VM without them for comparison."

  alias ElixirScope.Capture.{Capture, PipelineManager}

  @spec run() :: map()
  def run do
    seconds = if System.get_env("QUICK"), do: 2, else: 10
    without = spent(seconds)
    {:ok, capture} = Capture.new()
    {:ok, manager} = PipelineManager.start_link(name: nil, ring_buffer: capture)
    with_it = spent(seconds)
    PipelineManager.shutdown(manager)
    Capture.close(capture, 1_000)
    IO.puts("\nIdle: #{with_it} s of processor time in #{seconds} s with a pipeline, #{without} s without one")
    %{seconds: seconds, with: with_it, without: without, checks: []}
  end

  defp spent(seconds) do
    before = ticks()
    CapturePipeline.Bench.Contender.pause(seconds * 1000)
    (ticks() - before) / 100
  end

  # utime and stime of this process. The name in parentheses may contain any character.
  defp ticks do
    [_, rest] = "/proc/self/stat" |> File.read!() |> String.split(") ", parts: 2)
    fields = String.split(rest)
    String.to_integer(Enum.at(fields, 11)) + String.to_integer(Enum.at(fields, 12))
  end
end
