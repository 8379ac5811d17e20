defmodule ElixirScope.Capture.ChaosTest do
  # Random processes of the tree are killed under load, for CHAOS_SECONDS (10) on each kind of source; then what is stored is compared with
  # what was captured, event by event. The storage is keyed by identity, so the comparison is exact.
  use ExUnit.Case, async: false

  import CapturePipeline.Test.Wait
  alias CapturePipeline.Test.{Chaos, KeyedStorage}
  alias ElixirScope.Capture.Capture

  @moduletag capture_log: true
  @moduletag timeout: :infinity
  @seconds "CHAOS_SECONDS" |> System.get_env("10") |> String.to_integer()
  @producers 2
  @size 16_384

  setup do
    Process.flag(:trap_exit, true)
    :ok
  end

  for kind <- [:foreign, :native, :capture] do
    @kind kind
    test "whoever is killed, what was captured is stored, each event once: #{kind}" do
      # Once before the counting, so that what a first run loads and makes for good is there.
      run(@kind, 300)
      before = footprint()
      {captured, killed} = run(@kind, @seconds * 1_000)
      assert captured > 0
      assert Enum.all?([:worker, :loop, :pool, :manager, :storage], &is_map_key(killed, &1)) or @seconds < 10
      eventually(fn -> grown(before, footprint()) == [] end, 10_000)
    end
  end

  defp run(kind, ms) do
    source = Chaos.source(kind, @size)
    storage = KeyedStorage.new(&Chaos.keep/1)
    {:ok, supervisor} = Chaos.start(source, storage)
    producers = for p <- 1..@producers, do: spawn_link(fn -> Chaos.produce(source, storage, p) end)
    killed = Chaos.rage(System.monotonic_time(:millisecond) + ms)
    for producer <- producers, do: send(producer, {:stop, self()})

    counts = for p <- 1..@producers, do: produced(p)
    Chaos.calm()
    captured = Enum.sum(counts)
    eventually(fn -> KeyedStorage.count(storage) >= captured end, 30_000)
    compare(storage, counts)
    if kind == :capture, do: ledger(source, captured)
    Supervisor.stop(supervisor)
    if kind != :capture, do: source.__struct__.destroy(source)
    :ets.delete(storage.table)
    for producer <- producers, do: assert_receive({:EXIT, ^producer, :normal})
    {captured, killed}
  end

  defp produced(producer) do
    assert_receive {:produced, ^producer, count}, 10_000
    count
  end

  # The storage keeps the number of an event that is whole, under the event's identity.
  defp compare(storage, counts) do
    assert KeyedStorage.count(storage) == Enum.sum(counts)

    for {count, producer} <- Enum.with_index(counts, 1) do
      stored = storage.table |> :ets.select([{{:_, %{n: {producer, :"$1"}}, :_}, [], [:"$1"]}]) |> Enum.sort()
      stored == Enum.to_list(1..count//1) or flunk("of #{producer}: " <> difference(stored, count))
    end
  end

  defp difference(stored, count) do
    "missing #{inspect(Enum.take(Enum.to_list(1..count) -- stored, 5))}, more than once #{inspect(Enum.take(stored -- Enum.uniq(stored), 5))}"
  end

  defp ledger(capture, count) do
    assert Capture.flush(capture) == :ok

    assert {:ok,
            %{
              captured: ^count,
              stored: ^count,
              dead_lettered: 0,
              discarded: 0,
              overwritten: 0,
              buffered: 0,
              in_flight: 0,
              in_doubt: 0
            }} = Capture.metrics(capture)

    assert Capture.close(capture) == :ok
  end

  defp footprint do
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)

    %{
      processes: length(Process.list()),
      tables: length(:ets.all()),
      ports: length(Port.list()),
      memory: :erlang.memory(:total)
    }
  end

  defp grown(before, now) do
    for {key, value} <- now,
        value > before[key] + if(key == :memory, do: 32 * 1024 * 1024, else: 0),
        do: {key, before[key], value}
  end
end
