defmodule ElixirScope.Capture.RateTest do
  # The last five seconds, without a wait: the test writes the slots as they would be then. A half second may begin between two readings of
  # the clock, so a mark counts only in a round in which none began.
  use ExUnit.Case, async: true

  alias ElixirScope.Capture.Rate

  @slots 10
  @slot_ms 500

  defp now, do: System.monotonic_time(:millisecond)
  defp period, do: Integer.floor_div(now(), @slot_ms)

  # A rate that was started that long ago.
  defp rate(ms), do: %{Rate.new() | since: now() - ms}

  defp put(rate, period, count) do
    index = 2 * Integer.mod(period, @slots) + 1
    :atomics.put(rate.slots, index, period)
    :atomics.put(rate.slots, index + 1, count)
  end

  defp in_one_period(fun) do
    before = period()
    answer = fun.()
    if period() == before, do: answer, else: in_one_period(fun)
  end

  test "is of the last five seconds, or of as long as there was" do
    assert Rate.per_second(rate(60_000)) == 0.0

    per_second =
      in_one_period(fn ->
        rate = rate(60_000)
        for _ <- 1..10, do: Rate.mark(rate, 100)
        Rate.per_second(rate)
      end)

    assert per_second == 200.0

    young =
      in_one_period(fn ->
        rate = rate(1_000)
        Rate.mark(rate, 1_000)
        Rate.per_second(rate)
      end)

    assert young > 0 and young <= 1_000
  end

  test "falls to 0 by itself when nothing comes any more" do
    rates =
      in_one_period(fn ->
        rate = rate(60_000)
        for ago <- 0..(@slots - 1), do: put(rate, period() - ago, 50)
        full = Rate.per_second(rate)
        for ago <- 0..(@slots - 1), do: put(rate, period() - ago - @slots, 50)
        {full, Rate.per_second(rate)}
      end)

    assert rates == {100.0, 0.0}
  end

  test "the count of a slot five seconds ago does not count again" do
    rate =
      in_one_period(fn ->
        rate = rate(60_000)
        put(rate, period() - @slots, 1_000_000)
        Rate.mark(rate, 5)
        Rate.per_second(rate)
      end)

    assert rate == 1.0
  end
end
