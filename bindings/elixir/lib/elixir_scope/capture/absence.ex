defmodule ElixirScope.Capture.Absence do
  @moduledoc false
  # Decides whether a failed call of a storage means that the storage is not there. Then its events wait. Otherwise it has refused them, and they
  # are dead-lettered in the end. The documentation of `ElixirScope.Capture.Storage` has the same rule: change both together.

  # Reasons of exits and of `{:error, reason}`. The first line is for storages that name the cause. OTP's calls exit with those of the second line
  # if the process or its node is not there, has ended during the call, or did not answer. The others are those of sockets without a
  # connection.
  @reasons [:unavailable, :retry] ++
             [:noproc, :nodedown, :noconnection, :timeout, :normal, :shutdown, :killed, :bad_module, :system_limit] ++
             [:closed, :enotconn, :econnrefused, :econnreset, :econnaborted, :epipe, :etimedout] ++
             [:ehostdown, :ehostunreach, :enetdown, :enetunreach]

  # As the first element of a pair: `{:nodedown, node}`, `{:shutdown, why}`, `{:timeout, ms}`.
  @tagged [:unavailable, :noproc, :nodedown, :timeout, :shutdown, :no_exists, :node_not_running]

  # As the first element of a pair with a reason: from :erpc and :rpc, `catch`, Mnesia.
  @around [:erpc, :exception, :signal, :badrpc, :EXIT, :aborted]

  @doc "Whether the reason of an exit or of an `{:error, reason}` means that."
  @spec reason?(term()) :: boolean()
  # Calls of OTP exit with `{reason, {module, function, arguments}}`.
  def reason?({reason, {module, function, arguments}})
      when is_atom(module) and is_atom(function) and is_list(arguments),
      do: reason?(reason)

  def reason?({around, reason}) when around in @around, do: reason?(reason)
  def reason?({tag, _}) when tag in @tagged, do: true
  def reason?(reason), do: reason in @reasons

  @doc "Whether an exception of the storage means that. For a missing function the reason names it."
  @spec exception(Exception.t(), Exception.stacktrace(), storage :: term()) :: {:absent, term()} | :other
  def exception(%BadFunctionError{term: function}, _stacktrace, function) when is_function(function),
    do: {:absent, {:purged_function, function}}

  def exception(%UndefinedFunctionError{module: module, function: name, arity: arity} = error, _stacktrace, storage) do
    if own?(storage, module, name, arity),
      do: {:absent, {:undefined_function, {module, name, arity}}},
      else: other(error)
  end

  # Only for a table that does not exist, not for any other bad argument.
  def exception(%ArgumentError{} = error, [{:ets, _, _, info} | _], _storage) do
    if match?(%{cause: :id}, info[:error_info]), do: {:absent, error}, else: :other
  end

  def exception(%ArgumentError{message: "unknown registry" <> _} = error, _stacktrace, _storage), do: {:absent, error}
  def exception(%SystemLimitError{} = error, _stacktrace, _storage), do: {:absent, error}
  def exception(error, _stacktrace, _storage), do: other(error)

  defp other(%ErlangError{original: reason}), do: if(reason?(reason), do: {:absent, reason}, else: :other)
  defp other(_), do: :other

  # Whether the missing function is the storage's own, not one that it calls.
  defp own?(function, module, name, arity) when is_function(function) do
    function == Function.capture(module, name, arity)
  end

  defp own?(module, module, name, 2), do: name in [:store_events, :store_batch]
  defp own?({module, _}, module, name, 2), do: name in [:store_events, :store_batch]
  defp own?(%module{}, module, name, 2), do: name in [:store_events, :store_batch]
  defp own?(_storage, _module, _name, _arity), do: false
end
