defmodule ElixirScope.Capture.OrderTest do
  # The events of a process can be put in order again, for any schedulers that it ran on and any writers that took them.
  use ExUnit.Case, async: false

  alias ElixirScope.Capture.{Capture, Clock, PipelineManager}

  @events 100_000
  @processes 4

  test "sorted by time, ring and sequence, the events of each process are in the order of their capture" do
    {:ok, capture} = Capture.new(overflow: :block, block_timeout_ms: :infinity, batch_size: 50)
    table = :ets.new(:stamps, [:public, :ordered_set, write_concurrency: true])

    # The sort key of the documentation.
    storage = fn _events, batch ->
      :ets.insert(
        table,
        for({event, {_, ring, sequence}, stamp} <- batch.entries, do: {{stamp.timestamp, ring, sequence}, event.n})
      )

      :ok
    end

    {:ok, manager} =
      PipelineManager.start_link(
        ring_buffer: capture,
        storage: storage,
        async_writer_pool_size: 4,
        name: :order_manager
      )

    # Among other running processes, a process moves between schedulers.
    noise = for _ <- 1..4, do: spawn_link(fn -> noise() end)

    1..@processes
    |> Enum.map(fn process ->
      Task.async(fn ->
        for n <- 1..@events do
          :ok = Capture.event(capture, %{n: {process, n}})
          if rem(n, 20) == 0, do: :erlang.yield()
        end
      end)
    end)
    |> Task.await_many(120_000)

    assert Capture.flush(capture, 60_000) == :ok
    Enum.each(noise, &stop/1)
    assert :ok = PipelineManager.shutdown(manager)

    numbers = :ets.foldl(fn {_, {process, n}}, all -> Map.update(all, process, [n], &[n | &1]) end, %{}, table)
    for process <- 1..@processes, do: assert({process, inversions(numbers[process])} == {process, 0})
    assert :ets.info(table, :size) == @processes * @events
  end

  defp noise do
    receive do
      :stop -> :ok
    after
      0 ->
        :erlang.yield()
        noise()
    end
  end

  defp stop(pid) do
    Process.unlink(pid)
    Process.exit(pid, :kill)
  end

  # The list is in reverse.
  defp inversions(numbers) do
    numbers |> Enum.zip(tl(numbers)) |> Enum.count(fn {later, earlier} -> later < earlier end)
  end

  test "a time always converts to the same time of the other clock, near to what that clock shows" do
    now = :os.perf_counter(:nanosecond)
    times = for n <- -100_000..100_000//500, do: now + n * 1_000
    convert = fn time -> Clock.convert(time, Clock.piece(:vm, time)) end
    once = Enum.map(times, convert)

    for _ <- 1..20 do
      # The passing of time is the subject: the pieces reach 10 ms ahead, and a look after that extends them.
      Process.sleep(7)

      assert 1..8
             |> Enum.map(fn _ -> Task.async(fn -> Enum.map(times, convert) end) end)
             |> Task.await_many(60_000)
             |> Enum.uniq() == [once]
    end

    assert once == Enum.sort(once)
    assert length(Enum.uniq(once)) == length(once)

    for time <- times do
      vm = convert.(time)
      assert Clock.convert(vm, Clock.piece(:system, vm)) in (time - 1)..(time + 1)
    end

    before = System.monotonic_time(:nanosecond)
    shown = convert.(:os.perf_counter(:nanosecond))
    later = System.monotonic_time(:nanosecond)
    assert shown >= before - 1_000_000 and shown <= later + 1_000_000
  end

  test "times of any size are converted, and back" do
    for time <- [0, 1, -1, 1_764_000_000_000_000_000, 0x3FFFFFFFFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF] do
      vm = Clock.convert(time, Clock.piece(:vm, time))
      assert Clock.convert(vm, Clock.piece(:system, vm)) == time
    end
  end
end
