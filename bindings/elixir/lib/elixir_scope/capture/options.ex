defmodule ElixirScope.Capture.Options do
  @moduledoc false
  # What `start_link/1` and `new/1` are given, as one atom-keyed map, and how a value in it is read. A configuration keeps
  # what it was given, also what it does not know and what makes no sense; whoever uses a value reads it through here.

  @doc "The defaults with the given values (a keyword list, a map or nothing) as given."
  @spec config(term(), map()) :: map()
  def config(given, defaults), do: Map.merge(defaults, to_map(given))

  @doc "A keyword list, a map, a struct or nothing as an atom-keyed map; what is none of these is nothing."
  @spec to_map(term()) :: map()
  def to_map(%_{} = given), do: Map.from_struct(given)
  def to_map(%{} = given), do: :maps.filter(fn key, _ -> is_atom(key) end, given)

  def to_map(given) when is_list(given) do
    # The first of two equal keys counts, as in Keyword.get/2.
    for {key, value} <- given |> proper() |> Enum.reverse(), is_atom(key), into: %{}, do: {key, value}
  end

  def to_map(_), do: %{}

  @doc "The ring buffer under either of its names, or nil."
  @spec source(map()) :: term()
  def source(config), do: first(config, [:ring_buffer, :ring_buffer_ref])

  @doc "The storage under either of its names, or nil."
  @spec storage(map()) :: term()
  def storage(config), do: first(config, [:storage, :storage_ref])

  @doc "An integer of at least `least` under that key, else the default."
  @spec integer(map(), atom(), integer(), integer()) :: integer()
  def integer(config, key, default, least \\ 1) do
    case config do
      %{^key => value} when is_integer(value) and value >= least -> value
      _ -> default
    end
  end

  defp first(config, keys), do: Enum.find_value(keys, fn key -> Map.get(config, key) end)

  defp proper([head | tail]), do: [head | proper(tail)]
  defp proper(_), do: []
end
