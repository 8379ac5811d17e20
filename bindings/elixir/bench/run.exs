# The benchmark of the Elixir side: what a capture costs its caller, how many events a second get to a storage, how soon the first
# one is there. Everything is compared in one run, in turns, as ratios of measurements that were taken next to each other.
#
#   make bench-elixir                       some minutes
#   MIX_ENV=bench mix run bench/run.exs [capture] [throughput] [wake] [default] [idle]     single parts; QUICK=1: fewer rounds

alias CapturePipeline.Bench.{Cost, Default, Idle, Machine, Throughput, Wake}

parts = [capture: Cost, throughput: Throughput, wake: Wake, default: Default, idle: Idle]
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
