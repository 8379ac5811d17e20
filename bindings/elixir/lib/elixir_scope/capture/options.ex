defmodule ElixirScope.Capture.Options do
  @moduledoc false
  # The options of `start_link/1` and `new/1` as one atom-keyed map, and the functions to read a value of it. A configuration keeps all given
  # options, also unknown ones and invalid values. These functions replace an invalid value by the default.

  import Bitwise

  @doc "The defaults, merged with the given options (a keyword list, a map or nothing)."
  @spec config(term(), map()) :: map()
  def config(given, defaults), do: Map.merge(defaults, to_map(given))

  @doc "A keyword list, a map, a struct or nothing as an atom-keyed map. Any other term counts as nothing."
  @spec to_map(term()) :: map()
  def to_map(%_{} = given), do: Map.from_struct(given)
  def to_map(%{} = given), do: :maps.filter(fn key, _ -> is_atom(key) end, given)

  def to_map(given) when is_list(given) do
    # Of two equal keys the first one counts, as in Keyword.get/2.
    for {key, value} <- given |> proper() |> Enum.reverse(), is_atom(key), into: %{}, do: {key, value}
  end

  def to_map(_), do: %{}

  @sources [:ring_buffer, :ring_buffer_ref]
  @storages [:storage, :storage_ref]

  @doc "The ring buffer under either of its names, or nil."
  @spec source(map()) :: term()
  def source(config), do: first(config, @sources)

  @doc "The storage under either of its names, or nil."
  @spec storage(map()) :: term()
  def storage(config), do: first(config, @storages)

  @doc "Other names of the options in this configuration, which an older configuration may have."
  @spec replaced(map()) :: [atom()]
  def replaced(config) do
    Enum.flat_map([@sources, @storages], fn names ->
      if Enum.any?(names, &is_map_key(config, &1)), do: Enum.reject(names, &is_map_key(config, &1)), else: []
    end)
  end

  @doc "The value of `key` if it is an integer of at least `min`, or the default."
  @spec integer(map(), atom(), integer(), integer()) :: integer()
  def integer(config, key, default, min \\ 1) do
    case config do
      %{^key => value} when is_integer(value) and value >= min -> value
      _ -> default
    end
  end

  @doc "The value of `key` if it is an integer of at least 1 or `:infinity`, or the default."
  @spec limit(map(), atom(), pos_integer() | :infinity) :: pos_integer() | :infinity
  def limit(config, key, default) do
    case config do
      %{^key => :infinity} -> :infinity
      _ -> integer(config, key, default)
    end
  end

  @doc "Checks the values for a running pipeline. Unknown options may have any value."
  @spec check(map()) :: :ok | {:error, {:invalid_config, atom(), term()}}
  def check(config) do
    case Enum.find(config, fn {key, value} -> not valid?(key, value) end) do
      nil -> :ok
      {key, value} -> {:error, {:invalid_config, key, value}}
    end
  end

  @doc "The options that a manager gives to its capture."
  @spec capture_keys() :: [atom()]
  def capture_keys, do: [:sampling_max_weight, :sampling_hold_ms, :watermark_percent, :share]

  defp valid?(:sampling_max_weight, weight),
    do: weight == 0 or (is_integer(weight) and weight in 1..1_048_576 and (weight &&& weight - 1) == 0)

  defp valid?(:sampling_hold_ms, ms), do: is_integer(ms) and ms in 1..86_400_000
  defp valid?(:watermark_percent, percent), do: is_integer(percent) and percent in 1..100
  defp valid?(:share, share), do: is_integer(share) and share in 1..1_000
  defp valid?(:async_writer_pool_size, size), do: is_integer(size) and size in 0..1_024

  defp valid?(key, value) when key in [:batch_size, :poll_interval_ms, :retry_initial_ms, :retry_max_ms],
    do: is_integer(value) and value >= 1

  defp valid?(key, value)
       when key in [:max_backlog, :retry_limit, :storage_timeout_ms, :max_dead_letters, :max_stored_events],
       do: value == :infinity or (is_integer(value) and value >= 1)

  defp valid?(key, value) when key in [:correlation_enabled, :backpressure_enabled], do: is_boolean(value)
  defp valid?(_key, _value), do: true

  defp first(config, keys), do: Enum.find_value(keys, fn key -> Map.get(config, key) end)

  defp proper([head | tail]), do: [head | proper(tail)]
  defp proper(_), do: []
end
