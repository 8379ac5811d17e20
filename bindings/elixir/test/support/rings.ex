defmodule CapturePipeline.Test.Rings do
  @moduledoc false
  # Native rings and their events.

  import ExUnit.Assertions
  alias ElixirScope.Capture.NativeRingBuffer, as: Ring

  defmodule Call do
    @moduledoc false
    defstruct [
      :id,
      :timestamp,
      :wall_time,
      :module,
      :function,
      :arity,
      :args,
      :pid,
      :correlation_id,
      :result,
      :duration,
      :type
    ]
  end

  def event(n) do
    %Call{
      id: "call-#{n}",
      timestamp: n,
      wall_time: System.os_time(),
      module: __MODULE__,
      function: :run,
      arity: 2,
      args: [n, {:ok, "argument"}],
      pid: self(),
      correlation_id: {n, make_ref()},
      result: {:ok, [1, 2, n]},
      duration: 1234,
      type: :call
    }
  end

  def ring(opts \\ []) do
    {:ok, ring} = Ring.new(opts)
    ring
  end

  @doc "Reads everything from a position on, one by one."
  def all(ring, position \\ 0) do
    case Ring.read(ring, position) do
      {:ok, event, next} -> [event | all(ring, next)]
      :empty -> []
    end
  end

  @doc "Runs it in a process of its own, to its normal end."
  def in_process(fun) do
    {pid, monitor} = spawn_monitor(fun)
    assert_receive {:DOWN, ^monitor, :process, ^pid, :normal}
  end
end
