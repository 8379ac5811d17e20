defmodule CapturePipeline.Bench.Cost do
  @moduledoc """
  What a capture costs the process that makes it, in nanoseconds an event: bursts of #{1000} events, one or two processes at the same time, and
  between the bursts time enough that everything is stored. The contenders take turns.
  """

  alias CapturePipeline.Bench.{
    Buffered,
    BufferedBlocks,
    Captured,
    Dictionary,
    ElixirRing,
    Event,
    Figures,
    Machine,
    Native,
    Plot,
    Send
  }

  alias ElixirScope.Capture.Capture

  @burst 1000

  # Blocks apart only where they are not what all captures take.
  defp contenders do
    if Capture.capture_info().terms == :flat,
      do: [ElixirRing, Send, Dictionary, Native, Buffered, BufferedBlocks, Captured],
      else: [ElixirRing, Send, Dictionary, Native, Buffered, Captured]
  end

  @spec run() :: map()
  def run do
    rounds = if System.get_env("QUICK"), do: 20, else: 200
    payloads = [event: Event.new(1), binary: Event.binary(1)]
    cells = for {kind, payload} <- payloads, processes <- [1, 2], do: {kind, payload, processes}

    measured =
      for {kind, payload, processes} <- cells do
        contexts = for contender <- contenders(), do: {contender, contender.start(:nothing)}
        for contender <- contenders(), do: Process.delete({:total, contender})
        {costs, checked} = measure(contexts, payload, processes, rounds)
        for {contender, context} <- contexts, do: contender.stop(context)
        {{kind, processes}, costs, checked}
      end

    tell(measured)

    %{
      costs: figures(measured),
      ratios: ratios(measured),
      checks: for({cell, _, checked} <- measured, do: {inspect(cell), checked})
    }
  end

  # {[{contender, [ns per event]}], whether every accepted event was stored}
  defp measure(contexts, payload, processes, rounds) do
    results =
      for round <- 1..rounds, {contender, context} <- turns(contexts, round) do
        if function_exported?(contender, :prepare, 1), do: :ok = contender.prepare(context)
        {ns, taken} = together(contender, context, payload, processes)
        {contender, ns / @burst, taken, settle(contender, context, taken)}
      end

    costs = for {contender, _} <- contexts, do: {contender, for({^contender, ns, _, _} <- results, do: ns)}
    {costs, Enum.all?(results, fn {_, _, _, settled} -> settled == :ok end)}
  end

  # The first contender of a round is the last one of the next.
  defp turns(contexts, round) do
    {front, back} = Enum.split(contexts, rem(round, length(contexts)))
    back ++ front
  end

  defp settle(contender, context, taken) do
    total = Process.get({:total, contender}, 0) + taken
    Process.put({:total, contender}, total)
    contender.drain(context, total)
  end

  # The processes run before the burst begins. A burst takes as long as the slowest of them.
  defp together(contender, context, payload, processes) do
    parent = self()

    pids =
      for _ <- 1..processes do
        spawn_link(fn ->
          # A heap so large that no collection interrupts the burst.
          Process.flag(:min_heap_size, 1_000_000)
          send(parent, {:ready, self()})
          receive(do: (:go -> :ok))
          began = System.monotonic_time(:nanosecond)
          taken = contender.burst(context, payload, @burst)
          ended = System.monotonic_time(:nanosecond)
          send(parent, {:done, self(), ended - began, taken})
        end)
      end

    for pid <- pids, do: receive(do: ({:ready, ^pid} -> :ok))
    for pid <- pids, do: send(pid, :go)
    done = for pid <- pids, do: receive(do: ({:done, ^pid, ns, taken} -> {ns, taken}))
    {done |> Enum.map(&elem(&1, 0)) |> Enum.max(), done |> Enum.map(&elem(&1, 1)) |> Enum.sum()}
  end

  defp tell(measured) do
    IO.puts(
      "\nCost of a capture to its caller, ns an event (median; 90th percentile), and against the pure-Elixir ring"
    )

    IO.puts("  " <> memory())

    for {{kind, processes}, costs, _} <- measured do
      IO.puts("\n  #{kind}, #{processes} process(es)")
      {_, base} = hd(costs)
      most = costs |> Enum.map(fn {_, values} -> Figures.median(values) end) |> Enum.max()

      rows =
        for {contender, values} <- costs do
          {ratio, _, _} = Figures.ratio(values, base)
          median = Figures.median(values)

          [
            contender.name(),
            Figures.show(median),
            Figures.show(Figures.percentile(values, 0.9)),
            "#{Figures.show(ratio)} x",
            String.pad_trailing(Figures.bar(median, most), 40)
          ]
        end

      Figures.table(["", "median", "p90", "ratio", ""], rows)
    end

    for kind <- [:event, :binary] do
      [{_, one, _}, {_, two, _}] = for {{^kind, _}, _, _} = cell <- measured, do: cell

      rows =
        for {{contender, a}, {_, b}} <- Enum.zip(one, two),
            do: {contender.name(), [Figures.median(a), Figures.median(b)]}

      path = Path.join(Machine.directory(), "elixir_cost_#{kind}.svg")
      Plot.bars(path, "Cost of a capture, #{kind}", "ns", ["one process", "two processes"], rows)
    end
  end

  # The size of an event, and its path.
  defp memory do
    words = :erts_debug.flat_size(Event.new(1))

    case :elixir_scope_capture_pipeline_nif.term_flat(Event.new(1)) do
      {:ok, bytes, _copy} ->
        "the event: #{words} words, captured as flat words, #{bytes} bytes in the ring and 48 for its header; the binary: as bytes, 64 and 48"

      :no ->
        "the event: #{words} words, captured into environment blocks: #{inspect(Capture.capture_info())}"
    end
  end

  defp figures(measured) do
    Map.new(measured, fn {{kind, processes}, costs, _} ->
      {"#{kind}_#{processes}",
       Map.new(costs, fn {contender, values} -> {contender.name(), Figures.median(values) * 1.0} end)}
    end)
  end

  defp ratios(measured) do
    Map.new(measured, fn {{kind, processes}, [{_, base} | costs], _} ->
      {"#{kind}_#{processes}", Map.new(costs, fn {c, values} -> {c.name(), elem(Figures.ratio(values, base), 0)} end)}
    end)
  end
end
