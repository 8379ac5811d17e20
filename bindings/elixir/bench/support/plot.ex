defmodule CapturePipeline.Bench.Plot do
  @moduledoc "Bars as an SVG file, groups side by side; nothing but text is needed to draw it."

  @colours ["#4878a8", "#d98b3a", "#5a9e6f", "#b0526a", "#7d6aa8"]
  @row 22
  @left 250
  @width 460

  @doc """
  Draws `rows`, `{label, [value]}` with one value for each of `series`, on a scale from 0; `unit` stands behind the values.
  """
  @spec bars(Path.t(), String.t(), String.t(), [String.t()], [{String.t(), [number()]}]) :: :ok
  def bars(path, title, unit, series, rows) do
    most = rows |> Enum.flat_map(&elem(&1, 1)) |> Enum.max()
    group = @row * length(series) + 10
    height = 70 + group * length(rows)

    legend =
      for {name, index} <- Enum.with_index(series) do
        x = @left + index * 150

        ~s(<rect x="#{x}" y="34" width="12" height="12" fill="#{colour(index)}"/><text x="#{x + 18}" y="45">#{escape(name)}</text>)
      end

    drawn =
      for {{label, values}, at} <- Enum.with_index(rows) do
        y = 62 + at * group
        middle = y + div(@row * length(series), 2) + 4

        bars =
          for {value, index} <- Enum.with_index(values) do
            length = max(1, round(@width * value / most))
            top = y + index * @row

            ~s(<rect x="#{@left}" y="#{top}" width="#{length}" height="#{@row - 4}" fill="#{colour(index)}"/>) <>
              ~s(<text x="#{@left + length + 6}" y="#{top + 14}">#{CapturePipeline.Bench.Figures.show(value)} #{escape(unit)}</text>)
          end

        [~s(<text x="#{@left - 10}" y="#{middle}" text-anchor="end">#{escape(label)}</text>) | bars]
      end

    File.mkdir_p!(Path.dirname(path))

    File.write!(path, [
      ~s(<svg xmlns="http://www.w3.org/2000/svg" width="#{@left + @width + 130}" height="#{height}" font-family="sans-serif" font-size="13">\n),
      ~s(<rect width="100%" height="100%" fill="white"/>\n),
      ~s(<text x="10" y="22" font-size="16" font-weight="bold">#{escape(title)}</text>\n),
      Enum.intersperse([legend, drawn], "\n"),
      "\n</svg>\n"
    ])
  end

  defp colour(index), do: Enum.at(@colours, rem(index, length(@colours)))

  defp escape(text), do: text |> String.replace("&", "&amp;") |> String.replace("<", "&lt;")
end
