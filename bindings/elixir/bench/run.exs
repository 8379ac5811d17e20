# The benchmark of the Elixir side: the cost of a capture for its caller, the events per second that reach a storage, and the time until the first one
# is stored. All contenders run in turns in one run, and are compared as ratios of adjacent measurements.
#
#   make bench-elixir                       some minutes
#   MIX_ENV=bench mix run bench/run.exs [capture] [throughput] [wake] [default] [idle] [traced]     single parts; QUICK=1: fewer rounds

alias CapturePipeline.Bench.{Cost, Default, Idle, Machine, Throughput, Traced, Wake}

parts = [capture: Cost, throughput: Throughput, wake: Wake, default: Default, idle: Idle, traced: Traced]
wanted = for name <- System.argv(), do: String.to_existing_atom(name)
chosen = for {name, part} <- parts, wanted == [] or name in wanted, do: {name, part}

Logger.configure(level: :error)
Machine.tell()
results = for {name, part} <- chosen, do: {name, part.run()}
Machine.write(results)

broken = for {name, %{checks: checks}} <- results, {what, false} <- checks, do: "#{name}: #{what}"

if broken == [] do
  IO.puts("\nEvery count and sum was checked.")
else
  IO.puts("\nWRONG RESULTS: " <> Enum.join(broken, "; "))
  System.halt(1)
end
