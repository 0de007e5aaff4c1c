// Package testredis runs a real Redis server for one test: its own process, port
// and directory, ended with the test. The server can be stopped, killed, paused
// and restarted, and can say which commands it has executed.
//
// The binary is redis-server, or what the environment variable
// HOLDFAST_TEST_SERVER names: Redis 7.0 or newer, or Valkey. A wrapper script must
// exec it, because signals go to the process that was started. Without the binary a
// test fails; it is never skipped. Pause and Resume need Unix, and only Linux ends
// the server when the test process is killed.
package testredis
