defmodule ElixirScope.Capture.CaptureJournal.Options do
  @moduledoc false
  # The options of a journal's reader: those of the NIF, and those of the Elixir side.

  alias ElixirScope.Capture.CaptureKind

  @defaults %{payloads: :terms, definitions: %{}, timeout: :infinity, losses: nil}
  @most 0xFFFFFFFFFFFFFFFF

  @type t :: %{
          native: map(),
          payloads: :terms | :binary | :none,
          definitions: %{non_neg_integer() => CaptureKind.t()},
          timeout: timeout(),
          losses: (map() -> any()) | nil
        }

  @doc "Checks the options. `{:error, {:badarg, key}}` names the first that is unknown or has a value that it cannot have."
  @spec new(term()) :: {:ok, t()} | {:error, {:badarg, term()}}
  def new(options) when is_map(options) and not is_struct(options), do: options |> Map.to_list() |> new()

  def new(options) when is_list(options) do
    with true <- Keyword.keyword?(options) || {:error, {:badarg, :options}},
         # Of two equal keys the first one counts, as in Keyword.get/2.
         {:ok, options} <- options |> Enum.uniq_by(&elem(&1, 0)) |> put_all(Map.put(@defaults, :native, %{})) do
      payloads = if options.payloads == :none, do: :none, else: :binary
      {:ok, put_in(options.native[:payloads], payloads)}
    end
  end

  def new(_options), do: {:error, {:badarg, :options}}

  defp put_all([], into), do: {:ok, into}

  defp put_all([{key, value} | rest], into) do
    case put(key, value, into) do
      {:ok, into} -> put_all(rest, into)
      :error -> {:error, {:badarg, key}}
    end
  end

  defp put(:order, order, into) when order in [:stored, :time], do: native(into, :order, order)
  defp put(:follow, follow, into) when is_boolean(follow), do: native(into, :follow, follow)
  defp put(:kinds, kinds, into), do: native_list(into, :kinds, kinds, &number/1)
  defp put(:correlation_ids, ids, into), do: native_list(into, :correlation_ids, ids, &id/1)
  defp put(:from, time, into), do: native_value(into, :from_realtime_ns, wall_time(time))
  defp put(:to, time, into), do: native_value(into, :to_realtime_ns, wall_time(time))
  defp put(:from_timestamp, time, into), do: native_value(into, :from_ns, id(time))
  defp put(:to_timestamp, time, into), do: native_value(into, :to_ns, id(time))
  defp put(:generation, generation, into), do: native_value(into, :generation, id(generation))
  defp put(:memory_bytes, bytes, into), do: native_value(into, :memory_bytes, id(bytes))

  defp put(:payloads, payloads, into) when payloads in [:terms, :binary, :none],
    do: {:ok, %{into | payloads: payloads}}

  defp put(:timeout, timeout, into) when timeout == :infinity or (is_integer(timeout) and timeout >= 0),
    do: {:ok, %{into | timeout: timeout}}

  defp put(:losses, losses, into) when is_function(losses, 1), do: {:ok, %{into | losses: losses}}

  defp put(:definitions, kinds, into) when is_list(kinds) do
    if proper?(kinds) and Enum.all?(kinds, &is_struct(&1, CaptureKind)),
      do: {:ok, %{into | definitions: Map.new(kinds, &{&1.number, &1})}},
      else: :error
  end

  defp put(_key, _value, _into), do: :error

  defp native(into, key, value), do: {:ok, put_in(into.native[key], value)}

  defp native_value(into, key, {:ok, value}), do: native(into, key, value)
  defp native_value(_into, _key, :error), do: :error

  defp native_list(into, key, list, convert) when is_list(list) do
    converted = if proper?(list), do: Enum.map(list, convert), else: [:error]
    if :error in converted, do: :error, else: native(into, key, for({:ok, value} <- converted, do: value))
  end

  defp native_list(_into, _key, _list, _convert), do: :error

  defp proper?(list), do: List.improper?(list) == false

  defp number(%CaptureKind{number: number}), do: {:ok, number}
  defp number(number) when is_integer(number) and number in 0..0x7FFEFFFF, do: {:ok, number}
  defp number(_), do: :error

  defp id(id) when is_integer(id) and id in 0..@most, do: {:ok, id}
  defp id(_), do: :error

  # Nanoseconds since 1970. No event is older than that.
  defp wall_time(%DateTime{} = time), do: time |> DateTime.to_unix(:nanosecond) |> max(0) |> min(@most) |> id()
  defp wall_time(time), do: id(time)
end
