# Deadlines that a busy machine keeps: a test that passes waits for none of them.
ExUnit.start(assert_receive_timeout: 60_000, timeout: 600_000)
