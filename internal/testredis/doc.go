// Package testredis runs a real Redis server for one test: its own process, port
// and directory, ended with the test. The server can be stopped, killed, paused
// and restarted, and can say which commands it has executed. Several of them make a
// master with a replica and its sentinels, or a cluster.
//
// The binary is redis-server, or what the environment variable
// HOLDFAST_TEST_SERVER names: Redis 7.0 or newer, or Valkey. It is also the sentinel
// and the cluster's node; no other program is needed. A wrapper script must
// exec it, because signals go to the process that was started. Without the binary a
// test fails; it is never skipped. Pause and Resume need Unix, and only Linux ends
// the server when the test process is killed.
package testredis
