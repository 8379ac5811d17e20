# The demonstration of `make demo-elixir`: the calls and returns of a real library, Elixir's code formatter, are captured while it formats this project's
# sources. Then the stored events show what it did.
#
#   mix run demo/demo.exs [EVENTS]       the least number of events; default 300,000

defmodule CapturePipeline.Demo do
  alias ElixirScope.Capture.{Capture, EtsStorage, PipelineManager}

  @traced [Code.Formatter, Inspect.Algebra, Code.Normalizer, Code.Identifier]
  @formatters 3

  def run(wanted) do
    storage = EtsStorage.new(max_events: 4 * wanted + 1_000_000)
    # No event is dropped: the tracer waits if the ring buffer is full.
    {:ok, capture} = Capture.new(overflow: :block, block_timeout_ms: :infinity, batch_size: 512)
    {:ok, manager} = PipelineManager.start_link(ring_buffer: capture, storage: storage, async_writer_pool_size: 2)

    sources = for file <- Path.wildcard("{lib,test,bench}/**/*.{ex,exs}"), do: File.read!(file)

    IO.puts(
      "capturing #{length(@traced)} modules of Elixir while #{@formatters} processes format #{length(sources)} files, to at least #{wanted} events\n"
    )

    # At index n: how many captures took up to 2^(n/4) ns.
    costs = :counters.new(160, [:write_concurrency])
    began = System.monotonic_time(:millisecond)
    tracers = for number <- 1..@formatters, do: start(number, capture, costs, sources)
    watch(capture, manager, wanted, began)
    for {formatter, _} <- tracers, do: stop(formatter)
    for {_, tracer} <- tracers, do: told(tracer)
    took = System.monotonic_time(:millisecond) - began

    :ok = Capture.flush(capture, 30_000)
    {:ok, metrics} = Capture.metrics(capture)
    report(metrics, storage, costs, took)
    balanced = balanced?(metrics)
    PipelineManager.shutdown(manager)
    Capture.close(capture, 5_000)
    unless balanced and metrics.stored >= wanted, do: System.halt(1)
  end

  # A process that formats, and the tracer, which captures the VM's trace messages about it.
  defp start(number, capture, costs, sources) do
    tracer = :erlang.spawn_opt(fn -> trace(capture, costs) end, [:link, message_queue_data: :off_heap])

    formatter =
      spawn_link(fn ->
        Process.register(self(), :"formatter_#{number}")
        receive(do: (:go -> format(sources, tracer)))
      end)

    for module <- @traced do
      Code.ensure_loaded(module)
      :erlang.trace_pattern({module, :_, :_}, [{:_, [], [{:return_trace}]}], [:local])
    end

    :erlang.trace(formatter, true, [:call, :arity, :monotonic_timestamp, {:tracer, tracer}])
    send(formatter, :go)
    {formatter, tracer}
  end

  defp format(sources, tracer) do
    for source <- sources do
      receive do
        :end -> exit(:normal)
      after
        0 -> :ok
      end

      Code.format_string!(source)
      # A traced process runs ahead of its tracer: the next file begins when all events of this one are captured.
      told(tracer)
    end

    format(sources, tracer)
  end

  defp stop(formatter) do
    reference = Process.monitor(formatter)
    send(formatter, :end)
    receive(do: ({:DOWN, ^reference, _, _, _} -> :ok))
  end

  # When this returns, all earlier trace messages are captured.
  defp told(tracer) do
    reference = make_ref()
    send(tracer, {:told?, self(), reference})
    receive(do: (^reference -> :ok))
  end

  defp trace(capture, costs) do
    receive do
      {:trace_ts, pid, :call, {module, function, arity}, at} ->
        captured(capture, costs, {:call, pid, module, function, arity, at})
        trace(capture, costs)

      {:trace_ts, pid, :return_from, {module, function, arity}, _value, at} ->
        captured(capture, costs, {:return, pid, module, function, arity, at})
        trace(capture, costs)

      {:told?, from, reference} ->
        send(from, reference)
        trace(capture, costs)
    end
  end

  defp captured(capture, costs, {what, pid, module, function, arity, at}) do
    event = %{
      event_type: what,
      module: module,
      function: function,
      arity: arity,
      pid: pid,
      timestamp: :erlang.convert_time_unit(at, :native, :nanosecond)
    }

    began = System.monotonic_time(:nanosecond)
    :ok = Capture.event(capture, event)
    took = max(System.monotonic_time(:nanosecond) - began, 1)
    :counters.add(costs, min(160, 1 + ceil(4 * :math.log2(took))), 1)
  end

  # The line of progress.
  defp watch(capture, manager, wanted, began) do
    {:ok, metrics} = Capture.metrics(capture)
    health = PipelineManager.health_check(manager)
    seconds = (System.monotonic_time(:millisecond) - began) / 1000
    share = min(1.0, metrics.stored / wanted)

    IO.write([
      "\r",
      String.pad_trailing(String.duplicate("█", round(24 * share)), 24, "░"),
      "  #{thousands(metrics.captured)} captured, #{thousands(metrics.stored)} stored, #{thousands(waiting(metrics))} waiting, ",
      "#{thousands(round(metrics.captured / max(seconds, 0.001)))}/s, #{health.status}#{reasons(health)}   "
    ])

    if metrics.stored < wanted do
      receive do
      after
        200 -> watch(capture, manager, wanted, began)
      end
    else
      IO.puts("")
    end
  end

  defp reasons(%{reasons: [_ | _] = reasons}), do: " (#{Enum.map_join(reasons, ", ", &to_string/1)})"
  defp reasons(_), do: ""

  defp waiting(metrics), do: metrics.buffered + metrics.in_flight + metrics.in_doubt

  defp balanced?(m) do
    m.captured == m.stored + m.filtered + m.dead_lettered + m.discarded + m.overwritten + waiting(m) + m.left
  end

  defp report(metrics, storage, costs, took) do
    events = EtsStorage.query(storage) |> Enum.sort_by(&{&1.pid, &1.timestamp, &1.processing_order})
    calls = spans(events)

    IO.puts("""

    The ledger: #{thousands(metrics.captured)} captured = #{thousands(metrics.stored)} stored + #{metrics.dead_lettered} dead-lettered \
    + #{waiting(metrics) + metrics.left} waiting: #{if balanced?(metrics), do: "it balances", else: "IT DOES NOT BALANCE"}; \
    #{thousands(metrics.dropped_full)} times the ring buffer was full and the tracer waited
    #{thousands(length(events))} events in the storage, #{Float.round(took / 1000, 1)} s, \
    #{thousands(round(metrics.captured * 1000 / max(took, 1)))} events a second
    """)

    IO.puts("Where the time went (a function's own, without what it calls; tracing takes its share of each)\n")
    by_function = Enum.group_by(calls, &elem(&1, 0), &elem(&1, 1))

    rows =
      for {{module, function, arity}, spans} <- by_function,
          do: {Enum.sum(spans), length(spans), "#{inspect(module)}.#{function}/#{arity}"}

    for {total, count, name} <- rows |> Enum.sort(:desc) |> Enum.take(10) do
      time = pad(Float.round(total / 1.0e6, 1), 9)

      IO.puts(
        "  #{time} ms #{pad(thousands(count), 9)} calls #{pad(thousands(round(total / count)), 9)} ns each  #{name}"
      )
    end

    IO.puts("\nBusiest processes\n")

    for {pid, count} <- events |> Enum.frequencies_by(& &1.pid) |> Enum.sort_by(&(-elem(&1, 1))) |> Enum.take(5) do
      IO.puts("  #{inspect(pid)}  #{pad(thousands(count), 9)} events")
    end

    IO.puts(
      "\nA capture took #{at_most(costs, 0.5)} ns or less in the median, #{thousands(at_most(costs, 0.99))} ns at the 99th percentile " <>
        "(two readings of the clock included, and the waits for room)"
    )
  end

  # The bound below which that share of the captures lies.
  defp at_most(costs, share) do
    counts = for n <- 1..160, do: :counters.get(costs, n)
    wanted = share * Enum.sum(counts)

    {_, n} =
      Enum.reduce_while(Enum.with_index(counts), {0, 0}, fn {count, n}, {sum, _} ->
        if sum + count >= wanted, do: {:halt, {sum, n}}, else: {:cont, {sum + count, n}}
      end)

    round(:math.pow(2, n / 4))
  end

  # {function, its own ns} for each call that has returned. Calls of a process are nested.
  defp spans(events) do
    {_, spans} =
      Enum.reduce(events, {%{}, []}, fn event, {stacks, spans} ->
        stack = Map.get(stacks, event.pid, [])
        key = {event.module, event.function, event.arity}

        case event.event_type do
          :call ->
            {Map.put(stacks, event.pid, [{key, event.timestamp, 0} | stack]), spans}

          :return ->
            # A function that an exception has left has no return: drops the calls above this one.
            case Enum.drop_while(stack, &(elem(&1, 0) != key)) do
              [{_, began, within} | rest] ->
                took = event.timestamp - began
                {Map.put(stacks, event.pid, charge(rest, took)), [{key, took - within} | spans]}

              [] ->
                {stacks, spans}
            end
        end
      end)

    spans
  end

  defp charge([{key, began, within} | rest], took), do: [{key, began, within + took} | rest]
  defp charge([], _took), do: []

  defp pad(value, width), do: value |> to_string() |> String.pad_leading(width)

  defp thousands(number) do
    number |> Integer.to_string() |> String.reverse() |> String.replace(~r/(\d{3})(?=\d)/, "\\1,") |> String.reverse()
  end
end

Logger.configure(level: :error)

case System.argv() do
  [] -> CapturePipeline.Demo.run(300_000)
  [count] -> CapturePipeline.Demo.run(String.to_integer(count))
end
