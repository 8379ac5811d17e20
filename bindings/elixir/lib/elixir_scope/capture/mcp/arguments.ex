defmodule ElixirScope.Capture.MCP.Arguments do
  @moduledoc false
  # What the tools take. The schema that a client is shown and the check of what it sends are made from one list. A name that is none of these is refused: a misspelt
  # filter would otherwise choose everything.

  @typedoc """
  An argument: its name, what it may be, and its description. `:id` is a text or an integer; `{:integer, least, most}` an integer, `{:limit, least}` one without a
  greatest value, or the text "infinity"; `:weight` 0 or a power of two up to 1,048,576.
  """
  @type type :: :id | :text | :boolean | :weight | {:integer, integer(), integer()} | {:limit, integer()}
  @type argument :: {name :: atom(), type(), description :: String.t()}

  @most 9_007_199_254_740_991

  @doc "The schema, as JSON Schema has it."
  @spec schema([argument()], required :: [atom()]) :: map()
  def schema(arguments, required \\ []) do
    properties = Map.new(arguments, fn {name, type, text} -> {name, Map.put(schema_of(type), :description, text)} end)

    %{
      type: "object",
      properties: properties,
      required: Enum.map(required, &Atom.to_string/1),
      additionalProperties: false
    }
  end

  defp schema_of(:id), do: %{type: ["string", "integer"]}
  defp schema_of(:text), do: %{type: "string"}
  defp schema_of(:boolean), do: %{type: "boolean"}
  defp schema_of(:weight), do: %{type: "integer", minimum: 0, maximum: 1_048_576}
  defp schema_of({:integer, least, most}), do: %{type: "integer", minimum: least, maximum: most}

  defp schema_of({:limit, least}),
    do: %{anyOf: [%{type: "integer", minimum: least}, %{type: "string", enum: ["infinity"]}]}

  @doc "The arguments of a request, by their names; those that are nil are not given."
  @spec read(term(), [argument()], required :: [atom()]) :: {:ok, map()} | {:error, String.t()}
  def read(given, arguments, required \\ [])

  def read(given, arguments, required) when is_map(given) do
    known = Map.new(arguments, fn {name, type, _} -> {Atom.to_string(name), {name, type}} end)

    given =
      for {key, value} <- given,
          value != nil,
          into: %{},
          do: {if(is_atom(key), do: Atom.to_string(key), else: key), value}

    with {:ok, read} <- Enum.reduce_while(given, {:ok, %{}}, &read_one(&1, &2, known)) do
      case Enum.reject(required, &is_map_key(read, &1)) do
        [] -> {:ok, read}
        [name | _] -> {:error, "#{name}: it is not given; #{expected(elem(known[Atom.to_string(name)], 1))}"}
      end
    end
  end

  def read(given, _arguments, _required), do: {:error, "arguments: an object expected, #{shown(given)} given"}

  defp read_one({key, value}, {:ok, read}, known) do
    case known do
      %{^key => {name, type}} ->
        case check(type, value) do
          {:ok, value} -> {:cont, {:ok, Map.put(read, name, value)}}
          :error -> {:halt, {:error, "#{name}: #{expected(type)}, #{shown(value)} given"}}
        end

      %{} when map_size(known) == 0 ->
        {:halt, {:error, "#{shown(key)} is no argument of this tool; it takes none"}}

      %{} ->
        names = known |> Map.keys() |> Enum.sort() |> Enum.join(", ")
        {:halt, {:error, "#{shown(key)} is no argument of this tool; there are #{names}"}}
    end
  end

  defp check(:id, id) when (is_binary(id) and id != "") or is_integer(id), do: {:ok, id}
  defp check(:text, text) when is_binary(text), do: {:ok, text}
  defp check(:boolean, boolean) when is_boolean(boolean), do: {:ok, boolean}
  defp check(:weight, 0), do: {:ok, 0}

  defp check(:weight, weight) when is_integer(weight) and weight in 1..1_048_576,
    do: if(Bitwise.band(weight, weight - 1) == 0, do: {:ok, weight}, else: :error)

  defp check({:integer, least, most}, integer) when is_integer(integer) and integer >= least and integer <= most,
    do: {:ok, integer}

  defp check({:limit, _}, "infinity"), do: {:ok, :infinity}

  defp check({:limit, least}, integer) when is_integer(integer) and integer >= least and integer <= @most,
    do: {:ok, integer}

  # JSON has one kind of number, and 5.0 is 5.
  defp check(type, float) when is_float(float) and trunc(float) == float and abs(float) <= @most,
    do: check(type, trunc(float))

  defp check(_type, _value), do: :error

  defp expected(:id), do: "a text that is not empty or an integer expected"
  defp expected(:text), do: "a text expected"
  defp expected(:boolean), do: "true or false expected"
  defp expected(:weight), do: "0 or a power of two up to 1048576 expected"
  defp expected({:integer, least, most}), do: "an integer from #{least} to #{most} expected"
  defp expected({:limit, least}), do: "an integer of at least #{least} or \"infinity\" expected"

  defp shown(value), do: inspect(value, limit: 8, printable_limit: 64, structs: false)
end
