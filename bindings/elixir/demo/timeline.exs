# Function calls as a timeline: what Elixir's code formatter does in three processes, captured into a journal.
#
#   mix run demo/timeline.exs JOURNAL [FILES]       so many files of this project, the smallest ones; 3 by default
#   capture-pipeline export JOURNAL calls.pftrace   and open calls.pftrace in https://ui.perfetto.dev
#
# It prints how many calls of CapturePipeline.Known there are in each process: their numbers are known.

defmodule CapturePipeline.Known do
  @moduledoc false
  # Calls whose number and nesting are known: fib(7) makes 41, fails/1 one that an exception leaves.
  def run(n), do: {fib(n), caught()}

  def fib(n) when n < 2, do: n
  def fib(n), do: fib(n - 1) + fib(n - 2)

  def caught do
    fails(1)
  rescue
    ArithmeticError -> :caught
  end

  def fails(n), do: 1 + div(n, 0)
end

defmodule CapturePipeline.Timeline do
  alias ElixirScope.Capture.{Capture, NativeStorage, Tracer}
  alias CapturePipeline.Known

  @traced [Code.Formatter, Inspect.Algebra, Known]

  def run(journal, files) do
    {:ok, capture} = Capture.new(storage: NativeStorage.journal(journal), ring_bytes: 0x4000000)
    {:ok, tracer} = Tracer.start(capture, timeline: true, max_rate: :infinity)

    for module <- @traced do
      Code.ensure_loaded!(module)
      # Returns, also through exceptions.
      {:ok, _} = Tracer.trace_calls(tracer, module, return: true)
    end

    sources = for file <- "lib/**/*.ex" |> Path.wildcard() |> Enum.sort_by(&File.stat!(&1).size) |> Enum.take(files), do: File.read!(file)

    workers =
      for _ <- 1..3 do
        {pid, monitor} = spawn_monitor(fn -> receive(do: (:go -> work(sources))) end)
        {:ok, 1} = Tracer.trace_processes(tracer, pid, [:call, :arity])
        send(pid, :go)
        {pid, monitor}
      end

    for {pid, monitor} <- workers, do: receive(do: ({:DOWN, ^monitor, :process, ^pid, :normal} -> :ok))
    :ok = Tracer.stop(tracer)
    :ok = Capture.close(capture, 60_000)
    {:ok, metrics} = Capture.metrics(capture)
    0 = metrics.dropped_full
    IO.puts("#{metrics.stored} calls and returns of #{Enum.map_join(workers, ", ", &inspect(elem(&1, 0)))}")
  end

  defp work(sources) do
    {13, :caught} = Known.run(7)
    for source <- sources, do: Code.format_string!(source)
    {13, :caught} = Known.run(7)
  end
end

case System.argv() do
  [journal] -> CapturePipeline.Timeline.run(journal, 3)
  [journal, files] -> CapturePipeline.Timeline.run(journal, String.to_integer(files))
end
