defmodule ElixirScope.Capture.MCP.Plain do
  @moduledoc false
  # Any term as what JSON can say: maps with texts as keys, lists, texts, numbers, true, false and nil. What is made has a bound, however large the term is, and
  # making it looks at no more of the term than that. No function of a struct's module is called: its `Inspect` could do anything.

  # Larger integers would be rounded by clients that keep numbers as doubles, such as those in JavaScript.
  @exact 9_007_199_254_740_991
  # Integers beyond that are only said to be there: their decimal digits take long to make.
  @most_integer Integer.pow(2, 256)
  @most_depth 12
  @most_text 16_384
  @shown_bytes 64
  # Under these keys an integer is a text, whatever its size, so that it is always of one type.
  @wide ~w(correlation_id ast_node_id node_id timestamp wall_time enriched_at)

  @typedoc "What JSON can say."
  @type t :: nil | boolean() | number() | String.t() | [t()] | %{String.t() => t()}

  @doc "The term, in at most about so many bytes of JSON; and whether anything is left out."
  @spec of(term(), pos_integer()) :: {t(), cut? :: boolean()}
  def of(term, bytes) do
    {plain, {_left, cut?}} = plain(term, 0, {bytes, false})
    {plain, cut?}
  end

  @doc "An id or a time: a text, if it is an integer."
  @spec id(integer()) :: String.t()
  def id(integer), do: Integer.to_string(integer)

  @doc "How many bytes of JSON it takes, at most a little less."
  @spec size(t()) :: non_neg_integer()
  def size(text) when is_binary(text), do: text_size(text, 2)
  def size(list) when is_list(list), do: Enum.reduce(list, 2, &(size(&1) + 1 + &2))
  def size(%{} = map), do: Enum.reduce(map, 2, fn {key, value}, sum -> sum + size(key) + size(value) + 2 end)
  def size(float) when is_float(float), do: 24
  def size(integer) when is_integer(integer), do: 17
  def size(_), do: 5

  # Control characters are written as \u00XX.
  defp text_size(<<byte, rest::binary>>, size) when byte < 0x20, do: text_size(rest, size + 6)
  defp text_size(<<byte, rest::binary>>, size) when byte in [?", ?\\], do: text_size(rest, size + 2)
  defp text_size(<<_, rest::binary>>, size), do: text_size(rest, size + 1)
  defp text_size(<<>>, size), do: size

  # ---- one term; `state`: the bytes that are left, and whether anything was left out ----

  defp plain(_term, _depth, {left, _cut?}) when left <= 0, do: {"...", {left, true}}
  defp plain(term, _depth, state) when is_boolean(term) or is_nil(term), do: {term, spend(state, 5)}
  defp plain(float, _depth, state) when is_float(float), do: {float, spend(state, 24)}
  defp plain(integer, _depth, state) when integer in -@exact..@exact//1, do: {integer, spend(state, 17)}
  defp plain(integer, _depth, state) when is_integer(integer), do: integer(integer, state)
  defp plain(atom, _depth, state) when is_atom(atom), do: text(name(atom), state)
  defp plain(binary, _depth, state) when is_binary(binary), do: binary(binary, state)

  defp plain(term, depth, state) when depth >= @most_depth and (is_list(term) or is_map(term) or is_tuple(term)),
    do: cut(state)

  defp plain([], _depth, state), do: {[], spend(state, 2)}
  defp plain(list, depth, state) when is_list(list), do: list(list, depth + 1, spend(state, 2), [])
  defp plain(tuple, depth, state) when is_tuple(tuple), do: tuple(tuple, 0, depth + 1, spend(state, 2), [])

  defp plain(%module{} = time, depth, state) when module in [DateTime, NaiveDateTime, Date, Time] do
    text(module.to_iso8601(time), state)
  rescue
    # A struct with invalid fields.
    _ -> map(time, depth + 1, state)
  end

  defp plain(map, depth, state) when is_map(map), do: map(map, depth + 1, spend(state, 2))
  # A process, port, reference, function, or bits that fill no byte.
  defp plain(other, _depth, state), do: text(inspect(other, limit: @shown_bytes, structs: false), state)

  defp spend({left, cut?}, bytes), do: {left - bytes, cut?}
  defp cut({left, _cut?}), do: {"...", {left - 5, true}}

  defp integer(integer, state) when integer > -@most_integer and integer < @most_integer,
    do: text(Integer.to_string(integer), state)

  defp integer(integer, {left, _cut?}), do: text("an integer of #{:erlang.external_size(integer)} bytes", {left, true})

  defp name(atom) do
    case Atom.to_string(atom) do
      "Elixir." <> module -> module
      name -> name
    end
  end

  defp text(text, state), do: {text, spend(state, text_size(text, 2))}

  defp binary(binary, {left, cut?}) do
    # A character of JSON takes up to six bytes.
    shown = prefix(binary, min(@most_text, max(div(left, 6), 16)))

    cond do
      shown == nil ->
        bytes = %{
          "bytes" => byte_size(binary),
          "hex" => binary |> binary_part(0, min(byte_size(binary), @shown_bytes)) |> Base.encode16(case: :lower)
        }

        {bytes, {left - size(bytes), cut? or byte_size(binary) > @shown_bytes}}

      byte_size(shown) < byte_size(binary) ->
        text(shown <> "...", {left, true})

      true ->
        text(shown, {left, cut?})
    end
  end

  # The first bytes as a text, up to the end of a character; nil: they are none.
  defp prefix(binary, most) when byte_size(binary) <= most, do: if(String.valid?(binary), do: binary)

  defp prefix(binary, most) do
    Enum.find_value(most..(most - 3), fn size ->
      part = binary_part(binary, 0, size)
      if String.valid?(part), do: part
    end)
  end

  defp list([first | rest], depth, {left, _} = state, shown) when left > 0 do
    {plain, state} = plain(first, depth, spend(state, 1))
    list(rest, depth, state, [plain | shown])
  end

  defp list([], _depth, state, shown), do: {Enum.reverse(shown), state}
  defp list([_ | _], _depth, {left, _}, shown), do: {Enum.reverse(shown, ["..."]), {left, true}}

  # An improper list: what is behind the bar is the last element.
  defp list(tail, depth, state, shown) do
    {plain, state} = plain(tail, depth, state)
    {Enum.reverse(shown, ["|", plain]), state}
  end

  defp tuple(tuple, at, _depth, state, shown) when at == tuple_size(tuple), do: {Enum.reverse(shown), state}
  defp tuple(_tuple, _at, _depth, {left, _}, shown) when left <= 0, do: {Enum.reverse(shown, ["..."]), {left, true}}

  defp tuple(tuple, at, depth, state, shown) do
    {plain, state} = plain(elem(tuple, at), depth, spend(state, 1))
    tuple(tuple, at + 1, depth, state, [plain | shown])
  end

  defp map(map, depth, state), do: map |> :maps.iterator() |> :maps.next() |> pairs(depth, state, %{})

  defp pairs(:none, _depth, state, shown), do: {shown, state}
  defp pairs(_, _depth, {left, _}, shown) when left <= 0, do: {Map.put(shown, "...", "..."), {left, true}}

  defp pairs({key, value, rest}, depth, state, shown) do
    key = key |> key() |> unique(shown)
    state = spend(state, text_size(key, 4))

    {plain, state} = if key in @wide and is_integer(value), do: integer(value, state), else: plain(value, depth, state)

    rest |> :maps.next() |> pairs(depth, state, Map.put(shown, key, plain))
  end

  defp key(atom) when is_atom(atom), do: name(atom)

  defp key(binary) when is_binary(binary) and byte_size(binary) <= 256,
    do: if(String.valid?(binary), do: binary, else: shown(binary))

  defp key(other), do: shown(other)

  defp shown(term), do: inspect(term, limit: 16, printable_limit: 64, structs: false)

  # `:a` and "a" are different keys of a map, and one of JSON's.
  defp unique(key, shown) when is_map_key(shown, key), do: unique(key <> "'", shown)
  defp unique(key, _shown), do: key
end
