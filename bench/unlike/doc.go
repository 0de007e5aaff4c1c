// Package unlike shows, by test, in what Holdfast differs from redsync,
// bsm/redislock and rueidislock: each row of the table in docs/comparison.md is run
// against all four. A cell that is no longer true fails the test, whichever way it
// changed.
package unlike
