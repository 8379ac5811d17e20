defmodule ElixirScopeCapturePipeline.MixProject do
  use Mix.Project

  def project do
    [
      app: :elixir_scope_capture_pipeline,
      version: "0.1.0",
      elixir: "~> 1.14",
      elixirc_paths: elixirc_paths(Mix.env()),
      # The NIF's Erlang module is the Erlang application's.
      erlc_paths: ["../erlang/src"],
      compilers: [:capture_pipeline_nif] ++ Mix.compilers(),
      start_permanent: false,
      deps: [],
      description: "Captures events at the price of a copy and gets every one of them to a storage"
    ]
  end

  def application, do: [extra_applications: [:logger]]

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(:bench), do: ["lib", "test/support", "bench/support"]
  defp elixirc_paths(_), do: ["lib"]
end

defmodule Mix.Tasks.Compile.CapturePipelineNif do
  @moduledoc "Builds the NIF into priv/ by the Makefile of the Erlang application."
  use Mix.Task.Compiler

  @impl true
  def run(_args) do
    priv = Path.expand("priv", File.cwd!())
    # It must be there before the build directory links to it.
    File.mkdir_p!(priv)
    source = Path.expand("../erlang/c_src", File.cwd!())

    case System.cmd("make", ["-s", "-C", source, "OUT=#{priv}"], stderr_to_stdout: true, into: IO.stream()) do
      {_, 0} ->
        Mix.Project.build_structure()
        {:ok, []}

      {_, status} ->
        Mix.raise("the NIF could not be built (make answered #{status})")
    end
  end

  @impl true
  def clean do
    priv = Path.expand("priv", File.cwd!())
    File.rm_rf!(Path.join(priv, "nif"))
    File.rm(Path.join(priv, "elixir_scope_capture_pipeline_nif.so"))
    :ok
  end
end
