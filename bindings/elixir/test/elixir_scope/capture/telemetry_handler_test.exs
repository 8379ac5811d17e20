defmodule ElixirScope.Capture.TelemetryHandlerTest do
  # The dispatcher's table has a name.
  use ExUnit.Case, async: false
  alias CapturePipeline.Test.Dispatcher
  alias ElixirScope.Capture.{AsyncWriterPool, Capture, EtsStorage, TelemetryHandler}

  doctest ElixirScope.Capture.TelemetryHandler

  setup do
    start_supervised!(Dispatcher)
    :ok
  end

  defp stored(capture) do
    storage = EtsStorage.new(max_events: 1000)
    start_supervised!({AsyncWriterPool, ring_buffer: capture, storage: storage, pool_size: 1})
    assert Capture.flush(capture) == :ok
    storage |> EtsStorage.query() |> Enum.sort_by(& &1.timestamp)
  end

  test "events of all the names that were given are stored as maps, and no others" do
    {:ok, capture} = Capture.new()
    {:ok, id} = TelemetryHandler.attach(capture, [[:repo, :query], [:endpoint, :stop]], dispatcher: Dispatcher)
    :ok = Dispatcher.execute([:repo, :query], %{total_time: 5}, %{source: "users"})
    :ok = Dispatcher.execute([:repo, :other], %{total_time: 6}, %{})

    task =
      Task.async(fn ->
        Dispatcher.execute([:endpoint, :stop], %{duration: 7}, %{conn: %{status: 200}, fun: fn -> 1 end})
      end)

    :ok = Task.await(task)
    assert TelemetryHandler.detach(id, Dispatcher) == :ok
    :ok = Dispatcher.execute([:repo, :query], %{total_time: 8}, %{})

    test = self()
    task_pid = task.pid

    assert [
             %{
               event_type: :telemetry,
               name: [:repo, :query],
               measurements: %{total_time: 5},
               metadata: %{source: "users"},
               pid: ^test
             },
             %{
               event_type: :telemetry,
               name: [:endpoint, :stop],
               measurements: %{duration: 7},
               metadata: %{conn: %{status: 200}, fun: fun},
               pid: ^task_pid
             }
           ] = stored(capture)

    assert fun.() == 1
  end

  test "only the chosen keys of the metadata are captured" do
    {:ok, capture} = Capture.new()
    {:ok, _} = TelemetryHandler.attach(capture, [[:a]], dispatcher: Dispatcher, metadata: [:source, :missing])
    :ok = Dispatcher.execute([:a], %{}, %{source: 1, conn: :large})
    assert [%{metadata: %{source: 1} = metadata}] = stored(capture)
    assert map_size(metadata) == 1
  end

  test "a handler fails never: with a closed capture, a full ring, terms that are too large, and values of the wrong type" do
    {:ok, capture} = Capture.new(ring_bytes: 4096)
    {:ok, id} = TelemetryHandler.attach(capture, [[:a]], dispatcher: Dispatcher, metadata: [:key])
    :ok = Dispatcher.execute([:a], :no_map, :no_map)
    :ok = Dispatcher.execute([:a], %{data: String.duplicate("x", 100_000)}, %{})
    for n <- 1..1000, do: :ok = Dispatcher.execute([:a], %{n: n}, %{key: "value"})
    {:ok, metrics} = Capture.metrics(capture)
    assert metrics.offered == 1001
    assert metrics.refused_too_large == 1
    assert metrics.dropped_full > 0
    assert metrics.captured + metrics.dropped_full == 1000
    :ok = Capture.close(capture, 0) |> closed()
    :ok = Dispatcher.execute([:a], %{n: 1}, %{})
    assert Dispatcher.attached?(id)
    {:ok, after_close} = Capture.metrics(capture)
    assert after_close.offered >= 1001
  end

  # Nothing takes the events that are left.
  defp closed(:ok), do: :ok
  defp closed({:error, {:timeout, _}}), do: :ok

  test "without a dispatcher, or with an id that is there, it says so" do
    {:ok, capture} = Capture.new()
    assert TelemetryHandler.attach(capture, [[:a]], dispatcher: :no_such_module) == {:error, :not_available}
    assert TelemetryHandler.detach(:id, :no_such_module) == {:error, :not_available}
    {:ok, :id} = TelemetryHandler.attach(capture, [[:a]], dispatcher: Dispatcher, id: :id)
    assert TelemetryHandler.attach(capture, [[:a]], dispatcher: Dispatcher, id: :id) == {:error, :already_exists}
    assert TelemetryHandler.attach(capture, [[:a]], other: 1) == {:error, {:invalid, :other}}
    assert TelemetryHandler.attach(capture, [[:a]], metadata: :none) == {:error, {:invalid, :metadata}}
  end
end
