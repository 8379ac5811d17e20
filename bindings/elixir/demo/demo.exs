# The demonstration of `make demo-elixir`: the calls and returns of a real library, Elixir's code formatter, are captured while it formats this project's
# sources. Then the stored events show what it did.
#
#   mix run demo/demo.exs [EVENTS]       the least number of events; default 300,000

defmodule CapturePipeline.Demo do
  alias ElixirScope.Capture.{Capture, EtsStorage, PipelineManager, Tracer}

  @traced [Code.Formatter, Inspect.Algebra, Code.Normalizer, Code.Identifier]
  @formatters 3

  def run(wanted) do
    storage = EtsStorage.new(max_events: 4 * wanted + 1_000_000)
    # Room for all events of the largest file. Their memory is taken as they are filled.
    {:ok, capture} = Capture.new(ring_bytes: 0x4000000, batch_size: 512)
    {:ok, manager} = PipelineManager.start_link(ring_buffer: capture, storage: storage, async_writer_pool_size: 2)

    sources = for file <- Path.wildcard("{lib,test,bench}/**/*.{ex,exs}"), do: File.read!(file)

    IO.puts(
      "capturing #{length(@traced)} modules of Elixir while #{@formatters} processes format #{length(sources)} files, to at least #{wanted} events\n"
    )

    {:ok, tracer} = Tracer.start(capture, max_rate: 5_000_000)

    for module <- @traced do
      Code.ensure_loaded(module)
      # Returns, also through exceptions.
      {:ok, _} = Tracer.trace_calls(tracer, module, return: true)
    end

    began = System.monotonic_time(:millisecond)
    formatters = for number <- 1..@formatters, do: start(number, tracer, capture, sources)
    watch(capture, manager, wanted, began, :captured)
    :ok = Tracer.stop(tracer)
    for formatter <- formatters, do: stop(formatter)
    watch(capture, manager, wanted, began, :stored)
    took = System.monotonic_time(:millisecond) - began

    :ok = Capture.flush(capture, 120_000)
    {:ok, metrics} = Capture.metrics(capture)
    report(metrics, storage, Tracer.info(tracer), took)
    balanced = balanced?(metrics)
    PipelineManager.shutdown(manager)
    Capture.close(capture, 5_000)
    unless balanced and metrics.stored >= wanted, do: System.halt(1)
  end

  # A process that formats. Its calls and returns are traced, and each trace is captured in the process itself.
  defp start(number, tracer, capture, sources) do
    formatter =
      spawn_link(fn ->
        Process.register(self(), :"formatter_#{number}")
        receive(do: (:go -> format(sources, capture)))
      end)

    {:ok, 1} = Tracer.trace_processes(tracer, formatter, [:call, :arity])
    send(formatter, :go)
    formatter
  end

  defp format(sources, capture) do
    for source <- sources do
      receive do
        :end -> exit(:normal)
      after
        0 -> :ok
      end

      Code.format_string!(source)

      until_few(capture)
    end

    format(sources, capture)
  end

  # A tracer never makes its process wait, and a full ring buffer drops. So the next file begins when most events are stored.
  defp until_few(capture) do
    if Capture.backlog(capture) > 50_000 do
      receive do
        :end -> exit(:normal)
      after
        10 -> until_few(capture)
      end
    end
  end

  defp stop(formatter) do
    reference = Process.monitor(formatter)
    send(formatter, :end)
    receive(do: ({:DOWN, ^reference, _, _, _} -> :ok))
  end

  # The line of progress, until so many events are captured, or stored.
  defp watch(capture, manager, wanted, began, what) do
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

    if metrics[what] < wanted do
      receive do
      after
        50 -> watch(capture, manager, wanted, began, what)
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

  defp report(metrics, storage, traces, took) do
    events = EtsStorage.query(storage) |> Enum.sort_by(&{&1.pid, &1.timestamp, &1.processing_order})
    calls = spans(events)

    IO.puts("""

    The ledger: #{thousands(metrics.captured)} captured = #{thousands(metrics.stored)} stored + #{metrics.dead_lettered} dead-lettered \
    + #{waiting(metrics) + metrics.left} waiting: #{if balanced?(metrics), do: "it balances", else: "IT DOES NOT BALANCE"}; \
    #{thousands(metrics.dropped_full)} dropped and counted, because their ring buffer was full; the tracer was #{traces.state}
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

          type when type in [:return, :exception] ->
            # A call whose return was dropped lies above this one.
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
