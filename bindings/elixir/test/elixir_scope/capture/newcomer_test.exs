defmodule ElixirScope.Capture.NewcomerTest do
  # The first hour of a newcomer: the README's steps work for an app beside a clone, and missing tools are named.
  use ExUnit.Case, async: false

  @top Path.expand("../../../../..", __DIR__)
  @build Path.join(@top, "bindings/erlang/c_src/build.sh")

  @moduletag :tmp_dir
  @moduletag timeout: 300_000

  # Folders with all programs of the PATH except one.
  defp path_without(program, dir) do
    for {folder, n} <- System.get_env("PATH") |> String.split(":") |> Enum.with_index(), File.dir?(folder) do
      links = Path.join(dir, "path#{n}")
      File.mkdir_p!(links)
      for name <- File.ls!(folder), name != program, do: File.ln_s(Path.join(folder, name), Path.join(links, name))
      links
    end
    |> Enum.join(":")
  end

  # An app as made by `mix new`, beside a clone, with the dependency line of the README.
  defp app(dir) do
    File.ln_s!(@top, Path.join(dir, "capture_pipeline"))
    app = Path.join(dir, "my_app")
    File.mkdir_p!(app)
    readme = File.read!(Path.join(@top, "README.md"))
    [_, dependency] = Regex.run(~r/(\{:elixir_scope_capture_pipeline, path: "[^"]*"\})/, readme)
    [_, lines] = Regex.run(~r/## Ten lines of Elixir\n\n```elixir\n(.*?)```/s, readme)

    File.write!(Path.join(app, "mix.exs"), """
    defmodule MyApp.MixProject do
      use Mix.Project
      def project, do: [app: :my_app, version: "0.1.0", elixir: "~> 1.14", deps: [#{dependency}]]
      def application, do: [extra_applications: [:logger]]
    end
    """)

    File.write!(Path.join(app, "ten_lines.exs"), lines)
    app
  end

  defp mix(app, arguments, env \\ []) do
    System.cmd("mix", arguments,
      cd: app,
      stderr_to_stdout: true,
      env: [{"MIX_ENV", "dev"}, {"MIX_BUILD_PATH", nil} | env]
    )
  end

  test "the README's ten lines run without a warning in an app beside a clone, and say so", %{tmp_dir: dir} do
    app = app(dir)
    assert {_, 0} = mix(app, ["compile"])
    assert mix(app, ["run", "ten_lines.exs"]) == {"1000 events are stored\n", 0}
  end

  test "without make mix says so, without a stack trace", %{tmp_dir: dir} do
    {output, status} = mix(app(dir), ["compile"], [{"PATH", path_without("make", dir)}])
    assert status != 0
    assert output =~ "These are missing:\n  - make\n"
    assert output =~ "apt-get install make"
    refute output =~ ~r/\(\S+ [0-9.]+\) \S+\.ex:\d+/
  end

  test "without Erlang's headers the package that has them is named", %{tmp_dir: dir} do
    {output, status} =
      System.cmd("sh", [@build, "OUT=#{dir}/out"], env: [{"ERTS_INCLUDE", dir}], stderr_to_stdout: true)

    assert status != 0
    assert output =~ "erl_nif.h, Erlang's header for C, in #{dir}"
    assert output =~ "apt-get install erlang-dev"
    refute File.exists?(Path.join(dir, "out"))
  end

  test "without a C compiler, and without cargo, they are named", %{tmp_dir: dir} do
    env = [{"CC", "no_such_compiler"}, {"CARGO", "no_such_cargo"}, {"CAPTURE_PIPELINE_A", nil}]
    {output, status} = System.cmd("sh", [@build, "OUT=#{dir}/out"], env: env, stderr_to_stdout: true)
    assert status != 0
    assert output =~ "no_such_compiler, a C compiler"
    assert output =~ "no_such_cargo: Rust"
  end
end
