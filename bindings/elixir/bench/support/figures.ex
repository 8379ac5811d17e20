defmodule CapturePipeline.Bench.Figures do
  @moduledoc "Medians, percentiles, ratios in pairs, and how they are printed."

  @doc "The value below which `share` of the values lie."
  @spec percentile([number()], float()) :: number()
  def percentile(values, share) do
    sorted = Enum.sort(values)
    Enum.at(sorted, min(length(sorted) - 1, floor(share * length(sorted))))
  end

  @spec median([number()]) :: number()
  def median(values), do: percentile(values, 0.5)

  @doc """
  The median of the ratios a/b of measurements that were taken next to each other, so that a drift of the machine's speed
  cancels; and the smallest and largest.
  """
  @spec ratio([number()], [number()]) :: {float(), float(), float()}
  def ratio(a, b) do
    ratios = Enum.zip_with(a, b, fn x, y -> x / max(y, 1.0e-9) end)
    {median(ratios) * 1.0, Enum.min(ratios) * 1.0, Enum.max(ratios) * 1.0}
  end

  @doc "A number with as many digits as mean something."
  @spec show(number()) :: String.t()
  def show(value) when value >= 100, do: value |> round() |> Integer.to_string()
  def show(value) when value >= 10, do: :erlang.float_to_binary(value * 1.0, decimals: 1)
  def show(value), do: :erlang.float_to_binary(value * 1.0, decimals: 2)

  @doc "A table, its columns as wide as need be; the first is left-aligned."
  @spec table([String.t()], [[String.t()]]) :: :ok
  def table(head, rows) do
    widths =
      for column <- Enum.zip([head | rows]), do: column |> Tuple.to_list() |> Enum.map(&String.length/1) |> Enum.max()

    for row <- [head, Enum.map(widths, &String.duplicate("-", &1)) | rows] do
      [{first, width} | rest] = Enum.zip(row, widths)

      IO.puts([
        "  ",
        String.pad_trailing(first, width) | Enum.map(rest, fn {cell, w} -> ["  ", String.pad_leading(cell, w)] end)
      ])
    end

    :ok
  end

  @doc "A bar in proportion to the largest value."
  @spec bar(number(), number()) :: String.t()
  def bar(value, most), do: String.duplicate("█", max(1, round(40 * value / max(most, 1.0e-9))))
end
