// Package servertest has the tests of locks on what Redis runs as: a cluster, a
// master with sentinels, a server that refuses, a user with few rights. They are
// real processes, see testredis.
package servertest
