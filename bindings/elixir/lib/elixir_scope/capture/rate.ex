defmodule ElixirScope.Capture.Rate do
  @moduledoc false
  # Events per second over the last five seconds, without a process of its own. Any process may count or read. Each of ten slots has a count and
  # the half second to which it belongs, so that the rate of an idle writer falls to 0.

  @slots 10
  @slot_ms 500

  @enforce_keys [:slots, :since]
  defstruct [:slots, :since]

  @type t :: %__MODULE__{slots: :atomics.atomics_ref(), since: integer()}

  @spec new() :: t()
  def new, do: %__MODULE__{slots: :atomics.new(2 * @slots, signed: true), since: now()}

  @spec mark(t(), non_neg_integer()) :: :ok
  def mark(%__MODULE__{slots: slots}, count) do
    period = Integer.floor_div(now(), @slot_ms)
    index = 2 * Integer.mod(period, @slots) + 1

    case :atomics.get(slots, index) do
      ^period ->
        :ok

      old ->
        # Of several processes that find an old slot, one resets it.
        if :atomics.compare_exchange(slots, index, old, period) == :ok, do: :atomics.put(slots, index + 1, 0)
    end

    :atomics.add(slots, index + 1, count)
  end

  @spec per_second(t()) :: float()
  def per_second(%__MODULE__{slots: slots, since: since}) do
    now = now()
    oldest = Integer.floor_div(now, @slot_ms) - @slots + 1

    count =
      Enum.reduce(0..(@slots - 1), 0, fn slot, sum ->
        if :atomics.get(slots, 2 * slot + 1) >= oldest, do: sum + :atomics.get(slots, 2 * slot + 2), else: sum
      end)

    1_000 * count / max(min(now - since, @slots * @slot_ms), 1)
  end

  defp now, do: System.monotonic_time(:millisecond)
end
