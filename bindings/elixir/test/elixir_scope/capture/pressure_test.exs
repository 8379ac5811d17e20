defmodule ElixirScope.Capture.PressureTest do
  # Not async: it loads modules, and another test counts atoms.
  use ExUnit.Case

  alias ElixirScope.Capture.{Capture, NativeRingBuffer}

  doctest NativeRingBuffer, only: [pressure: 1]
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
end
