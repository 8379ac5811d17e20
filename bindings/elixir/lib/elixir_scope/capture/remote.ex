defmodule ElixirScope.Capture.Remote do
  @moduledoc false
  # Calls to a server on another node run on that node, because its counters, tables and rings cannot be read from here. If that fails, the answer is
  # an error that differs from that of a server that does not run.

  # A shutdown may take five seconds.
  @timeout 10_000

  @typedoc "The call failed on that node: `:noconnection`, `:timeout`, or the reason that it raised."
  @type error :: {:error, {:remote, node(), reason :: term()}}

  @doc "Calls `here` if the server is on this node or unknown; otherwise calls `module.function(server | arguments)` on its node."
  @spec ask(GenServer.server(), module(), atom(), [term()], fun()) :: term() | error()
  def ask(server, module, function, arguments, here) do
    case elsewhere(server) do
      nil -> here.()
      {node, there} -> call(node, module, function, [there | arguments])
    end
  end

  defp elsewhere(pid) when is_pid(pid) and node(pid) != node(), do: {node(pid), pid}

  defp elsewhere({name, node}) when is_atom(name) and is_atom(node) and node != node() and name not in [:global, :via],
    do: {node, name}

  defp elsewhere(name) when is_tuple(name) do
    case GenServer.whereis(name) do
      pid when is_pid(pid) and node(pid) != node() -> {node(pid), pid}
      _ -> nil
    end
  rescue
    # A registry that does not run.
    _ -> nil
  end

  defp elsewhere(_), do: nil

  defp call(node, module, function, arguments) do
    :erpc.call(node, module, function, arguments, @timeout)
  rescue
    error in ErlangError ->
      case error.original do
        {:erpc, reason} -> {:error, {:remote, node, reason}}
        {:exception, reason, _stacktrace} -> {:error, {:remote, node, reason}}
        reason -> {:error, {:remote, node, reason}}
      end
  catch
    :exit, {_exception_or_signal, reason} -> {:error, {:remote, node, reason}}
  end
end
