defmodule ElixirScope.Capture.EtsStorage.Keys do
  @moduledoc false
  # The values of an event that are indexed.

  @doc "The values by which an event is found: `time`, `pid`, `function`, `correlation_id`, `node_id`, those of them that it has."
  @spec keys(term(), map() | nil) :: keyword()
  def keys(event, stamp) do
    [
      time: time(event, stamp),
      pid: field(event, [:pid, :caller_pid, :from_pid, :server_pid]),
      function: function(event),
      correlation_id: either(field(event, [:correlation_id]), captured(stamp, :correlation_id)),
      node_id: either(field(event, [:ast_node_id, :node_id]), captured(stamp, :node_id))
    ]
    |> Enum.reject(fn {_, value} -> is_nil(value) end)
  end

  defp time(event, stamp) do
    either(field(event, [:timestamp]), either(captured(stamp, :timestamp), field(event, [:enriched_at])))
    |> comparable()
  end

  # nil is an absent value; false is a value.
  defp either(nil, other), do: other
  defp either(value, _other), do: value

  @doc """
  The comparable form of a time. A number stays as it is, and sorts before all other kinds. Calendar structs would sort by the names of their
  fields, so each becomes a number of microseconds (a date: of days) together with its kind.
  """
  @spec comparable(term()) :: term()
  def comparable(nil), do: nil
  def comparable(time) when is_number(time), do: time

  def comparable(%module{} = time) when module in [DateTime, NaiveDateTime, Date, Time] do
    {module, since_year_0(time)}
  rescue
    # A struct with invalid fields.
    _ -> {:other, time}
  end

  def comparable(time), do: {:other, time}

  defp since_year_0(%Date{} = date), do: Date.to_gregorian_days(date)

  defp since_year_0(%module{} = time) do
    {seconds, microseconds} =
      case module do
        DateTime -> DateTime.to_gregorian_seconds(time)
        NaiveDateTime -> NaiveDateTime.to_gregorian_seconds(time)
        Time -> Time.to_seconds_after_midnight(time)
      end

    seconds * 1_000_000 + microseconds
  end

  @doc "Whether two comparable times are of one kind."
  @spec same_kind?(term(), term()) :: boolean()
  def same_kind?(one, other) when is_number(one), do: is_number(other)
  def same_kind?({kind, _}, {kind, _}), do: true
  def same_kind?(_, _), do: false

  @doc "A comparable time before all others of its kind."
  @spec earliest(term()) :: term()
  def earliest(time) when is_number(time), do: -1.0e300
  def earliest({kind, _}), do: {kind, -1.0e300}

  defp function(%{module: module, function: function} = event) when module != nil and function != nil do
    case event do
      %{arity: arity} when is_integer(arity) -> {module, function, arity}
      %{args: args} when is_list(args) -> {module, function, proper_length(args)}
      _ -> {module, function, 0}
    end
  end

  defp function(_), do: nil

  defp proper_length(list) do
    length(list)
  rescue
    ArgumentError -> 0
  end

  defp field(%{} = event, [name | names]) do
    case event do
      %{^name => value} when value != nil -> value
      _ -> field(event, names)
    end
  end

  defp field(_, _), do: nil

  defp captured(%{} = stamp, key) do
    case stamp do
      %{^key => 0} -> nil
      %{^key => value} -> value
    end
  end

  defp captured(_, _), do: nil
end
