defmodule ElixirScope.Capture.Storage do
  @moduledoc """
  Where the writers put their events.

  As `storage` (or `storage_ref`) of a manager, pool or writer these are accepted:

    * an atom: the process registered under it, else the module of that name if it has this behaviour;
    * a pid, `{:global, name}`, `{:via, module, name}`, `{name, node}`: a server;
    * a function of one argument (the events) or of two (the events, and their `ElixirScope.Capture.Batch`);
    * `{module, ref}`: `module.store_events(ref, events)`, or, if the module exports no such function, the server `ref`;
    * a struct whose module exports `store_events/2`, such as `ElixirScope.Capture.EtsStorage` and
      `ElixirScope.Capture.NativeStorage`.

  A server is asked by `module.store_events(server, events)` if the module that it runs (or that it is named after) is loaded and
  exports that, else by `GenServer.call(server, {:store_event, event})` for each event. It is never sent anything else.

  ## Answers

  `:ok`, `{:ok, n}` (the first `n` events are stored) or `{:error, reason}`. Anything else is an error too: what has not been
  acknowledged is not stored. What happens then depends on whose fault it is:

    * *The storage is not there*: `{:error, :unavailable}`, `{:error, {:unavailable, reason}}`, `{:error, :retry}`,
      `{:error, :timeout}`, `{:error, :noproc}`, or an exit because the process is not there, was killed or did not answer.
      The batch is kept and tried again, with back-off, for as long as it takes.
    * *It will not have it*: any other error, an exception, a throw, a crash of the server while it handles the event. The events
      are tried one by one, so that a bad one costs itself alone, up to `:retry_limit` times (5) with back-off
      (`:retry_initial_ms` 10, doubled up to `:retry_max_ms` 1,000); then they go to the dead letters.

  Delivery is at least once. A storage that must not store anything twice keys by the identity in the batch.
  """

  alias ElixirScope.Capture.{Batch, Enrichment}

  @type ref :: term()
  @type result :: :ok | {:ok, non_neg_integer()} | {:error, term()}

  @doc "Stores the events, in order. `ref` is what the storage was given as; for a bare module, the module itself."
  @callback store_events(ref(), events :: [term()]) :: result()

  @doc "The same with each event's identity and stamp; where a module exports it, it is preferred to `store_events/2`."
  @callback store_batch(ref(), Batch.t()) :: result()
  @optional_callbacks store_batch: 2

  @doc false
  @spec store(ref(), Batch.t(), timeout()) ::
          :ok | {:partial, non_neg_integer()} | {:unavailable, term()} | {:failed, term()}
  def store(storage, %Batch{entries: entries} = batch, timeout) do
    storage |> target() |> offer(batch, timeout) |> verdict(length(entries))
  rescue
    error -> {:failed, error}
  catch
    :throw, value -> {:failed, {:nocatch, value}}
    :exit, reason -> exit_verdict(reason)
  end

  # ---- what the reference stands for, now ----

  defp target(storage) when is_atom(storage) do
    cond do
      Process.whereis(storage) -> {:server, storage, server_module(storage, storage)}
      stores?(storage) -> {:module, storage, storage}
      true -> {:missing, storage}
    end
  end

  defp target(storage) when is_pid(storage), do: {:server, storage, server_module(storage, nil)}
  defp target(storage) when is_function(storage, 1) or is_function(storage, 2), do: {:function, storage}
  defp target({:global, _} = server), do: {:server, server, nil}
  defp target({:via, module, _} = server) when is_atom(module), do: {:server, server, nil}

  defp target({module, ref}) when is_atom(module) do
    cond do
      stores?(module) -> {:module, module, ref}
      server?(ref) -> {:server, ref, nil}
      # {name, node}
      is_atom(ref) -> {:server, {module, ref}, nil}
      true -> {:missing, {module, ref}}
    end
  end

  defp target(%module{} = storage) do
    if stores?(module), do: {:module, module, storage}, else: {:missing, module}
  end

  defp target(other), do: {:missing, other}

  defp server?(ref) when is_pid(ref), do: true
  defp server?(ref) when is_atom(ref), do: Process.whereis(ref) != nil
  defp server?({:global, _}), do: true
  defp server?({:via, module, _}) when is_atom(module), do: true
  defp server?({name, node}) when is_atom(name) and is_atom(node), do: true
  defp server?(_), do: false

  # The module that a server runs, if its functions may be used: the one it is named after, else the one it was started with.
  defp server_module(server, named) do
    cond do
      named && stores?(named) -> named
      module = started_with(server) -> if stores?(module), do: module
      true -> nil
    end
  end

  defp started_with(server) do
    with pid when is_pid(pid) and node(pid) == node() <- GenServer.whereis(server),
         {:dictionary, dictionary} <- Process.info(pid, :dictionary),
         {module, :init, 1} <- Keyword.get(dictionary, :"$initial_call") do
      module
    else
      _ -> nil
    end
  end

  defp stores?(module), do: Code.ensure_loaded?(module) and function_exported?(module, :store_events, 2)

  # ---- the call ----

  defp offer({:missing, what}, _batch, _timeout), do: {:error, {:unavailable, {:no_such_storage, what}}}
  defp offer({:function, fun}, batch, _) when is_function(fun, 1), do: fun.(Batch.events(batch))
  defp offer({:function, fun}, batch, _), do: fun.(Batch.events(batch), batch)

  defp offer({:module, module, ref}, batch, _timeout) do
    if function_exported?(module, :store_batch, 2),
      do: module.store_batch(ref, batch),
      else: module.store_events(ref, Batch.events(batch))
  end

  defp offer({:server, server, nil}, batch, timeout), do: one_by_one(for_server(batch), server, timeout, 0)
  defp offer({:server, server, module}, batch, _timeout), do: module.store_events(server, for_server(batch))

  # How far it came is known even if the server dies on the way: what it has answered for is not sent again.
  defp one_by_one([], _server, _timeout, count), do: {:ok, count}

  defp one_by_one([event | rest], server, timeout, count) do
    case call(server, {:store_event, event}, timeout) do
      {:answer, :ok} -> one_by_one(rest, server, timeout, count + 1)
      {:answer, {:ok, _}} -> one_by_one(rest, server, timeout, count + 1)
      _ when count > 0 -> {:ok, count}
      {:answer, other} -> other
      {:exit, reason} -> exit(reason)
    end
  end

  defp call(server, request, timeout) do
    {:answer, GenServer.call(server, request, timeout)}
  catch
    :exit, reason -> {:exit, reason}
  end

  defp for_server(%Batch{entries: entries}), do: for({event, _, stamp} <- entries, do: for_server(event, stamp))

  @doc false
  @spec for_server(term(), Batch.stamp() | nil) :: map()
  def for_server(%{} = event, stamp) do
    event
    |> put_missing(:timestamp, fn -> if stamp, do: stamp.timestamp, else: time_of(event) end)
    |> put_missing(:pid, fn -> Enum.find_value([:caller_pid, :from_pid, :server_pid], &Map.get(event, &1)) end)
  end

  def for_server(other, stamp) do
    %{event_type: :captured, data: other} |> Enrichment.enrich(Enrichment.common(true), 0) |> for_server(stamp)
  end

  defp put_missing(event, key, value) do
    case event do
      %{^key => present} when present != nil -> event
      _ -> Map.put(event, key, value.())
    end
  end

  defp time_of(%{enriched_at: time}) when is_integer(time), do: time
  defp time_of(_), do: System.monotonic_time(:nanosecond)

  # ---- what the answer means ----

  defp verdict(:ok, _count), do: :ok
  defp verdict({:ok, n}, count) when is_integer(n) and n >= count, do: :ok
  defp verdict({:ok, n}, _count) when is_integer(n) and n >= 0, do: {:partial, n}

  defp verdict({:error, reason}, _) when reason in [:unavailable, :retry, :timeout, :noproc, :nodedown],
    do: {:unavailable, reason}

  defp verdict({:error, {:unavailable, reason}}, _), do: {:unavailable, reason}
  defp verdict({:error, reason}, _), do: {:failed, reason}
  defp verdict(other, _), do: {:failed, {:bad_answer, other}}

  defp exit_verdict({reason, {GenServer, :call, _}}), do: exit_verdict(reason)
  defp exit_verdict({reason, {:gen_server, :call, _}}), do: exit_verdict(reason)
  defp exit_verdict({:nodedown, _} = reason), do: {:unavailable, reason}
  defp exit_verdict({:shutdown, _} = reason), do: {:unavailable, reason}

  defp exit_verdict(reason) when reason in [:noproc, :noconnection, :timeout, :normal, :shutdown, :killed],
    do: {:unavailable, reason}

  defp exit_verdict(reason), do: {:failed, reason}
end
