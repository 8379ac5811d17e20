defmodule ElixirScope.Capture.Storage do
  @moduledoc """
  The storages that writers can use.

  The option `storage` (or `storage_ref`) of a manager, pool or writer accepts:

    * an atom: the process registered under it, else the module of that name if it has this behaviour;
    * a pid, `{:global, name}`, `{:via, module, name}`, `{name, node}`: a server;
    * a function of one argument (the events) or of two (the events, and their `ElixirScope.Capture.Batch`);
    * `{module, ref}`: `module.store_events(ref, events)`, or, if the module exports no such function, the server `ref`;
    * a struct whose module exports `store_events/2`, such as `ElixirScope.Capture.EtsStorage` and
      `ElixirScope.Capture.NativeStorage`.

  A server is called by `module.store_events(server, events)` if the module that it runs (or that it is named after) is loaded and exports that.
  Otherwise it is called by `GenServer.call(server, {:store_event, event})` for each event. It never gets any other message.

  ## Answers

  `:ok`, `{:ok, n}` (the first `n` events are stored) or `{:error, reason}`. Any other answer is an error too, because only acknowledged events count as
  stored. After an error it matters whether the storage is there.

  **The storage is not there.** The batch is kept and retried with back-off, without a limit. None of its events is dead-lettered. Each attempt goes to
  the storage that is configured at that time. A storage is not there if

    * the reference leads to nothing that can store: no process of that name, an `{:via, module, name}` whose module does not find
      it or raises, no module that exports `store_events/2`;
    * it exits with, or answers `{:error, reason}` with, one of these reasons. `:unavailable`, `{:unavailable, why}` and `:retry` are for
      storages that know that they cannot store at the moment. `:noproc`, `:nodedown`, `:noconnection`: there is no process, or no connection
      to its node. `:normal`, `:shutdown`, `{:shutdown, why}`, `:killed`: the process ended during the call, by a stop or a kill.
      `:timeout`: it did not answer in time, which is not a refusal. `:bad_module`: a `:gen_event` has no such handler.
      `{:no_exists, table}` and `{:node_not_running, node}` are Mnesia's. `:closed`, `:enotconn`, `:econnrefused`, `:econnreset`,
      `:econnaborted`, `:epipe`, `:etimedout`, `:ehostdown`, `:ehostunreach`, `:enetdown`, `:enetunreach` are those of sockets;
    * such a reason is inside `{reason, {module, function, arguments}}`, as the calls of `GenServer`, `Agent`, `Task`, `:gen_statem` and
      `:gen_event` exit, or inside `{:erpc, reason}`, `{:exception, reason}`, `{:signal, reason}`, `{:badrpc, reason}`, `{:EXIT, reason}`
      or `{:aborted, reason}`, or is followed by details (`{:nodedown, node}`, `{:timeout, milliseconds}`);
    * the function that is the storage is gone, because its module was loaded again twice or deleted (health names it:
      `:storage_function_purged`, and so does the log), or the module that is the storage does not export `store_events/2` at this
      moment;
    * it raises because an ETS table or a `Registry` does not exist, because a limit of the VM is reached (`SystemLimitError`), or as
      `:erpc` does without a connection or in time.

  **The storage refuses.** This covers all other cases: any other error, an exception, a throw, any other exit, such as the crash of a server while it
  handles the event, or `:calling_self`, which no wait would cure. The events are retried one by one, so that a bad event affects no other, up to
  `:retry_limit` times (5, or `:infinity`) with back-off (`:retry_initial_ms` 10, doubled up to `:retry_max_ms` 1,000, and up to a quarter longer at random). Then they are
  dead-lettered.

  **The writer dies** while the storage has the batch: a task that is linked to it raises, the storage kills it, or its module is purged while it
  runs. The death counts as an attempt in the `attempt` of the batch, `error_count` and `retries`. After the second death the batch is stored in
  halves, after each further death in halves of the half in which it happened. An event that was alone with the storage at three deaths
  (`:retry_limit`, if that is less) is dead-lettered with the reason `{:writer_died, reason}`. Events of the batch that were stored meanwhile are not
  stored again. The death of an `AsyncWriter` that is killed from outside counts as no attempt.

  Delivery is at least once. A storage that must not store an event twice uses the identity in the batch as its key.
  """

  alias ElixirScope.Capture.{Absence, Batch, Enrichment, PlainBatch}

  @type ref :: term()
  @type result :: :ok | {:ok, non_neg_integer()} | {:error, term()}

  @doc "Stores the events, in order. `ref` is the storage option; for a module alone, the module itself."
  @callback store_events(ref(), events :: [term()]) :: result()

  @doc "The same with each event's identity and stamp. Preferred to `store_events/2` if a module exports both."
  @callback store_batch(ref(), Batch.t()) :: result()
  @optional_callbacks store_batch: 2

  @doc false
  # Whether the storage gets the events alone, without their identities and stamps.
  @spec plain?(ref()) :: boolean()
  def plain?(storage) when is_function(storage, 1), do: true
  def plain?(storage) when is_pid(storage) or is_function(storage), do: false

  def plain?(storage) do
    case target(storage) do
      {:module, module, _} -> not function_exported?(module, :store_batch, 2)
      _ -> false
    end
  end

  @doc false
  @spec store(ref(), Batch.t() | PlainBatch.t(), timeout()) ::
          :ok | {:partial, non_neg_integer()} | {:unavailable, term()} | {:failed, term()}
  def store(storage, batch, timeout) do
    storage |> target() |> offer(batch, timeout) |> verdict(count(batch))
  rescue
    error ->
      case Absence.exception(error, __STACKTRACE__, storage) do
        {:absent, reason} -> {:unavailable, reason}
        :other -> {:failed, error}
      end
  catch
    :throw, value -> {:failed, {:nocatch, value}}
    :exit, reason -> verdict_of(reason)
  end

  # ---- the current target of the reference ----

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
  defp target({:via, module, _} = server) when is_atom(module), do: named(server)

  defp target({module, ref}) when is_atom(module) do
    cond do
      stores?(module) -> {:module, module, ref}
      server?(ref) -> named(ref)
      # {name, node}
      is_atom(ref) -> {:server, {module, ref}, nil}
      true -> {:missing, {module, ref}}
    end
  end

  defp target(%module{} = storage) do
    if stores?(module), do: {:module, module, storage}, else: {:missing, module}
  end

  defp target(other), do: {:missing, other}

  # A foreign registry may raise if the name is not registered, or if it does not run.
  defp named({:via, module, name} = server) do
    case module.whereis_name(name) do
      pid when is_pid(pid) -> {:server, pid, nil}
      _ -> {:missing, server}
    end
  rescue
    _ -> {:missing, server}
  catch
    _, _ -> {:missing, server}
  end

  defp named(server), do: {:server, server, nil}

  defp server?(ref) when is_pid(ref), do: true
  defp server?(ref) when is_atom(ref), do: Process.whereis(ref) != nil
  defp server?({:global, _}), do: true
  defp server?({:via, module, _}) when is_atom(module), do: true
  defp server?({name, node}) when is_atom(name) and is_atom(node), do: true
  defp server?(_), do: false

  # The module of a server, if it exports store_events/2: the one it is named after, or the one it was started with.
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

  @doc false
  @spec count(Batch.t() | PlainBatch.t()) :: non_neg_integer()
  def count(%PlainBatch{count: count}), do: count
  def count(%Batch{entries: entries}), do: length(entries)

  defp offer({:missing, what}, _batch, _timeout), do: {:error, {:unavailable, {:no_such_storage, what}}}
  defp offer({:function, fun}, %PlainBatch{events: events}, _) when is_function(fun, 1), do: fun.(events)
  defp offer({:module, module, ref}, %PlainBatch{events: events}, _), do: module.store_events(ref, events)
  # The name was registered just now: the next attempt has what a server gets.
  defp offer(_target, %PlainBatch{}, _timeout), do: {:error, :retry}
  defp offer({:function, fun}, batch, _) when is_function(fun, 1), do: fun.(Batch.events(batch))
  defp offer({:function, fun}, batch, _), do: fun.(Batch.events(batch), batch)

  defp offer({:module, module, ref}, batch, _timeout) do
    if function_exported?(module, :store_batch, 2),
      do: module.store_batch(ref, batch),
      else: module.store_events(ref, Batch.events(batch))
  end

  defp offer({:server, server, nil}, batch, timeout), do: one_by_one(for_server(batch), server, timeout, 0)
  defp offer({:server, server, module}, batch, _timeout), do: module.store_events(server, for_server(batch))

  # Counts the acknowledged events, so that they are not sent again if the server dies in between.
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

  # ---- the meaning of an answer ----

  defp verdict(:ok, _count), do: :ok
  defp verdict({:ok, n}, count) when is_integer(n) and n >= count, do: :ok
  defp verdict({:ok, n}, _count) when is_integer(n) and n >= 0, do: {:partial, n}

  defp verdict({:error, reason}, _), do: verdict_of(reason)

  defp verdict(other, _) do
    if is_tuple(other) and Absence.reason?(other), do: {:unavailable, other}, else: {:failed, {:bad_answer, other}}
  end

  defp verdict_of({:unavailable, reason}), do: {:unavailable, reason}
  defp verdict_of(reason), do: if(Absence.reason?(reason), do: {:unavailable, reason}, else: {:failed, reason})
end
