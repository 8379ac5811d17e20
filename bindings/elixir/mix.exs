defmodule ElixirScopeCapturePipeline.MixProject do
  use Mix.Project

  def project do
    [
      app: :elixir_scope_capture_pipeline,
      version: "0.1.0",
      elixir: "~> 1.14",
      elixirc_paths: elixirc_paths(Mix.env()),
      # The Erlang modules are those of the Erlang application.
      erlc_paths: ["../erlang/src"],
      compilers: [:capture_pipeline_nif] ++ Mix.compilers(),
      start_permanent: false,
      deps: [],
      description: "Captures events at the cost of a copy, and delivers every one of them to a storage"
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
    # The directory must exist before the build directory links to it.
    File.mkdir_p!(priv)
    # The script names missing tools.
    build = Path.expand("../erlang/c_src/build.sh", File.cwd!())

    case System.cmd("sh", [build, "OUT=#{priv}"], stderr_to_stdout: true, into: IO.stream()) do
      {_, 0} ->
        Mix.Project.build_structure()
        {:ok, []}

      {_, _} ->
        Mix.raise("the NIF of capture_pipeline could not be built: the reason is above")
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
