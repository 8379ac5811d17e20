# The cost of a write and of a read by position for the caller, in ns, for a struct of 12 fields, at several sizes of the ring and from 1 and 2 processes.
#
#   MIX_ENV=bench mix run bench/ring_cost.exs
#
# Each figure is the least of several rounds, because other load only adds. The counts are checked.

defmodule RingCost do
  alias CapturePipeline.Bench.Event
  alias ElixirScope.Capture.NativeRingBuffer, as: Ring

  @rounds 300
  @per_round 5_000

  def run do
    call = Event.new(1)
    large = %{call | args: [String.duplicate("x", 200)]}

    IO.puts(
      "event of #{:erts_debug.flat_size(call)} words; #{@rounds} rounds of #{@per_round}; ns per call, the least of the rounds\n"
    )

    empty = fn -> repeat(@per_round, fn -> :ok end) end
    base = least(empty)

    IO.puts(
      row(["ring", "write", "2 processes", "with a 200 B binary", "read oldest", "read newest", "read_batch(50) each"])
    )

    for size <- [16, 1_024, 65_536, 1_048_576] do
      {:ok, ring} = Ring.new(size: size)
      write = least(fn -> repeat(@per_round, fn -> :ok = Ring.write(ring, call) end) end) - base
      two = least(fn -> twice(fn -> repeat(@per_round, fn -> :ok = Ring.write(ring, call) end) end) end) - base
      binary = least(fn -> repeat(@per_round, fn -> :ok = Ring.write(ring, large) end) end) - base
      for _ <- 1..size, do: :ok = Ring.write(ring, call)
      %{read_position: oldest, write_position: newest, total_writes: writes} = Ring.stats(ring)
      ^writes = @rounds * @per_round * 4 + size
      old = least(fn -> repeat(@per_round, fn -> {:ok, _, _} = Ring.read(ring, oldest) end) end) - base
      new = least(fn -> repeat(@per_round, fn -> {:ok, _, _} = Ring.read(ring, newest - 1) end) end) - base
      count = min(50, size)

      batch =
        least(fn -> repeat(div(@per_round, count), fn -> {[_ | _], _} = Ring.read_batch(ring, oldest, count) end) end) *
          1.0

      IO.puts(row([size, write, two, binary, old, new, batch]))
    end
  end

  defp repeat(0, _), do: :ok

  defp repeat(n, fun) do
    fun.()
    repeat(n - 1, fun)
  end

  # Both at once: the time of the slower one.
  defp twice(fun), do: [Task.async(fun), Task.async(fun)] |> Task.await_many(:infinity)

  defp least(fun) do
    for(_ <- 1..@rounds, do: elem(:timer.tc(fun), 0)) |> Enum.min() |> Kernel.*(1000 / @per_round)
  end

  defp row(cells), do: Enum.map_join(cells, "  ", &String.pad_leading(cell(&1), 20))
  defp cell(number) when is_float(number), do: :erlang.float_to_binary(number, decimals: 0)
  defp cell(other), do: to_string(other)
end

RingCost.run()
