defmodule CapturePipeline.Bench.Traced do
  @moduledoc """
  What a traced call costs: with `ElixirScope.Capture.Tracer`, with a tracer process (`:erlang.trace/3`), and with OTP's `:dbg`, whose handler counts. First in
  turns: bursts of calls, and then all traces are taken, by a reader of every event or by the process's loop. Then a flood from
  8 processes, whose traces nobody can take fast enough: what becomes of the ledger, the mailbox and the memory.
  """

  alias CapturePipeline.Bench.Figures
  alias ElixirScope.Capture.{Capture, Tracer}
  alias :elixir_scope_capture_pipeline, as: Pipeline

  @processes 8
  # The flood with a tracer process is given up there: its mailbox would take all memory.
  @most_bytes 3_000_000_000

  @doc false
  @spec called(term(), term()) :: term()
  def called(number, _event), do: number

  @spec run() :: map()
  def run do
    {rounds, burst, flood} = if System.get_env("QUICK"), do: {3, 10_000, 200_000}, else: {21, 50_000, 10_000_000}
    costs = for flags <- [[], [:arity]], do: {flags, costs(flags, rounds, burst)}
    tell(costs)
    {ring, ring_good} = flood(&with_tracer/2, flood)
    {process, process_good} = flood(&with_process/2, flood)
    tell_flood(flood, ring, process)

    %{
      costs_ns:
        Map.new(costs, fn {flags, rows} ->
          {name(flags), Map.new(rows, fn {name, values} -> {name, medians(values)} end)}
        end),
      flood_of: flood,
      flood: %{tracer: ring, process: process},
      checks: [
        {"the ledger of the flood is exact, and the memory is bounded", ring_good},
        {"the tracer process gets every trace that it is given", process_good}
      ]
    }
  end

  # ---- the cost of a call ----

  # {name, [{ns of the traced process, ns until all traces are taken, ns of processor time}]} without the cost of an untraced call.
  defp costs(flags, rounds, burst) do
    contenders =
      [untraced: &untraced/0, tracer: &tracer/0, process: &process/0] ++
        if(Code.ensure_loaded?(:dbg), do: [dbg: &with_dbg/0], else: [])

    started = for {name, start} <- contenders, do: {name, start.()}

    results =
      for _ <- 1..rounds, {name, {options, taken, _stop}} <- started do
        {name, measure(options && [:call | flags] ++ options, taken, burst)}
      end

    for {_, {_, _, stop}} <- Enum.reverse(started), do: stop.()
    base = for {:untraced, {_, _, cpu}} <- results, do: cpu
    base = Figures.median(base)

    for {name, _} <- contenders,
        name != :untraced,
        do: {name, for({^name, {own, until, cpu}} <- results, do: {own, until, cpu - base})}
  end

  defp measure(options, taken, burst) do
    pattern = {__MODULE__, :called, 2}
    if options, do: 1 = :erlang.trace_pattern(pattern, true, [:local])
    parent = self()

    pid =
      spawn_link(fn ->
        receive(do: (:go -> :ok))
        began = now()
        calls(burst, {:some, "argument", %{a: 1, b: [1, 2, 3]}})
        send(parent, {:own, now() - began})
      end)

    if options, do: 1 = :erlang.trace(pid, true, options)
    :erlang.statistics(:runtime)
    began = now()
    send(pid, :go)
    own = receive(do: ({:own, ns} -> ns))
    taken.()
    until = now() - began
    {_, cpu_ms} = :erlang.statistics(:runtime)
    if options, do: :erlang.trace_pattern(pattern, false, [:local])
    {own / burst, until / burst, cpu_ms * 1_000_000 / burst}
  end

  defp calls(0, _), do: :ok

  defp calls(left, event) do
    __MODULE__.called(left, event)
    calls(left - 1, event)
  end

  defp now, do: System.monotonic_time(:nanosecond)

  defp untraced, do: {nil, fn -> :ok end, fn -> :ok end}

  # Of the tracer the native part alone: here a pattern is set and cleared for every contender in the same way.
  defp tracer do
    {capture, reader} = reading(ring_bytes: 0x4000000)
    {:ok, tracer} = Tracer.start(capture, max_rate: :infinity, max_memory_growth: :infinity, bytes: 512)
    {_, _, native} = tracer.native

    {[{:tracer, :elixir_scope_capture_pipeline_nif, native}], fn -> :ok = Capture.flush(capture, :infinity) end,
     fn ->
       %{refused: 0} = Tracer.info(tracer)
       :ok = Tracer.stop(tracer)
       Process.exit(reader, :kill)
     end}
  end

  defp process do
    pid = spawn(fn -> drop() end)
    {[{:tracer, pid}], fn -> emptied(pid) end, fn -> Process.exit(pid, :kill) end}
  end

  # The application runtime_tools has it. This project does not depend on it.
  defp with_dbg do
    {:ok, _} = apply(:dbg, :tracer, [:process, {fn _, count -> count + 1 end, 0}])
    {:ok, pid} = apply(:dbg, :get_tracer, [])
    {[{:tracer, pid}], fn -> emptied(pid) end, fn -> apply(:dbg, :stop, []) end}
  end

  defp drop do
    receive do
      _ -> drop()
    end
  end

  defp emptied(pid) do
    case Process.info(pid, :message_queue_len) do
      {:message_queue_len, 0} -> :ok
      _ -> emptied_later(pid)
    end
  end

  defp emptied_later(pid) do
    receive(do: ([] -> :ok), after: (1 -> :ok))
    emptied(pid)
  end

  # A capture, and a process that reads each event.
  defp reading(options) do
    {:ok, capture} = Capture.new([batch_size: 512] ++ options)
    native = Capture.pipeline(capture)
    parent = self()

    reader =
      spawn(fn ->
        :ok = Pipeline.attach(native)
        send(parent, :attached)
        read(native)
      end)

    receive(do: (:attached -> :ok))
    {capture, reader}
  end

  defp read(native) do
    receive do
      {:capture_batch, ^native, token, _, _, _, _} -> read(native, token)
    end
  end

  defp read(native, token) do
    events = Pipeline.events(native, token)
    true = is_list(events)

    case Pipeline.complete_next(native, token, :ok) do
      :ok -> read(native)
      {:capture_batch, _, next, _, _, _, _} -> read(native, next)
    end
  end

  # ---- the flood ----

  defp flood(way, count) do
    :erlang.garbage_collect()
    1 = :erlang.trace_pattern({__MODULE__, :called, 2}, true, [:local])
    result = way.(count, :erlang.memory(:total))
    :erlang.trace_pattern({__MODULE__, :called, 2}, false, [:local])
    result
  end

  defp with_tracer(count, before) do
    {capture, reader} = reading([])
    {:ok, tracer} = Tracer.start(capture, max_rate: :infinity, max_memory_growth: @most_bytes)
    {_, _, native} = tracer.native
    {most, _, ms} = flooded(count, [:call, {:tracer, :elixir_scope_capture_pipeline_nif, native}], reader)
    :ok = Tracer.stop(tracer)
    :ok = Capture.flush(capture, :infinity)
    {:ok, m} = Capture.metrics(capture)
    Process.exit(reader, :kill)

    good =
      m.offered == count and m.captured + m.dropped_full == count and m.stored == m.captured and
        most - before < 300_000_000

    {%{
       offered: m.offered,
       stored: m.stored,
       dropped: m.dropped_full,
       most_messages: 0,
       memory_growth: most - before,
       ms: ms
     }, good}
  end

  defp with_process(count, before) do
    counter = :counters.new(1, [])
    pid = :erlang.spawn_opt(fn -> count(counter) end, message_queue_data: :off_heap)
    {most, messages, ms} = flooded(count, [:call, {:tracer, pid}], pid)
    given_up = most - before >= @most_bytes
    unless given_up, do: emptied(pid)
    taken = :counters.get(counter, 1)
    Process.exit(pid, :kill)

    {%{
       offered: count,
       stored: taken,
       dropped: count - taken,
       most_messages: messages,
       memory_growth: most - before,
       ms: ms
     }, given_up or taken >= count}
  end

  defp count(counter) do
    receive(do: (_ -> :ok))
    :counters.add(counter, 1, 1)
    count(counter)
  end

  # {the most memory, the longest mailbox of the process, ms}
  defp flooded(count, flags, watched) do
    began = now()

    workers =
      for _ <- 1..@processes do
        spawn_monitor(fn ->
          receive(do: (:go -> :ok))
          calls(div(count, @processes), {:some, "argument", %{a: 1, b: [1, 2, 3]}})
        end)
      end

    for {pid, _} <- workers, do: 1 = :erlang.trace(pid, true, flags)
    for {pid, _} <- workers, do: send(pid, :go)
    {most, messages} = watch(workers, watched, 0, 0)
    {most, messages, div(now() - began, 1_000_000)}
  end

  defp watch([], _, most, messages), do: {most, messages}

  defp watch([{pid, monitor} | rest] = workers, watched, most, messages) do
    length = with({:message_queue_len, length} <- Process.info(watched, :message_queue_len), do: length) || 0
    total = :erlang.memory(:total)
    if total > 2 * @most_bytes, do: for({worker, _} <- workers, do: Process.exit(worker, :kill))

    receive do
      {:DOWN, ^monitor, _, ^pid, _} -> watch(rest, watched, max(most, total), max(messages, length))
    after
      20 -> watch(workers, watched, max(most, total), max(messages, length))
    end
  end

  # ---- the output ----

  defp name([]), do: "with arguments"
  defp name([:arity]), do: "without arguments"

  defp medians(values) do
    for {key, index} <- [traced_process: 0, until_taken: 1, processor_time: 2],
        into: %{},
        do: {key, Figures.median(Enum.map(values, &elem(&1, index))) * 1.0}
  end

  defp tell(costs) do
    IO.puts(
      "\nA traced call, ns (median), and against a tracer process: for the traced process; until its trace is taken; processor time in all"
    )

    for {flags, rows} <- costs do
      IO.puts("\n  #{name(flags)}")
      base = Map.new(rows)[:process]

      table =
        for {name, values} <- rows do
          [
            to_string(name)
            | for index <- 0..2 do
                of = fn list -> Enum.map(list, &elem(&1, index)) end
                {ratio, _, _} = Figures.ratio(of.(values), of.(base))
                "#{Figures.show(Figures.median(of.(values)))}  #{Figures.show(ratio)} x"
              end
          ]
        end

      Figures.table(["", "traced process", "until taken", "processor time"], table)
    end
  end

  defp tell_flood(count, ring, process) do
    IO.puts("\nA flood of #{count} calls from #{@processes} processes\n")

    rows =
      for {name, f} <- [{"Tracer", ring}, {"tracer process", process}] do
        [name, f.stored, f.dropped, f.most_messages, div(f.memory_growth, 1_000_000), f.ms] |> Enum.map(&to_string/1)
      end

    Figures.table(["", "taken", "dropped, counted", "longest mailbox", "memory, MB", "ms"], rows)
  end
end
