defmodule CapturePipeline.Test.Wait do
  @moduledoc false
  # Waiting is on a condition, with a deadline.

  import ExUnit.Assertions

  @doc "The first true value of the function; fails the test if there is none within so many milliseconds."
  def eventually(condition, ms \\ 60_000) do
    eventually(condition, ms, System.monotonic_time(:millisecond) + ms)
  end

  defp eventually(condition, ms, deadline) do
    case condition.() do
      value when value not in [nil, false] ->
        value

      _ ->
        assert System.monotonic_time(:millisecond) < deadline, "not within #{ms} ms"
        pause(2)
        eventually(condition, ms, deadline)
    end
  end

  @doc "Checks that the condition stays true for so many milliseconds."
  def holds(condition, ms) do
    deadline = System.monotonic_time(:millisecond) + ms

    fn ->
      (condition.() && System.monotonic_time(:millisecond) >= deadline && :held) || (assert(condition.()) && nil)
    end
    |> eventually(ms + 60_000)
  end

  @doc "Waits until all these processes have ended."
  def ended(pids, ms \\ 60_000) do
    monitors = for pid <- List.wrap(pids), do: Process.monitor(pid)
    for monitor <- monitors, do: assert_receive({:DOWN, ^monitor, :process, _, _}, ms)
    :ok
  end

  defp pause(ms) do
    receive do
    after
      ms -> :ok
    end
  end

  @doc """
  What `fun` answers, in a process that stays on one scheduler: so all that it captures is in one ring, whose order is that of the captures.
  """
  def on_one_scheduler(fun) do
    test = self()
    {pid, monitor} = :erlang.spawn_opt(fn -> send(test, {:result, self(), fun.()}) end, [:monitor, scheduler: 1])

    receive do
      {:DOWN, ^monitor, :process, ^pid, :normal} -> :ok
    after
      60_000 -> raise "the process on one scheduler has not ended"
    end

    receive do
      {:result, ^pid, result} -> result
    end
  end
end
