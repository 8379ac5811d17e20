# Overload: a program offers far more events than its storage can take. Adaptive sampling keeps whole traces, and each kept event says by its weight for how many
# it stands. Payments have priority, so that all of them get through; health checks are dropped by a rule. Each second a line shows what becomes of the events, and
# the end compares the true number of events with the number that can be estimated from what was stored.
#
#     mix run demo/overload.exs [SECONDS]     default 3

alias ElixirScope.Capture.{AsyncWriterPool, Batch, Capture, Rules}

defmodule Overload do
  # Events of each trace, payments (one for each so many ordinary events), and what the storage takes in a millisecond.
  @trace 10
  @payment_each 10_000
  @stored_per_ms 20
  @request 1
  @payment 2
  @health_check 3

  @doc "What has been stored: how many, their weights, the sum that tells how far the estimate may be from the truth, and the payments."
  def totals, do: :counters.new(4, [:write_concurrency])

  @doc "A storage that takes its time."
  def store(events, totals) do
    for event <- events do
      weight = Batch.weight(event)
      :counters.add(totals, 1, 1)
      :counters.add(totals, 2, weight)
      :counters.add(totals, 3, weight * (weight - 1))
      if event.type == :payment, do: :counters.add(totals, 4, 1)
    end

    Process.sleep(div(length(events), @stored_per_ms))
    :ok
  end

  def rules do
    [
      [name: :health_checks, drop: true, kinds: [@health_check]],
      [name: :payments, priority: true, tag: 1, kinds: [@payment]]
    ]
  end

  @doc "Offers events for as many seconds, as fast as one process can. Returns how many of which type."
  def load(capture, seconds), do: load(capture, now() + 1_000 * seconds, 0, 0)

  defp load(capture, ends, n, payments) do
    _ = Capture.event(capture, @request, %{type: :request, n: n}, trace(n))

    if rem(n, @payment_each) == 0 do
      :ok = Capture.event(capture, @payment, %{type: :payment, n: n}, trace(n))
      {:error, :dropped_by_rule} = Capture.event(capture, @health_check, %{type: :health_check, n: n})
      # (The clock is read now and then, and the other processes get their turn.)
      if now() < ends, do: load(capture, ends, n + 1, payments + 1), else: {n + 1, payments + 1}
    else
      load(capture, ends, n + 1, payments)
    end
  end

  # The events of ten traces, mixed.
  defp trace(n), do: 1 + rem(n, 10) + div(n, 10 * @trace) * 10

  @doc "A line each second, until the process is told to stop."
  def show(capture, second, before) do
    receive do
      :stop -> show(capture, second, before, fn _ -> :ok end)
    after
      1_000 -> show(capture, second, before, &show(capture, second + 1, &1))
    end
  end

  defp show(capture, second, before, go_on) do
    {:ok, m} = Capture.metrics(capture)

    [second, diff(m, before, :offered), diff(m, before, :stored), diff(m, before, :dropped_sampled)]
    |> Enum.concat([diff(m, before, :dropped_rule), diff(m, before, :dropped_full), m.sampling_weight, m.pressure])
    |> line()

    go_on.(m)
  end

  def line(columns), do: columns |> Enum.map_join(" ", &String.pad_leading("#{&1}", 9)) |> IO.puts()

  defp diff(now, before, key), do: Map.fetch!(now, key) - Map.fetch!(before, key)
  defp now, do: System.monotonic_time(:millisecond)

  @doc "How far the estimate may be from the truth, as a standard deviation. The events of a trace share their fate."
  def deviation(totals), do: :math.sqrt(:counters.get(totals, 3) * (@trace + 1))
end

seconds = System.argv() |> List.first("3") |> String.to_integer()
totals = Overload.totals()
# The ring of the payments has room for all of them, also where the storage's process gets no processor for a while.
{:ok, capture} = Capture.new(sampling_max_weight: 4096, priority_ring_bytes: 1_048_576, rules: Overload.rules())
{:ok, pool} = AsyncWriterPool.start_link(ring_buffer: capture, storage: &Overload.store(&1, totals), pool_size: 1)

Overload.line(["second", "offered", "stored", "sampled", "by rule", "full", "weight", "pressure"])
{:ok, before} = Capture.metrics(capture)
shows = Task.async(fn -> Overload.show(capture, 1, before) end)
{requests, payments} = Overload.load(capture, seconds)
send(shows.pid, :stop)
:ok = Task.await(shows)
:ok = Capture.close(capture, 60_000)
:ok = AsyncWriterPool.stop(pool)

{:ok, m} = Capture.metrics(capture)
stored = :counters.get(totals, 1)
estimate = :counters.get(totals, 2)
deviation = Overload.deviation(totals)
truth = m.captured + m.dropped_sampled
percent = fn part -> "#{Float.round(100 * part / truth, 2)} %" end

IO.puts("""

offered #{m.offered} = captured #{m.captured} + sampled out #{m.dropped_sampled} + dropped by a rule #{m.dropped_rule} + dropped as full #{m.dropped_full}
captured and sampled out: #{truth}; estimate from the #{stored} stored: #{estimate} (off by #{percent.(estimate - truth)}; expected error #{percent.(deviation)})
payments: #{payments} offered, #{:counters.get(totals, 4)} stored\
""")

{:ok, rules} = Rules.list(capture)
for rule <- rules, do: IO.puts("rule #{rule.name}: matched #{rule.matched}, dropped #{rule.dropped}")

good? =
  m.offered == requests + 2 * payments and m.offered == truth + m.dropped_rule + m.dropped_full and m.captured == stored and
    :counters.get(totals, 4) == payments and abs(estimate - truth) <= 6 * deviation + 1

IO.puts(if good?, do: "good", else: "WRONG")
unless good?, do: System.halt(1)
