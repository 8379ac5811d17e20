defmodule CapturePipeline.Test.Json do
  @moduledoc false
  # JSON as the caller of a tool would make it, and what of it the tests look at.

  @doc "The text. It raises on what JSON cannot say."
  def encode(nil), do: "null"
  def encode(boolean) when is_boolean(boolean), do: to_string(boolean)
  def encode(number) when is_number(number), do: to_string(number)
  def encode(list) when is_list(list), do: "[" <> Enum.map_join(list, ",", &encode/1) <> "]"

  def encode(%{} = map) when not is_struct(map) do
    members = Enum.map_join(map, ",", fn {key, value} when is_binary(key) -> encode(key) <> ":" <> encode(value) end)
    "{" <> members <> "}"
  end

  def encode(text) when is_binary(text) do
    true = String.valid?(text)

    escaped =
      for <<byte <- text>>, into: "" do
        cond do
          byte in [?", ?\\] -> <<?\\, byte>>
          byte < 0x20 -> "\\u" <> (byte |> Integer.to_string(16) |> String.pad_leading(4, "0"))
          true -> <<byte>>
        end
      end

    "\"" <> escaped <> "\""
  end

  @doc "A definition with atoms as texts, as encoders make it."
  def texts(%{} = map), do: Map.new(map, fn {key, value} -> {to_string(key), texts(value)} end)
  def texts(list) when is_list(list), do: Enum.map(list, &texts/1)
  def texts(atom) when is_atom(atom) and atom not in [nil, true, false], do: Atom.to_string(atom)
  def texts(other), do: other
end
