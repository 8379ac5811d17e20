defmodule ElixirScope.Capture.PressureTest do
  # Not async: it loads modules, and another test counts atoms.
  use ExUnit.Case

  import CapturePipeline.Test.Wait
  alias ElixirScope.Capture.{AsyncWriterPool, Capture, NativeRingBuffer}
  alias :elixir_scope_capture_pipeline_nif, as: Nif

  doctest NativeRingBuffer, only: [pressure: 1, watch_pressure: 3]
  doctest Capture, only: [pressure: 1]

  defp fill(capture) do
    case Capture.event(capture, String.duplicate("x", 1000)) do
      :ok -> fill(capture)
      {:error, :full} -> :ok
    end
  end

  test "a capture tells the process that watches of a rise" do
    {:ok, capture} = Capture.new(ring_bytes: 65_536, pressure_age_ms: 3_600_000)
    {:ok, ref} = Capture.watch_pressure(capture, 20, 80)
    # The process may move to another scheduler, whose ring is another.
    fill(capture)
    assert_receive {:capture_pressure, ^ref, pressure, :high} when pressure in 80..100
    assert Capture.pressure(capture) in 80..100
    assert :ok = Capture.unwatch_pressure(capture)
    assert {:error, {:invalid, _}} = Capture.watch_pressure(capture, 80, 20)
  end

  test "a ring buffer that was destroyed has no pressure" do
    {:ok, buffer} = NativeRingBuffer.new(size: 4)
    NativeRingBuffer.destroy(buffer)
    assert {:error, :destroyed} = NativeRingBuffer.pressure(buffer)
  end

  # ---- native ring buffers ----

  defp ring!(options) do
    {:ok, ring} = NativeRingBuffer.new(options)
    ring
  end

  defp write(ring, count), do: for(n <- 1..count, do: :ok = NativeRingBuffer.write(ring, n))

  defp pool!(ring, storage) do
    {:ok, pool} = AsyncWriterPool.start_link(ring_buffer: ring, storage: storage, pool_size: 2, poll_interval_ms: 5)
    pool
  end

  for strategy <- [:drop_oldest, :drop_newest] do
    test "a ring buffer tells of rises and falls by turns: #{strategy}" do
      ring = ring!(size: 8, overflow_strategy: unquote(strategy))
      {:ok, gate} = Agent.start_link(fn -> :shut end)
      pool = pool!(ring, fn _ -> if Agent.get(gate, & &1) == :open, do: :ok, else: {:error, :unavailable} end)
      {:ok, ref} = NativeRingBuffer.watch_pressure(ring, 25, 75)

      for _ <- 1..3 do
        write(ring, 5)
        refute_received {:capture_pressure, _, _, _}
        write(ring, 1)
        assert_receive {:capture_pressure, ^ref, 75, :high}, 60_000
        # Once, also when the pressure goes on rising.
        write(ring, 2)
        refute_received {:capture_pressure, _, _, _}
        Agent.update(gate, fn _ -> :open end)
        assert_receive {:capture_pressure, ^ref, pressure, :low} when pressure <= 25, 60_000
        eventually(fn -> NativeRingBuffer.pressure(ring) == 0 end)
        Agent.update(gate, fn _ -> :shut end)
      end

      AsyncWriterPool.stop(pool)
      refute_received {:capture_pressure, _, _, _}
    end
  end

  test "of a ring buffer whose pressure is high already the first message comes at once" do
    ring = ring!(size: 128)
    {:ok, cursor} = Nif.cursor_new(NativeRingBuffer.native(ring))
    write(ring, 127)
    {:ok, ref} = NativeRingBuffer.watch_pressure(ring, 98, 99)
    assert_received {:capture_pressure, ^ref, 99, :high}
    :ok = NativeRingBuffer.clear(ring)
    assert_received {:capture_pressure, ^ref, 0, :low}
    write(ring, 126)
    refute_received {:capture_pressure, _, _, _}
    # It is full, and overwrites: the pressure is 100, and stays.
    write(ring, 300)
    assert_received {:capture_pressure, ^ref, 99, :high}
    refute_received {:capture_pressure, _, _, _}
    :ok = NativeRingBuffer.destroy(ring)
    :ok = Nif.cursor_set(cursor, 0)
    refute_received {:capture_pressure, _, _, _}
  end

  test "each limit of a ring buffer is the percentage that pressure/1 has" do
    for size <- [1, 2, 4, 64, 256], high <- [1, 20, 50, 75, 99, 100], low <- [0, 10, 49, 74, 98], low < high do
      ring = ring!(size: size)
      {:ok, ref} = NativeRingBuffer.watch_pressure(ring, low, high)
      rise = Enum.find(1..size, &(div(&1 * 100, size) >= high))
      write(ring, rise)
      assert_received {:capture_pressure, ^ref, pressure, :high}
      assert pressure == NativeRingBuffer.pressure(ring)
      {:ok, cursor} = Nif.cursor_new(NativeRingBuffer.native(ring))
      fall = Enum.find((rise - 1)..0, &(div(&1 * 100, size) <= low))

      for left <- (rise - 1)..0 do
        {:read, from} = Nif.cursor_begin(cursor, 1)
        {:ok, claim} = Nif.cursor_claim(cursor, from, from + 1)
        :ok = Nif.cursor_settle(cursor, claim)

        if left == fall do
          assert_received {:capture_pressure, ^ref, pressure, :low}
          assert pressure == NativeRingBuffer.pressure(ring)
        else
          refute_received {:capture_pressure, _, _, _}
        end
      end
    end
  end

  test "a ring buffer tells the last process that has asked, until it is told to stop" do
    ring = ring!(size: 4)
    {pid, monitor} = spawn_monitor(fn -> {:ok, _} = NativeRingBuffer.watch_pressure(ring, 0, 50) end)
    assert_receive {:DOWN, ^monitor, :process, ^pid, :normal}, 60_000
    # Nobody is there to be told.
    write(ring, 4)
    :ok = NativeRingBuffer.clear(ring)
    {:ok, _} = NativeRingBuffer.watch_pressure(ring, 0, 50)
    {:ok, ref} = NativeRingBuffer.watch_pressure(ring, 0, 100)
    write(ring, 4)
    assert_received {:capture_pressure, ^ref, 100, :high}
    refute_received {:capture_pressure, _, _, _}
    :ok = NativeRingBuffer.unwatch_pressure(ring)
    :ok = NativeRingBuffer.unwatch_pressure(ring)
    :ok = NativeRingBuffer.clear(ring)
    write(ring, 4)
    refute_received {:capture_pressure, _, _, _}
  end

  test "limits that make no sense are refused, and change nothing" do
    ring = ring!(size: 4)
    {:ok, ref} = NativeRingBuffer.watch_pressure(ring, 0, 50)

    for {low, high} <- [{50, 50}, {60, 50}, {0, 101}, {-1, 50}, {0, -1}, {0, 1.5}, {nil, 50}, {0, :high}],
        do: assert({:error, :badarg} = NativeRingBuffer.watch_pressure(ring, low, high))

    write(ring, 4)
    assert_received {:capture_pressure, ^ref, 50, :high}
    :ok = NativeRingBuffer.destroy(ring)
    assert {:error, :destroyed} = NativeRingBuffer.watch_pressure(ring, 0, 50)
    assert {:error, :destroyed} = NativeRingBuffer.unwatch_pressure(ring)
  end

  test "messages come in the order of the crossings, however many processes write and store" do
    # Nearly each write and each settle is a crossing.
    ring = ring!(size: 4, overflow_strategy: :drop_newest)
    {:ok, cursor} = Nif.cursor_new(NativeRingBuffer.native(ring))
    {:ok, ref} = NativeRingBuffer.watch_pressure(ring, 0, 25)

    processes =
      for _ <- 1..4 do
        spawn_monitor(fn ->
          for n <- 1..10_000 do
            NativeRingBuffer.write(ring, n)
            store_one(ring, cursor)
          end
        end)
      end

    for {pid, monitor} <- processes, do: assert_receive({:DOWN, ^monitor, :process, ^pid, :normal}, 120_000)
    eventually(fn -> store_one(ring, cursor) && NativeRingBuffer.pressure(ring) == 0 end)
    told = told(ref, [])
    assert length(told) >= 100
    assert told == told |> Enum.with_index() |> Enum.map(fn {_, i} -> if rem(i, 2) == 0, do: :high, else: :low end)
    assert List.last(told) == :low
  end

  # Takes an event, if there is one, and settles it.
  defp store_one(ring, cursor) do
    with {:read, from} <- Nif.cursor_begin(cursor, 1),
         {events, _} = NativeRingBuffer.read_batch(ring, from, 1),
         {:ok, claim} <- Nif.cursor_claim(cursor, from, from + length(events)) do
      Nif.cursor_settle(cursor, claim)
    end
  end

  defp told(ref, all) do
    receive do
      {:capture_pressure, ^ref, _, which} -> told(ref, [which | all])
    after
      0 -> Enum.reverse(all)
    end
  end

  test "a ring buffer that is collected while it is watched" do
    for _ <- 1..20 do
      {pid, monitor} =
        spawn_monitor(fn ->
          ring = ring!(size: 4)
          {:ok, _} = NativeRingBuffer.watch_pressure(ring, 0, 50)
          write(ring, 3)
        end)

      assert_receive {:DOWN, ^monitor, :process, ^pid, :normal}, 60_000
    end
  end
end
