defmodule CapturePipeline.Bench.Throughput do
  @moduledoc """
  How many events a second get from one or two producers to the storage: offered as fast as they can be, none may be lost, and the clock stops when
  the last is stored. A contender that has no room makes its producer try again.
  """

  alias CapturePipeline.Bench.{
    Captured,
    Contender,
    Delivered,
    DeliveredBlocks,
    Dictionary,
    Event,
    Figures,
    Machine,
    Plot,
    Send
  }

  alias ElixirScope.Capture.Capture

  # Blocks apart only where they are not what all captures take.
  defp contenders do
    if Capture.capture_info().terms == :flat,
      do: [Send, Dictionary, Delivered, DeliveredBlocks, Captured],
      else: [Send, Dictionary, Delivered, Captured]
  end

  @spec run() :: map()
  def run do
    {rounds, counts} =
      if System.get_env("QUICK"),
        do: {3, %{nothing: 200_000, ets: 50_000}},
        else: {7, %{nothing: 1_000_000, ets: 200_000}}

    payload = Event.new(1)

    measured =
      for storage <- [:nothing, :ets], producers <- [1, 2] do
        runs =
          for _ <- 1..rounds, contender <- contenders() do
            {contender, one(contender, storage, payload, producers, div(counts[storage], producers))}
          end

        rates = for contender <- contenders(), do: {contender, for({^contender, {rate, _}} <- runs, do: rate)}
        {{storage, producers}, rates, Enum.all?(runs, fn {_, {_, checked}} -> checked end)}
      end

    tell(measured)

    %{
      millions_per_second: figures(measured),
      ratios: ratios(measured),
      checks: for({cell, _, checked} <- measured, do: {inspect(cell), checked})
    }
  end

  # {million events a second, whether all were stored}
  defp one(contender, storage, payload, producers, each) do
    context = contender.start(storage)
    began = System.monotonic_time(:nanosecond)
    tasks = for _ <- 1..producers, do: Task.async(fn -> offer(contender, context, payload, each) end)
    Enum.each(tasks, &Task.await(&1, :infinity))
    drained = contender.drain(context, producers * each)
    ended = System.monotonic_time(:nanosecond)
    contender.stop(context)
    {producers * each * 1_000 / (ended - began), drained == :ok}
  end

  defp offer(_contender, _context, _payload, 0), do: :ok

  defp offer(contender, context, payload, left) do
    case contender.burst(context, payload, min(left, 512)) do
      0 ->
        Contender.pause(1)
        offer(contender, context, payload, left)

      taken ->
        offer(contender, context, payload, left - taken)
    end
  end

  defp tell(measured) do
    IO.puts("\nEnd to end, million events a second (median), and against sending each to a process")

    for {{storage, producers}, rates, _} <- measured do
      IO.puts("\n  storage: #{storage}, #{producers} producer(s)")
      {_, base} = hd(rates)
      most = rates |> Enum.map(fn {_, values} -> Figures.median(values) end) |> Enum.max()

      rows =
        for {contender, values} <- rates do
          {ratio, least, largest} = Figures.ratio(values, base)
          median = Figures.median(values)

          [
            contender.name(),
            Figures.show(median),
            "#{Figures.show(ratio)} x (#{Figures.show(least)}-#{Figures.show(largest)})",
            String.pad_trailing(Figures.bar(median, most), 40)
          ]
        end

      Figures.table(["", "M/s", "ratio", ""], rows)
    end

    for storage <- [:nothing, :ets] do
      [{_, one, _}, {_, two, _}] = for {{^storage, _}, _, _} = cell <- measured, do: cell

      rows =
        for {{contender, a}, {_, b}} <- Enum.zip(one, two),
            do: {contender.name(), [Figures.median(a), Figures.median(b)]}

      path = Path.join(Machine.directory(), "elixir_throughput_#{storage}.svg")
      Plot.bars(path, "End to end, storage: #{storage}", "M/s", ["one producer", "two producers"], rows)
    end
  end

  defp figures(measured) do
    Map.new(measured, fn {{storage, producers}, rates, _} ->
      {"#{storage}_#{producers}",
       Map.new(rates, fn {contender, values} -> {contender.name(), Figures.median(values) * 1.0} end)}
    end)
  end

  defp ratios(measured) do
    Map.new(measured, fn {{storage, producers}, [{_, base} | rates], _} ->
      {"#{storage}_#{producers}",
       Map.new(rates, fn {c, values} -> {c.name(), elem(Figures.ratio(values, base), 0)} end)}
    end)
  end
end
