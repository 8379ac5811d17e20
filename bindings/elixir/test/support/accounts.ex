defmodule CapturePipeline.Test.Accounts do
  @moduledoc false
  # The end of a pipeline under load: the events of the producers are compared with those of its keyed storage, one by one.

  import CapturePipeline.Test.Wait
  import ExUnit.Assertions
  alias CapturePipeline.Test.{Chaos, KeyedStorage}
  alias ElixirScope.Capture.Capture

  @doc "Starts a pipeline below a supervisor, with linked producers."
  def open(kind, size, producers) do
    source = Chaos.source(kind, size)
    storage = KeyedStorage.new(&Chaos.keep/1)
    {:ok, supervisor} = Chaos.start(source, storage)
    producers = for p <- 1..producers, do: spawn_link(fn -> Chaos.produce(source, storage, p) end)
    %{kind: kind, source: source, storage: storage, supervisor: supervisor, producers: producers}
  end

  @doc "Stops the producers, checks that each of their events was stored and none twice, and ends it all. Answers how many there were."
  def close(%{source: source, storage: storage, producers: producers} = load) do
    for producer <- producers, do: send(producer, {:stop, self()})

    counts =
      for p <- 1..length(producers) do
        assert_receive {:produced, ^p, count}
        count
      end

    Chaos.calm()
    captured = Enum.sum(counts)
    stored(storage, captured)
    compare(storage, counts)
    if load.kind == :capture, do: ledger(source, captured)
    Supervisor.stop(load.supervisor)
    if load.kind != :capture, do: source.__struct__.destroy(source)
    :ets.delete(storage.table)
    for producer <- producers, do: assert_receive({:EXIT, ^producer, :normal})
    captured
  end

  # Waits for that many events. The deadline begins again with each event that is stored: how long all of them take is up to the machine.
  defp stored(storage, count) do
    seen = KeyedStorage.count(storage)

    if seen < count do
      eventually(fn -> KeyedStorage.count(storage) > seen end)
      stored(storage, count)
    end
  end

  # The storage keeps the number of each intact event by its identity.
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
end
