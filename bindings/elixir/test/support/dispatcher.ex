defmodule CapturePipeline.Test.Dispatcher do
  @moduledoc """
  A small dispatcher with the contract of `:telemetry`, which cannot be had here: handlers are in an ETS table, run in the process that executes the event,
  and are detached when they fail.

  `start_supervised!(Dispatcher)` starts it. A process of its own owns the table: ExUnit ends that process before the next test starts, but not the test's own
  process, which may still have its tables then.
  """
  use Agent

  @spec start_link(term()) :: Agent.on_start()
  def start_link(_), do: Agent.start_link(fn -> :ets.new(__MODULE__, [:named_table, :public, :bag]) end)

  @spec attach_many(term(), [[atom()]], ([atom()], map(), map(), term() -> any()), term()) ::
          :ok | {:error, :already_exists}
  def attach_many(id, events, function, config) do
    if :ets.match(__MODULE__, {:_, id, :_, :_}) == [] do
      for event <- events, do: :ets.insert(__MODULE__, {event, id, function, config})
      :ok
    else
      {:error, :already_exists}
    end
  end

  @spec detach(term()) :: :ok | {:error, :not_found}
  def detach(id) do
    if :ets.match_delete(__MODULE__, {:_, id, :_, :_}) and :ets.info(__MODULE__, :size) >= 0, do: :ok
  end

  @spec execute([atom()], map(), map()) :: :ok
  def execute(event, measurements, metadata) do
    for {_, id, function, config} <- :ets.lookup(__MODULE__, event) do
      try do
        function.(event, measurements, metadata, config)
      catch
        _, _ -> detach(id)
      end
    end

    :ok
  end

  @spec attached?(term()) :: boolean()
  def attached?(id), do: :ets.match(__MODULE__, {:_, id, :_, :_}) != []
end
