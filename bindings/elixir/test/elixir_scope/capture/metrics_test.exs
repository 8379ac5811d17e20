defmodule ElixirScope.Capture.MetricsTest do
  # The dispatcher's table has a name.
  use ExUnit.Case, async: false
  alias CapturePipeline.Test.Dispatcher
  alias ElixirScope.Capture.{Capture, Metrics}

  @metrics [:elixir_scope, :capture, :metrics]
  @health [:elixir_scope, :capture, :health]

  setup do
    start_supervised!(Dispatcher)
    test = self()
    tell = fn event, measurements, metadata, _ -> send(test, {event, measurements, metadata}) end
    :ok = Dispatcher.attach_many(:tell, [@metrics, @health], tell, nil)
  end

  defp capture(name, events) do
    {:ok, capture} = Capture.new(name: name)
    for n <- 1..events//1, do: :ok = Capture.event(capture, %{n: n})
    capture
  end

  test "the text has the metrics of all captures, and those of one metric together" do
    captures = [capture("one", 3), capture("two", 5)]
    {:ok, text} = Metrics.text(captures)

    assert text =~ """
           # TYPE capture_pipeline_events_captured_total counter
           capture_pipeline_events_captured_total{pipeline="one",storage="custom"} 3
           capture_pipeline_events_captured_total{pipeline="two",storage="custom"} 5
           """

    assert {:ok, open} = Metrics.text(hd(captures), :openmetrics)
    assert String.ends_with?(open, "\n# EOF\n")
    assert Metrics.text([]) == {:ok, ""}
    assert Metrics.text(hd(captures), :xml) == {:error, :badarg}
  end

  test "an event has the numbers of the metrics, and one those of the health" do
    assert Metrics.emit(capture("one", 7), Dispatcher) == :ok
    assert_received {@metrics, %{captured: 7, offered: 7, stored: 0} = measurements, %{pipeline: "one"}}
    assert Enum.all?(measurements, fn {key, value} -> is_atom(key) and is_number(value) end)

    assert_received {@health, %{status: 1, writers_stuck: 0},
                     %{pipeline: "one", reasons: [:no_writers], message: message}}

    assert is_binary(message)
  end

  test "nothing fails without a dispatcher, or with one that raises" do
    refute Code.ensure_loaded?(:telemetry)
    one = capture("one", 1)
    assert Metrics.emit(one) == {:error, :not_available}
    assert Metrics.emit(one, :there_is_no_such_module) == {:error, :not_available}
    assert Metrics.emit(one, String) == {:error, :not_available}
    :ets.delete(Dispatcher)
    assert Metrics.emit(one, Dispatcher) == {:error, :not_available}
  end

  test "a process emits again and again, of the captures that there are by then" do
    one = capture("one", 1)
    two = capture("two", 2)
    list = fn -> [one | Enum.filter([two], fn _ -> :ets.member(Dispatcher, :both) end)] end
    pid = start_supervised!({Metrics, captures: list, period: 5, dispatcher: Dispatcher})
    assert_receive {@metrics, %{captured: 1}, %{pipeline: "one"}}, 10_000
    :ok = Capture.event(one, %{n: 2})
    assert_receive {@metrics, %{captured: 2}, %{pipeline: "one"}}, 10_000
    refute_received {@metrics, _, %{pipeline: "two"}}
    :ets.insert(Dispatcher, {:both, nil, nil, nil})
    assert_receive {@metrics, %{captured: 2}, %{pipeline: "two"}}, 10_000
    send(pid, :something_else)
    assert_receive {@health, _, %{pipeline: "two"}}, 10_000
    assert Process.alive?(pid)
  end

  test "a wrong option is named" do
    for {options, key} <- [
          {[], :captures},
          {[captures: :none], :captures},
          {[captures: [], period: 0], :period},
          {[captures: [], dispatcher: "telemetry"], :dispatcher},
          {[captures: [], perod: 5], :perod}
        ] do
      assert {options, Metrics.start_link(options)} == {options, {:error, {:invalid, key}}}
    end
  end
end
